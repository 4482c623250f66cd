//! Which events are sent next, which must be kept, and how far the cursor may move. Pure: no IO, no
//! clock, no chance.
//!
//! Events of one position, and of one reservation, go out one after the other; all others side by side.
//! What fails is kept in the database and tried again; what comes behind it in the same line is kept
//! too, so that the cursor moves on and other positions never wait.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::{
    ledger::outbox::{Attempt, Failure, Undelivered},
    stock::{
        event::EventType,
        ids::{ItemNo, LocationNo, Seq},
        time::{Micros, Timestamp},
    },
};

/// An event's place among all of its partition.
pub type Order = (Seq, EventType);

/// Bounds of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Events under way at once.
    pub sending_max: usize,
    /// Events that are read and neither delivered nor kept.
    pub open_max: usize,
    /// Events that are kept; beyond them everything waits in the ledger.
    pub kept_max: usize,
    /// So many failures without a success between them, and nothing new is begun but as a trial.
    pub failures_max: u32,
}

/// How often the wait between trials of new events doubles.
const TRIALS_DOUBLED_MAX: u32 = 6;

/// When events are due that only wait for others.
const AT_ONCE: Timestamp = Timestamp(0);

/// What becomes of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It does not, and how long to wait: `None`, it is given up.
    Failed(Failure, Option<Micros>),
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Keep it from now on.
    Keep(Order),
    /// It was kept, and failed again.
    Tried(Order, Attempt),
    /// It was kept, and is delivered.
    Delivered(Order),
}

/// What goes out one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    Position(LocationNo, ItemNo),
    Reservation(Seq),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Fresh,
    /// It must be kept, and is not yet.
    Keeping,
    /// In the database.
    Kept,
}

#[derive(Clone, Debug)]
struct Slot {
    event: Undelivered,
    stage: Stage,
    sending: bool,
}

/// The events of one partition for one receiver.
#[derive(Debug)]
pub struct Queue {
    bounds: Bounds,
    slots: BTreeMap<Order, Slot>,
    lines: FxHashMap<Line, BTreeSet<Order>>,
    /// Neither delivered nor kept.
    open: BTreeSet<Order>,
    /// Where the cursor may stand: the ends of what belongs together.
    ends: BTreeSet<Seq>,
    cursor: Seq,
    sending: usize,
    /// Of these, not kept yet: each may have to be.
    fresh: usize,
    /// Kept, or to be kept.
    stored: usize,
    failures: u32,
    trial_at: Timestamp,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { sending_max: 8, open_max: 512, kept_max: 1_000, failures_max: 8 }
    }
}

impl Queue {
    /// Of a partition whose cursor stands at `cursor`.
    pub fn new(bounds: Bounds, cursor: Seq) -> Queue {
        Queue {
            bounds,
            slots: BTreeMap::new(),
            lines: FxHashMap::default(),
            open: BTreeSet::new(),
            ends: BTreeSet::new(),
            cursor,
            sending: 0,
            fresh: 0,
            stored: 0,
            failures: 0,
            trial_at: Timestamp::MIN,
        }
    }

    /// Whether more may be read.
    pub fn has_room(&self) -> bool {
        self.open.len() < self.bounds.open_max
    }

    /// Whether nothing is under way or waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many events are kept.
    pub fn kept(&self) -> usize {
        self.slots.len() - self.open.len()
    }

    /// Everything up to here was delivered or is kept.
    pub fn cursor(&mut self) -> Seq {
        let first = self.open.first().map_or(Seq::MAX, |(seq, _)| *seq);
        if let Some(&end) = self.ends.range(..first).next_back() {
            self.cursor = self.cursor.max(end);
            self.ends = self.ends.split_off(&first);
        }
        self.cursor
    }

    /// Whether an event is neither delivered nor kept.
    pub fn is_open(&self, order: &Order) -> bool {
        self.open.contains(order)
    }

    /// Takes events of what was read before.
    pub fn remember(&mut self, events: Vec<Undelivered>) {
        for event in events {
            let order = (event.seq, event.event_type);
            if self.add(event, Stage::Fresh) {
                self.open.insert(order);
            }
        }
    }

    /// Takes events that were read, up to an end of what belongs together.
    pub fn read(&mut self, events: Vec<Undelivered>, end: Seq) {
        self.remember(events);
        self.ends.insert(end);
    }

    /// Takes events that are kept in the database. Those that are known already stay as they are.
    pub fn wait(&mut self, events: Vec<Undelivered>) {
        for event in events {
            self.add(event, Stage::Kept);
        }
    }

    fn add(&mut self, event: Undelivered, stage: Stage) -> bool {
        let order = (event.seq, event.event_type);
        if self.slots.contains_key(&order) {
            return false;
        }
        for line in lines(&event) {
            self.lines.entry(line).or_default().insert(order);
        }
        self.stored += usize::from(stage == Stage::Kept);
        self.slots.insert(order, Slot { event, stage, sending: false });
        true
    }

    /// An event that may be sent now, which is under way from here on.
    pub fn next(&mut self, now: Timestamp) -> Option<Undelivered> {
        if self.sending >= self.bounds.sending_max {
            return None;
        }
        let careful = self.failures >= self.bounds.failures_max;
        let trial = self.has_store() && (!careful || now >= self.trial_at);
        let order =
            *self.slots.iter().find(|(order, slot)| self.may_go(order, slot, now, trial))?.0;
        let slot = self.slots.get_mut(&order)?;
        slot.sending = true;
        self.sending += 1;
        self.fresh += usize::from(slot.stage == Stage::Fresh);
        if careful && slot.stage == Stage::Fresh {
            // One trial at a time: what becomes of it says when the next one is.
            self.trial_at = Timestamp(i64::MAX);
        }
        Some(slot.event.clone())
    }

