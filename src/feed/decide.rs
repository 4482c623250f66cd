//! What is to be done for a partition, given where the ledger and Redis stand. Pure.

use crate::{
    availability::{
        Checkpoint,
        rebuild::{Rebuild, State},
    },
    ledger::head::Head,
    stock::{ids::Seq, time::Micros},
};

/// A checkpoint at the head is stamped when it is older than this. Well under the second after which it
/// is late, and not by every server at every poll.
const STAMP_AFTER: Micros = 80_000;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it stands at the head, and that is known.
    Rest,
    /// Say that it stands at the head.
    Stamp(Checkpoint),
    /// Project the entries behind the checkpoint, up to this one.
    Project(Checkpoint, Seq),
    /// Begin to project everything anew.
    Begin,
    /// Go on with that.
    GoOn(Rebuild),
    /// Redis is ahead of the ledger, so one of them is wrong: drop this checkpoint, with an alarm.
    Forget(Checkpoint),
    /// The same of a rebuild.
    ForgetRebuild(Rebuild),
}

/// What is to be done, given the state of Redis and the head of the ledger, read after it.
pub fn next(state: &State, head: &Head) -> Next {
    if let Some(at) = state.view.checkpoint {
        let ledger = Checkpoint { epoch: head.epoch, seq: head.seq };
        return match at {
            _ if at > ledger => Next::Forget(at),
            _ if at.epoch < ledger.epoch => Next::Begin,
            _ if at.seq < ledger.seq => Next::Project(at, ledger.seq),
            // A clock that went back makes the age negative.
            _ if state.view.doubtful || !(0..STAMP_AFTER).contains(&state.view.age_us) => {
                Next::Stamp(at)
            }
            _ => Next::Rest,
        };
    }
    match &state.rebuild {
        Some(rebuild) if (rebuild.epoch, rebuild.noted) > (head.epoch, head.seq) => {
            Next::ForgetRebuild(rebuild.clone())
        }
        Some(rebuild) if rebuild.epoch == head.epoch => Next::GoOn(rebuild.clone()),
        _ => Next::Begin,
    }
}
