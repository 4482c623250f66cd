//! What must hold of a ledger whatever was recorded (I3 and I6), and what it must add up to.

mod promises;

use std::collections::{BTreeMap, BTreeSet};

use stockroom::stock::{
    entry::{Entry, Flags, Legs},
    hash::Digest,
    ids::{EntryRef, ItemNo, PositionKey},
    kind::{Kind, StockState},
    position::Position,
};

use super::{
    memory::{Memory, leg},
    network::{CALLER, ITEMS, LOCATIONS, SOURCES},
    oracle::Oracle,
};

use StockState::{Blocked, Expected, External, InTransit, Sellable, Staged};

const STATES: [StockState; 5] = [Sellable, Staged, Blocked, InTransit, Expected];

/// Fails where the ledger contradicts itself or the oracle.
pub fn check(memory: &Memory, oracle: &Oracle) {
    check_logs(memory);
    check_conservation(memory);
    check_pairs(memory);
    check_corrections(memory);
    check_requests(memory, oracle);
    check_balances(memory, oracle);
    promises::check(memory, oracle);
}

/// The stored balances of every position that has any.
pub fn balances(memory: &Memory) -> BTreeMap<PositionKey, [i64; 5]> {
    memory.positions.iter().map(|(&key, position)| (key, balances_of(position))).collect()
}

fn check_logs(memory: &Memory) {
    let mut sums: BTreeMap<PositionKey, ([i64; 5], i64)> = BTreeMap::new();
    let mut reserved: BTreeMap<PositionKey, i64> = BTreeMap::new();
    for (partition, log) in &memory.logs {
        for (entry, seq) in log.iter().zip(1..) {
            assert_eq!((entry.partition, entry.seq), (*partition, seq), "dense");
            assert!(entry.effective_at <= entry.recorded_at);
            let key = PositionKey { place: entry.position().place, item: entry.item };
            let (sum, last) = sums.entry(key).or_default();
            for (sum, state) in sum.iter_mut().zip(STATES) {
                *sum += leg(entry, state);
            }
            *last = seq;
            assert_eq!(entry.sellable_after, sum[0], "after = before + change: {entry:?}");
            let reserved = reserved.entry(key).or_default();
            *reserved += entry.reserved_change;
            assert_eq!(entry.reserved_after, *reserved, "after = before + change: {entry:?}");
            assert!(*reserved >= 0, "{entry:?}");
        }
    }
    let stored = memory.positions.iter();
    let stored: BTreeMap<_, _> =
        stored.map(|(&key, position)| (key, (balances_of(position), position.seq))).collect();
    assert_eq!(stored, sums, "position = what its entries add up to");
}

fn check_conservation(memory: &Memory) {
    let mut sums: BTreeMap<ItemNo, i64> = BTreeMap::new();
    for entry in memory.entries() {
        let inside: i64 = STATES.into_iter().map(|state| leg(entry, state)).sum();
        *sums.entry(entry.item).or_default() += inside + leg(entry, External);
    }
    assert!(sums.values().all(|&sum| sum == 0), "units are conserved: {sums:?}");
}

/// The halves of a transfer, and of its correction, name each other.
fn check_pairs(memory: &Memory) {
    for entry in memory.entries().filter(|entry| matches!(entry.legs, Legs::From | Legs::To)) {
        let counter = entry.counter.unwrap();
        let at = EntryRef { partition: counter.place.partition, seq: counter.seq };
        let other = memory.entry(at).unwrap();
        let back = other.counter.unwrap();
        assert_eq!((back.place, back.seq), (entry.position().place, entry.seq));
        assert_eq!(other.legs, if entry.legs == Legs::From { Legs::To } else { Legs::From });
        let same = |entry: &Entry<'_>| (entry.kind, entry.item, entry.quantity, entry.states);
        assert_eq!(same(entry), same(other));
        let secondary = |entry: &Entry<'_>| usize::from(entry.flags.has(Flags::SECONDARY));
        let waited = entry.kind == Kind::Correct;
        assert!((1..=1 + usize::from(waited)).contains(&(secondary(entry) + secondary(other))));
    }
}

/// A correction is the exact inverse of one entry, at the time of that entry.
fn check_corrections(memory: &Memory) {
    let mut corrected = BTreeSet::new();
    for entry in memory.entries().filter(|entry| entry.kind == Kind::Correct) {
        let Some(seq) = entry.refers_to else { continue };
        let at = EntryRef { partition: entry.partition, seq };
        assert!(corrected.insert(at), "corrected once");
        let original = memory.entry(at).unwrap();
        assert_eq!(entry.effective_at, original.effective_at);
        for state in STATES {
            assert_eq!(leg(entry, state), -leg(original, state));
        }
    }
}

fn check_requests(memory: &Memory, oracle: &Oracle) {
    let answers = memory.entries().filter(|entry| !entry.flags.has(Flags::SECONDARY));
    let (mut corrected, mut waiting) = (0, 0);
    let mut posted = 0;
    for (key, request) in &memory.requests {
        assert!(request.stored);
        let entry = request
            .seq
            .map(|seq| memory.entry(EntryRef { partition: key.place.partition, seq }).unwrap());
        if let Some(entry) = entry {
            posted += 1;
            assert_eq!(entry.position().place, key.place);
            assert!(!entry.flags.has(Flags::SECONDARY));
            if entry.flags.has(Flags::REQUEST) {
                assert_eq!(key.digest, Digest::of_request(CALLER.0, &entry.key));
                continue;
            }
            let source = SOURCES.iter().find(|(_, number, _)| *number == entry.source);
            let name = (key.place, source.unwrap().0.to_owned(), entry.key.to_string());
            assert_eq!(request.returned, oracle.returned(&name), "units returned of {name:?}");
        }
        let Some(seq) = request.corrected else { continue };
        let correction = memory.entry(EntryRef { partition: key.place.partition, seq }).unwrap();
        assert_eq!(correction.kind, Kind::Correct);
        match entry {
            Some(entry) => {
                corrected += 1;
                assert_eq!(correction.refers_to, Some(entry.seq));
            }
            None => {
                waiting += 1;
                assert!(correction.flags.has(Flags::AWAITS_ORIGINAL));
            }
        }
    }
    assert_eq!(posted, answers.count(), "one entry answers each request");
    assert_eq!(posted, oracle.keys());
    assert_eq!((corrected, waiting), oracle.corrections());
}

fn check_balances(memory: &Memory, oracle: &Oracle) {
    for (_, place) in LOCATIONS {
        for (_, item) in ITEMS {
            let stored = memory.positions.get(&PositionKey { place, item });
            let stored = stored.map_or([0; 5], balances_of);
            let defined = STATES.map(|state| oracle.balance(place, item, state));
            assert_eq!(stored, defined, "{STATES:?} of {item:?} at {place:?}");
        }
    }
}

fn balances_of(position: &Position) -> [i64; 5] {
    let Position { sellable, staged, blocked, in_transit, expected, .. } = *position;
    [sellable, staged, blocked, in_transit, expected]
}
