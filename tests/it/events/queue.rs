//! The queue against everything that can happen to it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use stockroom::{
    feed::deliver::{
        backoff::Backoff,
        queue::{Bounds, Note, Order, Outcome, Queue},
    },
    ledger::outbox::{Attempt, Failure, Undelivered},
    stock::{
        event::EventType,
        ids::{ItemNo, LocationNo},
        time::{SECOND, Timestamp},
    },
};

const BOUNDS: Bounds = Bounds { sending_max: 3, open_max: 8, kept_max: 6, failures_max: 4 };
const EVENTS: i64 = 30;
const BACKOFF: Backoff = Backoff { attempts_max: 4, first: SECOND, longest: 8 * SECOND };

/// Event number `seq` of a log in which items and reservations repeat.
fn event(seq: i64) -> Undelivered {
    Undelivered {
        seq,
        event_type: EventType::OutOfStock,
        event_id: seq.to_string(),
        location: LocationNo(1),
        item: ItemNo((seq * 7 % 5) as i32),
        reservation: (seq % 3 == 0).then_some(seq / 6),
        body: String::new(),
        attempt: Attempt::default(),
    }
}

fn share_a_line(a: i64, b: i64) -> bool {
    let (a, b) = (event(a), event(b));
    a.item == b.item || a.reservation.is_some() && a.reservation == b.reservation
}

/// What survives a crash.
#[derive(Default)]
struct Store {
    cursor: i64,
    kept: BTreeMap<Order, Undelivered>,
    dead: BTreeSet<i64>,
}

#[derive(Default)]
struct World {
    store: Store,
    /// Of each event, in the order in which the receiver took them first.
    delivered: Vec<i64>,
    now: Timestamp2,
}

#[derive(Clone, Copy)]
struct Timestamp2(i64);

impl Default for Timestamp2 {
    fn default() -> Timestamp2 {
        Timestamp2(1_000 * SECOND)
    }
}

