//! What is to be done, given where the ledger and Redis stand: a table.

use stockroom::{
    availability::{
        Checkpoint,
        read::View,
        rebuild::{Cursor, Rebuild, State},
    },
    feed::decide::{Next, next},
    ledger::head::Head,
    stock::{ids::Partition, time::Timestamp},
};

const EPOCH: i64 = 5;
const HEAD: Head = Head {
    partition: Partition(1),
    epoch: EPOCH,
    seq: 10,
    recorded_at: Timestamp::Y2000,
    system_identifier: 1,
    timeline: 1,
};
const UNKNOWN: View = View { checkpoint: None, age_us: i64::MAX, doubtful: false };

fn state(view: View, rebuild: Option<Rebuild>) -> State {
    State { at: Timestamp::Y2000, view, rebuild }
}

fn at(epoch: i64, seq: i64) -> Checkpoint {
    Checkpoint { epoch, seq }
}

fn rebuild(epoch: i64, noted: i64) -> Rebuild {
    Rebuild { epoch, id: 7, noted, cursor: Cursor(None) }
}

#[test]
fn what_follows_from_a_checkpoint() {
    let fresh = |at| View { checkpoint: Some(at), age_us: 1_000, doubtful: false };
    let there = at(EPOCH, 10);
    let table = [
        (fresh(there), Next::Rest),
        (View { age_us: 500_000, ..fresh(there) }, Next::Stamp(there)),
        (View { age_us: -1, ..fresh(there) }, Next::Stamp(there)),
        (View { doubtful: true, ..fresh(there) }, Next::Stamp(there)),
        (fresh(at(EPOCH, 7)), Next::Project(at(EPOCH, 7), 10)),
        (View { doubtful: true, ..fresh(at(EPOCH, 0)) }, Next::Project(at(EPOCH, 0), 10)),
        (fresh(at(EPOCH - 1, 10)), Next::Begin),
        (fresh(at(EPOCH - 1, 99)), Next::Begin),
        (fresh(at(EPOCH, 11)), Next::Forget(at(EPOCH, 11))),
        (fresh(at(EPOCH + 1, 3)), Next::Forget(at(EPOCH + 1, 3))),
    ];
    for (view, expected) in table {
        assert_eq!(next(&state(view, None), &HEAD), expected, "{view:?}");
        // A rebuild of another time changes nothing while there is a checkpoint.
        assert_eq!(next(&state(view, Some(rebuild(EPOCH, 3))), &HEAD), expected, "{view:?}");
    }
}

#[test]
fn what_follows_without_a_checkpoint() {
    let table = [
        (None, Next::Begin),
        (Some(rebuild(EPOCH, 3)), Next::GoOn(rebuild(EPOCH, 3))),
        (Some(rebuild(EPOCH, 10)), Next::GoOn(rebuild(EPOCH, 10))),
        (Some(rebuild(EPOCH, 11)), Next::ForgetRebuild(rebuild(EPOCH, 11))),
        (Some(rebuild(EPOCH - 1, 10)), Next::Begin),
        (Some(rebuild(EPOCH - 1, 99)), Next::Begin),
        (Some(rebuild(EPOCH + 1, 1)), Next::ForgetRebuild(rebuild(EPOCH + 1, 1))),
    ];
    for (rebuild, expected) in table {
        assert_eq!(next(&state(UNKNOWN, rebuild.clone()), &HEAD), expected, "{rebuild:?}");
    }
}
