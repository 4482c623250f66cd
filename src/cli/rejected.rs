//! `stockroom rejected`: movements that could not be recorded and wait for somebody to decide.

use prost::Message as _;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    api::proto::Movement,
    cli::{
        connect,
        show::{table, time_text},
    },
    config::DatabaseConfig,
    ledger::{
        PAGE_ROWS_MAX,
        rejected::{Rejected, RejectedFilter, State},
    },
    stock::kind::Kind,
};

/// Which rejected movements.
#[derive(Clone, Debug, clap::Args)]
pub struct RejectedArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Only this source
    #[arg(long)]
    source: Option<String>,
    /// Only this location
    #[arg(long, value_name = "ID")]
    location: Option<String>,
    /// Only this reason, such as NOT_A_STOCK_ITEM
    #[arg(long)]
    reason: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists what is open.
///
/// # Errors
/// The database is away.
pub async fn run(args: RejectedArgs) -> anyhow::Result<()> {
    let ledger = connect(&args.databases)?;
    let filter = RejectedFilter {
        source: args.source,
        location_id: args.location,
        location_ids: None,
        reason: args.reason,
        state: State::Open,
    };
    let mut after = Uuid::nil();
    let mut shown = Vec::new();
    while shown.len() < args.limit {
        let rows_max = PAGE_ROWS_MAX.min((args.limit - shown.len()) as i64);
        let page = ledger.list_rejected(&filter, after, rows_max).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        shown.extend(page.iter().map(shown_row));
    }
    if args.json {
        println!("{}", json!({ "rejected": shown }));
        return Ok(());
    }
    let columns =
        ["rejected_at", "source", "key", "kind", "location_id", "sku", "quantity", "reason"];
    let mut table = table(&columns);
    for row in &shown {
        table.add_row(columns.iter().map(|column| match &row[*column] {
            Value::String(text) => text.escape_debug().to_string(),
            other => other.to_string(),
        }));
    }
    println!("{table}");
    Ok(())
}

fn shown_row(row: &Rejected) -> Value {
    let movement = Movement::decode(&*row.rejection.payload).unwrap_or_default();
    json!({
        "rejected_movement_id": row.id.to_string(),
        "rejected_at": time_text(row.rejected_at),
        "source": row.rejection.source,
        "key": movement.key,
        "kind": Kind::of(movement.kind).map_or("UNKNOWN", Kind::name),
        "location_id": movement.location_id,
        "sku": movement.sku,
        "quantity": movement.quantity,
        "reason": row.rejection.reason,
        "message": row.rejection.message,
        "attempts": row.attempts,
    })
}
