//! The ledger as it was at the end of a history. Numbers of kinds and states are those of the
//! contract; texts are empty and numbers 0 where there is none.

use serde::{Deserialize, Serialize};

/// A location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// By which entries name it.
    pub no: i32,
    /// By which clients name it.
    pub id: String,
    /// Where its entries are.
    pub partition: i16,
}

/// An item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// By which entries name it.
    pub no: i32,
    /// By which clients name it.
    pub sku: String,
}

/// A partition's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Partition.
    pub partition: i16,
    /// Epoch.
    pub epoch: i64,
    /// Sequence number of its last entry.
    pub seq: i64,
}

/// An entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Partition.
    pub partition: i16,
    /// Sequence number.
    pub seq: i64,
    /// Kind.
    pub kind: i16,
    /// Location.
    pub location: i32,
    /// Item.
    pub item: i32,
    /// Bits: 1: units leave `from`; 2: units enter `to`.
    pub legs: i16,
    /// State.
    #[serde(skip_serializing_if = "is_zero")]
    pub from: i16,
    /// State.
    #[serde(skip_serializing_if = "is_zero")]
    pub to: i16,
    /// Units.
    pub quantity: i64,
    /// SELLABLE after it.
    pub sellable_after: i64,
    /// What it adds to `reserved`.
    pub reserved_change: i64,
    /// `reserved` after it.
    pub reserved_after: i64,
    /// Idempotency key.
    pub key: String,
    /// Bits.
    pub flags: i16,
    /// Where the entry at `counter_seq` is.
    #[serde(skip_serializing_if = "is_none")]
    pub counter_location: i32,
    /// The entry that belongs to it elsewhere.
    #[serde(skip_serializing_if = "is_nothing")]
    pub counter_seq: i64,
    /// The entry here that it corrects or explains.
    #[serde(skip_serializing_if = "is_nothing")]
    pub refers_to_seq: i64,
    /// The reservation that it is a step of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reservation: String,
    /// How far that had come with it.
    #[serde(skip_serializing_if = "is_zero")]
    pub reservation_state: i16,
    /// When it took effect, in microseconds since 1970.
    pub effective_at_us: i64,
    /// When it was recorded, in microseconds since 1970.
    pub recorded_at_us: i64,
}

/// A position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Partition.
    pub partition: i16,
    /// Location.
    pub location: i32,
    /// Item.
    pub item: i32,
    /// SELLABLE, STAGED, BLOCKED, IN_TRANSIT, EXPECTED.
    pub balances: [i64; 5],
    /// Promised and not picked.
    pub reserved: i64,
    /// The last entry that touched it.
    pub seq: i64,
}

/// A reservation, or a hold that the ledger kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Partition.
    pub partition: i16,
    /// The entry that made it.
    pub no: i64,
    /// The epoch in which it was made.
    pub epoch: i64,
    /// Location.
    pub location: i32,
    /// How far it has come: the contract's numbers, and 9 held, 10 released, 11 consumed.
    pub state: i16,
    /// When its promise ends by itself, in microseconds since 1970.
    pub expires_at_us: i64,
    /// Item, units promised, and of these picked.
    pub lines: Vec<(i32, i64, i64)>,
}

impl Entry {
    /// Written along with the entry that answers the request.
    pub const SECONDARY: i16 = 16;

    /// Whether it answers a request itself.
    pub fn answers(&self) -> bool {
        self.flags & Entry::SECONDARY == 0
    }

    /// Whether it is a request, which may be refused.
    pub fn is_request(&self) -> bool {
        self.kind >= kind::RESERVE
    }

    /// What it adds to the balance of a state.
    pub fn adds(&self, state: i16) -> i64 {
        let leaves = self.legs & 1 != 0 && self.from == state;
        let enters = self.legs & 2 != 0 && self.to == state;
        self.quantity * (i64::from(enters) - i64::from(leaves))
    }
}

impl Reservation {
    /// Its name.
    pub fn id(&self) -> String {
        let Reservation { partition, location, epoch, no, .. } = self;
        format!("r{partition}.{location:x}.{epoch:x}.{no:x}")
    }

    /// Whether units that were not picked are still promised.
    pub fn is_open(&self) -> bool {
        matches!(self.state, state::RESERVED | state::PICKING | state::READY | state::HELD)
    }
}

/// Kinds of entries, as far as their number matters.
pub mod kind {
    pub const COUNT: i16 = 11;
    pub const CORRECT: i16 = 12;
    pub const COUNT_VARIANCE: i16 = 13;
    pub const EXPECT_VARIANCE: i16 = 14;
    pub const RESERVE: i16 = 100;
}

/// States of reservations.
pub mod state {
    pub const RESERVED: i16 = 1;
    pub const PICKING: i16 = 2;
    pub const READY: i16 = 3;
    pub const COLLECTED: i16 = 4;
    pub const CANCELLED: i16 = 5;
    pub const REJECTED: i16 = 6;
    pub const EXPIRED: i16 = 7;
    pub const MOVED: i16 = 8;
    pub const HELD: i16 = 9;
    pub const RELEASED: i16 = 10;
    pub const CONSUMED: i16 = 11;
}

fn is_zero(number: &i16) -> bool {
    *number == 0
}

fn is_none(number: &i32) -> bool {
    *number == 0
}

fn is_nothing(number: &i64) -> bool {
    *number == 0
}
