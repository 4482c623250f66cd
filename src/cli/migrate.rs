//! `stockroom migrate`: prepares the user's own PostgreSQL, separately from serving.

use crate::{
    config::{DatabaseConfig, NewLedgerConfig},
    ledger::Ledger,
};

/// Prepares a database.
#[derive(Clone, Debug, clap::Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    #[command(flatten)]
    ledger: NewLedgerConfig,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Brings the schema up to date.
///
/// # Errors
/// The database is away, or newer than this program.
pub async fn run(args: MigrateArgs) -> anyhow::Result<()> {
    let url = args.databases.running_database()?;
    let prepared = Ledger::migrate(&url, args.ledger.partitions()).await?;
    if args.json {
        println!("{}", serde_json::json!({ "partitions": prepared.partitions }));
    } else {
        println!("the ledger is ready and has {} partitions", prepared.partitions);
    }
    Ok(())
}
