//! I2 to I5: what was acknowledged, refused or left open, held against the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    fold::name,
    index::{Index, PositionId, seconds},
    operation::{Attempt, Operation, Outcome, What},
    verdict::{Invariant, Verdicts},
};
use crate::history::{
    call::{Durability, Promise},
    ledger::{Entry, kind, state},
};

pub(super) fn judge(index: &Index<'_>, operations: &[Operation<'_>], verdicts: &mut Verdicts) {
    for operation in operations {
        for attempt in &operation.attempts {
            judge_acknowledged(index, operation, attempt, verdicts);
        }
        judge_key(index, operation, verdicts);
        judge_whole(index, operation, verdicts);
    }
    judge_groups(index, operations, verdicts);
    judge_epochs(operations, verdicts);
}

/// I2.
fn judge_acknowledged(
    index: &Index<'_>,
    operation: &Operation<'_>,
    attempt: &Attempt<'_>,
    verdicts: &mut Verdicts,
) {
    let Outcome::Given { entries, durability, .. } = &attempt.outcome else { return };
    let written = index.entries_of(operation.key);
    for (partition, seq) in entries {
        let is_there =
            written.iter().any(|entry| (entry.partition, entry.seq) == (*partition, *seq));
        let may_be_lost =
            *durability != Durability::Replicated && index.may_be_lost(attempt.start_us);
        if !is_there && may_be_lost {
            verdicts.skip(Invariant::I2, "lost with a primary whose standby was behind");
            continue;
        }
        verdicts.expect(Invariant::I2, is_there, || {
            let (key, at) = (operation.key, seconds(attempt.end_us));
            format!("key {key:?}: acknowledged at {at} as {partition}/{seq}, which is not there")
        });
    }
}

/// I3. In one scope: a location.
fn judge_key(index: &Index<'_>, operation: &Operation<'_>, verdicts: &mut Verdicts) {
    let mut seen = HashSet::new();
    for entry in index.entries_of(operation.key).iter().filter(|entry| entry.answers()) {
        verdicts.expect(Invariant::I3, seen.insert(entry.location), || {
            format!("{}: a second effect", name(entry))
        });
    }
    let mut holds = operation.attempts.iter().filter_map(|attempt| match attempt.outcome {
        Outcome::Held { hold, .. } => Some(hold),
        _ => None,
    });
    if let Some(first) = holds.next() {
        let other = holds.find(|hold| *hold != first);
        verdicts.expect(Invariant::I3, other.is_none(), || {
            format!("key {:?}: hold {first}, then {other:?}", operation.key)
        });
    }
    let reused = |attempt: &&Attempt<'_>| {
        matches!(attempt.outcome, Outcome::Refused { reason: "KEY_REUSED" })
    };
    if let Some(attempt) = operation.attempts.iter().find(reused) {
        verdicts.expect(Invariant::I3, false, || {
            format!("key {:?}: KEY_REUSED at {}", operation.key, seconds(attempt.end_us))
        });
    }
}

/// I4 and I5.
fn judge_whole(index: &Index<'_>, operation: &Operation<'_>, verdicts: &mut Verdicts) {
    let written = index.entries_of(operation.key);
    let refused = |attempt: &Attempt<'_>| matches!(attempt.outcome, Outcome::Refused { .. });
    match &*operation.attempts {
        [only] if refused(only) => {
            verdicts.expect(Invariant::I4, written.is_empty(), || {
                format!("key {:?}: refused, and has an effect", operation.key)
            });
            return;
        }
        attempts if attempts.iter().any(refused) && !written.is_empty() => {
            // The attempt that was given up may have been decided after the one that was refused.
            verdicts.skip(Invariant::I4, "refused after an attempt that was left open");
        }
        _ => {}
    }
    if written.is_empty() || matches!(operation.what, What::Hold(..) | What::Release) {
        return;
    }
    let given = operation.given_us().is_some();
    let whole = whole(index, operation, written);
    verdicts.expect(if given { Invariant::I5 } else { Invariant::I4 }, whole, || {
        let entries: Vec<_> = written.iter().map(|entry| name(entry)).collect();
        format!("key {:?}: only a part of it is there: {entries:?}", operation.key)
    });
}

/// Whether what an operation left in the ledger is all of it.
fn whole(index: &Index<'_>, operation: &Operation<'_>, written: &[&Entry]) -> bool {
    match operation.what {
        What::Promises(promises) => wanted(index, promises) == Some(reserved(written)),
        What::Line(line) => {
            let is_it = |entry: &&&Entry| {
                index.position(&line.location, &line.sku) == Some((entry.location, entry.item))
                    && entry.quantity == line.quantity
                    && i32::from(entry.kind) == line.kind
            };
            let other = || {
                let there = index.location(&line.to_location);
                written.iter().any(|entry| Some(entry.location) == there)
            };
            written.iter().any(|entry| is_it(&entry)) && (line.to_location.is_empty() || other())
        }
        What::Step { to_location, .. } if !to_location.is_empty() => {
            let reached = |state| written.iter().any(|entry| entry.reservation_state == state);
            reached(state::MOVED) && reached(state::RESERVED)
        }
        What::Step { reservation, .. } => {
            written.iter().all(|entry| entry.reservation == reservation)
        }
        What::Hold(..) | What::Release => true,
    }
}

fn wanted(index: &Index<'_>, promises: &[Promise]) -> Option<BTreeMap<PositionId, i64>> {
    let mut wanted = BTreeMap::new();
    for Promise { location, lines } in promises {
        for (sku, quantity) in lines {
            *wanted.entry(index.position(location, sku)?).or_default() += quantity;
        }
    }
    Some(wanted)
}

fn reserved(written: &[&Entry]) -> BTreeMap<PositionId, i64> {
    let mut reserved = BTreeMap::new();
    for entry in written.iter().filter(|entry| entry.kind == kind::RESERVE) {
        *reserved.entry((entry.location, entry.item)).or_default() += entry.quantity;
    }
    reserved
}

/// I5: lines of a group are all there, or none is.
fn judge_groups(index: &Index<'_>, operations: &[Operation<'_>], verdicts: &mut Verdicts) {
    let mut groups: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for operation in operations {
        let What::Line(line) = operation.what else { continue };
        if line.group.is_empty() {
            continue;
        }
        let (there, missing) = groups.entry(&line.group).or_default();
        match index.entries_of(operation.key) {
            [] => *missing += 1,
            _ => *there += 1,
        }
    }
    for (group, (there, missing)) in groups {
        verdicts.expect(Invariant::I5, there == 0 || missing == 0, || {
            format!("group {group:?}: {there} lines are there, {missing} are not")
        });
    }
}

/// I2: within an epoch a place in the log belongs to one operation, so what was acknowledged of a
/// timeline that died is never acknowledged again as something else under the same epoch.
fn judge_epochs(operations: &[Operation<'_>], verdicts: &mut Verdicts) {
    let mut owners: HashMap<(i64, i16, i64), &str> = HashMap::new();
    for operation in operations {
        for attempt in &operation.attempts {
            let Outcome::Given { entries, epoch, .. } = &attempt.outcome else { continue };
            for (partition, seq) in entries {
                let place = (*epoch, *partition, *seq);
                let owner = *owners.entry(place).or_insert(operation.key);
                // A replay after a fail-over names the present epoch and the entry as it is now.
                verdicts.expect(Invariant::I2, owner == operation.key, || {
                    let key = operation.key;
                    format!("key {key:?}: acknowledged as {place:?}, which was {owner:?}")
                });
            }
        }
    }
}
