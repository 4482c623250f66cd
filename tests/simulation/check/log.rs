//! The ledger itself: I1, I5, I6, I7 and I14, replayed entry by entry.

use std::collections::{BTreeMap, BTreeSet};

use stockroom::{
    ledger::{
        audit::{Found, walk::Walk},
        chain::Chain,
    },
    stock::{
        entry::Entry,
        ids::{Partition, PositionKey},
        kind::{Kind, StockState},
        reservation::{Reservation, State},
    },
};

use crate::{
    database::tables::{Delta, Tables},
    memory::leg,
    stage::{PARTITIONS, Stage},
};

pub fn check(stage: &Stage) {
    let found = stage.postgres.look(|tables| {
        let mut found = Vec::new();
        for partition in PARTITIONS {
            replay(tables, partition, &mut found);
            chain(tables, partition, &mut found);
        }
        folds(tables, &mut found);
        promises(tables, &mut found);
        pairs(tables, &mut found);
        epochs(tables, &mut found);
        found
    });
    let expired = stage.postgres.look(|tables| {
        let mut made = tables.rows.reservations.values();
        made.any(|made| made.state == State::Expired)
    });
    if expired {
        stage.world.reach("reservation expired");
    }
    found.into_iter().for_each(|what| stage.world.violated(what));
}

fn replay(tables: &Tables, partition: Partition, found: &mut Vec<String>) {
    let log = tables.rows.logs.get(&partition).into_iter().flatten();
    let mut balances: BTreeMap<PositionKey, (i64, i64, i64)> = BTreeMap::new();
    let (mut seq, mut time) = (0, None);
    for entry in log {
        seq += 1;
        let at = entry.at();
        if entry.seq != seq {
            found.push(format!("{at:?} has no place in the order, which is at {seq}"));
        }
        if time.is_some_and(|time| entry.recorded_at < time) {
            found.push(format!("{at:?} was recorded before the one before it"));
        }
        time = Some(entry.recorded_at);
        let (sellable, reserved, last) = balances.entry(entry.position()).or_default();
        *sellable += leg(entry, StockState::Sellable);
        *reserved += entry.reserved_change;
        *last = entry.seq;
        if (*sellable, *reserved) != (entry.sellable_after, entry.reserved_after) {
            found.push(format!("{at:?} says {entry:?} after {sellable}, {reserved}"));
        }
        if entry.kind as i16 >= 100 && entry.reserved_change > 0 && *reserved > *sellable {
            found.push(format!("{at:?} promises {reserved} of {sellable} units"));
        }
    }
    let head = tables.heads[&partition].seq;
    if seq != head {
        found.push(format!("the head of {partition:?} is at {head}, and its log at {seq}"));
    }
    let here = tables.rows.positions.iter().filter(|(key, _)| key.place.partition == partition);
    let stored: BTreeMap<_, _> =
        here.map(|(key, at)| (*key, (at.sellable, at.reserved, at.seq))).collect();
    if stored != balances {
        found.push(format!("positions are {stored:?}, and the log says {balances:?}"));
    }
}

/// The chain covers every entry, however often batches were executed again and whatever was lost.
fn chain(tables: &Tables, partition: Partition, found: &mut Vec<String>) {
    let mut walk = Walk::new(partition, Chain::default(), &[]);
    walk.follow(tables.links.get(&partition).cloned().unwrap_or_default());
    let mut log = tables.rows.logs.get(&partition).into_iter().flatten();
    let head = tables.chains.get(&partition).copied().unwrap_or_default();
    let walked = log
        .try_for_each(|entry| walk.take(entry.seq, Ok((entry, entry.checksum()))))
        .and_then(|()| walk.end(head, tables.heads[&partition].epoch));
    if let Err(difference) = walked {
        found.push(format!("the chain of {partition:?} is broken: {difference}"));
    }
    let Found { unlinked, gaps, .. } = walk.into_found();
    if unlinked > 0 || !gaps.is_empty() {
        found.push(format!("the chain of {partition:?} has gaps: {gaps:?}, {unlinked}"));
    }
}

