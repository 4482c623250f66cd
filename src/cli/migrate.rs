//! `stockroom migrate`: prepares the user's own PostgreSQL, separately from serving.

use crate::{config::DatabaseConfig, ledger::Ledger};

/// Prepares a database.
#[derive(Clone, Debug, clap::Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Partitions of the ledger, if it is created now; an existing one keeps its own
    #[arg(long, env = "STOCKROOM_PARTITIONS", default_value_t = 4, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    partitions: u16,
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
    let prepared = Ledger::migrate(&url, args.partitions).await?;
    if args.json {
        println!("{}", serde_json::json!({ "partitions": prepared.partitions }));
    } else {
        println!("the ledger is ready and has {} partitions", prepared.partitions);
    }
    Ok(())
}
