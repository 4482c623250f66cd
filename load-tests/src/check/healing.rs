//! I12: how the service came back.

use super::{
    index::seconds,
    load::History,
    verdict::{Invariant, Verdicts},
};
use crate::history::{Healing, Micros};

/// How long it may take.
const HEAL_MAX: Micros = 10_000_000;

pub(super) fn judge(history: &History, verdicts: &mut Verdicts) {
    let Some(healing) = &history.healing else {
        return verdicts.skip(Invariant::I12, "the history says nothing of it");
    };
    let Healing { equal_after_us, goodput_after_us, before_per_s, after_per_s, .. } = healing;
    let in_time = |after: &Option<Micros>| after.is_some_and(|after| after <= HEAL_MAX);
    let told = |after: &Option<Micros>| after.map_or("never".to_owned(), seconds);
    verdicts.expect(Invariant::I12, in_time(equal_after_us), || {
        format!("Redis equals PostgreSQL after {}", told(equal_after_us))
    });
    verdicts.expect(Invariant::I12, in_time(goodput_after_us), || {
        let after = told(goodput_after_us);
        format!("goodput is back after {after}: {after_per_s:.0} of {before_per_s:.0} a second")
    });
    let Healing { stale_holds, difference, .. } = healing;
    verdicts.expect(Invariant::I12, *stale_holds == 0, || {
        format!("{stale_holds} holds are left that have ended")
    });
    verdicts.expect(Invariant::I12, difference.is_empty(), || difference.clone());
}
