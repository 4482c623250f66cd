//! Loads for Stockroom, and what they must end in. The last line on standard output is one JSON
//! object.
//!
//! `load` has the two kinds of load, `server` starts what is loaded, `sales` says with what, and
//! `baseline` is what it is measured against.
mod baseline;
mod cpu;
mod expect;
mod generate;
mod ingest;
mod latency;
mod load;
mod sales;
mod server;
mod single;
mod stats;
mod till_day;

use clap::Parser;

/// The load must not cost more than it has to: it runs on the machine that it measures.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
enum Command {
    /// Writes a year of tills of a chain of shops, the same for the same seed.
    Generate(generate::GenerateArgs),
    /// Works out by itself what a file for `stockroom import csv` must end in.
    Expect(expect::ExpectArgs),
    /// Movements a second through SyncMovements, against the same rows by bulk SQL.
    Ingest(ingest::IngestArgs),
    /// Single sales of one hot item a second from 64 tills, against 64 connections that lock its row.
    Single(single::SingleArgs),
    /// Baskets that arrive at their own rate, and how long their tills wait.
    TillDay(till_day::TillDayArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Generate(args) => generate::run(&args),
        Command::Expect(args) => expect::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Single(args) => single::run(&args),
        Command::TillDay(args) => till_day::run(&args),
    }
}
