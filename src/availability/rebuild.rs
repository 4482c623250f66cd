//! Where the projection of a partition stands, and how it is made anew: page by page, under traffic,
//! by any number of servers, and on from where one of them stopped.

use std::sync::LazyLock;

use redis::{Script, Value};

use crate::{
    availability::{
        Availability, Checkpoint, SHARED_HOLDS, SHARED_ROWS, done,
        fault::{Fault, Nonsense},
        keys::KeyName,
        packed,
        project::{Effects, packed_holds, row_parts},
        read::View,
        script,
    },
    stock::{
        ids::{ItemNo, LocationNo, Partition, Seq},
        time::Timestamp,
    },
};

static STATE: LazyLock<Script> = LazyLock::new(|| script(&[], include_str!("state.lua")));
static BEGIN: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_ROWS], include_str!("rebuild_begin.lua")));
static PAGE: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS, SHARED_ROWS], include_str!("rebuild_page.lua")));
static FINISH: LazyLock<Script> = LazyLock::new(|| script(&[], include_str!("rebuild_finish.lua")));
static FORGET: LazyLock<Script> = LazyLock::new(|| script(&[], include_str!("forget.lua")));

const KEYS: [KeyName; 2] = [KeyName::Checkpoint, KeyName::Rebuild];
const KEYS_OF_PAGE: [KeyName; 9] = [
    KeyName::Checkpoint,
    KeyName::Rebuild,
    KeyName::Buckets,
    KeyName::Holds,
    KeyName::Due,
    KeyName::Graves,
    KeyName::Held,
    KeyName::TickUnits,
    KeyName::Ticks,
];

/// Where the projection of a partition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Redis' clock.
    pub at: Timestamp,
    /// The checkpoint, and how old it is.
    pub view: View,
    /// A rebuild under way.
    pub rebuild: Option<Rebuild>,
}

/// A rebuild under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// The epoch that it is of.
    pub epoch: i64,
    /// Tells it from others of the epoch.
    pub id: u64,
    /// The head of the ledger before its first page was read.
    pub noted: Seq,
    /// Everything up to here is projected.
    pub cursor: Cursor,
}

/// A place in the order of positions: after this one. The default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub Option<(LocationNo, ItemNo)>);

impl Availability {
    /// Reads where the projections of partitions stand, in one round trip.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn states(&self, partitions: &[Partition]) -> Result<Vec<State>, Fault> {
        let doing = "read where the projection stands";
        let call = |&partition| self.invocation(&STATE, partition, KEYS);
        let calls: Vec<_> = partitions.iter().map(call).collect();
        let answers = self.background.call_all(doing, &STATE, &calls).await?;
        let states: Result<Vec<_>, _> = answers.iter().map(read_state).collect();
        let states = states.map_err(Fault::nonsense(doing))?;
        match states.len() == partitions.len() {
            true => Ok(states),
            false => Err(Fault::nonsense(doing)(Nonsense("an answer is missing"))),
        }
    }

    /// Begins to project a partition anew. Returns false if that is under way or not needed: read the
    /// state again.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn rebuild_begin(
        &self,
        partition: Partition,
        epoch: i64,
        id: u64,
        noted: Seq,
    ) -> Result<bool, Fault> {
        let doing = "begin a rebuild";
        let mut call = self.invocation(&BEGIN, partition, KEYS);
        call.arg(epoch).arg(format!("{id:016x}")).arg(noted);
        let answer = self.background.call(doing, &call).await?;
        done(&answer).map_err(Fault::nonsense(doing))
    }

    /// Projects a page of at most [`super::POSITIONS_MAX`] positions and moves the cursor of the rebuild
    /// over it, to `next`. Returns false if the cursor stands elsewhere: read the state again. Nothing
    /// is consumed by a page.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn rebuild_page(
        &self,
        partition: Partition,
        rebuild: &Rebuild,
        next: Cursor,
        page: Effects<'_>,
    ) -> Result<bool, Fault> {
        let doing = "project a page";
        let parts = row_parts(doing, partition, page.rows)?;
        let [part] = &*parts else {
            return Err(Fault::argument(doing, "a page has 1,000 positions"));
        };
        let names = KEYS_OF_PAGE.into_iter().chain(part.keys());
        let mut call = self.invocation(&PAGE, partition, names);
        let ((location, item), (to_location, to_item)) = (rebuild.cursor.numbers(), next.numbers());
        call.arg(rebuild.epoch).arg(format!("{:016x}", rebuild.id)).arg(location).arg(item);
        call.arg(to_location).arg(to_item).arg(part.packed());
        call.arg(packed_holds(partition, page.ledger_holds.iter().copied()));
        let answer = self.background.call(doing, &call).await?;
        done(&answer).map_err(Fault::nonsense(doing))
    }

    /// Sets the checkpoint after the last page. It is late until it stands at the head. Returns false
    /// if the cursor stands elsewhere: read the state again.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn rebuild_finish(
        &self,
        partition: Partition,
        rebuild: &Rebuild,
    ) -> Result<bool, Fault> {
        let doing = "finish a rebuild";
        let mut call = self.invocation(&FINISH, partition, KEYS);
        let (location, item) = rebuild.cursor.numbers();
        call.arg(rebuild.epoch).arg(format!("{:016x}", rebuild.id)).arg(location).arg(item);
        let answer = self.background.call(doing, &call).await?;
        done(&answer).map_err(Fault::nonsense(doing))
    }

    /// Drops a checkpoint that cannot be true. Returns false if it stands elsewhere by now.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn forget(
        &self,
        partition: Partition,
        checkpoint: Checkpoint,
    ) -> Result<bool, Fault> {
        let doing = "drop a checkpoint";
        let mut call = self.invocation(&FORGET, partition, KEYS);
        call.arg(checkpoint.epoch).arg(checkpoint.seq).arg("");
        let answer = self.background.call(doing, &call).await?;
        done(&answer).map_err(Fault::nonsense(doing))
    }

    /// Drops a rebuild that cannot be true. Returns false if another is under way by now.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn forget_rebuild(
        &self,
        partition: Partition,
        rebuild: &Rebuild,
    ) -> Result<bool, Fault> {
        let doing = "drop a rebuild";
        let mut call = self.invocation(&FORGET, partition, KEYS);
        call.arg(rebuild.epoch).arg("").arg(format!("{:016x}", rebuild.id));
        let answer = self.background.call(doing, &call).await?;
        done(&answer).map_err(Fault::nonsense(doing))
    }
}

impl Cursor {
    fn numbers(self) -> (i32, i32) {
        self.0.map_or((0, 0), |(location, item)| (location.0, item.0))
    }
}

fn read_state(answer: &Value) -> Result<State, Nonsense> {
    let mut from = packed(answer)?;
    let at = Timestamp(from.natural()?);
    let view = View::read_next(&mut from)?;
    let rebuild = match from.flag()? {
        false => None,
        true => {
            let (epoch, id) = (from.natural()?, from.text()?);
            let id = u64::from_str_radix(id, 16).map_err(|_| Nonsense("an id was expected"))?;
            let noted = from.natural()?;
            let cursor = match (from.small()?, from.small()?) {
                (0, 0) => Cursor(None),
                (location, item) => Cursor(Some((LocationNo(location), ItemNo(item)))),
            };
            Some(Rebuild { epoch, id, noted, cursor })
        }
    };
    from.end()?;
    Ok(State { at, view, rebuild })
}
