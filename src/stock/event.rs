//! What of the ledger is worth telling others: events, derived from its entries and nothing else.
//!
//! Entries that belong together are judged together: a fact and the variances behind it, or all lines
//! of a step. What happens between them was never true for anybody.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::stock::{
    channel_policy::Policy,
    entry::{Entry, Flags},
    ids::{PositionKey, Seq},
    kind::{Kind, StockState},
    policy::{self, Buffer},
    recall::RECALL,
    reservation::{ReservationId, State},
};

/// What an event tells. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum EventType {
    /// Nothing is available any more.
    OutOfStock = 1,
    /// Few are available, and more were before.
    LowStock = 2,
    /// Something is available again.
    BackInStock = 3,
    /// More is promised than there is, and by more units than before.
    Shortfall = 4,
    /// SELLABLE was set to what was counted.
    CountVariance = 5,
    /// More was returned than was sold.
    OverReturn = 6,
    /// A sale named a promise that is unknown or finished.
    PromiseUnknown = 7,
    /// Units were blocked by a recall.
    Recall = 8,
    /// Goods should have arrived from another location.
    TransferOverdue = 9,
    /// A reservation was made.
    ReservationReserved = 10,
    /// The store picks it.
    ReservationPicking = 11,
    /// It waits for the customer.
    ReservationReady = 12,
    /// It was handed over.
    ReservationCollected = 13,
    /// It was given up.
    ReservationCancelled = 14,
    /// The store did not accept it.
    ReservationRejected = 15,
    /// It was not collected in time.
    ReservationExpired = 16,
    /// It continues elsewhere.
    ReservationMoved = 17,
    /// A recalled item was sold, or sent elsewhere, all the same.
    RecalledSold = 18,
}

/// What counts as available to those who are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Threshold {
    /// Of their channel; none: nothing is kept back from them.
    pub policy: Option<Arc<Policy>>,
    /// So many units, and fewer, are low; 0: never.
    pub low_units: i64,
}

/// What may be sold of a position, and what is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// SELLABLE.
    pub sellable: i64,
    /// Promised of it.
    pub reserved: i64,
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it tells.
    pub event_type: EventType,
    /// Which of the entries it tells of.
    pub index: usize,
    /// Its position before all of them.
    pub before: Stock,
    /// And after all of them, up to this one.
    pub after: Stock,
    /// How far the reservation had come before; only of events that tell of reservations.
    pub state_before: Option<State>,
}

/// How much is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Out,
    /// Few.
    Low,
    /// Enough.
    In,
}

impl EventType {
    /// All types, in the order of their numbers.
    pub const ALL: [EventType; 18] = [
        EventType::OutOfStock,
        EventType::LowStock,
        EventType::BackInStock,
        EventType::Shortfall,
        EventType::CountVariance,
        EventType::OverReturn,
        EventType::PromiseUnknown,
        EventType::Recall,
        EventType::TransferOverdue,
        EventType::ReservationReserved,
        EventType::ReservationPicking,
        EventType::ReservationReady,
        EventType::ReservationCollected,
        EventType::ReservationCancelled,
        EventType::ReservationRejected,
        EventType::ReservationExpired,
        EventType::ReservationMoved,
        EventType::RecalledSold,
    ];

    /// The type with this number.
    pub fn of(number: i32) -> Option<EventType> {
        EventType::ALL.into_iter().find(|known| *known as i32 == number)
    }

    /// The type of a CloudEvent, without what all of them begin with.
    pub fn name(self) -> &'static str {
        match self {
            EventType::OutOfStock => "availability.out_of_stock",
            EventType::LowStock => "availability.low_stock",
            EventType::BackInStock => "availability.back_in_stock",
            EventType::Shortfall => "position.shortfall",
            EventType::CountVariance => "position.count_variance",
            EventType::OverReturn => "movement.over_return",
            EventType::PromiseUnknown => "movement.promise_unknown",
            EventType::Recall => "movement.recall",
            EventType::TransferOverdue => "transfer.overdue",
            EventType::ReservationReserved => "reservation.reserved",
            EventType::ReservationPicking => "reservation.picking",
            EventType::ReservationReady => "reservation.ready",
            EventType::ReservationCollected => "reservation.collected",
            EventType::ReservationCancelled => "reservation.cancelled",
            EventType::ReservationRejected => "reservation.rejected",
            EventType::ReservationExpired => "reservation.expired",
            EventType::ReservationMoved => "reservation.moved",
            EventType::RecalledSold => "movement.recalled_sold",
        }
    }

    /// Whether it tells of a reservation.
    pub fn of_reservation(self) -> bool {
        (EventType::ReservationReserved..=EventType::ReservationMoved).contains(&self)
    }

    /// What tells that a reservation has come to this state. Holds tell nothing.
    pub fn of_state(state: State) -> Option<EventType> {
        match state {
            State::Reserved => Some(EventType::ReservationReserved),
            State::Picking => Some(EventType::ReservationPicking),
            State::Ready => Some(EventType::ReservationReady),
            State::Collected => Some(EventType::ReservationCollected),
            State::Cancelled => Some(EventType::ReservationCancelled),
            State::Rejected => Some(EventType::ReservationRejected),
            State::Expired => Some(EventType::ReservationExpired),
            State::Moved => Some(EventType::ReservationMoved),
            State::Held | State::Released | State::Consumed => None,
        }
    }
}

