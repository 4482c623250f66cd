//! What the entries of one item at one place add up to, and the fold that lets counts and late
//! facts meet.
//!
//! SELLABLE is by definition the fold of the position's uncorrected facts in the order
//! (effective_at, seq), in which a COUNT assigns and everything else adds its SELLABLE leg; the
//! other states and `reserved` just add. The ledger stores running sums, so wherever a sum would
//! differ from the fold, one COUNT_VARIANCE entry makes up the difference.

use std::collections::BTreeMap;

use crate::stock::{
    draft::QUANTITY_MAX,
    entry::{Entry, Flags},
    ids::Seq,
    kind::{Kind, StockState},
    time::Timestamp,
};

/// No balance may leave `-BALANCE_MAX..=BALANCE_MAX`: the range that a double, and so the
/// reservation layer's scripts, can represent exactly.
pub const BALANCE_MAX: i64 = 1 << 53;

/// Current balances of one item at one place. All zero, version 0, before its first entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// May be sold. Negative where facts arrived before those that explain them.
    pub sellable: i64,
    /// Set aside for customers.
    pub staged: i64,
    /// Damaged, in quarantine or recalled.
    pub blocked: i64,
    /// On the way here.
    pub in_transit: i64,
    /// Announced.
    pub expected: i64,
    /// Promised by firm reservations and not yet picked; never negative.
    pub reserved: i64,
    /// The last entry that touched it: its version.
    pub seq: Seq,
    /// The newest `effective_at` of its facts.
    pub fact_at: Option<Timestamp>,
    /// Its last uncorrected count in the order of the fold.
    pub count: Option<Mark>,
    /// When a short pick made SELLABLE doubtful, if no count has settled it yet.
    pub doubtful_at: Option<Timestamp>,
    /// The facts that the fold needs, where something arrived that needs them.
    pub history: Option<History>,
}

/// A place in the order of the fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When it took effect.
    pub at: Timestamp,
    /// Decides between facts of the same moment.
    pub seq: Seq,
}

/// What a fact does to SELLABLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A count assigns.
    Set(i64),
    /// Everything else adds.
    Add(i64),
}

/// How far back a fold must reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryFrom {
    /// To facts of this moment.
    At(Timestamp),
    /// To the last uncorrected count before this one, or to the first fact.
    CountBefore(Mark),
}

/// The uncorrected facts of a position from some moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Everything that took effect at this moment or later is here.
    pub from: Timestamp,
    /// What took effect until then may be archived, and no history reaches there; `MIN`: nothing is.
    pub archived_until: Timestamp,
    /// The facts, in the order of the fold.
    pub steps: BTreeMap<Mark, Step>,
}

impl Position {
    /// Physically in the building.
    pub fn on_hand(&self) -> i64 {
        self.sellable + self.staged + self.blocked
    }

    /// Promised units that are not there.
    pub fn shortfall(&self) -> i64 {
        (self.reserved - self.sellable).max(0)
    }

    /// Whether any entry, and a variance along with it, surely keeps every balance in its range.
    pub fn has_room(&self) -> bool {
        let balances = [self.sellable, self.staged, self.blocked, self.in_transit, self.expected];
        balances.iter().all(|balance| balance.abs() < BALANCE_MAX - 2 * QUANTITY_MAX)
    }

    /// Whether a fact of this moment belongs before the last count, which therefore stands.
    pub fn is_before_count(&self, at: Timestamp) -> bool {
        self.count.is_some_and(|count| at < count.at)
    }

    /// Adds an entry that was given its sequence number, and writes the resulting balances into it.
    pub fn add(&mut self, entry: &mut Entry<'_>) {
        self.sellable += entry.leg(StockState::Sellable);
        self.staged += entry.leg(StockState::Staged);
        self.blocked += entry.leg(StockState::Blocked);
        self.in_transit += entry.leg(StockState::InTransit);
        self.expected += entry.leg(StockState::Expected);
        self.reserved += entry.reserved_change;
        self.seq = entry.seq;
        entry.sellable_after = self.sellable;
        entry.reserved_after = self.reserved;
        if entry.flags.has(Flags::DOUBTFUL) {
            self.doubtful_at = Some(entry.recorded_at);
        }
        if entry.kind == Kind::Count {
            self.doubtful_at = self.doubtful_at.filter(|at| entry.effective_at < *at);
        }
        if entry.kind.is_variance() || entry.kind.is_request() || entry.kind == Kind::Correct {
            return;
        }
        self.fact_at = self.fact_at.max(Some(entry.effective_at));
        if let Some(history) = &mut self.history {
            history.insert(entry);
        }
    }
}

impl History {
    /// Whether no history of the position reaches further back.
    pub fn is_whole(&self) -> bool {
        self.from <= self.archived_until.saturating_add(1)
    }

    /// Takes a fact into the fold.
    pub fn insert(&mut self, fact: &Entry<'_>) {
        let step = match fact.kind {
            Kind::Count => Step::Set(fact.quantity),
            _ => Step::Add(fact.leg(StockState::Sellable)),
        };
        if fact.effective_at >= self.from && step != Step::Add(0) {
            self.steps.insert(Mark { at: fact.effective_at, seq: fact.seq }, step);
        }
    }

    /// The last count, if there is one.
    pub fn last_count(&self) -> Option<Mark> {
        let counts = self.steps.iter().rev();
        counts.filter(|(_, step)| matches!(step, Step::Set(_))).map(|(mark, _)| *mark).next()
    }

    /// SELLABLE, if this history says it: it must hold a count, or reach back to the first fact.
    pub fn fold(&self) -> Option<i64> {
        let mut sum = 0;
        for step in self.steps.values().rev() {
            match step {
                Step::Set(counted) => return Some(counted + sum),
                Step::Add(change) => sum += change,
            }
        }
        (self.from == Timestamp::MIN).then_some(sum)
    }
}
