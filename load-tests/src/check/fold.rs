//! I1 and I6: the ledger replayed from its entries.

use std::collections::HashMap;

use super::{
    index::{Index, PositionId},
    verdict::{Invariant, Verdicts},
};
use crate::history::ledger::{Entry, Position, kind};

/// What the entries of a position add up to.
#[derive(Default)]
struct Sums {
    balances: [i64; 5],
    reserved: i64,
    seq: i64,
    partition: i16,
    /// When, by which entry, whether it counts or adds, and how many.
    facts: Vec<(i64, i64, bool, i64)>,
}

pub(super) fn judge(index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut sums: HashMap<PositionId, Sums> = HashMap::new();
    let mut corrected: HashMap<(i16, i64), i64> = HashMap::new();
    let mut before = (i16::MIN, 0, i64::MIN);
    for entry in &index.history.entries {
        if before.0 != entry.partition {
            before = (entry.partition, 0, i64::MIN);
        }
        let next = entry.seq == before.1 + 1 && entry.recorded_at_us >= before.2;
        verdicts.expect(Invariant::I6, next, || {
            format!("{}: follows {} in its partition, or is older", name(entry), before.1)
        });
        before = (entry.partition, entry.seq, entry.recorded_at_us);
        if entry.kind == kind::CORRECT && entry.refers_to_seq > 0 {
            corrected.insert((entry.partition, entry.refers_to_seq), entry.seq);
        }
        sums.entry((entry.location, entry.item)).or_default().take(entry, verdicts);
    }
    judge_heads(index, verdicts);
    judge_halves(index, verdicts);
    judge_positions(index, &sums, &corrected, verdicts);
}

impl Sums {
    fn take(&mut self, entry: &Entry, verdicts: &mut Verdicts) {
        for (state, balance) in (1..).zip(&mut self.balances) {
            *balance += entry.adds(state);
        }
        self.reserved += entry.reserved_change;
        (self.seq, self.partition) = (entry.seq, entry.partition);
        let (sellable, reserved) = (self.balances[0], self.reserved);
        let adds_up = (sellable, reserved) == (entry.sellable_after, entry.reserved_after);
        verdicts.expect(Invariant::I6, adds_up, || {
            let Entry { sellable_after, reserved_after, .. } = entry;
            let name = name(entry);
            format!("{name}: leaves {sellable_after}, {reserved_after}; not {sellable}, {reserved}")
        });
        if entry.is_request() && entry.reserved_change > 0 {
            verdicts.expect(Invariant::I1, reserved <= sellable, || {
                format!("{}: promises {reserved} of {sellable} units", name(entry))
            });
        }
        let fact = (entry.effective_at_us, entry.seq);
        match entry.kind {
            kind::COUNT => self.facts.push((fact.0, fact.1, true, entry.quantity)),
            kind::CORRECT | kind::COUNT_VARIANCE | kind::EXPECT_VARIANCE => {}
            _ if entry.is_request() || entry.adds(1) == 0 => {}
            _ => self.facts.push((fact.0, fact.1, false, entry.adds(1))),
        }
    }

    /// SELLABLE by its definition: in the order of what happened, in which a count assigns.
    fn sellable(&self, corrected: &HashMap<(i16, i64), i64>) -> i64 {
        let stands = |seq| !corrected.contains_key(&(self.partition, seq));
        let mut facts: Vec<_> = self.facts.iter().filter(|fact| stands(fact.1)).collect();
        facts.sort();
        facts
            .iter()
            .fold(0, |sum, (_, _, counts, units)| if *counts { *units } else { sum + units })
    }
}

fn judge_heads(index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut last: HashMap<i16, i64> = HashMap::new();
    for entry in &index.history.entries {
        last.insert(entry.partition, entry.seq);
    }
    for head in &index.history.heads {
        let seq = last.remove(&head.partition).unwrap_or(0);
        verdicts.expect(Invariant::I6, head.seq == seq, || {
            format!("partition {}: its head is at {}, its log at {seq}", head.partition, head.seq)
        });
    }
    for partition in last.keys() {
        verdicts.expect(Invariant::I6, false, || format!("partition {partition} has no head"));
    }
}

/// What leaves one place and enters no other makes or loses units.
fn judge_halves(index: &Index<'_>, verdicts: &mut Verdicts) {
    let half = |entry: &&Entry| matches!(entry.legs, 1 | 2);
    let halves: HashMap<(i16, i64), &Entry> =
        index.history.entries.iter().filter(half).map(|e| ((e.partition, e.seq), e)).collect();
    for entry in halves.values() {
        let there = index.partition(entry.counter_location);
        let other = there.and_then(|partition| halves.get(&(partition, entry.counter_seq)));
        let fits = other.is_some_and(|other| {
            (other.counter_location, other.counter_seq) == (entry.location, entry.seq)
                && (other.item, other.quantity) == (entry.item, entry.quantity)
                && other.legs + entry.legs == 3
        });
        verdicts.expect(Invariant::I5, fits, || {
            format!("{}: has no other half at {}", name(entry), entry.counter_seq)
        });
    }
}

fn judge_positions(
    index: &Index<'_>,
    sums: &HashMap<PositionId, Sums>,
    corrected: &HashMap<(i16, i64), i64>,
    verdicts: &mut Verdicts,
) {
    let mut promised: HashMap<PositionId, i64> = HashMap::new();
    for reservation in index.history.reservations.iter().filter(|row| row.is_open()) {
        for (item, quantity, picked) in &reservation.lines {
            *promised.entry((reservation.location, *item)).or_default() += quantity - picked;
        }
    }
    for position in &index.history.positions {
        let Position { location, item, balances, reserved, seq, .. } = *position;
        let empty = Sums::default();
        let sums = sums.get(&(location, item)).unwrap_or(&empty);
        let fits = (balances, reserved, seq) == (sums.balances, sums.reserved, sums.seq);
        verdicts.expect(Invariant::I6, fits, || {
            format!("location {location} item {item}: is not the sum of its entries")
        });
        let open = promised.get(&(location, item)).copied().unwrap_or(0);
        verdicts.expect(Invariant::I6, reserved == open, || {
            format!("location {location} item {item}: reserved {reserved}, open lines {open}")
        });
        let facts = sums.sellable(corrected);
        verdicts.expect(Invariant::I6, balances[0] == facts, || {
            format!("location {location} item {item}: SELLABLE {}, facts {facts}", balances[0])
        });
    }
    let positions = index.history.positions.len();
    verdicts.expect(Invariant::I6, positions == sums.len(), || {
        format!("{positions} positions, entries of {}", sums.len())
    });
}

/// Names an entry.
pub(super) fn name(entry: &Entry) -> String {
    format!("entry {}/{} of key {:?}", entry.partition, entry.seq, entry.key)
}
