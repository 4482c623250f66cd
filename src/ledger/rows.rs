//! Rows as the core's types. The one statement that reads whole entries is here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use crate::{
    ledger::{
        fault::{Defect, Fault},
        sql_time::At,
    },
    stock::{
        entry::{Counter, Entry, Flags, Legs},
        ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, Seq, SourceNo},
        kind::{Kind, StockState},
        reservation::State,
    },
};

/// An entry as it is stored, with its checksum.
#[derive(Debug)]
pub(crate) struct Stored {
    pub entry: Entry<'static>,
    pub checksum: i64,
}

const UNDERSTAND: &str = "understand a row";

/// The columns of an entry, as they are selected, and as an archive keeps them: times in microseconds
/// since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub seq: i64,
    quantity: i64,
    sellable_after: i64,
    reserved_change: i64,
    reserved_after: i64,
    occurred_at: At,
    effective_at: At,
    pub recorded_at: At,
    checksum: i64,
    fingerprint: i64,
    location: i32,
    item: i32,
    source: i32,
    channel: Option<i32>,
    counter_location: Option<i32>,
    counter_partition: Option<i16>,
    kind: i16,
    legs: i16,
    from_state: Option<i16>,
    to_state: Option<i16>,
    flags: i16,
    utc_offset_minutes: i16,
    document_line: Option<i32>,
    counter_seq: Option<i64>,
    refers_to_seq: Option<i64>,
    expected_at: Option<At>,
    key: String,
    actor: Option<String>,
    reason: Option<String>,
    document: Option<String>,
    note: Option<String>,
    reservation_id: Option<String>,
    hold_id: Option<String>,
    original_source: Option<String>,
    original_key: Option<String>,
    posting_group: Option<String>,
    reservation_state: Option<i16>,
}

/// One list of columns for every way to choose entries.
macro_rules! select_entries {
    ($from:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"select seq as "seq!", quantity as "quantity!", sellable_after as "sellable_after!",
                   reserved_change as "reserved_change!", reserved_after as "reserved_after!",
                   occurred_at as "occurred_at!: At", effective_at as "effective_at!: At",
                   recorded_at as "recorded_at!: At", checksum as "checksum!",
                   fingerprint as "fingerprint!", location as "location!", item as "item!",
                   source as "source!", channel, counter_location,
                   (select partition from location where location_no = counter_location)
                       as counter_partition,
                   kind as "kind!", legs as "legs!", from_state, to_state, flags as "flags!",
                   utc_offset_minutes as "utc_offset_minutes!", document_line, counter_seq,
                   refers_to_seq, expected_at as "expected_at: At", key as "key!", actor, reason, document, note, reservation_id, hold_id, original_source, original_key,
                   posting_group, reservation_state "# + $from,
            $($argument),+
        )
    };
}

/// The entries with these sequence numbers, in order; numbers without an entry are passed over. Of one
/// that is archived there is its outcome, marked as [`Flags::ARCHIVED`].
pub(crate) async fn entries(
    connection: &mut PgConnection,
    partition: Partition,
    seqs: &[Seq],
) -> Result<Vec<Stored>, Fault> {
    let chosen = select_entries!(
        "from unnest($2::bigint[]) as wanted (number)
         cross join lateral (
             select * from known_entry
             where partition = $1 and seq = wanted.number offset 0
         ) as entry
         order by seq",
        partition.0,
        seqs
    );
    let rows = chosen.fetch_all(connection).await.map_err(Fault::doing("read entries"))?;
    rows.into_iter().map(|row| row.stored(partition)).collect()
}

/// The entries behind `after`, up to and with `until`, in order, each with its sequence number. One
/// that makes no sense costs only itself.
pub(crate) async fn entries_between(
    connection: &mut PgConnection,
    partition: Partition,
    after: Seq,
    until: Seq,
) -> Result<Vec<(Seq, Result<Stored, Fault>)>, Fault> {
    let rows = rows_between(connection, partition, after, until).await?;
    Ok(rows.into_iter().map(|row| (row.seq, row.stored(partition))).collect())
}

