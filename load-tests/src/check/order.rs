//! I8: what was acknowledged before something else was asked has the smaller sequence number.

use std::collections::BTreeMap;

use super::{
    index::{Index, seconds},
    operation::Operation,
    verdict::{Invariant, Verdicts},
};
use crate::history::Micros;

/// What an operation did in one partition.
struct Effect<'h> {
    key: &'h str,
    start_us: Micros,
    /// When it was acknowledged; none: it never was.
    given_us: Option<Micros>,
    /// Its first and its last entry.
    seqs: (i64, i64),
}

pub(super) fn judge(index: &Index<'_>, operations: &[Operation<'_>], verdicts: &mut Verdicts) {
    for effects in effects(index, operations).into_values() {
        let mut given: Vec<_> =
            effects.iter().filter_map(|one| Some((one.given_us?, one.seqs.1, one.key))).collect();
        given.sort_unstable();
        let mut asked: Vec<_> = effects.iter().collect();
        asked.sort_unstable_by_key(|effect| effect.start_us);
        let mut given = given.into_iter().peekable();
        let mut newest = (0, 0, "");
        for effect in asked {
            while let Some(next) = given.next_if(|next| next.0 < effect.start_us) {
                newest = if next.1 > newest.1 { next } else { newest };
            }
            verdicts.expect(Invariant::I8, effect.seqs.0 > newest.1, || {
                let (key, start) = (effect.key, seconds(effect.start_us));
                let (given_us, seq, other) = newest;
                let given = seconds(given_us);
                format!(
                    "key {key:?}: {} although asked at {start}; {other:?} was {seq} at {given}",
                    effect.seqs.0
                )
            });
        }
    }
}

fn effects<'h>(index: &Index<'_>, operations: &[Operation<'h>]) -> BTreeMap<i16, Vec<Effect<'h>>> {
    let mut effects: BTreeMap<i16, Vec<Effect<'h>>> = BTreeMap::new();
    for operation in operations {
        let mut seqs: BTreeMap<i16, (i64, i64)> = BTreeMap::new();
        for entry in index.entries_of(operation.key) {
            let range = seqs.entry(entry.partition).or_insert((entry.seq, entry.seq));
            *range = (range.0.min(entry.seq), range.1.max(entry.seq));
        }
        for (partition, seqs) in seqs {
            effects.entry(partition).or_default().push(Effect {
                key: operation.key,
                start_us: operation.start_us(),
                given_us: operation.recorded_us(),
                seqs,
            });
        }
    }
    effects
}
