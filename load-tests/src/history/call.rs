//! Calls, as clients made them and were answered.

use serde::{Deserialize, Serialize};

use super::Micros;

/// One attempt at something. Attempts at the same thing share its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Who.
    pub client: u32,
    /// Whom it asked.
    pub server: u32,
    /// When it asked.
    pub start_us: Micros,
    /// When it was answered, or gave up.
    pub end_us: Micros,
    /// What it asked.
    pub asked: Asked,
    /// What it was answered.
    pub answered: Answered,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "asked", rename_all = "snake_case")]
pub enum Asked {
    /// HoldStock.
    Hold {
        /// Idempotency key.
        key: String,
        /// What, and where.
        promise: Promise,
        /// For how long.
        ttl_us: Micros,
    },
    /// ReleaseHold.
    Release {
        /// Idempotency key.
        key: String,
        /// The hold.
        hold: String,
    },
    /// CreateReservation, all or nothing.
    Reserve {
        /// Idempotency key.
        key: String,
        /// What, and where.
        promise: Promise,
        /// The hold that it consumes; empty: none.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        hold: String,
    },
    /// BatchCreateReservations.
    Basket {
        /// Idempotency key.
        key: String,
        /// One per location.
        promises: Vec<Promise>,
    },
    /// A step of a reservation.
    Step {
        /// Idempotency key.
        key: String,
        /// Which, as in `cancel`.
        step: String,
        /// The reservation.
        reservation: String,
        /// Where it is to go; empty: it stays.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        to_location: String,
    },
    /// RecordMovements.
    Movements {
        /// The lines.
        lines: Vec<Line>,
    },
    /// CheckAvailability.
    Read {
        /// Read-your-writes token; none: it brought none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Token>,
    },
}

/// Units to be promised at a location.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// Where.
    pub location: String,
    /// Item and units; an item may be named twice.
    pub lines: Vec<(String, i64)>,
}

/// A movement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Idempotency key.
    pub key: String,
    /// Kind, as the contract numbers it.
    pub kind: i32,
    /// Where.
    pub location: String,
    /// Which item.
    pub sku: String,
    /// Units.
    pub quantity: i64,
    /// When it happened, for what is reported late; none: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_us: Option<Micros>,
    /// Where a transfer goes; empty: it is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to_location: String,
    /// Posted together with the others of its group; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
}

/// A state of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The ledger's epoch.
    pub epoch: i64,
    /// Partition and sequence number.
    pub seqs: Vec<(i16, i64)>,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answered", rename_all = "snake_case")]
pub enum Answered {
    /// A hold.
    Held {
        /// Its name.
        hold: String,
        /// When it ends, on the history's clock.
        expires_us: Micros,
        /// How safe it is.
        durability: Durability,
    },
    /// The hold is gone.
    Released,
    /// Reservations, in the order of the request.
    Reserved {
        /// As they stand.
        reservations: Vec<Reserved>,
        /// What it covers.
        token: Token,
        /// How safe it is.
        durability: Durability,
    },
    /// What became of each movement.
    Recorded {
        /// In the order of the request.
        results: Vec<Posted>,
        /// What it covers.
        token: Token,
        /// How safe it is.
        durability: Durability,
    },
    /// What is available.
    Read {
        /// Of each item that was asked for.
        rows: Vec<Row>,
        /// Older than asked for.
        degraded: bool,
    },
    /// A definite no.
    Refused {
        /// Why, as in `INSUFFICIENT_STOCK`.
        reason: String,
        /// What it said about the first short line, if that was why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        short: Option<Short>,
    },
    /// Whether it had an effect is open.
    Unknown {
        /// What was told instead.
        why: String,
    },
}

/// How safe an effect is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Redis has it.
    Memory,
    /// The primary has it on disk.
    #[default]
    Ledger,
    /// A standby has it on disk, too.
    Replicated,
}

/// A reservation as it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// Its name.
    pub id: String,
    /// How far it has come, as the contract numbers it.
    pub state: i32,
    /// The entry that answers.
    pub version: i64,
}

/// What became of a movement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Partition.
    pub partition: i16,
    /// Sequence number of its entry; 0: it was rejected.
    pub seq: i64,
    /// Why it was rejected; empty: it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What is available of an item at a location.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Where.
    pub location: String,
    /// Which item.
    pub sku: String,
    /// Units.
    pub available: i64,
    /// The entry that it rests on; 0: none.
    pub version: i64,
}

/// What a refusal said about a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Short {
    /// Which item.
    pub sku: String,
    /// Units that were wanted of it, summed over its lines.
    pub wanted: i64,
    /// Units that were said to be available.
    pub available: i64,
}

impl Asked {
    /// Idempotency keys, one per movement; none for reads.
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Asked::Hold { key, .. }
            | Asked::Release { key, .. }
            | Asked::Reserve { key, .. }
            | Asked::Basket { key, .. }
            | Asked::Step { key, .. } => vec![key],
            Asked::Movements { lines } => lines.iter().map(|line| line.key.as_str()).collect(),
            Asked::Read { .. } => Vec::new(),
        }
    }
}

impl Answered {
    /// Whether something was given, and not refused or left open.
    pub fn is_given(&self) -> bool {
        match self {
            Answered::Refused { .. } | Answered::Unknown { .. } => false,
            Answered::Recorded { results, .. } => results.iter().any(|result| result.seq > 0),
            _ => true,
        }
    }
}