/// The same as they are stored.
pub(crate) async fn rows_between(
    connection: &mut PgConnection,
    partition: Partition,
    after: Seq,
    until: Seq,
) -> Result<Vec<Row>, Fault> {
    let chosen = select_entries!(
        "from ledger_entry where partition = $1 and seq > $2 and seq <= $3 order by seq",
        partition.0,
        after,
        until
    );
    chosen.fetch_all(connection).await.map_err(Fault::doing("read entries in order"))
}

/// A stored number as one of the core's enumerations.
pub(crate) fn meaning<T>(
    column: &'static str,
    value: impl Into<i64>,
    found: Option<T>,
) -> Result<T, Fault> {
    let defect = Defect::Meaningless { column, value: value.into() };
    found.ok_or_else(|| Fault::defect(UNDERSTAND, defect))
}

impl Row {
    /// What it says.
    pub(crate) fn stored(self, partition: Partition) -> Result<Stored, Fault> {
        let state = |column, number: Option<i16>| {
            let number = number.unwrap_or(0);
            meaning(column, number, StockState::of(i32::from(number)))
        };
        let states = match (self.from_state, self.to_state) {
            (None, None) => None,
            (from, to) => Some((state("from_state", from)?, state("to_state", to)?)),
        };
        let counter = match (self.counter_location, self.counter_seq) {
            (Some(location), Some(seq)) => {
                let partition = Partition(self.counter_partition.unwrap_or(partition.0));
                Some(Counter { place: Place { partition, location: LocationNo(location) }, seq })
            }
            (None, None) => None,
            (location, seq) => {
                let column = if seq.is_some() { "counter_seq" } else { "counter_location" };
                let value = seq.or(location.map(i64::from)).unwrap_or(0);
                return Err(Fault::defect(UNDERSTAND, Defect::Meaningless { column, value }));
            }
        };
        let document_line = match self.document_line {
            None => 0,
            Some(line) => {
                let known = u32::try_from(line).ok().filter(|line| *line > 0);
                meaning("document_line", line, known)?
            }
        };
        let reservation_state = match self.reservation_state {
            None => None,
            Some(state) => Some(meaning("reservation_state", state, State::of(state))?),
        };
        let entry = Entry {
            partition,
            seq: self.seq,
            kind: meaning("kind", self.kind, Kind::of(i32::from(self.kind)))?,
            location: LocationNo(self.location),
            item: ItemNo(self.item),
            legs: meaning("legs", self.legs, Legs::of(self.legs))?,
            states,
            quantity: self.quantity,
            sellable_after: self.sellable_after,
            reserved_change: self.reserved_change,
            reserved_after: self.reserved_after,
            source: SourceNo(self.source),
            key: Cow::Owned(self.key),
            fingerprint: self.fingerprint,
            channel: self.channel.map(ChannelNo),
            actor: text("actor", self.actor)?,
            reason: text("reason", self.reason)?,
            document: text("document", self.document)?,
            document_line,
            note: text("note", self.note)?,
            reservation_id: text("reservation_id", self.reservation_id)?,
            hold_id: text("hold_id", self.hold_id)?,
            original_source: text("original_source", self.original_source)?,
            original_key: text("original_key", self.original_key)?,
            group: text("posting_group", self.posting_group)?,
            counter,
            refers_to: self.refers_to_seq,
            expected_at: self.expected_at.map(|at| at.0),
            occurred_at: self.occurred_at.0,
            utc_offset_minutes: self.utc_offset_minutes,
            effective_at: self.effective_at.0,
            recorded_at: self.recorded_at.0,
            flags: Flags(self.flags),
            reservation_state,
        };
        Ok(Stored { entry, checksum: self.checksum })
    }
}

/// What a null says is never written in another way, so that no change goes unnoticed.
fn text(column: &'static str, text: Option<String>) -> Result<Cow<'static, str>, Fault> {
    match text {
        None => Ok(Cow::Borrowed("")),
        Some(text) if text.is_empty() => {
            Err(Fault::defect(UNDERSTAND, Defect::EmptyText { column }))
        }
        Some(text) => Ok(Cow::Owned(text)),
    }
}
