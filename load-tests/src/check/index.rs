//! A history by what is looked for in it.

use std::collections::HashMap;

use super::load::History;
use crate::history::{
    Effect, Micros,
    ledger::{Entry, Reservation},
};

/// A position: location and item.
pub(super) type PositionId = (i32, i32);

/// How long after the state that it rests on an answer may be given at the latest: a second of
/// staleness, and the five for which a batch may stand between its clock and its COMMIT.
pub(super) const BEHIND_MAX: Micros = 6_000_000;

/// A history, and where everything is in it.
pub(super) struct Index<'h> {
    pub history: &'h History,
    /// Of each key.
    pub entries: HashMap<&'h str, Vec<&'h Entry>>,
    /// What a position went through.
    pub states: HashMap<PositionId, Vec<State>>,
    /// By name.
    pub reservations: HashMap<String, &'h Reservation>,
    locations: HashMap<&'h str, i32>,
    partitions: HashMap<i32, i16>,
    items: HashMap<&'h str, i32>,
}

/// A position after one of its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub seq: i64,
    /// On the history's clock.
    pub recorded_us: Micros,
    /// SELLABLE and not promised by reservations.
    pub free: i64,
}

impl<'h> Index<'h> {
    pub(super) fn new(history: &'h History) -> Index<'h> {
        let mut entries: HashMap<&str, Vec<&Entry>> = HashMap::new();
        let mut states: HashMap<PositionId, Vec<State>> = HashMap::new();
        for entry in &history.entries {
            entries.entry(&entry.key).or_default().push(entry);
            states.entry((entry.location, entry.item)).or_default().push(State {
                seq: entry.seq,
                recorded_us: entry.recorded_at_us - history.run.began_at_us,
                free: entry.sellable_after - entry.reserved_after,
            });
        }
        let locations = history.locations.iter().map(|location| (&*location.id, location.no));
        let partitions = history.locations.iter().map(|location| (location.no, location.partition));
        let items = history.items.iter().map(|item| (&*item.sku, item.no));
        let reservations = history.reservations.iter().map(|row| (row.id(), row));
        Index {
            history,
            entries,
            states,
            reservations: reservations.collect(),
            locations: locations.collect(),
            partitions: partitions.collect(),
            items: items.collect(),
        }
    }

    /// Entries under a key.
    pub(super) fn entries_of(&self, key: &str) -> &[&'h Entry] {
        self.entries.get(key).map_or(&[], Vec::as_slice)
    }

    /// A location by its name.
    pub(super) fn location(&self, id: &str) -> Option<i32> {
        self.locations.get(id).copied()
    }

    /// The partition of a location.
    pub(super) fn partition(&self, location: i32) -> Option<i16> {
        self.partitions.get(&location).copied()
    }

    /// A position by its names; `None`: the ledger never heard of one of them.
    pub(super) fn position(&self, location: &str, sku: &str) -> Option<PositionId> {
        Some((self.location(location)?, *self.items.get(sku)?))
    }

    /// What a position went through.
    pub(super) fn states_of(&self, position: PositionId) -> &[State] {
        self.states.get(&position).map_or(&[], Vec::as_slice)
    }

    /// How many fail-overs had begun.
    pub(super) fn era(&self, at_us: Micros) -> usize {
        let effects = [Effect::PromotedReplicated, Effect::PromotedBehind];
        let promotions = self.history.faults.iter().filter(|fault| effects.contains(&fault.effect));
        promotions.filter(|fault| fault.at_us <= at_us).count()
    }

    /// Whether a fail-over may have lost what was acknowledged from this moment on.
    pub(super) fn may_be_lost(&self, at_us: Micros) -> bool {
        let mut faults = self.history.faults.iter();
        faults.any(|fault| fault.effect == Effect::PromotedBehind && at_us <= fault.until_us)
    }

    /// Why what was seen between two moments cannot be judged, if it cannot: it may be of a history
    /// that a fail-over lost, or Redis may have lied.
    pub(super) fn unsettled(&self, start_us: Micros, end_us: Micros) -> Option<&'static str> {
        let near = |effect| {
            self.history.faults.iter().any(|fault| {
                let from = fault.at_us;
                fault.effect == effect && from <= end_us && start_us <= fault.until_us + BEHIND_MAX
            })
        };
        match () {
            () if near(Effect::PromotedBehind) => Some("during a fail-over that lost the tail"),
            () if near(Effect::RedisLies) => Some("while Redis was made to lie"),
            () => None,
        }
    }
}

/// A moment for people.
pub(super) fn seconds(us: Micros) -> String {
    format!("{:.6} s", us as f64 / 1e6)
}
