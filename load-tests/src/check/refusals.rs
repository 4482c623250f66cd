//! I11: who was refused for lack of stock was refused rightly: at some moment just before there was
//! less than he wanted. And I1 for holds, the other way round: there was enough.

use super::{
    claims::Claims,
    index::{BEHIND_MAX, Index, PositionId, State, seconds},
    operation::{Operation, Outcome, What},
    verdict::{Invariant, Verdicts},
};
use crate::history::{
    Effect, Micros,
    call::{Answered, Asked, Call, Durability, Promise, Short},
};

pub(super) fn judge(
    index: &Index<'_>,
    operations: &[Operation<'_>],
    claims: &Claims<'_>,
    verdicts: &mut Verdicts,
) {
    for call in &index.history.calls {
        let Answered::Refused { reason, short } = &call.answered else { continue };
        if reason == "INTERNAL" {
            verdicts.expect(Invariant::I11, false, || {
                format!("{:?} at {}: INTERNAL", call.asked.keys(), seconds(call.end_us))
            });
        }
        let (Some(short), "INSUFFICIENT_STOCK") = (short, reason.as_str()) else { continue };
        let justified = is_justified(index, claims, call, short);
        match index.unsettled(call.start_us, call.end_us) {
            Some(why) if !justified => verdicts.skip(Invariant::I11, why),
            _ => verdicts.expect(Invariant::I11, justified, || what(call, short)),
        }
    }
    for operation in operations {
        judge_hold(index, claims, operation, verdicts);
    }
}

fn is_justified(index: &Index<'_>, claims: &Claims<'_>, call: &Call, short: &Short) -> bool {
    let (promises, hold, to) = match &call.asked {
        Asked::Hold { promise, .. } => (std::slice::from_ref(promise), "", ""),
        Asked::Reserve { promise, hold, .. } => (std::slice::from_ref(promise), hold.as_str(), ""),
        Asked::Basket { promises, .. } => (&**promises, "", ""),
        Asked::Step { to_location, .. } => (&[][..], "", to_location.as_str()),
        _ => return true,
    };
    let is_hold = matches!(call.asked, Asked::Hold { .. });
    let places = promises.iter().map(|promise| (&*promise.location, wanted(promise, &short.sku)));
    let moved = (!to.is_empty()).then_some((to, short.wanted));
    let mut places = places.chain(moved);
    places.any(|(location, wanted)| {
        let Some(position) = index.position(location, &short.sku) else { return true };
        let from_us = call.start_us - BEHIND_MAX;
        let mut free = free(index, position, from_us, call.end_us).0;
        free -= claims.held(position, from_us, call.end_us);
        if is_hold {
            // What batches claim stands against a hold; a batch waits for others. And a hold never
            // stands against itself.
            free -= claims.batched(position, from_us, call.end_us);
            free += wanted;
        }
        let own = claims.promise(hold).filter(|own| own.location == location);
        free += own.map_or(0, |own| self::wanted(own, &short.sku));
        wanted == short.wanted && free < wanted
    })
}

/// A hold in memory was granted when there was stock for it besides the holds that were live. The ledger
/// grants by what it knows itself, which its entries show: a hold in memory may be voided by it.
fn judge_hold(
    index: &Index<'_>,
    claims: &Claims<'_>,
    operation: &Operation<'_>,
    verdicts: &mut Verdicts,
) {
    let What::Hold(promise, _) = operation.what else { return };
    let is_held = |outcome: &Outcome<'_>| {
        matches!(outcome, Outcome::Held { durability: Durability::Memory, .. })
    };
    let Some(given) = operation.attempts.iter().find(|attempt| is_held(&attempt.outcome)) else {
        return;
    };
    let (from_us, end_us) = (operation.start_us() - BEHIND_MAX, given.end_us);
    if rolled_back(index, from_us, end_us) || index.unsettled(from_us, end_us).is_some() {
        return verdicts.skip(Invariant::I1, "a hold that Redis granted when it had lost others");
    }
    for (sku, _) in &promise.lines {
        let Some(position) = index.position(&promise.location, sku) else { continue };
        let most = free(index, position, from_us, end_us).1;
        let others = claims.surely_held(position, operation.start_us(), end_us);
        let wanted = wanted(promise, sku);
        verdicts.expect(Invariant::I1, wanted + others <= most, || {
            let (key, at) = (operation.key, seconds(end_us));
            format!("key {key:?}: {wanted} of {sku} held at {at}; {others} held of {most} before")
        });
    }
}

/// Whether Redis may have lost holds that were live between two moments.
fn rolled_back(index: &Index<'_>, start_us: Micros, end_us: Micros) -> bool {
    // A hold lasts an hour at most; those of a history are shorter than this.
    const HOLDS_LAST: Micros = 10_000_000;
    index.history.faults.iter().any(|fault| {
        fault.effect == Effect::RedisRolledBack
            && fault.at_us <= end_us
            && start_us <= fault.until_us + HOLDS_LAST
    })
}

/// The least and the most that was not promised by reservations, at moments that an answer may rest
/// on that was given between these.
fn free(index: &Index<'_>, position: PositionId, from_us: Micros, end_us: Micros) -> (i64, i64) {
    let states = index.states_of(position);
    let before = states.partition_point(|state| state.recorded_us <= from_us);
    let first = before.checked_sub(1).and_then(|first| states.get(first)).copied();
    let during = states.iter().skip(before).take_while(|state| state.recorded_us <= end_us);
    let start = first.unwrap_or(State::default()).free;
    during
        .fold((start, start), |(least, most), state| (least.min(state.free), most.max(state.free)))
}

fn wanted(promise: &Promise, sku: &str) -> i64 {
    let lines = promise.lines.iter().filter(|(other, _)| other == sku);
    lines.map(|(_, units)| units).sum()
}

fn what(call: &Call, short: &Short) -> String {
    let Short { sku, wanted, available } = short;
    let (keys, start) = (call.asked.keys(), seconds(call.start_us));
    format!("{keys:?} at {start}: refused {wanted} of {sku} as there were {available}")
}
