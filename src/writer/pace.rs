//! How fast a lane is, so that what it could not answer in time is refused before it waits.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// One batch in so many is remembered: a single slow one says little.
const MEMORY: u64 = 4;
/// What a smaller batch takes is mostly the same for any number of commands.
const COMMANDS_MIN: u64 = 64;

/// Time that a command took of late, in nanoseconds; 0: none was decided yet.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// A batch of so many commands took this long; a small one says nothing.
    pub(super) fn observe(&self, commands: usize, took: Duration) {
        let Ok(commands @ COMMANDS_MIN..) = u64::try_from(commands) else { return };
        let each = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / commands;
        let before = self.0.load(Ordering::Relaxed);
        let now = if before == 0 { each } else { before - before / MEMORY + each / MEMORY };
        self.0.store(now, Ordering::Relaxed);
    }

    /// Whether a command behind so many others is likely to be late that has this much time left. Half
    /// of it is kept for its own batch and for the way back.
    pub(super) fn is_hopeless(&self, waiting: usize, left: Duration) -> bool {
        let each = Duration::from_nanos(self.0.load(Ordering::Relaxed));
        each.saturating_mul(u32::try_from(waiting).unwrap_or(u32::MAX)) > left / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_would_wait_for_more_than_half_of_the_time_left_is_hopeless() {
        let pace = Pace::default();
        assert!(!pace.is_hopeless(1_000_000, Duration::ZERO), "nothing is known yet");
        pace.observe(100, SECOND);
        assert!(!pace.is_hopeless(50, SECOND));
        assert!(pace.is_hopeless(51, SECOND));
        assert!(!pace.is_hopeless(51, 2 * SECOND));
    }

    #[test]
    fn a_stall_is_forgotten_after_some_batches_and_counts_for_little_alone() {
        let pace = Pace::default();
        pace.observe(100, SECOND / 100);
        pace.observe(100, 100 * SECOND);
        assert!(!pace.is_hopeless(1, SECOND));
        assert!(pace.is_hopeless(3, SECOND));
        (0..80).for_each(|_| pace.observe(100, SECOND / 100));
        assert!(!pace.is_hopeless(1_000, SECOND));
        pace.observe(63, 100 * SECOND);
        assert!(!pace.is_hopeless(1_000, SECOND), "a small batch says nothing");
    }
}
