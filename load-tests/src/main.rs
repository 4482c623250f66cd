//! Loads for Stockroom, and what they must end in. The last line on standard output is one JSON
//! object.
//!
//! `load` and `open` are the two kinds of load, `scenario` runs files of mixed ones, `server`
//! starts what is loaded, `sales` says with what, and `baseline`, `naive` and `bare` are what it is
//! measured against.
mod bare;
mod baseline;
mod bench;
mod check;
mod cpu;
mod expect;
mod fill;
mod generate;
mod growth;
mod history;
mod ingest;
mod latency;
mod load;
mod machine;
mod naive;
mod open;
mod overload;
mod patterns;
mod pickup;
mod raw_redis;
mod read;
mod report;
mod reserve;
mod sales;
mod scenario;
mod server;
mod single;
mod size;
mod stats;
mod stretch;
mod torture;
mod usage;
mod watch;

use clap::Parser;

/// The load must not cost more than it has to: it runs on the machine that it measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
enum Command {
    /// Writes a year of tills of a chain of shops, the same for the same seed.
    Generate(generate::GenerateArgs),
    /// Writes a year of households' baskets, for reservations in the replay.
    GenerateTills(generate::tills::TillsArgs),
    /// Works out by itself what a file for `stockroom import csv` must end in.
    Expect(expect::ExpectArgs),
    /// Movements a second through SyncMovements, against the same rows by bulk SQL.
    Ingest(ingest::IngestArgs),
    /// Single sales of one hot item a second from 64 tills, against 64 connections that lock its
    /// row.
    Single(single::SingleArgs),
    /// Reads of availability a second, against a bare server that answers a constant.
    Read(read::ReadArgs),
    /// Reservations and holds a second, against row locks and a bare server.
    Reserve(reserve::ReserveArgs),
    /// Reservations a second, against how others keep from overselling.
    Patterns(patterns::PatternsArgs),
    /// The nearest of 17,700 pickup points that have a basket, against a search through all of them.
    Pickup(pickup::PickupArgs),
    /// How long it takes until many who watch know of what was recorded.
    Watch(watch::WatchArgs),
    /// Bytes of a position in Redis and of an entry in PostgreSQL.
    Size(size::SizeArgs),
    /// The same load on little and on much, and how long a rebuild and a first load take.
    Growth(growth::GrowthArgs),
    /// What is left of throughput when more is asked than a server can do.
    Overload(overload::OverloadArgs),
    /// All comparisons in one go, written to docs/benchmarks.md.
    Bench(bench::BenchArgs),
    /// What everything is measured on.
    Machine,
    /// Answers a constant until its input ends: what `read` and `reserve` are measured against.
    #[command(hide = true)]
    Bare,
    /// Runs a scenario: calls that arrive at their own rates, and how long their callers wait.
    Load(scenario::ScenarioArgs),
    /// Breaks everything under load by a schedule that a seed decides, and checks the history.
    Torture(torture::TortureArgs),
    /// A long load with a fault now and then: nothing but rows of the ledger may grow.
    Soak(torture::soak::SoakArgs),
    /// Decides from a saved history which invariants hold.
    Check(check::CheckArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Generate(args) => generate::run(&args),
        Command::GenerateTills(args) => generate::tills::run(&args),
        Command::Expect(args) => expect::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Single(args) => single::run(&args),
        Command::Read(args) => read::run(&args),
        Command::Reserve(args) => reserve::run(&args),
        Command::Patterns(args) => patterns::run(&args),
        Command::Pickup(args) => pickup::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Size(args) => size::run(&args),
        Command::Growth(args) => growth::run(&args),
        Command::Overload(args) => overload::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Machine => machine::run(),
        Command::Bare => bare::run(),
        Command::Load(args) => scenario::run(&args),
        Command::Torture(args) => torture::run(&args),
        Command::Soak(args) => torture::soak::run(&args),
        Command::Check(args) => check::run(&args),
    }
}
