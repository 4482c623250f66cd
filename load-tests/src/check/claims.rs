//! What may have stood against a position in Redis at a moment: live holds, and what batches claim
//! while they are decided. A history does not tell it exactly, so there is the most that it can be,
//! and of holds the least.

use std::collections::{HashMap, HashSet};

use super::{
    index::{Index, PositionId},
    operation::{Operation, Outcome, What},
};
use crate::history::{
    Micros,
    call::{Asked, Durability, Promise},
};

/// How long the claim of a batch stands at most, and the time that a clock ticks in.
const CLAIM_MAX: Micros = 2_200_000;
/// How long a server goes on with a call that its client has given up.
const DEADLINE_MAX: Micros = 5_000_000;

/// Of every position.
#[derive(Default)]
pub(super) struct Claims<'h> {
    /// Holds that may have been live.
    held: HashMap<PositionId, Claimed>,
    /// Holds in memory that were live.
    surely_held: HashMap<PositionId, Claimed>,
    /// What batches may have claimed.
    batched: HashMap<PositionId, Claimed>,
    /// What each hold was asked for.
    promises: HashMap<&'h str, &'h Promise>,
}

/// Units by when they began to count, and by when they had ceased to.
#[derive(Default)]
struct Claimed {
    begun: Vec<(Micros, i64)>,
    ended: Vec<(Micros, i64)>,
}

impl<'h> Claims<'h> {
    /// Works out what was claimed of every position.
    pub(super) fn new(index: &Index<'h>, operations: &[Operation<'h>]) -> Claims<'h> {
        let mut claims = Claims::default();
        let given_up = given_up(index);
        for operation in operations {
            match operation.what {
                What::Hold(promise, ttl_us) => {
                    claims.hold(index, operation, (promise, ttl_us), &given_up);
                }
                _ => claims.batch(index, operation),
            }
        }
        let all = [&mut claims.held, &mut claims.surely_held, &mut claims.batched];
        all.into_iter().flat_map(HashMap::values_mut).for_each(Claimed::sum_up);
        claims
    }

    /// The most that holds may have claimed at some moment between these.
    pub(super) fn held(&self, position: PositionId, start_us: Micros, end_us: Micros) -> i64 {
        let claimed = self.held.get(&position);
        claimed.map_or(0, |claimed| claimed.begun_by(end_us) - claimed.ended_by(start_us - 1))
    }

    /// The least that holds in memory claimed all the time between these.
    pub(super) fn surely_held(&self, position: PositionId, start: Micros, end: Micros) -> i64 {
        let claimed = self.surely_held.get(&position);
        claimed.map_or(0, |claimed| (claimed.begun_by(start) - claimed.ended_by(end)).max(0))
    }

    /// The most that batches may have claimed at some moment between these.
    pub(super) fn batched(&self, position: PositionId, start_us: Micros, end_us: Micros) -> i64 {
        let claimed = self.batched.get(&position);
        claimed.map_or(0, |claimed| claimed.begun_by(end_us) - claimed.ended_by(start_us - 1))
    }

    /// What a hold was asked for.
    pub(super) fn promise(&self, hold: &str) -> Option<&'h Promise> {
        self.promises.get(hold).copied()
    }

    fn hold(
        &mut self,
        index: &Index<'h>,
        operation: &Operation<'h>,
        (promise, ttl_us): (&'h Promise, Micros),
        given_up: &HashMap<&str, Micros>,
    ) {
        let mut given = operation.attempts.iter().filter_map(|attempt| match attempt.outcome {
            Outcome::Held { hold, expires_us, durability } => {
                Some((hold, expires_us, attempt.end_us, durability))
            }
            _ => None,
        });
        let given = given.next();
        let gone_us = operation.end_us() + DEADLINE_MAX + ttl_us;
        let until_us = given.map_or(gone_us, |(_, expires_us, ..)| expires_us) + CLAIM_MAX;
        if let Some((hold, ..)) = given {
            self.promises.insert(hold, promise);
        }
        for (position, units) in units(index, promise) {
            let held = self.held.entry(position).or_default();
            held.add(operation.start_us(), until_us, units);
            // What the ledger keeps is among what is reserved.
            let in_memory = given.filter(|(.., durability)| *durability == Durability::Memory);
            let Some((hold, expires_us, end_us, _)) = in_memory else { continue };
            let until_us = given_up.get(hold).map_or(expires_us, |at| expires_us.min(*at));
            if until_us > end_us {
                self.surely_held.entry(position).or_default().add(end_us, until_us, units);
            }
        }
    }

    fn batch(&mut self, index: &Index<'h>, operation: &Operation<'h>) {
        let start_us = operation.start_us();
        let until_us = operation.end_us() + DEADLINE_MAX + CLAIM_MAX;
        for promise in operation.promises() {
            for (position, units) in units(index, promise) {
                self.batched.entry(position).or_default().add(start_us, until_us, units);
            }
        }
        let What::Step { reservation, to_location } = operation.what else { return };
        let row = index.reservations.get(reservation);
        let (Some(row), Some(to)) = (row, index.location(to_location)) else { return };
        for (item, units, _) in &row.lines {
            self.batched.entry((to, *item)).or_default().add(start_us, until_us, *units);
        }
    }
}

impl Claimed {
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

    fn begun_by(&self, at: Micros) -> i64 {
        sum_until(&self.begun, at)
    }

    fn ended_by(&self, at: Micros) -> i64 {
        sum_until(&self.ended, at)
    }
}

fn sum_until(sums: &[(Micros, i64)], at: Micros) -> i64 {
    let count = sums.partition_point(|(moment, _)| *moment <= at);
    count.checked_sub(1).and_then(|last| sums.get(last)).map_or(0, |(_, units)| *units)
}

fn units<'h>(
    index: &Index<'h>,
    promise: &'h Promise,
) -> impl Iterator<Item = (PositionId, i64)> + use<'h> {
    let positions: HashSet<_> = promise.lines.iter().map(|(sku, _)| sku).collect();
    let units = positions.into_iter().filter_map(|sku| {
        let position = index.position(&promise.location, sku)?;
        let lines = promise.lines.iter().filter(|(other, _)| other == sku);
        Some((position, lines.map(|(_, units)| units).sum()))
    });
    units.collect::<Vec<_>>().into_iter()
}

/// When somebody first asked for a hold to be released or consumed.
fn given_up<'h>(index: &Index<'h>) -> HashMap<&'h str, Micros> {
    let mut given_up = HashMap::new();
    for call in &index.history.calls {
        if let Asked::Release { hold, .. } | Asked::Reserve { hold, .. } = &call.asked {
            let at = given_up.entry(hold.as_str()).or_insert(call.start_us);
            *at = call.start_us.min(*at);
        }
    }
    given_up
}
