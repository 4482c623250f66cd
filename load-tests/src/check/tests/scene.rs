//! A small history, written by hand.

use std::collections::BTreeMap;

use crate::{
    check::{judge, load::History, verdict::Invariant},
    history::{
        Fault, Healing, Micros, Run,
        call::{Answered, Asked, Call, Durability, Line, Posted, Promise, Reserved, Row, Token},
        ledger::{Entry, Head, Item, Location, Position, Reservation, kind, state},
    },
};

pub(super) const EPOCH: i64 = 7;
/// One shop in each of two partitions, which have the same numbers.
pub(super) const A: i32 = 0;
pub(super) const B: i32 = 1;
/// Items.
pub(super) const X: i32 = 0;
pub(super) const Y: i32 = 1;
pub(super) const SHOPS: [&str; 2] = ["a", "b"];
const SKUS: [&str; 2] = ["x", "y"];
pub(super) const SECOND: Micros = 1_000_000;

const RECEIPT: i16 = 1;
const TRANSFER_SHIP: i16 = 6;
const RELEASE: i16 = 101;
const SELLABLE: i16 = 1;
const IN_TRANSIT: i16 = 4;
const EXTERNAL: i16 = 6;

/// Writes the ledger as it goes along.
#[derive(Default)]
pub(super) struct Scene {
    pub history: History,
    positions: BTreeMap<(i32, i32), Position>,
    seqs: [i64; 2],
}

impl Scene {
    pub(super) fn new() -> Scene {
        let mut scene = Scene::default();
        scene.history.run = Run { seed: 1, began_at_us: 1_000 * SECOND };
        for no in [A, B] {
            let id = SHOPS[no as usize].to_owned();
            scene.history.locations.push(Location { no, id, partition: no as i16 });
            scene.history.items.push(Item { no, sku: SKUS[no as usize].to_owned() });
        }
        scene.history.healing = Some(Healing {
            equal_after_us: Some(SECOND),
            goodput_after_us: Some(SECOND),
            ..Healing::default()
        });
        scene
    }

    /// Appends an entry, with everything that follows from what came before.
    pub(super) fn post(&mut self, key: &str, at: Micros, entry: Entry) -> i64 {
        let (location, item) = (entry.location, entry.item);
        let seq = &mut self.seqs[location as usize];
        *seq += 1;
        let empty = Position { partition: location as i16, location, item, ..Position::default() };
        let position = self.positions.entry((location, item)).or_insert(empty);
        for (state, balance) in (1..).zip(&mut position.balances) {
            *balance += entry.adds(state);
        }
        position.reserved += entry.reserved_change;
        position.seq = *seq;
        let at_us = self.history.run.began_at_us + at;
        self.history.entries.push(Entry {
            partition: location as i16,
            seq: *seq,
            key: key.to_owned(),
            sellable_after: position.balances[0],
            reserved_after: position.reserved,
            effective_at_us: if entry.effective_at_us == 0 { at_us } else { entry.effective_at_us },
            recorded_at_us: at_us,
            ..entry
        });
        *seq
    }

    /// A call of client 1 that takes 10 ms.
    pub(super) fn call(&mut self, at: Micros, asked: Asked, answered: Answered) -> &mut Call {
        let (start_us, end_us) = (at, at + 10_000);
        self.history.calls.push(Call { client: 1, server: 0, start_us, end_us, asked, answered });
        self.history.calls.last_mut().unwrap()
    }

    /// Units arrive, and that is acknowledged.
    pub(super) fn receive(&mut self, key: &str, at: Micros, position: (i32, i32), units: i64) {
        let seq = self.post(key, at, moving(RECEIPT, position, (EXTERNAL, SELLABLE), 3, units));
        let lines = vec![line(key, RECEIPT, position, units)];
        let answered = recorded(position.0, seq, self.token(position.0));
        self.call(at, Asked::Movements { lines }, answered);
    }

    /// Units leave for another shop, and that is acknowledged.
    pub(super) fn transfer(&mut self, key: &str, at: Micros, item: i32, units: i64) {
        let states = (SELLABLE, IN_TRANSIT);
        let [shipped, coming] = [(A, 1), (B, 2)]
            .map(|(shop, legs)| moving(TRANSFER_SHIP, (shop, item), states, legs, units));
        let (here, there) = (self.seqs[0] + 1, self.seqs[1] + 1);
        let shipped = Entry { counter_location: B, counter_seq: there, ..shipped };
        let coming =
            Entry { counter_location: A, counter_seq: here, flags: Entry::SECONDARY, ..coming };
        self.post(key, at, shipped);
        self.post(key, at, coming);
        let to_location = "b".to_owned();
        let lines = vec![Line { to_location, ..line(key, TRANSFER_SHIP, (A, item), units) }];
        let answered = recorded(A, here, self.token(A));
        self.call(at, Asked::Movements { lines }, answered);
    }

    /// Units are promised: the reservation, but nothing of a call.
    pub(super) fn promise(
        &mut self,
        key: &str,
        at: Micros,
        location: i32,
        lines: &[(i32, i64)],
    ) -> (String, i64) {
        let no = self.seqs[location as usize] + 1;
        let kept = Reservation {
            partition: location as i16,
            no,
            epoch: EPOCH,
            location,
            state: state::RESERVED,
            expires_at_us: self.history.run.began_at_us + at + 5 * SECOND,
            lines: lines.iter().map(|(item, units)| (*item, *units, 0)).collect(),
        };
        let id = kept.id();
        self.history.reservations.push(kept);
        for (number, (item, units)) in lines.iter().enumerate() {
            let flags = if number == 0 { 0 } else { Entry::SECONDARY };
            let promised = Entry { flags, ..step(&id, state::RESERVED, location, *item) };
            let promised = Entry { kind: kind::RESERVE, quantity: *units, ..promised };
            self.post(key, at, Entry { reserved_change: *units, ..promised });
        }
        (id, no)
    }

