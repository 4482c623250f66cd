//! Messages of the contract as the core's types, and back.

use prost_types::{Duration as WireDuration, Timestamp as WireTime};

use crate::{
    api::proto::{self, EntryFlag, MovementRef, PostedEntry},
    ledger::{queries::Names, rejected},
    stock::{
        draft::Draft,
        entry::{Entry, Flags},
        machine::Posted,
        position::Position,
        time::{Micros, Timestamp},
    },
};

/// A moment that was sent; one that no calendar has lies before everything.
pub(crate) fn time_in(time: WireTime) -> Timestamp {
    let micros =
        time.seconds.checked_mul(1_000_000).filter(|_| (0..1_000_000_000).contains(&time.nanos));
    let micros = micros.and_then(|micros| micros.checked_add(i64::from(time.nanos / 1_000)));
    micros.map_or(Timestamp::MIN, Timestamp)
}

pub(crate) fn time_out(time: Timestamp) -> WireTime {
    let (seconds, micros) = (time.0.div_euclid(1_000_000), time.0.rem_euclid(1_000_000));
    WireTime { seconds, nanos: (micros * 1_000) as i32 }
}

/// A span of time that was sent; none where it is malformed or longer than anything.
pub(crate) fn duration_in(time: WireDuration) -> Option<Micros> {
    let WireDuration { seconds, nanos } = time;
    let well_formed =
        nanos.unsigned_abs() < 1_000_000_000 && i64::from(nanos).signum() * seconds.signum() >= 0;
    let micros = seconds.checked_mul(1_000_000).filter(|_| well_formed)?;
    micros.checked_add(i64::from(nanos / 1_000))
}

pub(crate) fn duration_out(time: Micros) -> WireDuration {
    let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
    WireDuration { seconds, nanos: (micros * 1_000) as i32 }
}

impl From<proto::Movement> for Draft {
    fn from(sent: proto::Movement) -> Draft {
        Draft {
            key: sent.key,
            kind: sent.kind,
            location_id: sent.location_id,
            sku: sent.sku,
            quantity: sent.quantity,
            occurred_at: sent.occurred_at.map(time_in),
            utc_offset_minutes: sent.utc_offset_minutes,
            channel_id: sent.channel_id,
            reason: sent.reason,
            document: sent.document,
            document_line: sent.document_line,
            note: sent.note,
            from_state: sent.from_state,
            to_state: sent.to_state,
            to_location_id: sent.to_location_id,
            reservation_id: sent.reservation_id,
            hold_id: sent.hold_id,
            original: sent.original.map(|original| (original.source, original.key)),
            expected_at: sent.expected_at.map(time_in),
            group: sent.group,
        }
    }
}

impl From<Draft> for proto::Movement {
    fn from(draft: Draft) -> proto::Movement {
        proto::Movement {
            key: draft.key,
            kind: draft.kind,
            location_id: draft.location_id,
            sku: draft.sku,
            quantity: draft.quantity,
            occurred_at: draft.occurred_at.map(time_out),
            utc_offset_minutes: draft.utc_offset_minutes,
            channel_id: draft.channel_id,
            reason: draft.reason,
            document: draft.document,
            document_line: draft.document_line,
            note: draft.note,
            from_state: draft.from_state,
            to_state: draft.to_state,
            to_location_id: draft.to_location_id,
            reservation_id: draft.reservation_id,
            hold_id: draft.hold_id,
            original: draft.original.map(|(source, key)| MovementRef { source, key }),
            expected_at: draft.expected_at.map(time_out),
            group: draft.group,
        }
    }
}

pub(crate) fn posted(posted: &Posted) -> PostedEntry {
    PostedEntry {
        partition: partition(posted.at.partition.0),
        seq: posted.at.seq as u64,
        recorded_at: Some(time_out(posted.recorded_at)),
        effective_at: Some(time_out(posted.effective_at)),
        sellable_after: posted.sellable_after,
        flags: flags(posted.flags),
    }
}

pub(crate) fn partition(number: i16) -> u32 {
    u32::from(number.unsigned_abs())
}

