//! What must be true after a run, decided from the ledger's rows, from what clients heard and from what
//! Redis says in the end.

mod answers;
mod calm;
mod log;

use std::{collections::BTreeSet, sync::Arc};

use stockroom::{
    availability::{
        Availability, Bucket,
        hold::{HoldStatus, KnownHold},
    },
    stock::{book::HoldKey, hold::HoldId, ids::PositionKey},
};

use crate::{
    call::{Call, Heard},
    link::Link,
    stage::{PARTITIONS, PREFIX, Stage},
    trouble::Profile,
};

/// Decides about the ledger, and about every answer.
pub fn calls(stage: &Stage, profile: Profile, calls: &[Call]) {
    log::check(stage);
    answers::check(stage, profile, calls);
}

/// Holds that the ledger says were consumed are live no more.
pub async fn holds(stage: &Arc<Stage>, calls: &[Call]) {
    let availability = stage.availability(Link::new(0));
    let held = calls.iter().filter_map(|call| match &call.heard {
        Heard::Held { id, .. } => Some(*id),
        _ => None,
    });
    for id in held.collect::<BTreeSet<HoldId>>() {
        let Ok(KnownHold::Here(_, HoldStatus::Live)) = availability.get(id).await else { continue };
        let key = HoldKey::of(id);
        let consumed = stage.postgres.look(|tables| {
            let mut made = tables.rows.reservations.values();
            made.any(|made| made.hold == Some(id.digest) && made.id.place == id.place)
        });
        if consumed {
            stage.world.violated(format!("{key:?} was consumed, and Redis holds on to it"));
        }
    }
}

/// How Redis differs from the ledger, if it does.
pub async fn redis(stage: &Arc<Stage>) -> Option<String> {
    let availability = stage.availability(Link::new(0));
    let states = match availability.states(&PARTITIONS).await {
        Ok(states) => states,
        Err(fault) => return Some(fault.chain()),
    };
    for (partition, state) in PARTITIONS.iter().zip(states) {
        let (head, timeline) =
            stage.postgres.look(|tables| (tables.heads[partition], tables.timeline));
        if head.timeline != timeline {
            return Some(format!("{head:?} and nobody has noticed timeline {timeline}"));
        }
        let there = state.view.checkpoint.map(|at| (at.epoch, at.seq));
        if there != Some((head.epoch, head.seq)) || state.rebuild.is_some() {
            return Some(format!("{head:?} and Redis stands at {there:?}, {:?}", state.rebuild));
        }
        if state.view.doubtful || state.view.age_us > 1_000_000 {
            return Some(format!("{:?} is late or in doubt", state.view));
        }
        if let Some(left) = left(stage, partition.0) {
            return Some(left);
        }
    }
    rows(stage, &availability).await
}

async fn rows(stage: &Stage, availability: &Availability) -> Option<String> {
    let positions: Vec<_> = stage.postgres.look(|tables| {
        let positions = tables.rows.positions.iter();
        positions.map(|(key, position)| (*key, position.clone())).collect()
    });
    let mut buckets: Vec<Bucket> = positions.iter().map(|(key, _)| Bucket::of(*key)).collect();
    buckets.dedup();
    let mut rows = 0;
    for bucket in buckets {
        let Ok(found) = availability.bucket(bucket).await else {
            return Some("Redis is away".to_owned());
        };
        for (item, stored) in &found.rows {
            let key = PositionKey { place: bucket.place, item: *item };
            let position = positions.iter().find(|(at, _)| *at == key).map(|(_, found)| found);
            let row = stored.row.map(|(epoch, row)| (epoch, row.seq, row.sellable, row.reserved));
            let epoch = stage.postgres.look(|tables| tables.heads[&key.place.partition].epoch);
            let expected = position.map(|at| (epoch, at.seq, at.sellable, at.reserved));
            if row != expected {
                return Some(format!("{key:?} is {expected:?}, and Redis says {row:?}"));
            }
            rows += 1;
        }
    }
    (rows != positions.len()).then(|| format!("{rows} rows of {} positions", positions.len()))
}

/// What is left of batches that are over, or does not add up.
fn left(stage: &Stage, partition: i16) -> Option<String> {
    let keys = stage.redis.keyspace();
    let name = |name: &str| format!("{PREFIX}:{{p{partition}}}:{name}").into_bytes();
    for nothing in ["taken", "tokens"] {
        if let Some(left) = keys.hashes.get(&name(nothing)) {
            return Some(format!("{} are left in '{nothing}'", left.len()));
        }
    }
    let units = |hash: &str| -> i64 {
        let there = keys.hashes.get(&name(hash)).into_iter().flatten();
        let parse = |(_, units): (&Vec<u8>, &Vec<u8>)| {
            String::from_utf8_lossy(units).parse::<i64>().unwrap_or(0)
        };
        there.map(parse).sum()
    };
    let (held, by_tick) = (units("held"), units("tick_units"));
    (held != by_tick).then(|| format!("{held} units are held, and {by_tick} by their ticks"))
}