    fn may_go(&self, order: &Order, slot: &Slot, now: Timestamp, trial: bool) -> bool {
        let due = match slot.stage {
            Stage::Fresh => trial,
            Stage::Keeping => false,
            Stage::Kept => slot.event.attempt.next_at.is_some_and(|at| at <= now),
        };
        due && !slot.sending && self.is_first(order, &slot.event)
    }

    /// Whether one more could be kept if it fails.
    fn has_store(&self) -> bool {
        self.stored + self.fresh < self.bounds.kept_max
    }

    fn is_first(&self, order: &Order, event: &Undelivered) -> bool {
        let first = |line| self.lines.get(&line).and_then(BTreeSet::first);
        lines(event).all(|line| first(line) == Some(order))
    }

    /// When there may be something to send that there is not now; `None`: nothing waits for a time.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        let due = self.slots.iter().filter_map(|(order, slot)| match slot.stage {
            Stage::Kept if !slot.sending && self.is_first(order, &slot.event) => {
                slot.event.attempt.next_at
            }
            _ => None,
        });
        let careful =
            self.failures >= self.bounds.failures_max && !self.open.is_empty() && self.has_store();
        due.chain(careful.then_some(self.trial_at)).min()
    }

    /// An attempt ended. What is to be written about it.
    pub fn ended(&mut self, order: Order, outcome: Outcome, now: Timestamp) -> Option<Note> {
        let slot = self.slots.get_mut(&order)?;
        slot.sending = false;
        self.sending -= 1;
        self.fresh -= usize::from(slot.stage == Stage::Fresh);
        let (failure, wait) = match outcome {
            Outcome::Delivered => {
                self.failures = 0;
                let kept = slot.stage == Stage::Kept;
                self.drop_slot(order);
                return kept.then_some(Note::Delivered(order));
            }
            Outcome::Failed(failure, wait) => (failure, wait),
        };
        self.failures = self.failures.saturating_add(1);
        let attempt = Attempt {
            attempts: slot.event.attempt.attempts.saturating_add(1),
            next_at: wait.map(|wait| now.saturating_add(wait)),
            failed: Some((failure, now)),
        };
        slot.event.attempt = attempt.clone();
        if slot.stage == Stage::Fresh {
            let more =
                self.failures.saturating_sub(self.bounds.failures_max).min(TRIALS_DOUBLED_MAX);
            let wait = wait.unwrap_or(0).saturating_mul(1 << more);
            self.trial_at = now.saturating_add(wait);
            slot.stage = Stage::Keeping;
            self.stored += 1;
            return Some(Note::Keep(order));
        }
        if attempt.next_at.is_none() {
            // What comes behind it goes only once it is written that this one never will.
            slot.stage = Stage::Keeping;
        }
        Some(Note::Tried(order, attempt))
    }

    /// Events that wait behind a kept one of their line, and must be kept too, as far as there is room.
    pub fn behind_kept(&mut self) -> Vec<Order> {
        let room = self.bounds.kept_max.saturating_sub(self.stored + self.fresh);
        let stuck = self.open.iter().filter(|order| {
            let Some(slot) = self.slots.get(order) else { return false };
            let waits = slot.stage == Stage::Fresh && !slot.sending;
            waits && lines(&slot.event).any(|line| self.is_kept_before(line, order))
        });
        let stuck: Vec<_> = stuck.take(room).copied().collect();
        for order in &stuck {
            if let Some(slot) = self.slots.get_mut(order) {
                slot.stage = Stage::Keeping;
                slot.event.attempt.next_at = Some(AT_ONCE);
                self.stored += 1;
            }
        }
        stuck
    }

    fn is_kept_before(&self, line: Line, order: &Order) -> bool {
        let before = self.lines.get(&line).into_iter().flat_map(|line| line.range(..*order));
        before.filter_map(|before| self.slots.get(before)).any(|slot| slot.stage != Stage::Fresh)
    }

    /// What is to be kept, as it is to be written.
    pub fn event(&self, order: Order) -> Option<&Undelivered> {
        self.slots.get(&order).map(|slot| &slot.event)
    }

    /// These events are in the database now, or are given up there.
    pub fn was_kept(&mut self, orders: &[Order]) {
        for order in orders {
            self.open.remove(order);
            let Some(slot) = self.slots.get_mut(order) else { continue };
            slot.stage = Stage::Kept;
            if slot.event.attempt.next_at.is_none() {
                self.drop_slot(*order);
            }
        }
    }

    fn drop_slot(&mut self, order: Order) {
        self.open.remove(&order);
        let Some(slot) = self.slots.remove(&order) else { return };
        self.stored -= usize::from(slot.stage != Stage::Fresh);
        for line in lines(&slot.event) {
            if let Some(orders) = self.lines.get_mut(&line) {
                orders.remove(&order);
                if orders.is_empty() {
                    self.lines.remove(&line);
                }
            }
        }
    }
}

fn lines(event: &Undelivered) -> impl Iterator<Item = Line> + use<> {
    let reservation = event.reservation.map(Line::Reservation);
    [Some(Line::Position(event.location, event.item)), reservation].into_iter().flatten()
}