fn flags(flags: Flags) -> Vec<i32> {
    let told = [
        (Flags::OVER_RETURN, EntryFlag::OverReturn),
        (Flags::AWAITS_ORIGINAL, EntryFlag::AwaitsOriginal),
        (Flags::PROMISE_UNKNOWN, EntryFlag::PromiseUnknown),
        (Flags::BEFORE_COUNT, EntryFlag::BeforeCount),
        (Flags::DOUBTFUL, EntryFlag::Doubtful),
        (Flags::RECALLED, EntryFlag::Recalled),
    ];
    told.into_iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, told)| told as i32).collect()
}

pub(crate) fn entry(entry: Entry<'_>, names: &Names) -> proto::Entry {
    let name = |names: &std::collections::HashMap<i32, String>, no: i32| {
        names.get(&no).cloned().unwrap_or_default()
    };
    let (from, to) = entry.states.map_or((0, 0), |(from, to)| (from as i32, to as i32));
    let original = (!entry.original_key.is_empty()).then(|| MovementRef {
        source: entry.original_source.clone().into_owned(),
        key: entry.original_key.clone().into_owned(),
    });
    let counter = entry.counter;
    proto::Entry {
        partition: partition(entry.partition.0),
        seq: entry.seq as u64,
        kind: entry.kind as i32,
        location_id: name(&names.locations, entry.location.0),
        sku: name(&names.items, entry.item.0),
        quantity: entry.quantity,
        from_state: from,
        to_state: to,
        sellable_after: entry.sellable_after,
        reserved_change: entry.reserved_change,
        reserved_after: entry.reserved_after,
        source: name(&names.sources, entry.source.0),
        key: entry.key.into_owned(),
        channel_id: entry
            .channel
            .map_or_else(String::new, |channel| name(&names.channels, channel.0)),
        actor: entry.actor.into_owned(),
        reason: entry.reason.into_owned(),
        document: entry.document.into_owned(),
        document_line: entry.document_line,
        note: entry.note.into_owned(),
        reservation_id: entry.reservation_id.into_owned(),
        hold_id: entry.hold_id.into_owned(),
        original,
        occurred_at: Some(time_out(entry.occurred_at)),
        utc_offset_minutes: i32::from(entry.utc_offset_minutes),
        effective_at: Some(time_out(entry.effective_at)),
        recorded_at: Some(time_out(entry.recorded_at)),
        counter_location_id: counter
            .map_or_else(String::new, |counter| name(&names.locations, counter.place.location.0)),
        counter_seq: counter.map_or(0, |counter| counter.seq as u64),
        refers_to_seq: entry.refers_to.map_or(0, |seq| seq as u64),
        expected_at: entry.expected_at.map(time_out),
        group: entry.group.into_owned(),
        flags: flags(entry.flags),
        reservation_state: entry.reservation_state.map_or(0, |state| state.told()),
    }
}

pub(crate) fn position(
    location_id: &str,
    sku: &str,
    position: Option<&Position>,
) -> proto::Position {
    let nothing = Position::default();
    let position = position.unwrap_or(&nothing);
    proto::Position {
        location_id: location_id.to_owned(),
        sku: sku.to_owned(),
        sellable: position.sellable,
        staged: position.staged,
        blocked: position.blocked,
        in_transit: position.in_transit,
        expected: position.expected,
        reserved: position.reserved,
        held: 0,
        shortfall: position.shortfall(),
        version: position.seq as u64,
        in_transit_since: None,
        doubtful: position.doubtful_at.is_some(),
    }
}

pub(crate) fn rejected(row: rejected::Rejected) -> proto::RejectedMovement {
    let why = row.rejection;
    let metadata = why.metadata.as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    proto::RejectedMovement {
        rejected_movement_id: row.id.to_string(),
        source: why.source,
        movement: prost::Message::decode(&*why.payload).ok(),
        error: Some(proto::MovementError {
            code: why.code,
            reason: why.reason,
            message: why.message,
            metadata: metadata.map(|(name, value)| (name.clone(), text(value))).collect(),
        }),
        rejected_at: Some(time_out(row.rejected_at)),
        attempts: row.attempts.unsigned_abs(),
        state: i32::from(row.state as i16),
        actor: row.actor,
        note: row.note,
    }
}
