//! Attempts put together: an operation is everything that was tried under one key.

use std::collections::HashMap;

use super::index::Index;
use crate::history::{
    Micros,
    call::{Answered, Asked, Call, Durability, Line, Promise},
};

/// Everything that was tried under one key, which leaves a trace in the ledger.
pub(super) struct Operation<'h> {
    pub key: &'h str,
    pub what: What<'h>,
    /// In the order of their answers.
    pub attempts: Vec<Attempt<'h>>,
}

/// What is tried.
#[derive(Clone, Copy)]
pub(super) enum What<'h> {
    /// Units are promised in the ledger, at one or more locations.
    Promises(&'h [Promise]),
    /// Units are promised for a short while.
    Hold(&'h Promise, Micros),
    /// A hold is given back.
    Release,
    /// A step of a reservation, which may move it to a location.
    Step { reservation: &'h str, to_location: &'h str },
    /// A movement.
    Line(&'h Line),
}

/// One attempt.
pub(super) struct Attempt<'h> {
    pub start_us: Micros,
    pub end_us: Micros,
    pub outcome: Outcome<'h>,
}

/// How it ended.
pub(super) enum Outcome<'h> {
    /// It has an effect: these entries answer, of this epoch, as safe as that.
    Given { entries: Vec<(i16, i64)>, epoch: i64, durability: Durability },
    /// A hold.
    Held { hold: &'h str, expires_us: Micros, durability: Durability },
    /// What was held is not any more.
    Released,
    /// It has none.
    Refused { reason: &'h str },
    /// Who knows.
    Unknown,
}

impl<'h> Operation<'h> {
    /// When it was asked first.
    pub(super) fn start_us(&self) -> Micros {
        self.attempts.iter().map(|attempt| attempt.start_us).min().unwrap_or(0)
    }

    /// When it was answered, or given up, for good.
    pub(super) fn end_us(&self) -> Micros {
        self.attempts.iter().map(|attempt| attempt.end_us).max().unwrap_or(0)
    }

    /// When its effect was acknowledged first.
    pub(super) fn given_us(&self) -> Option<Micros> {
        let given = self.attempts.iter().filter(|attempt| attempt.is_given());
        given.map(|attempt| attempt.end_us).min()
    }

    /// When what the ledger has of it was acknowledged first. A hold in memory says nothing of the
    /// ledger, where an earlier attempt may arrive later.
    pub(super) fn recorded_us(&self) -> Option<Micros> {
        let given = self.attempts.iter().filter(|attempt| attempt.is_given());
        let given = given.filter(|attempt| {
            !matches!(attempt.outcome, Outcome::Held { durability: Durability::Memory, .. })
        });
        given.map(|attempt| attempt.end_us).min()
    }

    /// What it promises, and where.
    pub(super) fn promises(&self) -> &'h [Promise] {
        match self.what {
            What::Promises(promises) => promises,
            What::Hold(promise, _) => std::slice::from_ref(promise),
            _ => &[],
        }
    }
}

impl Attempt<'_> {
    /// Whether it was told that it has an effect.
    pub(super) fn is_given(&self) -> bool {
        matches!(self.outcome, Outcome::Given { .. } | Outcome::Held { .. } | Outcome::Released)
    }
}

/// All operations of a history, in the order in which they were answered first.
pub(super) fn operations<'h>(index: &Index<'h>) -> Vec<Operation<'h>> {
    let mut operations: Vec<Operation<'h>> = Vec::new();
    let mut numbers: HashMap<&'h str, usize> = HashMap::new();
    for call in &index.history.calls {
        for (number, (key, what)) in whats(&call.asked).into_iter().enumerate() {
            let attempt = Attempt {
                start_us: call.start_us,
                end_us: call.end_us,
                outcome: outcome(call, number),
            };
            let known = *numbers.entry(key).or_insert_with(|| {
                operations.push(Operation { key, what, attempts: Vec::new() });
                operations.len() - 1
            });
            if let Some(operation) = operations.get_mut(known) {
                operation.attempts.push(attempt);
            }
        }
    }
    operations
}

fn whats(asked: &Asked) -> Vec<(&str, What<'_>)> {
    match asked {
        Asked::Hold { key, promise, ttl_us } => vec![(key, What::Hold(promise, *ttl_us))],
        Asked::Release { key, .. } => vec![(key, What::Release)],
        Asked::Reserve { key, promise, .. } => {
            vec![(key, What::Promises(std::slice::from_ref(promise)))]
        }
        Asked::Basket { key, promises } => vec![(key, What::Promises(promises))],
        Asked::Step { key, reservation, to_location, .. } => {
            vec![(key, What::Step { reservation, to_location })]
        }
        Asked::Movements { lines } => {
            lines.iter().map(|line| (line.key.as_str(), What::Line(line))).collect()
        }
        Asked::Read { .. } => Vec::new(),
    }
}

/// Of the operation with this number among those of the call.
fn outcome(call: &Call, number: usize) -> Outcome<'_> {
    match &call.answered {
        Answered::Held { hold, expires_us, durability } => {
            Outcome::Held { hold, expires_us: *expires_us, durability: *durability }
        }
        Answered::Reserved { reservations, token, durability } => {
            let answer = |reserved: &crate::history::call::Reserved| {
                Some((partition_of(&reserved.id)?, reserved.version))
            };
            let entries = reservations.iter().filter_map(answer).collect();
            Outcome::Given { entries, epoch: token.epoch, durability: *durability }
        }
        Answered::Recorded { results, token, durability } => match results.get(number) {
            Some(result) if result.seq > 0 => {
                let entries = vec![(result.partition, result.seq)];
                Outcome::Given { entries, epoch: token.epoch, durability: *durability }
            }
            Some(result) => Outcome::Refused { reason: &result.reason },
            None => Outcome::Unknown,
        },
        Answered::Refused { reason, .. } => Outcome::Refused { reason },
        Answered::Released => Outcome::Released,
        Answered::Read { .. } | Answered::Unknown { .. } => Outcome::Unknown,
    }
}

/// The partition that the name of a reservation tells.
fn partition_of(id: &str) -> Option<i16> {
    id.strip_prefix('r')?.split('.').next()?.parse().ok()
}