impl World {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.0)
    }

    /// One life of a courier: until it has nothing to do, or after `steps` for a crash.
    fn live(&mut self, chances: &[u8], at: &mut usize, steps: usize) -> bool {
        let mut queue = Queue::new(BOUNDS, self.store.cursor);
        queue.wait(self.store.kept.values().cloned().collect());
        let (mut read, mut sending) = (self.store.cursor, Vec::new());
        let mut chance = || {
            *at += 1;
            chances[*at % chances.len()]
        };
        let mut notes = Vec::new();
        for _ in 0..steps {
            while queue.has_room() && read < EVENTS {
                read += 1;
                queue.read(vec![event(read)], read);
            }
            while let Some(event) = queue.next(self.now()) {
                for other in &sending {
                    assert!(!share_a_line(event.seq, *other), "{} beside {other}", event.seq);
                }
                let before = (1..event.seq).filter(|before| share_a_line(*before, event.seq));
                for before in before {
                    let done =
                        self.delivered.contains(&before) || self.store.dead.contains(&before);
                    assert!(done, "{} goes before {before}", event.seq);
                }
                sending.push(event.seq);
                assert!(sending.len() <= BOUNDS.sending_max);
            }
            notes.extend(queue.behind_kept().into_iter().map(Note::Keep));
            if chance() % 3 == 0 {
                self.settle(&mut queue, &mut notes);
            }
            if sending.is_empty() {
                self.settle(&mut queue, &mut notes);
                match queue.wakes_at() {
                    Some(at) => self.now.0 = self.now.0.max(at.0),
                    None if read == EVENTS && queue.is_empty() => return true,
                    None => {}
                }
                continue;
            }
            let seq = sending.swap_remove(usize::from(chance()) % sending.len());
            let order = (seq, EventType::OutOfStock);
            // Some are never taken.
            let outcome = match seq % 11 == 4 || chance() % 4 == 0 {
                false => Outcome::Delivered,
                true => {
                    let attempts = queue.event(order).unwrap().attempt.attempts + 1;
                    Outcome::Failed(Failure::default(), BACKOFF.wait(attempts, 7, None))
                }
            };
            if outcome == Outcome::Delivered && !self.delivered.contains(&seq) {
                self.delivered.push(seq);
            }
            notes.extend(queue.ended(order, outcome, self.now()));
        }
        false
    }

    fn settle(&mut self, queue: &mut Queue, notes: &mut Vec<Note>) {
        let mut kept = Vec::new();
        for note in notes.drain(..) {
            match note {
                Note::Keep(order) => {
                    let event = queue.event(order).unwrap().clone();
                    self.store(event);
                    kept.push(order);
                }
                Note::Tried(order, attempt) => {
                    let mut event = self.store.kept.remove(&order).unwrap();
                    if attempt.next_at.is_none() {
                        kept.push(order);
                    }
                    event.attempt = attempt;
                    self.store(event);
                }
                Note::Delivered(order) => drop(self.store.kept.remove(&order)),
            }
        }
        queue.was_kept(&kept);
        assert!(self.store.kept.len() <= BOUNDS.kept_max);
        self.store.cursor = queue.cursor();
        for seq in 1..=self.store.cursor {
            let kept = self.store.kept.contains_key(&(seq, EventType::OutOfStock));
            let done = self.delivered.contains(&seq) || self.store.dead.contains(&seq);
            assert!(kept || done, "the cursor passed {seq}");
        }
    }

    fn store(&mut self, event: Undelivered) {
        match event.attempt.next_at {
            Some(_) => drop(self.store.kept.insert((event.seq, event.event_type), event)),
            None => drop(self.store.dead.insert(event.seq)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_event_is_delivered_or_dead_and_in_order_whenever_it_crashes(
        chances in vec(any::<u8>(), 64),
        crashes in vec(1..60usize, 0..5),
    ) {
        let (mut world, mut at) = (World::default(), 0);
        for steps in crashes {
            world.live(&chances, &mut at, steps);
        }
        prop_assert!(world.live(&chances, &mut at, 10_000), "it comes to its end");
        for seq in 1..=EVENTS {
            let done = world.delivered.contains(&seq) || world.store.dead.contains(&seq);
            prop_assert!(done, "{seq} was lost");
        }
        prop_assert!(world.store.kept.is_empty());
        prop_assert_eq!(world.store.cursor, EVENTS);
    }

    #[test]
    fn waits_double_are_bounded_and_are_as_long_as_was_asked(
        attempts in 1..60u32,
        chance in any::<u32>(),
        asked in proptest::option::of(0..200 * SECOND),
    ) {
        let backoff = Backoff { attempts_max: 50, first: SECOND, longest: 100 * SECOND };
        let Some(wait) = backoff.wait(attempts, chance, asked) else {
            prop_assert!(attempts >= 50);
            return Ok(());
        };
        let doubled = (SECOND << (attempts - 1).min(30)).min(100 * SECOND);
        prop_assert!(wait >= doubled / 2 && wait <= 100 * SECOND);
        prop_assert!(wait >= asked.unwrap_or(0).min(100 * SECOND));
        prop_assert!(asked.is_some() || wait <= doubled);
    }
}

#[test]
fn one_that_fails_keeps_only_its_own_line_waiting() {
    let mut queue = Queue::new(BOUNDS, 0);
    // Items 2, 4, 1, 3 and 0, then 2 again.
    let alone = |seq| Undelivered { reservation: None, ..event(seq) };
    (1..=6).for_each(|seq| queue.read(vec![alone(seq)], seq));
    let (now, later) = (Timestamp(0), Timestamp(5 * SECOND));
    let first: Vec<_> = std::iter::from_fn(|| queue.next(now)).map(|event| event.seq).collect();
    assert_eq!(first, [1, 2, 3]);
    let order = |seq| (seq, EventType::OutOfStock);
    let failed = Outcome::Failed(Failure::default(), Some(5 * SECOND));
    assert_eq!(queue.ended(order(1), failed, now), Some(Note::Keep(order(1))));
    assert_eq!(queue.cursor(), 0, "it is not kept yet");
    queue.was_kept(&[order(1)]);
    assert_eq!(queue.ended(order(2), Outcome::Delivered, now), None);
    assert_eq!(queue.ended(order(3), Outcome::Delivered, now), None);
    assert_eq!(queue.cursor(), 3, "what is kept does not hold the cursor up");
    let next: Vec<_> = std::iter::from_fn(|| queue.next(now)).map(|event| event.seq).collect();
    assert_eq!(next, [4, 5], "6 is of the same position as 1");
    assert_eq!(queue.behind_kept(), [order(6)]);
    queue.was_kept(&[order(6)]);
    assert_eq!(queue.wakes_at(), Some(later));
    assert_eq!(queue.next(later).map(|event| event.seq), Some(1));
    assert_eq!(queue.next(later), None);
    assert_eq!(queue.ended(order(1), Outcome::Delivered, later), Some(Note::Delivered(order(1))));
    assert_eq!(queue.next(later).map(|event| event.seq), Some(6));
}

#[test]
fn while_nothing_is_taken_new_events_are_only_tried_now_and_then() {
    let mut queue = Queue::new(BOUNDS, 0);
    let of_its_own =
        |seq| Undelivered { reservation: None, item: ItemNo(seq as i32), ..event(seq) };
    (1..=8).for_each(|seq| queue.read(vec![of_its_own(seq)], seq));
    let mut sent = 0;
    let now = Timestamp(0);
    while let Some(event) = queue.next(now) {
        sent += 1;
        let order = (event.seq, event.event_type);
        let failed = Outcome::Failed(Failure::default(), Some(SECOND));
        queue.ended(order, failed, now);
        queue.was_kept(&[order]);
    }
    assert_eq!(sent, 4, "no more than may fail in a row");
    let soon = Timestamp(SECOND);
    assert_eq!(queue.wakes_at(), Some(soon));
}