impl Threshold {
    /// What is available of a position.
    pub fn available(&self, key: PositionKey, Stock { sellable, reserved }: Stock) -> i64 {
        match &self.policy {
            Some(policy) => policy.available(key, sellable, reserved, 0),
            None => policy::available(sellable, reserved, 0, Buffer::default()),
        }
    }

    /// How much that is.
    pub fn level(&self, key: PositionKey, stock: Stock) -> Level {
        match self.available(key, stock) {
            ..=0 => Level::Out,
            few if few <= self.low_units => Level::Low,
            _ => Level::In,
        }
    }

    fn crossed(&self, key: PositionKey, before: Stock, after: Stock) -> Option<EventType> {
        match (self.level(key, before), self.level(key, after)) {
            (before, after) if before == after => None,
            (_, Level::Out) => Some(EventType::OutOfStock),
            (Level::Out, _) => Some(EventType::BackInStock),
            (_, Level::Low) => Some(EventType::LowStock),
            (_, Level::In) => None,
        }
    }
}

impl Stock {
    /// Promised units that are not there.
    pub fn shortfall(self) -> i64 {
        self.reserved.saturating_sub(self.sellable).max(0)
    }

    fn after(entry: &Entry<'_>) -> Stock {
        Stock { sellable: entry.sellable_after, reserved: entry.reserved_after }
    }

    fn before(entry: &Entry<'_>) -> Stock {
        Stock {
            sellable: entry.sellable_after - entry.leg(StockState::Sellable),
            reserved: entry.reserved_after - entry.reserved_change,
        }
    }
}

/// How many of these entries, which follow each other in a log, belong to the first: it, and what was
/// written along with it.
pub fn belonging(entries: &[Entry<'_>]) -> usize {
    let along = entries.iter().skip(1).take_while(|entry| entry.flags.has(Flags::SECONDARY));
    entries.len().min(1) + along.count()
}

/// The reservation that an entry may have brought to another state: told once a step, by the entry that
/// answers it or makes the reservation.
pub fn stepped(entry: &Entry<'_>) -> Option<ReservationId> {
    entry.reservation_state.and_then(EventType::of_state)?;
    let id: ReservationId = entry.reservation_id.parse().ok()?;
    (!entry.flags.has(Flags::SECONDARY) || id.no == entry.seq).then_some(id)
}

/// The events of entries that belong together, in order. `states` holds how far the reservations that
/// these entries step ([`stepped`]) had come before, by sequence number.
pub fn events(
    entries: &[Entry<'_>],
    threshold: &Threshold,
    states: &FxHashMap<Seq, State>,
) -> Vec<Event> {
    let mut first: FxHashMap<PositionKey, Stock> = FxHashMap::default();
    let mut last: FxHashMap<PositionKey, usize> = FxHashMap::default();
    for (index, entry) in entries.iter().enumerate() {
        let key = entry.position();
        first.entry(key).or_insert_with(|| Stock::before(entry));
        last.insert(key, index);
    }
    let mut events = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let key = entry.position();
        let before = first.get(&key).copied().unwrap_or_else(|| Stock::before(entry));
        let after = Stock::after(entry);
        let mut tell = |event_type, state_before| {
            events.push(Event { event_type, index, before, after, state_before });
        };
        if last.get(&key) == Some(&index) {
            if let Some(event_type) = threshold.crossed(key, before, after) {
                tell(event_type, None);
            }
            if after.shortfall() > before.shortfall() {
                tell(EventType::Shortfall, None);
            }
        }
        for event_type in of_itself(entry) {
            tell(event_type, None);
        }
        let before = states.get(&entry.seq).copied();
        let now = entry.reservation_state.filter(|now| Some(*now) != before);
        if let Some(event_type) =
            now.filter(|_| stepped(entry).is_some()).and_then(EventType::of_state)
        {
            tell(event_type, before);
        }
    }
    events
}

/// What an entry tells whatever was before.
fn of_itself(entry: &Entry<'_>) -> impl Iterator<Item = EventType> {
    let recall = entry.kind == Kind::Block && entry.reason == RECALL;
    let left = matches!(entry.kind, Kind::Sale | Kind::ShipOut | Kind::TransferShip);
    let recalled_sold = left && entry.flags.has(Flags::RECALLED);
    [
        (entry.kind == Kind::CountVariance, EventType::CountVariance),
        (entry.flags.has(Flags::OVER_RETURN), EventType::OverReturn),
        (entry.flags.has(Flags::PROMISE_UNKNOWN), EventType::PromiseUnknown),
        (recall, EventType::Recall),
        (recalled_sold, EventType::RecalledSold),
    ]
    .into_iter()
    .filter_map(|(told, event_type)| told.then_some(event_type))
}
