//! One line of a table to one movement.
use jiff::Timestamp;

use crate::api::proto::{Movement, MovementKind, MovementRef, StockState};

/// The columns that a table may have, in the order in which a kept line holds them.
pub(super) const FIELDS: [&str; 20] = [
    "key",
    "kind",
    "location_id",
    "sku",
    "quantity",
    "occurred_at",
    "utc_offset_minutes",
    "channel_id",
    "reason",
    "document",
    "document_line",
    "note",
    "from_state",
    "to_state",
    "to_location_id",
    "original_source",
    "original_key",
    "expected_at",
    "group",
    "source",
];
/// Where `FIELDS` names the group.
pub(super) const GROUP: usize = 18;
/// The columns without which a line says nothing.
pub(super) const MANDATORY: [&str; 5] = ["key", "kind", "location_id", "sku", "quantity"];

/// The line's source (empty: none is named) and its movement, from the fields in the order of
/// `FIELDS`. Only the form is checked; whether the movement can be recorded is for the server.
///
/// # Errors
/// Says which field cannot be read.
pub(super) fn parse<'f>(
    mut fields: impl Iterator<Item = &'f str>,
) -> Result<(String, Movement), String> {
    let mut next = || fields.next().unwrap_or_default();
    let key = next().to_owned();
    let kind = kind_of(next())?;
    let mut movement = Movement {
        key,
        location_id: next().to_owned(),
        sku: next().to_owned(),
        quantity: number("quantity", next())?,
        occurred_at: time("occurred_at", next())?,
        utc_offset_minutes: number_or_zero("utc_offset_minutes", next())?,
        channel_id: next().to_owned(),
        reason: next().to_owned(),
        document: next().to_owned(),
        document_line: number_or_zero("document_line", next())?,
        note: next().to_owned(),
        ..Movement::default()
    };
    movement.set_kind(kind);
    movement.set_from_state(state_of("from_state", next())?);
    movement.set_to_state(state_of("to_state", next())?);
    movement.to_location_id = next().to_owned();
    let (source, key) = (next(), next());
    if !source.is_empty() || !key.is_empty() {
        movement.original = Some(MovementRef { source: source.to_owned(), key: key.to_owned() });
    }
    movement.expected_at = time("expected_at", next())?;
    movement.group = next().to_owned();
    Ok((next().to_owned(), movement))
}

/// By its name without the prefix of the contract; empty: none.
fn kind_of(name: &str) -> Result<MovementKind, String> {
    if name.is_empty() {
        return Ok(MovementKind::Unspecified);
    }
    let full = format!("MOVEMENT_KIND_{}", name.trim().to_ascii_uppercase());
    MovementKind::from_str_name(&full).ok_or_else(|| format!("kind {name:?} does not exist"))
}

fn state_of(field: &str, name: &str) -> Result<StockState, String> {
    if name.is_empty() {
        return Ok(StockState::Unspecified);
    }
    let full = format!("STOCK_STATE_{}", name.trim().to_ascii_uppercase());
    StockState::from_str_name(&full).ok_or_else(|| format!("{field} {name:?} does not exist"))
}

fn number<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{field} {text:?} is not a number in its bounds"))
}

fn number_or_zero<T: std::str::FromStr + Default>(field: &str, text: &str) -> Result<T, String> {
    if text.is_empty() { Ok(T::default()) } else { number(field, text) }
}

fn time(field: &str, text: &str) -> Result<Option<prost_types::Timestamp>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let at: Timestamp = text.trim().parse().map_err(|_| {
        format!("{field} {text:?} is not a time of RFC 3339 such as 2026-03-01T09:30:00Z")
    })?;
    // A protobuf time counts its nanoseconds forwards, also before 1970.
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    if nanos < 0 {
        (seconds, nanos) = (seconds - 1, nanos + 1_000_000_000);
    }
    Ok(Some(prost_types::Timestamp { seconds, nanos }))
}
