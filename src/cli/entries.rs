//! `stockroom entries`: the ledger as it stands, oldest first within a partition.

use serde_json::{Value, json};

use crate::{
    cli::{
        connect,
        show::{item, parse_time, place, table, time_text},
    },
    config::DatabaseConfig,
    ledger::{
        PAGE_ROWS_MAX,
        queries::{EntryFilter, Names},
    },
    stock::{
        entry::Entry,
        ids::{Partition, Seq},
        kind::StockState,
        time::Timestamp,
    },
};

/// Which entries.
#[derive(Clone, Debug, clap::Args)]
pub struct EntriesArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Only this location
    #[arg(long, value_name = "ID")]
    location: Option<String>,
    /// Only this item
    #[arg(long)]
    sku: Option<String>,
    /// Only this business document
    #[arg(long)]
    document: Option<String>,
    /// Only what took effect at this time (RFC 3339) or later
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only what took effect before this time
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Shows too who, why, and when it happened and was recorded
    #[arg(long)]
    wide: bool,
    /// At most this many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists entries.
///
/// # Errors
/// The database is away, or a name is unknown.
pub async fn run(args: EntriesArgs) -> anyhow::Result<()> {
    let ledger = connect(&args.databases)?;
    let filter = EntryFilter {
        place: match &args.location {
            Some(location_id) => Some(place(&ledger, location_id).await?),
            None => None,
        },
        item: match &args.sku {
            Some(sku) => Some(item(&ledger, sku).await?),
            None => None,
        },
        places: None,
        channels: None,
        document: args.document,
        effective_from: args.from,
        effective_until: args.until,
    };
    let mut after: (Partition, Seq) = (Partition(0), 0);
    let mut shown = Vec::new();
    while shown.len() < args.limit {
        let rows_max = PAGE_ROWS_MAX.min((args.limit - shown.len()) as i64);
        let page = ledger.list_entries(&filter, after, rows_max).await?;
        let names = ledger.names(&page).await?;
        let Some(last) = page.last() else { break };
        after = (last.partition, last.seq);
        shown.extend(page.iter().map(|entry| shown_entry(entry, &names)));
    }
    if args.json {
        println!("{}", json!({ "entries": shown }));
        return Ok(());
    }
    let columns = ["partition", "seq", "effective_at", "kind", "location_id", "sku", "quantity"];
    let columns = columns.into_iter().chain(["from", "to", "sellable_after", "source", "key"]);
    let more = ["channel_id", "actor", "reason", "document", "note", "occurred_at", "recorded_at"];
    let columns: Vec<_> = columns.chain(more.into_iter().filter(|_| args.wide)).collect();
    let mut table = table(&columns);
    for entry in &shown {
        let cell = |column: &&str| match &entry[*column] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        table.add_row(columns.iter().map(cell));
    }
    println!("{table}");
    Ok(())
}

fn shown_entry(entry: &Entry<'_>, names: &Names) -> Value {
    let state = |state: StockState| state.name();
    json!({
        "partition": entry.partition.0,
        "seq": entry.seq,
        "kind": entry.kind.name(),
        "location_id": names.locations.get(&entry.location.0),
        "sku": names.items.get(&entry.item.0),
        "quantity": entry.quantity,
        "from": entry.states.map(|(from, _)| state(from)),
        "to": entry.states.map(|(_, to)| state(to)),
        "sellable_after": entry.sellable_after,
        "source": names.sources.get(&entry.source.0),
        "key": entry.key,
        "channel_id": entry.channel.and_then(|channel| names.channels.get(&channel.0)),
        "actor": entry.actor,
        "reason": entry.reason,
        "document": entry.document,
        "document_line": entry.document_line,
        "note": entry.note,
        "reservation_id": entry.reservation_id,
        "hold_id": entry.hold_id,
        "original_source": entry.original_source,
        "original_key": entry.original_key,
        "group": entry.group,
        "reserved_change": entry.reserved_change,
        "reserved_after": entry.reserved_after,
        "utc_offset_minutes": entry.utc_offset_minutes,
        "expected_at": entry.expected_at.map(time_text),
        "refers_to_seq": entry.refers_to,
        "counter_location_id": entry
            .counter
            .and_then(|counter| names.locations.get(&counter.place.location.0)),
        "counter_seq": entry.counter.map(|counter| counter.seq),
        "occurred_at": time_text(entry.occurred_at),
        "effective_at": time_text(entry.effective_at),
        "recorded_at": time_text(entry.recorded_at),
    })
}
