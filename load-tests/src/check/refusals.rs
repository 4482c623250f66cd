//! I11: who was refused for lack of stock was refused rightly: at some moment just before there was
//! less than he wanted.

use super::{
    claims::Claims,
    index::{BEHIND_MAX, Index, PositionId, State, seconds},
    verdict::{Invariant, Verdicts},
};
use crate::history::call::{Answered, Asked, Call, Promise, Short};

pub(super) fn judge(index: &Index<'_>, claims: &Claims, verdicts: &mut Verdicts) {
    for call in &index.history.calls {
        let Answered::Refused { reason, short } = &call.answered else { continue };
        if reason == "INTERNAL" {
            verdicts.expect(Invariant::I11, false, || {
                format!("{:?} at {}: INTERNAL", call.asked.keys(), seconds(call.end_us))
            });
        }
        let (Some(short), "INSUFFICIENT_STOCK") = (short, reason.as_str()) else { continue };
        let (promises, to) = match &call.asked {
            Asked::Hold { promise, .. } | Asked::Reserve { promise, .. } => {
                (std::slice::from_ref(promise), "")
            }
            Asked::Basket { promises, .. } => (&**promises, ""),
            Asked::Step { to_location, .. } => (&[][..], to_location.as_str()),
            _ => continue,
        };
        let wanted = |promise: &Promise| {
            let lines = promise.lines.iter().filter(|(sku, _)| *sku == short.sku);
            lines.map(|(_, units)| units).sum::<i64>()
        };
        let places = promises.iter().map(|promise| (promise.location.as_str(), wanted(promise)));
        let moved = (!to.is_empty()).then_some((to, short.wanted));
        let justified = places.chain(moved).any(|(location, wanted)| {
            let position = index.position(location, &short.sku);
            let least = position.map_or(0, |position| least(index, claims, position, call));
            wanted == short.wanted && least < wanted
        });
        match index.unsettled(call.start_us, call.end_us) {
            Some(why) if !justified => verdicts.skip(Invariant::I11, why),
            _ => verdicts.expect(Invariant::I11, justified, || what(call, short)),
        }
    }
}

/// The least that can have been available at some moment that the refusal may rest on.
fn least(index: &Index<'_>, claims: &Claims, position: PositionId, call: &Call) -> i64 {
    let from_us = call.start_us - BEHIND_MAX;
    let states = index.states_of(position);
    let before = states.partition_point(|state| state.recorded_us <= from_us);
    let first = before.checked_sub(1);
    let start = first.and_then(|first| states.get(first)).copied().unwrap_or(State::default());
    let during = states.iter().skip(before).take_while(|state| state.recorded_us <= call.end_us);
    let free = during.map(|state| state.free).min().unwrap_or(start.free).min(start.free);
    let claimed = claims.get(&position);
    free - claimed.map_or(0, |claimed| claimed.most(from_us, call.end_us))
}

fn what(call: &Call, short: &Short) -> String {
    let Short { sku, wanted, available } = short;
    let (keys, start) = (call.asked.keys(), seconds(call.start_us));
    format!("{keys:?} at {start}: refused {wanted} of {sku} as there were {available}")
}
