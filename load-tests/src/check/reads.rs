//! I9 and I10: every read is a state of the ledger, covers its token, never goes back, and is
//! fresh.

use std::collections::HashMap;

use super::{
    claims::Claims,
    index::{Index, PositionId, State, seconds},
    operation::{Operation, Outcome},
    verdict::{Invariant, Verdicts},
};
use crate::history::{
    Micros,
    call::{Answered, Asked, Call, Row, Token},
};

/// How old an answer may be that is not flagged.
const STALE_MAX: Micros = 1_000_000;

/// What reads are held against.
struct Judge<'a, 'h> {
    index: &'a Index<'h>,
    claims: &'a Claims<'h>,
    /// Of a position: until when which entry had been acknowledged at the latest.
    acknowledged: HashMap<PositionId, Vec<(Micros, i64)>>,
    /// In which era an epoch was seen first.
    eras: HashMap<i64, usize>,
    /// The newest version that a client saw of a position, and in which era.
    seen: HashMap<(u32, PositionId), (usize, i64)>,
}

pub(super) fn judge(
    index: &Index<'_>,
    operations: &[Operation<'_>],
    claims: &Claims<'_>,
    verdicts: &mut Verdicts,
) {
    let acknowledged = acknowledged(index, operations);
    let eras = eras(index, operations);
    let mut judge = Judge { index, claims, acknowledged, eras, seen: HashMap::new() };
    let mut calls: Vec<_> = index.history.calls.iter().collect();
    calls.sort_by_key(|call| call.start_us);
    for call in calls {
        let (Asked::Read { token }, Answered::Read { rows, degraded }) =
            (&call.asked, &call.answered)
        else {
            continue;
        };
        for row in rows {
            match index.position(&row.location, &row.sku) {
                Some(position) => judge.row(call, position, row, verdicts),
                None => verdicts.expect(Invariant::I9, row.available == 0, || what(call, row)),
            }
            if let Some(position) = index.position(&row.location, &row.sku).filter(|_| !degraded) {
                judge.covers(call, position, row, token.as_ref(), verdicts);
                judge.never_back(call, position, row, verdicts);
                judge.fresh(call, position, row, verdicts);
            }
        }
    }
}

impl Judge<'_, '_> {
    /// It is a state of the ledger, less what was held.
    fn row(&self, call: &Call, position: PositionId, row: &Row, verdicts: &mut Verdicts) {
        let state = match row.version {
            0 => Some(State::default()),
            version => self.state(position, version),
        };
        let (start_us, end_us) = (call.start_us, call.end_us);
        let most = self.claims.held(position, start_us, end_us)
            + self.claims.batched(position, start_us, end_us);
        let fits = state.is_some_and(|state| {
            let free = state.free.max(0);
            ((state.free - most).max(0)..=free).contains(&row.available)
        });
        match self.index.unsettled(call.start_us, call.end_us) {
            Some(why) if !fits => verdicts.skip(Invariant::I9, why),
            _ => verdicts.expect(Invariant::I9, fits, || {
                let free = state.map(|state| state.free);
                format!("{}: free then {free:?}, less at most {most}", what(call, row))
            }),
        }
    }

    fn state(&self, position: PositionId, version: i64) -> Option<State> {
        let states = self.index.states_of(position);
        let found = states.binary_search_by_key(&version, |state| state.seq).ok()?;
        states.get(found).copied()
    }

    /// It has seen everything of the position that its token covers.
    fn covers(
        &self,
        call: &Call,
        position: PositionId,
        row: &Row,
        token: Option<&Token>,
        verdicts: &mut Verdicts,
    ) {
        let Some(token) = token else { return };
        let here = self.index.partition(position.0);
        let Some((_, seq)) = token.seqs.iter().find(|(partition, _)| Some(*partition) == here)
        else {
            return;
        };
        let era = self.index.era(call.end_us);
        if self.eras.get(&token.epoch) != Some(&era) {
            return verdicts.skip(Invariant::I9, "its token is of another epoch");
        }
        let seen = |state: &State| state.seq <= *seq && state.recorded_us <= call.start_us;
        let states = self.index.states_of(position);
        let newest = states.partition_point(seen).checked_sub(1).and_then(|last| states.get(last));
        let newest = newest.map_or(0, |state| state.seq);
        match self.index.unsettled(call.start_us, call.end_us) {
            Some(why) if row.version < newest => verdicts.skip(Invariant::I9, why),
            _ => verdicts.expect(Invariant::I9, row.version >= newest, || {
                format!("{}: its token covers {newest}", what(call, row))
            }),
        }
    }

    /// A client never sees an older version than before.
    fn never_back(
        &mut self,
        call: &Call,
        position: PositionId,
        row: &Row,
        verdicts: &mut Verdicts,
    ) {
        let era = self.index.era(call.end_us);
        let (seen_in, newest) =
            self.seen.insert((call.client, position), (era, row.version)).unwrap_or((era, 0));
        if seen_in != era || row.version >= newest {
            return verdicts.expect(Invariant::I9, true, String::new);
        }
        match self.index.unsettled(call.start_us, call.end_us) {
            Some(why) => verdicts.skip(Invariant::I9, why),
            None => verdicts.expect(Invariant::I9, false, || {
                format!("{}: client {} saw {newest} before", what(call, row), call.client)
            }),
        }
    }

    /// It shows what had been acknowledged a second before it was asked.
    fn fresh(&self, call: &Call, position: PositionId, row: &Row, verdicts: &mut Verdicts) {
        let acknowledged = self.acknowledged.get(&position).map_or(&[][..], Vec::as_slice);
        let old = acknowledged.partition_point(|(at, _)| *at <= call.start_us - STALE_MAX);
        let least = old.checked_sub(1).and_then(|last| acknowledged.get(last));
        let least = least.map_or(0, |(_, seq)| *seq);
        match self.index.unsettled(call.start_us, call.end_us) {
            Some(why) if row.version < least => verdicts.skip(Invariant::I10, why),
            _ => verdicts.expect(Invariant::I10, row.version >= least, || {
                format!("{}: {least} was acknowledged a second before", what(call, row))
            }),
        }
    }
}

fn acknowledged(
    index: &Index<'_>,
    operations: &[Operation<'_>],
) -> HashMap<PositionId, Vec<(Micros, i64)>> {
    let mut acknowledged: HashMap<PositionId, Vec<(Micros, i64)>> = HashMap::new();
    for operation in operations {
        let Some(given_us) = operation.recorded_us() else { continue };
        for entry in index.entries_of(operation.key) {
            let position = (entry.location, entry.item);
            acknowledged.entry(position).or_default().push((given_us, entry.seq));
        }
    }
    for moments in acknowledged.values_mut() {
        moments.sort_unstable();
        let mut newest = 0;
        for (_, seq) in moments {
            newest = newest.max(*seq);
            *seq = newest;
        }
    }
    acknowledged
}

fn eras(index: &Index<'_>, operations: &[Operation<'_>]) -> HashMap<i64, usize> {
    let mut eras = HashMap::new();
    for attempt in operations.iter().flat_map(|operation| &operation.attempts) {
        if let Outcome::Given { epoch, .. } = attempt.outcome {
            let era = index.era(attempt.end_us);
            eras.entry(epoch).and_modify(|first| era.min(*first).clone_into(first)).or_insert(era);
        }
    }
    eras
}

fn what(call: &Call, row: &Row) -> String {
    let Row { location, sku, available, version } = row;
    let (start, server) = (seconds(call.start_us), call.server);
    format!("read of {sku} at {location} at {start} from server {server}: {available} by {version}")
}
