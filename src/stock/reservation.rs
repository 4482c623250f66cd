//! A reservation: a firm promise of units at one location, and how far it has come.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::stock::{
    hash::Digest,
    ids::{ChannelNo, EntryRef, ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
    time::Timestamp,
};

/// Names a reservation, written `r<partition>.<location>.<epoch>.<number>`, all but the first in
/// hexadecimal. The epoch keeps a name of entries that a fail-over lost from ever meaning another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReservationId {
    /// Where.
    pub place: Place,
    /// The ledger's epoch when it was made.
    pub epoch: i64,
    /// Sequence number of the entry that made it.
    pub no: Seq,
}

/// The text is not the name of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reservation_id")]
pub struct NotAReservationId;

/// How far it has come. The numbers are those of the contract, as far as it has them, and of the
/// database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i16)]
pub enum State {
    /// Promised.
    Reserved = 1,
    /// The store is picking it.
    Picking = 2,
    /// It waits for the customer.
    Ready = 3,
    /// Handed over.
    Collected = 4,
    /// Given up.
    Cancelled = 5,
    /// Not accepted by the store.
    Rejected = 6,
    /// Not collected in time.
    Expired = 7,
    /// Continued elsewhere.
    Moved = 8,
    /// A hold that was taken in the ledger while the reservation layer was away.
    Held = 9,
    /// Such a hold, given back.
    Released = 10,
    /// Such a hold, consumed by a reservation or by sales.
    Consumed = 11,
}

/// Where it is paid. The numbers are those of the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(i16)]
pub enum Settlement {
    /// Paid before it is collected.
    #[default]
    PaidOnline = 1,
    /// Paid at the till.
    PayInStore = 2,
}

/// Who gave it up. The numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(i16)]
pub enum CancelledBy {
    /// The customer.
    Customer = 1,
    /// The store.
    Store = 2,
}

/// What the store must do about a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Pick it.
    Pick,
    /// Pick it at once: it was to be ready by now.
    PickAtOnce,
    /// Hand it over when the customer comes.
    HandOver,
    /// Return what is aside to the shelf.
    Shelve,
}

/// A line. `collected + shelved <= picked <= quantity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which item.
    pub item: ItemNo,
    /// Units promised.
    pub quantity: i64,
    /// Of these, taken off the shelf.
    pub picked: i64,
    /// Of these, handed over.
    pub collected: i64,
    /// Of these, returned to the shelf.
    pub shelved: i64,
}

/// A reservation as it stands after one of its steps; also a hold that was taken in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its name.
    pub id: ReservationId,
    /// How far it has come.
    pub state: State,
    /// Through which channel it was made.
    pub channel: Option<ChannelNo>,
    /// Where it is paid.
    pub settlement: Settlement,
    /// What is promised; each item once, in the order of the request.
    pub lines: Vec<Line>,
    /// The order it belongs to; empty: none.
    pub order_ref: String,
    /// The customer it belongs to; empty: none.
    pub customer_ref: String,
    /// The hold that it consumed.
    pub hold: Option<Digest>,
    /// Set where it is itself a hold.
    pub held_as: Option<Digest>,
    /// Keyed hash of its pickup code; 0: it has none.
    pub code_hash: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the store will have it ready.
    pub ready_by: Timestamp,
    /// When the promise ends by itself.
    pub expires_at: Timestamp,
    /// Whether the caller chose the end; else it follows the pickup rule.
    pub ttl_given: bool,
    /// Until when the store must begin to pick.
    pub answer_by: Option<Timestamp>,
    /// When the payment was confirmed.
    pub paid_at: Option<Timestamp>,
    /// When its last step was recorded.
    pub changed_at: Timestamp,
    /// Why it was finished; empty: it is not, or nobody said.
    pub reason: String,
    /// Who gave it up.
    pub cancelled_by: Option<CancelledBy>,
    /// What continues it elsewhere.
    pub successor: Option<ReservationId>,
    /// What it continues.
    pub predecessor: Option<ReservationId>,
    /// Sequence number of the entry that answers its last step.
    pub version: Seq,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [State; 11] = [
        State::Reserved,
        State::Picking,
        State::Ready,
        State::Collected,
        State::Cancelled,
        State::Rejected,
        State::Expired,
        State::Moved,
        State::Held,
        State::Released,
        State::Consumed,
    ];

    /// The state with this number.
    pub fn of(number: i16) -> Option<State> {
        State::ALL.into_iter().find(|state| *state as i16 == number)
    }

    /// The name, as in the contract but for its prefix.
    pub fn name(self) -> &'static str {
        match self {
            State::Reserved => "RESERVED",
            State::Picking => "PICKING",
            State::Ready => "READY",
            State::Collected => "COLLECTED",
            State::Cancelled => "CANCELLED",
            State::Rejected => "REJECTED",
            State::Expired => "EXPIRED",
            State::Moved => "MOVED",
            State::Held => "HELD",
            State::Released => "RELEASED",
            State::Consumed => "CONSUMED",
        }
    }

    /// Its number in the contract, which knows nothing of holds that the ledger keeps: 0.
    pub fn told(self) -> i32 {
        match self {
            State::Held | State::Released | State::Consumed => 0,
            state => state as i32,
        }
    }

    /// Whether units that were not picked are still promised.
    pub fn is_open(self) -> bool {
        matches!(self, State::Reserved | State::Picking | State::Ready | State::Held)
    }
}

