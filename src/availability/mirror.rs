//! Rows of the projection that this process has seen, so that a read does not fetch again what has not
//! changed. They count only together with Redis' word, given with every read, that the partition still
//! stands where they were read.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::{
    availability::{Checkpoint, Row},
    stock::{
        ids::{Partition, PositionKey, Seq},
        time::Micros,
    },
};

/// Rows of all partitions together, about 80 bytes each; beyond it all are forgotten.
const ROWS_MAX: usize = 1_000_000;
/// What Redis said of a row is asked again after so many seconds, in case it was not true.
const BELIEVED_FOR_S: u32 = 30;
/// Redis may be this long ahead of what this process has heard of its own batches; if it still is then,
/// somebody else wrote.
const LAG_MAX: Duration = Duration::from_millis(50);
/// Redis may be behind for this long: a late answer, or one that was set back and is catching up.
const BEHIND_MAX: Duration = Duration::from_secs(10);

/// Where the rows of a partition stand: two reads with the same stand found the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub checkpoint: Checkpoint,
    /// Changes with rows that were written without moving the checkpoint.
    pub loose: Micros,
}

#[derive(Debug)]
pub(super) struct Mirror {
    begun: Instant,
    parts: Mutex<FxHashMap<Partition, Part>>,
}

/// Rows of a partition, all at one stand.
#[derive(Debug)]
struct Part {
    stand: Stand,
    /// Since when Redis is known to stand elsewhere.
    lags_since: Option<Instant>,
    /// Since when Redis stands where it stood before.
    behind_since: Option<Instant>,
    rows: FxHashMap<PositionKey, Kept>,
}

/// Without a version: the ledger has no row.
#[derive(Clone, Copy, Debug)]
struct Kept {
    seq: Seq,
    sellable: i64,
    reserved: i64,
    /// Seconds after the mirror was begun.
    read_s: u32,
}

/// What is remembered of some positions of a partition.
#[derive(Clone, Debug)]
pub(super) struct Recalled {
    pub stand: Stand,
    /// In the order of the positions: none, or what Redis had of it.
    pub rows: Vec<Option<Option<Row>>>,
}

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror { begun: Instant::now(), parts: Mutex::default() }
    }
}

impl Mirror {
    /// What is remembered of positions of one partition, if anything.
    pub(super) fn recall(
        &self,
        partition: Partition,
        keys: impl Iterator<Item = PositionKey>,
        now: Instant,
    ) -> Option<Recalled> {
        let now_s = self.seconds(now);
        let parts = self.parts();
        let part = parts.get(&partition).filter(|part| part.lags_since.is_none())?;
        let believed = |kept: &&Kept| now_s.saturating_sub(kept.read_s) <= BELIEVED_FOR_S;
        let row = |key| part.rows.get(&key).filter(believed).map(|kept| kept.row(key));
        Some(Recalled { stand: part.stand, rows: keys.map(row).collect() })
    }

    /// Remembers what a read found.
    pub(super) fn remember(
        &self,
        partition: Partition,
        stand: Stand,
        found: impl Iterator<Item = (PositionKey, Option<Row>)>,
        now: Instant,
    ) {
        let read_s = self.seconds(now);
        let mut parts = self.parts();
        let total: usize = parts.values().map(|part| part.rows.len()).sum();
        if total >= ROWS_MAX {
            *parts = HashMap::default();
        }
        let part = parts.entry(partition).or_insert_with(|| Part::new(stand));
        if part.stand == stand {
            (part.lags_since, part.behind_since) = (None, None);
        } else {
            let (since, most) = match stand.checkpoint < part.stand.checkpoint {
                true => (part.behind_since.get_or_insert(now), BEHIND_MAX),
                false => (part.lags_since.get_or_insert(now), LAG_MAX),
            };
            if now.saturating_duration_since(*since) < most {
                return;
            }
            *part = Part::new(stand);
        }
        part.rows.extend(found.map(|(key, row)| (key, Kept::of(row.as_ref(), read_s))));
    }

    /// Follows a step of the checkpoint that this process made, with the rows that it wrote.
    pub(super) fn follow(&self, partition: Partition, from: Checkpoint, to: Seq, rows: &[Row]) {
        let mut parts = self.parts();
        let Some(part) = parts.get_mut(&partition) else { return };
        if part.stand.checkpoint != from {
            return;
        }
        part.stand.checkpoint.seq = to;
        part.lags_since = None;
        for row in rows {
            // One that was not read yet is left to who reads it.
            let Some(kept) = part.rows.get_mut(&row.key) else { continue };
            if kept.seq < row.seq {
                *kept = Kept::of(Some(row), kept.read_s);
            }
        }
    }

    fn seconds(&self, now: Instant) -> u32 {
        let seconds = now.saturating_duration_since(self.begun).as_secs();
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn parts(&self) -> MutexGuard<'_, FxHashMap<Partition, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn new(stand: Stand) -> Part {
        Part { stand, lags_since: None, behind_since: None, rows: FxHashMap::default() }
    }
}

impl Kept {
    fn of(row: Option<&Row>, read_s: u32) -> Kept {
        let (seq, sellable, reserved) =
            row.map_or((0, 0, 0), |row| (row.seq, row.sellable, row.reserved));
        Kept { seq, sellable, reserved, read_s }
    }

