//! How fast a lane is and how much waits for it, so that what it could not answer in time is refused
//! before it waits.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// One batch in so many is remembered: a single slow one says little.
const MEMORY: u64 = 4;
/// What a smaller batch takes is mostly the same for any number of rows.
const ROWS_MIN: u64 = 64;

#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Time that a row took of late, in nanoseconds; 0: none was decided yet.
    row_ns: AtomicU64,
    /// Rows in the lane, under way or waiting.
    rows: AtomicU64,
}

impl Pace {
    /// So many rows are in the lane from now on.
    pub(super) fn enter(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// So many rows are no longer in it.
    pub(super) fn leave(&self, rows: usize) {
        self.rows.fetch_sub(rows as u64, Ordering::Relaxed);
    }

    /// A batch of so many rows took this long; a small one says nothing.
    pub(super) fn observe(&self, rows: usize, took: Duration) {
        let Ok(rows @ ROWS_MIN..) = u64::try_from(rows) else { return };
        let each = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / rows;
        let before = self.row_ns.load(Ordering::Relaxed);
        let now = if before == 0 { each } else { before - before / MEMORY + each / MEMORY };
        self.row_ns.store(now, Ordering::Relaxed);
    }

    /// Whether what comes now is likely to be late that has this much time left. Half of it is kept for
    /// its own batch and for the way back.
    pub(super) fn is_hopeless(&self, left: Duration) -> bool {
        let each = Duration::from_nanos(self.row_ns.load(Ordering::Relaxed));
        let rows = self.rows.load(Ordering::Relaxed);
        each.saturating_mul(u32::try_from(rows).unwrap_or(u32::MAX)) > left / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A lane of so many rows.
    fn pace(rows: usize) -> Pace {
        let pace = Pace::default();
        pace.enter(rows);
        pace
    }

    #[test]
    fn who_would_wait_for_more_than_half_of_the_time_left_is_hopeless() {
        let pace = pace(51);
        assert!(!pace.is_hopeless(Duration::ZERO), "nothing is known yet");
        pace.observe(100, SECOND);
        assert!(pace.is_hopeless(SECOND));
        assert!(!pace.is_hopeless(2 * SECOND));
        pace.leave(1);
        assert!(!pace.is_hopeless(SECOND));
    }

    #[test]
    fn a_stall_is_forgotten_after_some_batches_and_counts_for_little_alone() {
        let pace = pace(1);
        pace.observe(100, SECOND / 100);
        pace.observe(100, 100 * SECOND);
        assert!(!pace.is_hopeless(SECOND));
        pace.enter(2);
        assert!(pace.is_hopeless(SECOND));
        (0..80).for_each(|_| pace.observe(100, SECOND / 100));
        pace.enter(997);
        assert!(!pace.is_hopeless(SECOND));
        pace.observe(63, 100 * SECOND);
        assert!(!pace.is_hopeless(SECOND), "a small batch says nothing");
    }
}
