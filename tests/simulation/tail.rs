//! The projection alone: several tailers, each of which may act on what it read long ago, batches that
//! are settled late or never, and a Redis that goes back in time. Whatever they do, everything up to
//! the checkpoint is projected, and no row is older than that or says what no entry says.

use std::sync::Arc;

use stockroom::{
    availability::{
        Availability, Bucket, Checkpoint, Row, Server,
        project::{Advance, Effects, Settle},
        rebuild::{Cursor, Rebuild},
    },
    feed::decide::{Next, next},
    ledger::head::Head,
    stock::{
        ids::{ItemNo, PositionKey, Seq},
        time::Timestamp,
    },
};

use crate::{
    link::{Link, RedisLink},
    redis::Redis,
    run::{self, Report, Scenario},
    stage::{PREFIX, place},
    world::World,
};

/// Steps of one walk.
const STEPS: usize = 250;
/// Items that there are.
const ITEMS: u64 = 6;
/// Positions of one page.
const PAGE_ROWS: usize = 2;
/// Tailers.
const TAILERS: usize = 3;

/// One walk.
struct Walk {
    world: Arc<World>,
    redis: Arc<Redis>,
    layer: Availability,
    epoch: i64,
    /// Which item each entry is about.
    log: Vec<i32>,
    tailers: [Option<Intent>; TAILERS],
    settles: Vec<Unsettled>,
}

/// What a tailer is about to do, with what it read before.
#[derive(Clone, Debug)]
enum Intent {
    Begin { epoch: i64, id: u64, noted: Seq },
    Page { rebuild: Rebuild, next: Cursor, rows: Vec<Row> },
    Finish(Rebuild),
    Advance { expected: Checkpoint, to: Seq, rows: Vec<Row> },
    Forget(Checkpoint),
    ForgetRebuild(Rebuild),
}

/// A batch that Redis was not told of.
#[derive(Clone, Debug)]
struct Unsettled {
    epoch: i64,
    from: Seq,
    to: Seq,
    rows: Vec<Row>,
}

/// Walks in this thread.
pub fn run(scenario: Scenario) -> Report {
    run::play(scenario, async |world| {
        let redis = Redis::new(world.clone(), scenario.rewrite);
        let link = RedisLink { redis: redis.clone(), link: Link::new(1) };
        let server: Arc<dyn Server> = Arc::new(link);
        let layer = Availability::simulated(&server, PREFIX);
        let (tailers, settles) = ([const { None }; TAILERS], Vec::new());
        let mut walk = Walk { world, redis, layer, epoch: 5, log: Vec::new(), tailers, settles };
        for _ in 0..STEPS {
            walk.step().await;
            walk.check().await;
        }
        walk.redis.rewritten()
    })
}

impl Walk {
    async fn step(&mut self) {
        match self.world.below(40) {
            0..8 => self.commit(),
            8..30 => {
                let at = self.world.below(TAILERS as u64) as usize;
                match self.tailers[at].take() {
                    None => self.tailers[at] = self.look().await,
                    Some(intent) => self.tailers[at] = self.act(intent).await,
                }
            }
            30..35 => self.settle().await,
            35 => self.redis.keep(),
            36 => self.redis.roll_back(),
            37 => self.redis.flush(),
            // A tailer is killed.
            38 => self.tailers[self.world.below(TAILERS as u64) as usize] = None,
            _ => {
                let kept = self.log.len().saturating_sub(self.world.below(4) as usize);
                self.log.truncate(kept);
                self.epoch += 1;
            }
        }
    }

    fn head(&self) -> Seq {
        self.log.len() as Seq
    }

    fn commit(&mut self) {
        let from = self.head();
        for _ in 0..=self.world.below(3) {
            self.log.push(self.world.below(ITEMS) as i32);
        }
        let (epoch, to) = (self.epoch, self.head());
        self.settles.push(Unsettled { epoch, from, to, rows: self.rows_behind(from) });
    }

    fn row(&self, seq: Seq) -> Row {
        let item = ItemNo(self.log[seq as usize - 1]);
        let key = PositionKey { place: place("north"), item };
        Row { key, seq, sellable: units(self.epoch, seq), reserved: 0 }
    }

    fn rows_behind(&self, from: Seq) -> Vec<Row> {
        (from + 1..=self.head()).map(|seq| self.row(seq)).collect()
    }

    /// Positions, as they are now, in their order.
    fn positions(&self) -> Vec<Row> {
        let last = |item| (1..=self.head()).rev().find(|&seq| self.log[seq as usize - 1] == item);
        (0..ITEMS as i32).filter_map(|item| Some(self.row(last(item)?))).collect()
    }

