//! What joins partitions: transfers, returns in another shop, reservations that were moved, and
//! units that are neither made nor lost on the way.

use rustc_hash::FxHashMap;

use crate::{
    ledger::verify::{
        Stop, differs, entry_name,
        fold::{Fold, Half, LinkedReturn, RequestId},
        position_name,
        promise::compare::Successions,
    },
    stock::ids::{Partition, Seq},
};

/// Units returned against each request, by partition and request.
pub(super) type Returned = FxHashMap<(Partition, RequestId), i64>;

/// What the folds of all partitions together say of single rows.
pub(super) struct Across {
    pub returned: Returned,
    pub successions: Successions,
}

/// Joins the folds, which must all be of one moment.
pub(super) fn join(folds: &mut [Fold]) -> Result<Across, Stop> {
    pair_up(folds)?;
    Ok(Across { returned: returned(folds)?, successions: successions(folds)? })
}

/// Every reservation that was moved has a successor, and the other way round.
fn successions(folds: &[Fold]) -> Result<Successions, Stop> {
    let continuing = folds.iter().flat_map(|fold| fold.promises.continuing.iter().copied());
    let mut continuing: FxHashMap<_, _> = continuing.collect();
    let mut successions = Successions::default();
    for (request, moved) in folds.iter().flat_map(|fold| &fold.promises.moved) {
        let Some(successor) = continuing.remove(request) else {
            return Err(Stop::Differs(format!("{moved}: no entry made its successor")));
        };
        successions.successors.insert((moved.place.partition, moved.no), successor);
        successions.predecessors.insert((successor.place.partition, successor.no), *moved);
    }
    match continuing.into_values().min() {
        Some(successor) => Err(Stop::Differs(format!("{successor}: it continues none"))),
        None => Ok(successions),
    }
}

/// What is reserved of a position is what its open reservations promise and have not picked.
pub(super) fn promised(folds: &[Fold]) -> Result<(), Stop> {
    for fold in folds {
        let mut reserved = fold.promises.reserved();
        for (&(location, item), sums) in &fold.positions {
            let promised = reserved.remove(&(location, item)).unwrap_or(0);
            let name = || position_name(fold.partition, (location, item));
            differs(name, &[("reserved", Some(sums.reserved), Some(promised))])?;
        }
    }
    Ok(())
}

/// Sums up what was returned against every request, and makes sure that each original is the one
/// that its return names.
fn returned(folds: &[Fold]) -> Result<Returned, Stop> {
    let by_partition: FxHashMap<_, _> = folds.iter().map(|fold| (fold.partition, fold)).collect();
    let mut returned = Returned::default();
    for fold in folds {
        for LinkedReturn { seq, quantity, request, original } in &fold.returns {
            let partition = original.map_or(fold.partition, |(partition, _)| partition);
            if let Some((_, original_seq)) = original {
                let there = by_partition.get(&partition);
                let asked = there.and_then(|fold| fold.requests.get(request));
                if asked.and_then(|asked| asked.seq) != Some(*original_seq) {
                    let name = entry_name(fold.partition, *seq);
                    let text = format!("{name}: counter_seq {original_seq} is not the original");
                    return Err(Stop::Differs(text));
                }
            }
            let stands = !fold.corrections.contains_key(seq);
            *returned.entry((partition, *request)).or_default() +=
                if stands { *quantity } else { 0 };
        }
    }
    Ok(returned)
}

/// Pairs up the halves that the folds found since the last call. What leaves one place and enters no
/// other breaks the conservation of units: an entry with both legs adds up to zero by itself, so all
/// others must do so in pairs.
fn pair_up(folds: &mut [Fold]) -> Result<(), Stop> {
    let mut open: FxHashMap<(Partition, Seq), (Partition, Half)> = FxHashMap::default();
    for fold in folds {
        let own = fold.partition;
        for half in fold.halves.drain(..) {
            let Some((other_partition, other)) = open.remove(&half.other) else {
                open.insert((own, half.seq), (own, half));
                continue;
            };
            let fits = other.other == (own, half.seq)
                && other.other_location == half.location
                && half.other_location == other.location
                && other.item == half.item
                && other.quantity == half.quantity
                && other.legs + half.legs == 3;
            if !fits {
                let (name, other) =
                    (entry_name(own, half.seq), entry_name(other_partition, other.seq));
                return Err(Stop::Differs(format!("{name}: does not fit its other half, {other}")));
            }
        }
    }
    match open.into_values().min_by_key(|(partition, half)| (*partition, half.seq)) {
        None => Ok(()),
        Some((partition, half)) => {
            let (name, other) = (entry_name(partition, half.seq), half.other);
            let other = entry_name(other.0, other.1);
            Err(Stop::Differs(format!("{name}: its other half, {other}, is missing")))
        }
    }
}
