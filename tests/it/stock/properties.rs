//! What holds of every sequence of batches.

use std::{collections::BTreeMap, sync::Mutex, thread};

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use stockroom::stock::{
    draft::Draft,
    entry::Flags,
    kind::Kind,
    machine::{Outcome, Posted},
    movement::Command,
    refusal::Refusal,
    time::Timestamp,
};

use super::{
    invariants,
    memory::Memory,
    network::{Line, Sent, command, grouped, resolve},
    oracle::{Expected, Key, Oracle, key_of},
    strategy::{NOW, SLOT, batches, break_rule, facts, genes},
};

const SEQUENCES: u32 = 12_000;
const ORDERS: u32 = 3_000;
const REACHED_MIN: usize = 100;

const REASONS: [&str; 19] = [
    "KEY_INVALID",
    "KIND_INVALID",
    "LOCATION_ID_INVALID",
    "SKU_INVALID",
    "FIELD_INVALID",
    "QUANTITY_OUT_OF_RANGE",
    "STATE_INVALID",
    "REASON_REQUIRED",
    "ORIGINAL_REQUIRED",
    "TO_LOCATION_INVALID",
    "LOCATION_UNKNOWN",
    "CHANNEL_UNKNOWN",
    "KEY_REUSED",
    "OCCURRED_AT_OUT_OF_RANGE",
    "NOT_A_STOCK_ITEM",
    "ORIGINAL_MISMATCH",
    "ALREADY_CORRECTED",
    "BALANCE_OUT_OF_RANGE",
    "GROUP_REFUSED",
];

/// How often something was reached.
pub type Tally = BTreeMap<String, usize>;

/// A ledger, its oracle, and the first answer under each key.
#[derive(Default)]
pub struct World {
    pub memory: Memory,
    pub oracle: Oracle,
    answers: BTreeMap<Key, Posted>,
}

#[test]
fn every_sequence_of_batches_does_what_the_oracle_says() {
    let tally = Mutex::new(Tally::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let sequences = genes(24).prop_map(|genes| batches(&genes));
                run(SEQUENCES / 2, sequences, |batches| {
                    let mut counted = Tally::new();
                    let world = drive(&batches, &mut counted);
                    invariants::check(&world.memory, &world.oracle);
                    for (name, count) in counted {
                        *tally.lock().unwrap().entry(name).or_default() += count;
                    }
                });
            });
        }
    });
    let tally = tally.into_inner().unwrap();
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_movement() || kind.is_variance());
    let kinds: Vec<_> = kinds.map(Kind::name).collect();
    let others = ["duplicate", "over_return", "awaits", "promise_unknown", "before_count"];
    let rare = |name: &&&str| tally.get(**name).is_none_or(|&count| count < REACHED_MIN);
    let rare: Vec<_> = kinds.iter().chain(&REASONS).chain(&others).filter(rare).collect();
    assert!(rare.is_empty(), "reached too rarely: {rare:?} of {tally:?}");
}

#[test]
fn every_order_of_arrival_gives_the_same_balances() {
    let orders = vec(any::<[u8; 12]>(), 2..16).prop_flat_map(|genes| {
        let facts = facts(&genes);
        (Just(facts.clone()), Just(facts).prop_shuffle(), 1usize..6)
    });
    run(ORDERS, orders, |(facts, shuffled, batch)| {
        let one = arrive(&facts, 1);
        let other = arrive(&shuffled, batch);
        assert_eq!(invariants::balances(&one), invariants::balances(&other));
    });
}

#[test]
fn static_refusals_keep_their_order_of_precedence() {
    let (genes, mask) = (any::<[u8; 12]>(), 1u16..1 << super::strategy::RULES);
    run(2_000, (genes, mask), |(genes, mask)| {
        // Only a fact without states of its own can break every rule at once.
        let plain = [&[0u8; 12][..1], &genes[1..8], &[1u8; 4][..]].concat();
        let mut sent = batches(&[plain.try_into().unwrap()]).concat().remove(0);
        let broken = |rule: &usize| mask & (1 << rule) != 0;
        // In reverse, as the first rule must still be broken when all were.
        for rule in (0..super::strategy::RULES).rev().filter(broken) {
            break_rule(&mut sent, rule);
        }
        assert_eq!(resolve(&sent, &Memory::default()).unwrap_err(), sent.broken.unwrap());
    });
}