/// What is there is what was counted last, and everything that happened after that by its own time.
fn folds(tables: &Tables, found: &mut Vec<String>) {
    for (key, position) in &tables.rows.positions {
        let log = || tables.rows.logs.get(&key.place.partition).into_iter().flatten();
        let corrected: BTreeSet<_> = log()
            .filter(|entry| entry.kind == Kind::Correct)
            .filter_map(|entry| entry.refers_to)
            .collect();
        let written = [Kind::Correct, Kind::CountVariance, Kind::ExpectVariance];
        let mut facts: Vec<_> = log()
            .filter(|entry| entry.position() == *key && (entry.kind as i16) < 100)
            .filter(|entry| !written.contains(&entry.kind) && !corrected.contains(&entry.seq))
            .collect();
        facts.sort_by_key(|fact| (fact.effective_at, fact.seq));
        let sellable = facts.into_iter().fold(0, |sum, fact| match fact.kind {
            Kind::Count => fact.quantity,
            _ => sum + leg(fact, StockState::Sellable),
        });
        if sellable != position.sellable {
            found.push(format!("{key:?} has {}, and its facts say {sellable}", position.sellable));
        }
    }
}

/// What is reserved of a position is what its open reservations promise; nothing ends early.
fn promises(tables: &Tables, found: &mut Vec<String>) {
    let mut open: BTreeMap<PositionKey, i64> = BTreeMap::new();
    for made in tables.rows.reservations.values() {
        for line in &made.lines {
            *open.entry(made.position(line.item)).or_default() += made.reserved(line.item);
        }
        if made.state == State::Expired && made.changed_at < made.expires_at {
            found.push(format!("{} ended before its time", made.id));
        }
        let made_by = tables.rows.entry(made.at());
        if made_by.is_none_or(|entry| entry.kind != Kind::Reserve) {
            found.push(format!("{} was made by {made_by:?}", made.id));
        }
        successor(tables, made, found);
    }
    for (key, position) in &tables.rows.positions {
        let promised = open.get(key).copied().unwrap_or(0);
        if position.reserved != promised {
            found.push(format!("{key:?} has {} reserved, not {promised}", position.reserved));
        }
    }
}

fn successor(tables: &Tables, made: &Reservation, found: &mut Vec<String>) {
    let Some(id) = made.successor else { return };
    let next = tables.rows.reservations.get(&id.at());
    if next.is_none_or(|next| next.id != id || next.predecessor != Some(made.id)) {
        found.push(format!("{} goes on as {id}, which is {next:?}", made.id));
    }
}

/// What a failover lost shares its place in the log with something else, but never its name.
fn epochs(tables: &Tables, found: &mut Vec<String>) {
    let names = |delta: &Delta| -> Vec<(Partition, i64, i64)> {
        let epoch = |partition| {
            delta.heads.iter().find(|head| head.partition == partition).map(|head| head.epoch)
        };
        let named = delta.entries.iter();
        named
            .filter_map(|entry| Some((entry.partition, epoch(entry.partition)?, entry.seq)))
            .collect()
    };
    let lost: BTreeSet<_> = tables.lost.iter().flat_map(names).collect();
    let mut kept = tables.history.iter().flat_map(names);
    if let Some(twice) = kept.find(|name| lost.contains(name)) {
        found.push(format!("{twice:?} was lost, and is the name of something else"));
    }
}

/// Both halves of a transfer are there.
fn pairs(tables: &Tables, found: &mut Vec<String>) {
    for entry in tables.rows.entries().filter(|entry| entry.kind == Kind::TransferShip) {
        let other: Option<&Entry<'_>> = entry.counter.and_then(|counter| {
            let log = tables.rows.logs.get(&counter.place.partition)?;
            log.get(usize::try_from(counter.seq - 1).ok()?)
        });
        let fits = other.is_some_and(|other| {
            other.key == entry.key && other.kind == entry.kind && other.quantity == entry.quantity
        });
        if !fits {
            found.push(format!("{:?} has no other half: {other:?}", entry.at()));
        }
    }
}