    /// What is to be done, given what Redis and the ledger say now.
    async fn look(&self) -> Option<Intent> {
        let partition = place("north").partition;
        let state = self.layer.states(&[partition]).await.ok()?.pop()?;
        let head = Head {
            partition,
            epoch: self.epoch,
            seq: self.head(),
            recorded_at: Timestamp::Y2000,
            system_identifier: 1,
            timeline: 1,
        };
        match next(&state, &head) {
            Next::Rest | Next::Stamp(_) => None,
            Next::Begin => {
                let id = self.world.below(u64::MAX);
                Some(Intent::Begin { epoch: self.epoch, id, noted: self.head() })
            }
            Next::GoOn(rebuild) => Some(self.page(rebuild)),
            Next::Project(expected, to) => {
                Some(Intent::Advance { expected, to, rows: self.rows_behind(expected.seq) })
            }
            Next::Forget(at) => Some(Intent::Forget(at)),
            Next::ForgetRebuild(rebuild) => Some(Intent::ForgetRebuild(rebuild)),
        }
    }

    /// The page behind the cursor of a rebuild, as it is now.
    fn page(&self, rebuild: Rebuild) -> Intent {
        let behind = rebuild.cursor.0.map_or(-1, |(_, item)| item.0);
        let mut rows = self.positions();
        rows.retain(|row| row.key.item.0 > behind);
        rows.truncate(PAGE_ROWS);
        match rows.last() {
            None => Intent::Finish(rebuild),
            Some(last) => {
                let next = Cursor(Some((last.key.place.location, last.key.item)));
                Intent::Page { rebuild, next, rows }
            }
        }
    }

    /// Does it, and says what comes after it.
    async fn act(&self, intent: Intent) -> Option<Intent> {
        let partition = place("north").partition;
        match intent {
            Intent::Begin { epoch, id, noted } => {
                let begun = self.layer.rebuild_begin(partition, epoch, id, noted).await;
                let rebuild = Rebuild { epoch, id, noted, cursor: Cursor(None) };
                begun.is_ok_and(|begun| begun).then(|| self.page(rebuild))
            }
            Intent::Page { mut rebuild, next, rows } => {
                let page = Effects { rows: &rows, ..Effects::default() };
                let moved = self.layer.rebuild_page(partition, &rebuild, next, page).await;
                rebuild.cursor = next;
                let own = rebuild.epoch == self.epoch;
                moved.is_ok_and(|moved| moved && own).then(|| self.page(rebuild))
            }
            Intent::Finish(rebuild) => {
                let _ = self.layer.rebuild_finish(partition, &rebuild).await;
                None
            }
            Intent::Advance { expected, to, rows } => {
                let effects = Effects { rows: &rows, ..Effects::default() };
                let step = Advance { partition, expected, to, head: None, effects };
                let _ = self.layer.advance(&[step]).await;
                None
            }
            Intent::Forget(at) => {
                let _ = self.layer.forget(partition, at).await;
                None
            }
            Intent::ForgetRebuild(rebuild) => {
                let _ = self.layer.forget_rebuild(partition, &rebuild).await;
                None
            }
        }
    }

    /// Tells of a batch, maybe of one before others.
    async fn settle(&mut self) {
        if self.settles.is_empty() {
            return;
        }
        let at = self.world.below(self.settles.len() as u64) as usize;
        let Unsettled { epoch, from, to, rows } = self.settles.remove(at);
        let effects = Effects { rows: &rows, ..Effects::default() };
        let settle = Settle { epoch, from, to: Some(to), token: None, began_at: None, effects };
        let _ = self.layer.settle(place("north").partition, settle).await;
    }

    /// Everything up to the checkpoint is there.
    async fn check(&self) {
        let key = PositionKey { place: place("north"), item: ItemNo(0) };
        let Ok(found) = self.layer.bucket(Bucket::of(key)).await else {
            return self.world.violated("a bucket cannot be read".to_owned());
        };
        let Some(at) = found.checkpoint.filter(|at| at.epoch == self.epoch) else { return };
        if at.seq > self.head() {
            return self.world.violated(format!("{at:?} is ahead of {}", self.head()));
        }
        for item in 0..ITEMS as i32 {
            let stored = found.rows.get(&ItemNo(item)).and_then(|stored| stored.row);
            let row = stored.filter(|(epoch, _)| *epoch == at.epoch).map(|(_, row)| row);
            let due = (1..=at.seq).rev().find(|&seq| self.log[seq as usize - 1] == item);
            let seq = row.map_or(0, |row| row.seq);
            if due.is_some_and(|due| seq < due) {
                self.world.violated(format!("{at:?} covers {due:?}, and {item} is at {row:?}"));
            }
            if row.is_some_and(|row| row.sellable != units(at.epoch, row.seq)) {
                self.world.violated(format!("{row:?} is what no entry says"));
            }
        }
    }
}

/// What an entry left: different in every epoch.
fn units(epoch: i64, seq: Seq) -> i64 {
    epoch * 1_000 + seq
}
