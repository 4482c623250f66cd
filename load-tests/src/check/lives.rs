//! I7: what became of reservations, step by step.

use std::collections::HashMap;

use super::{
    fold::name,
    index::Index,
    verdict::{Invariant, Verdicts},
};
use crate::history::ledger::{
    Entry,
    state::{
        CANCELLED, COLLECTED, CONSUMED, EXPIRED, HELD, MOVED, PICKING, READY, REJECTED, RELEASED,
        RESERVED,
    },
};

pub(super) fn judge(index: &Index<'_>, verdicts: &mut Verdicts) {
    let mut states: HashMap<&str, i16> = HashMap::new();
    let steps = index.history.entries.iter().filter(|entry| entry.reservation_state != 0);
    for entry in steps {
        let to = entry.reservation_state;
        let from = states.insert(&entry.reservation, to).unwrap_or(0);
        verdicts.expect(Invariant::I7, is_legal(from, to), || {
            format!("{}: {} goes from {from} to {to}", name(entry), entry.reservation)
        });
        if to == EXPIRED && from != EXPIRED {
            judge_expiry(index, entry, verdicts);
        }
    }
    for (id, row) in &index.reservations {
        let state = states.remove(id.as_str()).unwrap_or(0);
        verdicts.expect(Invariant::I7, state == row.state, || {
            format!("{id}: is {}, by its entries {state}", row.state)
        });
    }
    for (id, state) in states {
        verdicts.expect(Invariant::I7, false, || format!("{id}: is {state}, but was not kept"));
    }
}

/// Nothing changes its deadline after it has expired, so the row still tells it.
fn judge_expiry(index: &Index<'_>, entry: &Entry, verdicts: &mut Verdicts) {
    let row = index.reservations.get(&entry.reservation);
    let due = row.is_some_and(|row| entry.recorded_at_us >= row.expires_at_us);
    verdicts.expect(Invariant::I7, due, || {
        let deadline = row.map_or(0, |row| row.expires_at_us);
        format!("{}: expired {} us early", name(entry), deadline - entry.recorded_at_us)
    });
}

/// Whether a reservation may go from one state to another; 0: it is made. A step may leave its
/// state.
fn is_legal(from: i16, to: i16) -> bool {
    match from {
        0 => matches!(to, RESERVED | HELD),
        RESERVED => {
            matches!(to, RESERVED | PICKING | COLLECTED | CANCELLED | REJECTED | EXPIRED | MOVED)
        }
        PICKING => {
            matches!(to, PICKING | READY | COLLECTED | CANCELLED | REJECTED | EXPIRED | MOVED)
        }
        READY => matches!(to, READY | COLLECTED | CANCELLED | EXPIRED | MOVED),
        EXPIRED => matches!(to, EXPIRED | COLLECTED),
        // What was aside goes back to the shelf.
        COLLECTED | CANCELLED | REJECTED | MOVED => to == from,
        HELD => matches!(to, HELD | RELEASED | CONSUMED | EXPIRED),
        // Further lines of the same step.
        RELEASED | CONSUMED => to == from,
        _ => false,
    }
}
