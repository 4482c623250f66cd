//! `stockroom position`: the balances of one item at one location.

use serde_json::json;

use crate::{
    cli::{
        connect,
        show::{item, parse_time, place, table},
    },
    config::DatabaseConfig,
    stock::{ids::PositionKey, time::Timestamp},
};

/// Which position, and when.
#[derive(Clone, Debug, clap::Args)]
pub struct PositionArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Where
    location: String,
    /// Which item
    sku: String,
    /// As the ledger stood at this time (RFC 3339)
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    as_of: Option<Timestamp>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows a position.
///
/// # Errors
/// The database is away, or a name is unknown.
pub async fn run(args: PositionArgs) -> anyhow::Result<()> {
    let ledger = connect(&args.databases)?;
    let place = place(&ledger, &args.location).await?;
    let key = PositionKey { place, item: item(&ledger, &args.sku).await? };
    let mut read = match args.as_of {
        Some(as_of) => {
            let seq = ledger.seq_at(place.partition, as_of).await?;
            ledger.positions_at(&[key], place.partition, seq).await?
        }
        None => ledger.positions(&[key]).await?,
    };
    let position = read.remove(&key).unwrap_or_default();
    let balances = [
        ("sellable", position.sellable),
        ("staged", position.staged),
        ("blocked", position.blocked),
        ("in_transit", position.in_transit),
        ("expected", position.expected),
        ("reserved", position.reserved),
        ("on_hand", position.on_hand()),
        ("shortfall", position.shortfall()),
        ("version", position.seq),
    ];
    if args.json {
        let mut shown = json!({ "location_id": args.location, "sku": args.sku });
        for (name, balance) in balances {
            shown[name] = balance.into();
        }
        println!("{shown}");
        return Ok(());
    }
    let mut table = table(&["balance", "units"]);
    for (name, balance) in balances {
        table.add_row([name.to_owned(), balance.to_string()]);
    }
    println!("{table}");
    Ok(())
}
