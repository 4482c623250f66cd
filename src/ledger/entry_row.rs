//! An entry on its way into the database: one value of the type `entry_row_2`.

use sqlx::{
    Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, types::PgRecordEncoder},
};

use crate::{ledger::sql_time::At, stock::entry::Entry};

/// An entry and its checksum, without the partition that its whole batch is for.
pub(crate) struct EntryRow<'e>(pub &'e Entry<'e>, pub i64);

impl Type<Postgres> for EntryRow<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("entry_row_2")
    }
}

impl PgHasArrayType for EntryRow<'_> {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("entry_row_2")
    }
}

/// Field by field in the order of the type; PostgreSQL checks the type of each.
impl Encode<'_, Postgres> for EntryRow<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let entry = self.0;
        let mut row = PgRecordEncoder::new(buffer);
        row.encode(entry.seq)?
            .encode(entry.quantity)?
            .encode(entry.sellable_after)?
            .encode(entry.reserved_change)?
            .encode(entry.reserved_after)?
            .encode(At(entry.occurred_at))?
            .encode(At(entry.effective_at))?
            .encode(At(entry.recorded_at))?
            .encode(self.1)?
            .encode(entry.fingerprint)?
            .encode(entry.location.0)?
            .encode(entry.item.0)?
            .encode(entry.source.0)?
            .encode(entry.channel.map(|channel| channel.0))?
            .encode(entry.counter.map(|counter| counter.place.location.0))?
            .encode(entry.kind as i16)?
            .encode(entry.legs as i16)?
            .encode(entry.states.map(|(from, _)| from as i16))?
            .encode(entry.states.map(|(_, to)| to as i16))?
            .encode(entry.flags.0)?
            .encode(entry.utc_offset_minutes)?
            .encode((entry.document_line > 0).then_some(entry.document_line as i32))?
            .encode(entry.counter.map(|counter| counter.seq))?
            .encode(entry.refers_to)?
            .encode(entry.expected_at.map(At))?
            .encode(&*entry.key)?
            .encode(stated(&entry.actor))?
            .encode(stated(&entry.reason))?
            .encode(stated(&entry.document))?
            .encode(stated(&entry.note))?
            .encode(stated(&entry.reservation_id))?
            .encode(stated(&entry.hold_id))?
            .encode(stated(&entry.original_source))?
            .encode(stated(&entry.original_key))?
            .encode(stated(&entry.group))?
            .encode(entry.reservation_state.map(|state| state as i16))?;
        row.finish();
        Ok(IsNull::No)
    }
}

/// Null where a text is empty.
pub(crate) fn stated(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
