//! `stockroom epoch`: what a ledger has to be told after a restore.

use anyhow::Context as _;
use serde_json::json;

use crate::{cli::connect, config::DatabaseConfig};

/// What to do about the epoch.
#[derive(Clone, Debug, clap::Args)]
pub struct EpochArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    #[command(subcommand)]
    command: EpochCommand,
    /// Prints one JSON object
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum EpochCommand {
    /// Begins a new epoch, as must be done after every restore and before servers start again: tokens
    /// and cursors from before no longer count, and Redis is filled anew
    Bump,
}

/// Does it, and prints the new epoch.
///
/// # Errors
/// The database is away, or was not prepared.
pub async fn run(args: EpochArgs) -> anyhow::Result<()> {
    let EpochCommand::Bump = args.command;
    let ledger = connect(&args.databases)?;
    // Says so where there is no ledger.
    ledger.partitions().await?;
    let epoch = ledger.bump_epoch().await.context("cannot begin a new epoch")?;
    if args.json {
        println!("{}", json!({ "epoch": epoch }));
    } else {
        println!("the ledger begins epoch {epoch}");
    }
    Ok(())
}