impl Settlement {
    /// The settlement with this number.
    pub fn of(number: i16) -> Option<Settlement> {
        [Settlement::PaidOnline, Settlement::PayInStore]
            .into_iter()
            .find(|settlement| *settlement as i16 == number)
    }
}

impl CancelledBy {
    /// The one with this number.
    pub fn of(number: i16) -> Option<CancelledBy> {
        [CancelledBy::Customer, CancelledBy::Store].into_iter().find(|by| *by as i16 == number)
    }
}

impl Line {
    /// A line of which nothing happened yet.
    pub fn new(item: ItemNo, quantity: i64) -> Line {
        Line { item, quantity, picked: 0, collected: 0, shelved: 0 }
    }

    /// Promised and still on the shelf, as long as the reservation is open.
    pub fn unpicked(&self) -> i64 {
        self.quantity - self.picked
    }

    /// Off the shelf and still in the store.
    pub fn aside(&self) -> i64 {
        self.picked - self.collected - self.shelved
    }
}

impl Reservation {
    /// The entry that made it.
    pub fn at(&self) -> EntryRef {
        self.id.at()
    }

    /// The position of one of its lines.
    pub fn position(&self, item: ItemNo) -> PositionKey {
        PositionKey { place: self.id.place, item }
    }

    /// The line of an item.
    pub fn line(&self, item: ItemNo) -> Option<&Line> {
        self.lines.iter().find(|line| line.item == item)
    }

    /// Units of an item that it promises now: what its position counts as reserved for it.
    pub fn reserved(&self, item: ItemNo) -> i64 {
        let line = self.line(item).filter(|_| self.state.is_open());
        line.map_or(0, Line::unpicked)
    }

    /// What the store must do about it now; `None`: nothing any more.
    pub fn task(&self, now: Timestamp) -> Option<Task> {
        match self.state {
            State::Reserved | State::Picking if self.ready_by < now => Some(Task::PickAtOnce),
            State::Reserved | State::Picking => Some(Task::Pick),
            State::Ready => Some(Task::HandOver),
            _ if self.aside() > 0 => Some(Task::Shelve),
            _ => None,
        }
    }

    /// Units that are set aside for it.
    pub fn aside(&self) -> i64 {
        self.lines.iter().map(Line::aside).sum()
    }
}

impl ReservationId {
    /// The entry that made it.
    pub fn at(&self) -> EntryRef {
        EntryRef { partition: self.place.partition, seq: self.no }
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReservationId { place, epoch, no } = self;
        write!(f, "r{}.{:x}.{epoch:x}.{no:x}", place.partition.0, place.location.0)
    }
}

impl FromStr for ReservationId {
    type Err = NotAReservationId;

    fn from_str(text: &str) -> Result<ReservationId, NotAReservationId> {
        let parse = || {
            let mut parts = text.strip_prefix('r')?.splitn(4, '.');
            let partition = Partition(parts.next()?.parse().ok()?);
            let location = LocationNo(i32::from_str_radix(parts.next()?, 16).ok()?);
            let epoch = i64::from_str_radix(parts.next()?, 16).ok()?;
            let no = i64::from_str_radix(parts.next()?, 16).ok()?;
            Some(ReservationId { place: Place { partition, location }, epoch, no })
        };
        // A number can be written in several ways, a name in one.
        parse().filter(|id| id.to_string() == text).ok_or(NotAReservationId)
    }
}
