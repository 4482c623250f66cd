//! What may have stood against a position in Redis at a moment: live holds, and what batches claim
//! while they are decided. A history does not tell it exactly, so this is the most that it can be.

use std::collections::HashMap;

use super::{
    index::{Index, PositionId},
    operation::{Operation, Outcome, What},
};
use crate::history::Micros;

/// How long the claim of a batch stands at most, and the time that a clock ticks in.
const CLAIM_MAX: Micros = 2_200_000;
/// How long a server goes on with a call that its client has given up.
const DEADLINE_MAX: Micros = 5_000_000;

/// Of every position.
pub(super) type Claims = HashMap<PositionId, Claimed>;

/// Units by when they may have begun to count, and by when they had ceased to.
#[derive(Default)]
pub(super) struct Claimed {
    begun: Vec<(Micros, i64)>,
    ended: Vec<(Micros, i64)>,
}

impl Claimed {
    /// The most that may have counted at some moment between these.
    pub(super) fn most(&self, start_us: Micros, end_us: Micros) -> i64 {
        let before = |sums: &[(Micros, i64)], at: Micros| {
            let count = sums.partition_point(|(moment, _)| *moment <= at);
            count.checked_sub(1).and_then(|last| sums.get(last)).map_or(0, |(_, units)| *units)
        };
        before(&self.begun, end_us) - before(&self.ended, start_us - 1)
    }

    fn add(&mut self, from_us: Micros, until_us: Micros, units: i64) {
        self.begun.push((from_us, units));
        self.ended.push((until_us, units));
    }

    /// Turns units into running sums.
    fn sum_up(&mut self) {
        for sums in [&mut self.begun, &mut self.ended] {
            sums.sort_unstable();
            let mut sum = 0;
            for (_, units) in sums {
                sum += *units;
                *units = sum;
            }
        }
    }
}

/// Works out what may have been claimed of every position.
pub(super) fn claims(index: &Index<'_>, operations: &[Operation<'_>]) -> Claims {
    let mut claims = Claims::new();
    for operation in operations {
        let (start_us, gone_us) = (operation.start_us(), operation.end_us() + DEADLINE_MAX);
        let until_us = match operation.what {
            What::Hold(_, ttl_us) => expiry(operation).unwrap_or(gone_us + ttl_us) + CLAIM_MAX,
            _ => gone_us + CLAIM_MAX,
        };
        for promise in operation.promises() {
            for (sku, units) in &promise.lines {
                let Some(position) = index.position(&promise.location, sku) else { continue };
                claims.entry(position).or_default().add(start_us, until_us, *units);
            }
        }
        let What::Step { reservation, to_location } = operation.what else { continue };
        let (Some(row), Some(to)) =
            (index.reservations.get(reservation), index.location(to_location))
        else {
            continue;
        };
        for (item, units, _) in &row.lines {
            claims.entry((to, *item)).or_default().add(start_us, until_us, *units);
        }
    }
    claims.values_mut().for_each(Claimed::sum_up);
    claims
}

fn expiry(operation: &Operation<'_>) -> Option<Micros> {
    let held = operation.attempts.iter().filter_map(|attempt| match attempt.outcome {
        Outcome::Held { expires_us, .. } => Some(expires_us),
        _ => None,
    });
    held.max()
}
