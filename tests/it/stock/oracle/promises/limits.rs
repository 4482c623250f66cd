//! What a channel allows, and when things are due.

use stockroom::stock::{
    channel_policy::Policy, ids::Place, refusal::Refusal, reservation::Settlement, step::Wanted,
    terms::Terms, time::Timestamp,
};

use crate::stock::steps::said;

const DAY: i64 = 86_400_000_000;

pub(super) fn too_long(terms: &Terms, ttl: Option<i64>, hold: bool) -> Option<Refusal> {
    let Policy { hold_ttl_max, reservation_ttl_max, .. } = *terms.policy;
    let longest = if hold { hold_ttl_max } else { reservation_ttl_max };
    let too_long = ttl.is_some_and(|ttl| ttl > longest);
    too_long.then_some(Refusal::TtlExceeded { ttl_max_ms: longest / 1_000 })
}

pub(super) fn above_cap(terms: &Terms, place: Place, lines: &[Wanted]) -> Option<Refusal> {
    let above = |line: &Wanted| {
        let exception = said(&terms.policy, place, line.item, |rule| rule.units_per_order_max);
        let units_max = exception.unwrap_or(terms.policy.units_per_order_max);
        let above = units_max != 0 && line.quantity > units_max;
        above.then(|| Refusal::UnitsPerOrderExceeded { sku: line.sku.clone(), units_max })
    };
    lines.iter().find_map(above)
}

pub(super) fn not_eligible(terms: &Terms, place: Place) -> Option<Refusal> {
    let eligible = &terms.policy.eligible;
    let named = eligible.iter().any(|location| *location == place.location);
    (!named && !eligible.is_empty()).then_some(Refusal::LocationNotEligible)
}

/// Of a location that never closes, in UTC.
pub(super) fn ready_by(terms: &Terms, now: Timestamp) -> Timestamp {
    Timestamp(now.0 + terms.preparation)
}

pub(super) fn collect_by(terms: &Terms, now: Timestamp, settlement: Settlement) -> Timestamp {
    let days = match settlement {
        Settlement::PaidOnline => terms.policy.collect_days_paid_online,
        Settlement::PayInStore => terms.policy.collect_days_pay_in_store,
    };
    Timestamp((ready_by(terms, now).0 / DAY + 1 + i64::from(days)) * DAY)
}

pub(super) fn answer_by(terms: &Terms, now: Timestamp) -> Option<Timestamp> {
    terms.policy.answer_timeout.map(|timeout| Timestamp(now.0 + timeout))
}
