//! Runs in which nothing goes wrong and stock never falls: every promise is kept, every refusal is
//! justified (I11), and nobody waits.

use std::collections::BTreeMap;

use stockroom::{
    stock::{
        hold::HoldId,
        ids::{Place, PositionKey},
        refusal::Refusal,
        time::{Micros, SECOND, Timestamp},
    },
    writer::request::NewPromise,
};

use crate::{
    call::{Call, Heard, What},
    redis::Held,
    stage::{Stage, place},
};

/// Nobody waits for longer.
const ANSWERED_WITHIN: Micros = SECOND;
/// How far what a refusal rests on may lie back, where the tailer is not kept from its work.
const BOUND: Micros = SECOND / 4;
/// Microseconds of a tick in which holds end.
const TICK: Micros = 100_000;

pub fn check(stage: &Stage, calls: &[Call]) {
    let held_since = stage.redis.held_since();
    for call in calls {
        if matches!(call.heard, Heard::Nothing) || call.ended.0 - call.started.0 > ANSWERED_WITHIN {
            stage.world.violated(format!("nothing is wrong, and yet it took long: {call:?}"));
        }
        let Heard::Refused(Refusal::InsufficientStock { .. }) = call.heard else { continue };
        let promise = match &call.what {
            What::Reserve(promise) | What::Hold(promise) => promise,
            _ => continue,
        };
        match promise.hold {
            Some(id) if promise.lines.is_empty() && is_live(id, call, calls) => {
                stage.world.violated(format!("a hold was not kept: {call:?}"));
            }
            None if !is_justified(stage, &held_since, promise, call) => {
                stage.world.violated(format!("there was enough: {call:?}"));
            }
            // What it asks for beyond its hold, or instead of it, is judged where it has none.
            _ => {}
        }
    }
}

/// Whether a hold was surely live while a call was under way.
fn is_live(id: HoldId, call: &Call, calls: &[Call]) -> bool {
    let names = |what: &What| match what {
        What::ReleaseHold(of) | What::ReplaceHold(of, _) | What::ExtendHold(of, _) => *of == id,
        What::Reserve(promise) => promise.hold == Some(id),
        _ => false,
    };
    let mut others = calls.iter().filter(|other| names(&other.what) && other.key != call.key);
    let taken = calls.iter().find_map(|other| match &other.heard {
        Heard::Held { id: of, expires_at, in_ledger: false, .. }
            if *of == id && matches!(other.what, What::Hold(_)) =>
        {
            Some((other.ended, *expires_at))
        }
        _ => None,
    });
    let in_time = |(since, until)| since < call.started && call.ended < until;
    taken.is_some_and(in_time) && !others.any(|other| other.started <= call.ended)
}

/// Whether there was any moment at which what is wanted was not there.
fn is_justified(stage: &Stage, held_since: &[Held], promise: &NewPromise, call: &Call) -> bool {
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    for (sku, units) in &promise.lines {
        *wanted.entry(sku).or_default() += units;
    }
    let place = place(&promise.location_id);
    let from = Timestamp(call.started.0 - BOUND);
    let moments = moments(stage, held_since, place, from, call.ended);
    let mut is_short = wanted.into_iter().map(|(sku, units)| {
        let Some(key) = stage.postgres.key(place, sku) else { return true };
        moments.iter().any(|at| free(stage, held_since, key, *at) < units)
    });
    if promise.per_line { is_short.all(|short| short) } else { is_short.any(|short| short) }
}

/// The beginning of a span, and whenever something changed in it.
fn moments(
    stage: &Stage,
    held_since: &[Held],
    place: Place,
    from: Timestamp,
    until: Timestamp,
) -> Vec<Timestamp> {
    let mut moments = vec![from];
    stage.postgres.look(|tables| {
        let here = tables.balances.iter().filter(|stood| stood.key.place == place);
        moments.extend(here.map(|stood| stood.since));
    });
    moments.extend(held_since.iter().map(|(since, ..)| *since));
    moments.retain(|at| (from..=until).contains(at));
    moments
}

/// What was there at a moment, and neither promised nor held.
fn free(stage: &Stage, held_since: &[Held], key: PositionKey, at: Timestamp) -> i64 {
    let stood = stage.postgres.look(|tables| {
        let mut before = tables.balances.iter().rev();
        let before = before.find(|stood| stood.key == key && stood.since <= at);
        before.map_or(0, |stood| stood.sellable - stood.reserved)
    });
    let tag = format!("{{p{}}}:tick_units", key.place.partition.0);
    let mut before = held_since.iter().rev();
    let held = before.find(|(since, of, _)| *since <= at && of.ends_with(tag.as_bytes()));
    let position = format!("{}:{}:", key.place.location.0, key.item.0);
    let units = |(member, units): (&Vec<u8>, &Vec<u8>)| {
        let member = String::from_utf8_lossy(member).into_owned();
        let tick: i64 = member.strip_prefix(&position)?.parse().ok()?;
        let units = String::from_utf8_lossy(units).parse::<i64>().ok();
        units.filter(|_| tick * TICK > at.0)
    };
    let held: i64 = held.into_iter().flat_map(|(.., by_tick)| by_tick).filter_map(units).sum();
    stood - held
}
