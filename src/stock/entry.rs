//! What the ledger keeps: immutable entries, each a change of one position.

use std::borrow::Cow;

use crate::stock::{
    hash::{Hash, StableHash},
    ids::{ChannelNo, EntryRef, ItemNo, LocationNo, Partition, Place, PositionKey, Seq, SourceNo},
    kind::{Kind, StockState},
    reservation::State,
    time::Timestamp,
};

/// Which of the two legs `from -> to` change the entry's own position. A transfer is two entries,
/// one per location, of one leg each; a count has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum Legs {
    /// Neither.
    None = 0,
    /// Units leave `from`.
    From = 1,
    /// Units enter `to`.
    To = 2,
    /// Both.
    Both = 3,
}

/// What is worth knowing about an entry, as bits. It never keeps a fact from being recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub i16);

/// An immutable line of the ledger. Texts are empty where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of ledger_entry, where each is explained")]
pub struct Entry<'a> {
    pub partition: Partition,
    pub seq: Seq,
    pub kind: Kind,
    pub location: LocationNo,
    pub item: ItemNo,
    pub legs: Legs,
    pub states: Option<(StockState, StockState)>,
    pub quantity: i64,
    pub sellable_after: i64,
    pub reserved_change: i64,
    pub reserved_after: i64,
    pub source: SourceNo,
    pub key: Cow<'a, str>,
    pub fingerprint: i64,
    pub channel: Option<ChannelNo>,
    pub actor: Cow<'a, str>,
    pub reason: Cow<'a, str>,
    pub document: Cow<'a, str>,
    pub document_line: u32,
    pub note: Cow<'a, str>,
    pub reservation_id: Cow<'a, str>,
    pub hold_id: Cow<'a, str>,
    pub original_source: Cow<'a, str>,
    pub original_key: Cow<'a, str>,
    pub group: Cow<'a, str>,
    pub counter: Option<Counter>,
    pub refers_to: Option<Seq>,
    pub expected_at: Option<Timestamp>,
    pub occurred_at: Timestamp,
    pub utc_offset_minutes: i16,
    pub effective_at: Timestamp,
    pub recorded_at: Timestamp,
    pub flags: Flags,
    pub reservation_state: Option<State>,
}

/// An entry elsewhere that belongs to this one: the other half of a transfer, or the original of a
/// linked return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Where it stands.
    pub place: Place,
    /// Its sequence number in that place's partition.
    pub seq: Seq,
}

impl Flags {
    /// More was returned than the original sold.
    pub const OVER_RETURN: Flags = Flags(1);
    /// What it refers to has not arrived yet.
    pub const AWAITS_ORIGINAL: Flags = Flags(2);
    /// The named hold or reservation is unknown or finished.
    pub const PROMISE_UNKNOWN: Flags = Flags(4);
    /// It happened before the last count, which stands.
    pub const BEFORE_COUNT: Flags = Flags(8);
    /// Written along with the entry that answers the request: a variance, the other half of a
    /// transfer, a correction that had waited for its original.
    pub const SECONDARY: Flags = Flags(16);
    /// Written by a step of a reservation: its key is a request's, not a movement's.
    pub const REQUEST: Flags = Flags(32);
    /// A short pick made the position doubtful until it is counted.
    pub const DOUBTFUL: Flags = Flags(64);
    /// The item is recalled: what came in was blocked, or what left should not have.
    pub const RECALLED: Flags = Flags(128);
    /// Only its outcome is at hand; the rest of it is in an archive.
    pub const ARCHIVED: Flags = Flags(256);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits but for those of `other`.
    #[must_use]
    pub fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }

    /// These bits and those of `other`.
    #[must_use]
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl Legs {
    /// The legs with this number.
    pub fn of(number: i16) -> Option<Legs> {
        [Legs::None, Legs::From, Legs::To, Legs::Both]
            .into_iter()
            .find(|legs| *legs as i16 == number)
    }

    /// The legs of the exact inverse, whose states are swapped.
    #[must_use]
    pub fn inverse(self) -> Legs {
        match self {
            Legs::From => Legs::To,
            Legs::To => Legs::From,
            same => same,
        }
    }
}

impl Entry<'_> {
    /// Which position it changes.
    pub fn position(&self) -> PositionKey {
        let place = Place { partition: self.partition, location: self.location };
        PositionKey { place, item: self.item }
    }

    /// Its place in the log.
    pub fn at(&self) -> EntryRef {
        EntryRef { partition: self.partition, seq: self.seq }
    }

    /// What it adds to the balance of `state`.
    pub fn leg(&self, state: StockState) -> i64 {
        let Some((from, to)) = self.states else { return 0 };
        let leaves = matches!(self.legs, Legs::From | Legs::Both) && from == state;
        let enters = matches!(self.legs, Legs::To | Legs::Both) && to == state;
        self.quantity * (i64::from(enters) - i64::from(leaves))
    }

    /// The first 8 bytes of its digest: an entry that was altered no longer fits it.
    pub fn checksum(&self) -> i64 {
        checksum_of(&self.digest())
    }

    /// Over all columns but the checksum itself, each in a place or with a length of its own, so that no
    /// two entries are encoded alike.
    pub fn digest(&self) -> Hash {
        let mut hash = StableHash::new("entry");
        let (from, to) = self.states.map_or((0, 0), |(from, to)| (from as i64, to as i64));
        let numbers = [
            i64::from(self.partition.0),
            self.seq,
            self.kind as i64,
            i64::from(self.location.0),
            i64::from(self.item.0),
            self.legs as i64,
            from,
            to,
            self.quantity,
            self.sellable_after,
            self.reserved_change,
            self.reserved_after,
            i64::from(self.source.0),
            self.fingerprint,
            i64::from(self.document_line),
            self.occurred_at.0,
            i64::from(self.utc_offset_minutes),
            self.effective_at.0,
            self.recorded_at.0,
            i64::from(self.flags.0),
        ];
        numbers.into_iter().for_each(|number| hash.number(number));
        let optional = [
            self.channel.map(|channel| i64::from(channel.0)),
            self.counter.map(|counter| i64::from(counter.place.location.0)),
            self.counter.map(|counter| counter.seq),
            self.refers_to,
            self.expected_at.map(|at| at.0),
        ];
        optional.into_iter().for_each(|number| hash.optional(number));
        for text in [&self.key, &self.actor, &self.reason, &self.document, &self.note] {
            hash.text(text);
        }
        for text in [&self.reservation_id, &self.hold_id, &self.original_source] {
            hash.text(text);
        }
        hash.text(&self.original_key);
        hash.text(&self.group);
        // Entries from before there were reservations keep their checksum.
        if let Some(state) = self.reservation_state {
            hash.number(state as i64);
        }
        hash.finish()
    }
}

/// The checksum of an entry with this digest.
pub fn checksum_of(digest: &Hash) -> i64 {
    digest.iter().take(8).fold(0, |sum, &byte| (sum << 8) | i64::from(byte))
}
