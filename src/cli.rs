//! The commands of the program, one file per command.

pub mod archive;
pub mod audit;
pub mod changes;
mod client;
pub mod doctor;
pub mod entries;
pub mod epoch;
pub mod import;
pub mod keys;
pub mod migrate;
pub mod position;
pub mod prune;
pub mod rejected;
pub mod report;
pub mod serve;
mod show;
pub mod verify;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{
    config::{ConfigError, DatabaseConfig, EXIT_USAGE, ServeConfig},
    embedded::EmbeddedError,
    ledger::Ledger,
};

/// One stock for every channel: what happened to every unit, what was promised, and what may still be.
#[derive(Debug, clap::Parser)]
#[command(name = "stockroom", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serves until stopped; without DATABASE_URL and REDIS_URL on databases of its own
    Serve(Box<ServeConfig>),
    /// Prepares the PostgreSQL of DATABASE_URL, or brings its schema up to date
    Migrate(migrate::MigrateArgs),
    /// Sends a file of movements to a server
    Import(import::ImportArgs),
    /// Looks for wrong settings, here and of the databases, and says why they matter and what to do
    Doctor(Box<doctor::DoctorArgs>),
    /// Recomputes the whole ledger from its entries and names the first row that differs
    Verify(verify::VerifyArgs),
    /// Tells the ledger that it was restored
    Epoch(epoch::EpochArgs),
    /// Walks the hash chain along the ledger and names the first entry that was altered
    Audit(audit::AuditArgs),
    /// Moves old entries into files, and keeps what goes on being asked of them
    Archive(archive::ArchiveArgs),
    /// Removes what is kept besides the ledger and is old
    Prune(prune::PruneArgs),
    /// Lists who changed the network, and when
    Changes(changes::ChangesArgs),
    /// Lists entries of the ledger
    Entries(entries::EntriesArgs),
    /// Shows the balances of one item at one location
    Position(position::PositionArgs),
    /// Lists movements that were rejected
    Rejected(rejected::RejectedArgs),
    /// Makes, lists and revokes API keys
    Keys(keys::KeysArgs),
    /// Shows figures of a period by channel and location, of a server
    Report(report::ReportArgs),
}

impl Cli {
    /// Runs the command and says what the process should exit with.
    pub async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(config) => serve::run(*config).await.map(|()| 0),
            Command::Migrate(args) => migrate::run(args).await.map(|()| 0),
            Command::Import(args) => import::run(args).await.map(import::Outcome::exit_code),
            Command::Doctor(args) => doctor::run(*args).await.map(|well| u8::from(!well)),
            Command::Verify(args) => verify::run(args).await.map(|holds| u8::from(!holds)),
            Command::Epoch(args) => epoch::run(args).await.map(|()| 0),
            Command::Audit(args) => audit::run(args).await.map(|holds| u8::from(!holds)),
            Command::Archive(args) => archive::run(args).await.map(|()| 0),
            Command::Prune(args) => prune::run(args).await.map(|()| 0),
            Command::Changes(args) => changes::run(args).await.map(|()| 0),
            Command::Entries(args) => entries::run(args).await.map(|()| 0),
            Command::Position(args) => position::run(args).await.map(|()| 0),
            Command::Rejected(args) => rejected::run(args).await.map(|()| 0),
            Command::Keys(args) => keys::run(args).await.map(|()| 0),
            Command::Report(args) => report::run(args).await.map(|()| 0),
        };
        match done {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("stockroom: {error:#}");
                ExitCode::from(exit_code(&error))
            }
        }
    }
}

/// A ledger whose databases run already.
fn connect(databases: &DatabaseConfig) -> anyhow::Result<Ledger> {
    let url = databases.running_database()?;
    Ledger::new(&databases.ledger(url)).context("cannot connect")
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let usage = error.downcast_ref().is_some_and(ConfigError::is_usage);
    let in_use = matches!(error.downcast_ref(), Some(EmbeddedError::InUse { .. }));
    if usage || in_use { EXIT_USAGE } else { 1 }
}
