//! What the reading commands have in common: names to numbers, times, tables.

use anyhow::{Context as _, bail};
use comfy_table::{Table, presets};

use crate::{
    ledger::Ledger,
    stock::{
        ids::{ItemNo, Place},
        time::Timestamp,
    },
};

/// A moment on the command line, in RFC 3339.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    let time = text.parse::<jiff::Timestamp>();
    let time = time.map_err(|error| format!("{error}; write it like 2026-01-31T12:00:00Z"))?;
    Ok(Timestamp(time.as_microsecond()))
}

/// A moment for people and programs: RFC 3339 in UTC.
pub(super) fn time_text(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| "?".into(), |time| time.to_string())
}

/// Where a location's stock is.
pub(super) async fn place(ledger: &Ledger, location_id: &str) -> anyhow::Result<Place> {
    ledger.directory().find_locations(&[location_id]).await?;
    let place = ledger.directory().known().place(location_id);
    place.with_context(|| format!("there is no location {location_id:?}"))
}

/// The number of an item.
pub(super) async fn item(ledger: &Ledger, sku: &str) -> anyhow::Result<ItemNo> {
    ledger.directory().find_items(&[sku]).await?;
    let Some(item) = ledger.directory().known().item(sku) else {
        bail!("there is no item {sku:?}");
    };
    Ok(item.item)
}

/// A table without frills.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}