    fn row(self, key: PositionKey) -> Option<Row> {
        let Kept { seq, sellable, reserved, .. } = self;
        (seq > 0).then_some(Row { key, seq, sellable, reserved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::ids::{ItemNo, LocationNo, Place};

    const PARTITION: Partition = Partition(3);

    fn key(item: i32) -> PositionKey {
        let place = Place { partition: PARTITION, location: LocationNo(7) };
        PositionKey { place, item: ItemNo(item) }
    }

    fn row(item: i32, seq: Seq, sellable: i64) -> Row {
        Row { key: key(item), seq, sellable, reserved: 0 }
    }

    fn stand(seq: Seq, loose: Micros) -> Stand {
        Stand { checkpoint: Checkpoint { epoch: 5, seq }, loose }
    }

    /// A mirror that has seen item 1, and that there is no item 2, at sequence number 10.
    fn seen(now: Instant) -> Mirror {
        let mirror = Mirror::default();
        let found = [(key(1), Some(row(1, 4, 40))), (key(2), None)];
        mirror.remember(PARTITION, stand(10, 0), found.into_iter(), now);
        mirror
    }

    fn recalled(mirror: &Mirror, now: Instant) -> Option<(Seq, Vec<Option<Option<i64>>>)> {
        let recalled = mirror.recall(PARTITION, [1, 2, 3].into_iter().map(key), now)?;
        let units = |row: &Option<Option<Row>>| row.map(|row| row.map(|row| row.sellable));
        Some((recalled.stand.checkpoint.seq, recalled.rows.iter().map(units).collect()))
    }

    #[test]
    fn a_row_that_was_read_is_remembered_for_half_a_minute() {
        let now = Instant::now();
        let mirror = seen(now);
        let after = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(
            recalled(&mirror, after(30)),
            Some((10, vec![Some(Some(40)), Some(None), None]))
        );
        mirror.remember(PARTITION, stand(10, 0), [(key(3), None)].into_iter(), after(20));
        assert_eq!(recalled(&mirror, after(32)), Some((10, vec![None, None, Some(None)])));
        // Its own steps are no word of Redis.
        mirror.follow(PARTITION, stand(10, 0).checkpoint, 11, &[row(3, 11, 7)]);
        assert_eq!(recalled(&mirror, after(32)), Some((11, vec![None, None, Some(Some(7))])));
        assert_eq!(recalled(&mirror, after(52)), Some((11, vec![None, None, None])));
        assert!(mirror.recall(Partition(4), [key(1)].into_iter(), now).is_none());
    }

    #[test]
    fn own_steps_are_followed_and_nothing_is_remembered_of_what_was_not_read() {
        let now = Instant::now();
        let mirror = seen(now);
        let from = stand(10, 0).checkpoint;
        mirror.follow(PARTITION, from, 12, &[row(1, 11, 39), row(2, 12, 5), row(3, 12, 7)]);
        assert_eq!(recalled(&mirror, now), Some((12, vec![Some(Some(39)), Some(Some(5)), None])));
        // Late news of the same step, and an older row.
        mirror.follow(PARTITION, from, 12, &[row(1, 11, 0)]);
        mirror.follow(PARTITION, stand(12, 0).checkpoint, 13, &[row(1, 3, 0)]);
        assert_eq!(recalled(&mirror, now), Some((13, vec![Some(Some(39)), Some(Some(5)), None])));
    }

    #[test]
    fn steps_of_others_make_it_forget_but_not_at_once() {
        let now = Instant::now();
        for elsewhere in [stand(11, 0), stand(10, 1)] {
            let mirror = seen(now);
            let found = || [(key(3), Some(row(3, 9, 7)))].into_iter();
            mirror.remember(PARTITION, elsewhere, found(), now);
            assert_eq!(recalled(&mirror, now), None, "who lags is asked nothing");
            mirror.remember(PARTITION, elsewhere, found(), now + LAG_MAX);
            let only = Some((elsewhere.checkpoint.seq, vec![None, None, Some(Some(7))]));
            assert_eq!(recalled(&mirror, now + LAG_MAX), only);
        }
        let mirror = seen(now);
        mirror.remember(PARTITION, stand(9, 0), [(key(1), None)].into_iter(), now);
        let known = Some((10, vec![Some(Some(40)), Some(None), None]));
        assert_eq!(recalled(&mirror, now), known, "a late answer changes nothing");
        mirror.remember(PARTITION, stand(9, 0), [(key(1), None)].into_iter(), now + BEHIND_MAX);
        let anew = Some((9, vec![Some(None), None, None]));
        assert_eq!(
            recalled(&mirror, now + BEHIND_MAX),
            anew,
            "Redis stays where it was set back to"
        );
        // It was a step of its own that it had not heard of yet.
        let mirror = seen(now);
        mirror.remember(PARTITION, stand(11, 0), [].into_iter(), now);
        mirror.follow(PARTITION, stand(10, 0).checkpoint, 11, &[row(1, 11, 39)]);
        assert_eq!(recalled(&mirror, now), Some((11, vec![Some(Some(39)), Some(None), None])));
    }
}