pub(super) fn run<S: Strategy<Value: std::fmt::Debug>>(
    cases: u32,
    strategy: S,
    test: impl Fn(S::Value),
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..Default::default() };
    let result = TestRunner::new(config).run(&strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// Runs all batches, compares every answer with the oracle's, and every way to split a batch.
pub fn drive(batches: &[Vec<Sent>], tally: &mut Tally) -> World {
    let mut world = World::default();
    world.fill();
    for (n, batch) in batches.iter().enumerate() {
        let now = Timestamp(NOW.0 + n as i64 * SLOT);
        let memory = &world.memory;
        let line = |sent: &Sent| (sent.clone(), resolve(sent, memory));
        let lines: Vec<Line> = batch.iter().map(line).collect();
        for (sent, line) in &lines {
            assert_eq!(sent.broken.as_ref(), line.as_ref().err(), "{sent:?}");
        }
        let before = world.memory.clone();
        let outcomes = world.record(now, &lines, tally);
        let mut split = before;
        let commands: Vec<_> = grouped(&lines).into_iter().filter_map(command).collect();
        let alone = commands.chunks(1 + n % 2).flat_map(|part| split.record(now, part));
        assert_eq!(alone.collect::<Vec<_>>(), outcomes, "answers do not depend on the batch");
        assert_eq!(split, world.memory, "nor does what is written");
    }
    for entry in world.memory.entries() {
        *tally.entry(entry.kind.name().to_owned()).or_default() += 1;
    }
    world
}

impl World {
    /// Brings one position to the end of its range.
    fn fill(&mut self) {
        let source = super::network::SOURCES[0].0;
        let mut draft = Draft {
            key: "full".to_owned(),
            kind: Kind::Receipt as i32,
            location_id: "s0".to_owned(),
            sku: "full".to_owned(),
            quantity: 1,
            occurred_at: Some(Timestamp(NOW.0 - 60 * SLOT)),
            ..Draft::default()
        };
        let sent = Sent { source, draft: draft.clone(), broken: None };
        let mut movement = resolve(&sent, &self.memory).unwrap();
        draft.quantity = (1 << 53) - 2_000_000_000;
        movement.draft.quantity = draft.quantity;
        let line = (Sent { draft, ..sent }, Ok(movement));
        self.record(NOW, &[line], &mut Tally::new());
    }

    /// Records a batch, and returns the outcomes of what reached the machine.
    pub fn record(&mut self, now: Timestamp, lines: &[Line], tally: &mut Tally) -> Vec<Outcome> {
        let commands: Vec<Command> = grouped(lines).into_iter().filter_map(command).collect();
        let outcomes = self.memory.record(now, &commands);
        self.judge(now, lines, &outcomes, tally);
        outcomes
    }

    /// Compares outcomes with the oracle's.
    pub(super) fn judge(
        &mut self,
        now: Timestamp,
        lines: &[Line],
        outcomes: &[Outcome],
        tally: &mut Tally,
    ) {
        let mut next = outcomes.iter();
        for group in grouped(lines) {
            let expected = self.oracle.record(now, group);
            let reached = group.iter().all(|(_, line)| line.is_ok());
            for ((sent, line), expected) in group.iter().zip(&expected) {
                count_expected(expected, tally);
                if !reached {
                    continue;
                }
                let key = key_of(sent, line.as_ref().unwrap());
                self.compare(key, expected, next.next().unwrap());
            }
        }
        assert!(next.next().is_none(), "one outcome per movement");
    }

    fn compare(&mut self, key: Key, expected: &Expected, outcome: &Outcome) {
        match (expected, outcome) {
            (Expected::Refused(Refusal::KeyReused { .. }), Outcome::Refused(refusal)) => {
                assert!(matches!(refusal, Refusal::KeyReused { .. }), "{key:?}: {refusal:?}");
            }
            (Expected::Refused(expected), Outcome::Refused(refusal)) => {
                assert_eq!(expected, refusal, "{key:?}");
            }
            (Expected::Duplicate, Outcome::Duplicate(posted)) => {
                assert_eq!(self.answers[&key], *posted, "the first answer again");
            }
            (&Expected::Recorded { .. }, Outcome::Recorded(posted)) => {
                assert_eq!(flags_of(expected), posted.flags, "{key:?}");
                assert!(self.answers.insert(key, *posted).is_none(), "one effect per key");
            }
            _ => panic!("{key:?} is {outcome:?} instead of {expected:?}"),
        }
    }
}

fn count_expected(expected: &Expected, tally: &mut Tally) {
    let mut count = |name: &str| *tally.entry(name.to_owned()).or_default() += 1;
    match *expected {
        Expected::Refused(ref refusal) => count(refusal.reason()),
        Expected::Duplicate => count("duplicate"),
        Expected::Recorded { over_return, awaits, promise_unknown, before_count } => {
            let flags = [
                ("over_return", over_return),
                ("awaits", awaits),
                ("promise_unknown", promise_unknown),
                ("before_count", before_count),
            ];
            flags.into_iter().filter(|(_, set)| *set).for_each(|(name, _)| count(name));
        }
    }
}

fn flags_of(expected: &Expected) -> Flags {
    let Expected::Recorded { over_return, awaits, promise_unknown, before_count } = *expected
    else {
        return Flags::default();
    };
    [
        (over_return, Flags::OVER_RETURN),
        (awaits, Flags::AWAITS_ORIGINAL),
        (promise_unknown, Flags::PROMISE_UNKNOWN),
        (before_count, Flags::BEFORE_COUNT),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(Flags::default(), |flags, (_, flag)| flags.with(flag))
}

/// Records facts in this order, and none is refused.
fn arrive(facts: &[Sent], batch: usize) -> Memory {
    let mut memory = Memory::default();
    for part in facts.chunks(batch) {
        let movements: Vec<_> = part.iter().map(|sent| resolve(sent, &memory).unwrap()).collect();
        let commands: Vec<_> = movements.into_iter().map(Command::One).collect();
        for outcome in memory.record(NOW, &commands) {
            assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?} of {part:?}");
        }
    }
    memory
}