    /// Units are promised to somebody who is told so.
    pub(super) fn reserve(&mut self, key: &str, at: Micros, lines: &[(i32, i64)]) -> String {
        let (id, no) = self.promise(key, at, A, lines);
        let answered = self.reserved(&[(&id, no)]);
        self.call(
            at,
            Asked::Reserve { key: key.to_owned(), promise: wish(A, lines), hold: String::new() },
            answered,
        );
        id
    }

    /// A promise ends in one way or another.
    pub(super) fn end(&mut self, key: &str, at: Micros, id: &str, to: i16) -> i64 {
        let kept = self.history.reservations.iter_mut().find(|kept| kept.id() == id).unwrap();
        kept.state = to;
        let (location, lines) = (kept.location, kept.lines.clone());
        let mut answer = 0;
        for (number, (item, units, _)) in lines.into_iter().enumerate() {
            let flags = if number == 0 { 0 } else { Entry::SECONDARY };
            let released = Entry { flags, ..step(id, to, location, item) };
            let released = Entry { kind: RELEASE, quantity: units, ..released };
            let seq = self.post(key, at, Entry { reserved_change: -units, ..released });
            answer = if number == 0 { seq } else { answer };
        }
        answer
    }

    /// A promise is given up, and that is acknowledged.
    pub(super) fn cancel(&mut self, key: &str, at: Micros, id: &str) {
        let seq = self.end(key, at, id, state::CANCELLED);
        let answered = self.reserved(&[(id, seq)]);
        let (step, reservation) = ("cancel".to_owned(), id.to_owned());
        let to_location = String::new();
        self.call(
            at,
            Asked::Step { key: key.to_owned(), step, reservation, to_location },
            answered,
        );
    }

    /// What is told of the first item at the first shop.
    pub(super) fn read(&mut self, at: Micros, available: i64, version: i64) -> &mut Call {
        let (location, sku) = ("a".to_owned(), "x".to_owned());
        let rows = vec![Row { location, sku, available, version }];
        self.call(at, Asked::Read { token: None }, Answered::Read { rows, degraded: false })
    }

    pub(super) fn reserved(&self, reservations: &[(&str, i64)]) -> Answered {
        let reserved = |(id, version): &(&str, i64)| Reserved {
            id: (*id).to_owned(),
            state: 1,
            version: *version,
        };
        let reservations = reservations.iter().map(reserved).collect();
        Answered::Reserved { reservations, token: self.token(A), durability: Durability::Ledger }
    }

    pub(super) fn token(&self, location: i32) -> Token {
        Token { epoch: EPOCH, seqs: vec![(location as i16, self.seqs[location as usize])] }
    }

    /// Something that may undo what was seen, in the fourth second.
    pub(super) fn fault(&mut self, effect: crate::history::Effect) {
        let (at_us, until_us) = (3 * SECOND, 4 * SECOND);
        self.history.faults.push(Fault { kind: "fault".to_owned(), at_us, until_us, effect });
    }

    /// The history, with the ledger as it is in the end.
    pub(super) fn finish(mut self) -> History {
        for partition in [0, 1] {
            let seq = self.seqs[partition as usize];
            self.history.heads.push(Head { partition, epoch: EPOCH, seq });
        }
        self.history.positions = self.positions.into_values().collect();
        self.history.entries.sort_by_key(|entry| (entry.partition, entry.seq));
        self.history
    }
}

/// What a history violates.
pub(super) fn violated(history: &History) -> Vec<Invariant> {
    let verdicts = judge(history, 3);
    let violated = |invariant: &Invariant| verdicts.of(*invariant).violations > 0;
    Invariant::ALL.into_iter().filter(violated).collect()
}

/// What is wanted at a shop.
pub(super) fn wish(location: i32, lines: &[(i32, i64)]) -> Promise {
    let line = |(item, units): &(i32, i64)| (SKUS[*item as usize].to_owned(), *units);
    let location = SHOPS[location as usize].to_owned();
    Promise { location, lines: lines.iter().map(line).collect() }
}

pub(super) fn line(key: &str, kind: i16, (location, item): (i32, i32), quantity: i64) -> Line {
    Line {
        key: key.to_owned(),
        kind: i32::from(kind),
        location: SHOPS[location as usize].to_owned(),
        sku: SKUS[item as usize].to_owned(),
        quantity,
        ..Line::default()
    }
}

pub(super) fn recorded(location: i32, seq: i64, token: Token) -> Answered {
    let results = vec![Posted { partition: location as i16, seq, reason: String::new() }];
    Answered::Recorded { results, token, durability: Durability::Ledger }
}

pub(super) fn moving(
    kind: i16,
    (location, item): (i32, i32),
    (from, to): (i16, i16),
    legs: i16,
    quantity: i64,
) -> Entry {
    Entry { kind, location, item, legs, from, to, quantity, ..Entry::default() }
}

pub(super) fn step(id: &str, state: i16, location: i32, item: i32) -> Entry {
    let (reservation, reservation_state) = (id.to_owned(), state);
    Entry { location, item, reservation, reservation_state, ..Entry::default() }
}
