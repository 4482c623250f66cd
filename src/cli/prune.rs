//! `stockroom prune`: removes what is kept besides the ledger and has done its duty.

use serde_json::json;

use crate::{
    cli::connect,
    config::DatabaseConfig,
    ledger::prune::Pruned,
    stock::time::{SECOND, Timestamp},
};

/// What is kept.
#[derive(Clone, Debug, clap::Args)]
pub struct PruneArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Keeps what is younger than so many days: dead letters, counts of refusals, rejected movements that
    /// were decided, changes of the network
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Removes, and prints how much.
///
/// # Errors
/// The database is away, or the role may not delete.
pub async fn run(args: PruneArgs) -> anyhow::Result<()> {
    let ledger = connect(&args.databases)?;
    let kept_us = i64::from(args.keep_days) * 86_400 * SECOND;
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    let pruned = ledger.prune(Timestamp(now.0 - kept_us)).await?;
    let Pruned { dead_letters, refusal_counts, rejected_movements, network_changes } = pruned;
    if args.json {
        let told = json!({
            "dead_letters": dead_letters,
            "refusal_counts": refusal_counts,
            "rejected_movements": rejected_movements,
            "network_changes": network_changes,
        });
        println!("{told}");
    } else {
        println!(
            "removed {dead_letters} dead letters, {refusal_counts} counts of refusals, \
             {rejected_movements} rejected movements, {network_changes} changes of the network"
        );
    }
    Ok(())
}
