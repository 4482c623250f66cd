//! How many calls may be under way: fewer while some are not answered in time, more again afterwards.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// Fewer than this say nothing of overload, and do no harm.
const LEAST: usize = 32;
/// It shrinks by one in so many, at most once in every `SHRINK_EVERY`: what was let in before has to be
/// answered first.
const SHRINK_PART: usize = 8;
const SHRINK_EVERY: Duration = Duration::from_millis(100);
/// It grows by one for so many calls that were answered in time.
const GROW_AFTER: usize = 16;

/// The limit, between `LEAST` and what it was at first.
#[derive(Debug)]
pub(super) struct Limit {
    now: AtomicUsize,
    most: usize,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    shrunk_at: Option<Instant>,
    /// Answered in time since it grew.
    in_time: usize,
}

impl Limit {
    pub(super) fn new(most: usize) -> Limit {
        Limit { now: AtomicUsize::new(most), most, past: Mutex::default() }
    }

    pub(super) fn get(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// A call ended while so many were under way. One that was late, or refused because it would have
    /// been, says that these were too many.
    pub(super) fn learn(&self, under_way: usize, in_time: bool, at: Instant) {
        let now = self.get();
        let says_nothing = if in_time { now == self.most } else { under_way < LEAST };
        if says_nothing {
            return;
        }
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if in_time {
            past.in_time += 1;
            if past.in_time >= GROW_AFTER {
                past.in_time = 0;
                self.now.store((now + 1).min(self.most), Ordering::Relaxed);
            }
        } else if past.shrunk_at.is_none_or(|shrunk| at >= shrunk + SHRINK_EVERY) {
            *past = Past { shrunk_at: Some(at), in_time: 0 };
            let too_many = now.min(under_way);
            self.now.store((too_many - too_many / SHRINK_PART).max(LEAST), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After `count` calls that ended one every millisecond, with the limit reached.
    fn after(limit: &Limit, count: usize, in_time: bool, from: Instant) -> Instant {
        let at = |number: usize| from + Duration::from_millis(number as u64);
        (0..count).for_each(|number| limit.learn(limit.get(), in_time, at(number)));
        at(count)
    }

    #[test]
    fn it_shrinks_once_for_many_that_are_late_and_never_below_the_least() {
        let limit = Limit::new(1_024);
        let at = after(&limit, 100, false, Instant::now());
        assert_eq!(limit.get(), 896);
        let at = after(&limit, 100, false, at);
        assert_eq!(limit.get(), 784);
        after(&limit, 3_000, false, at);
        assert_eq!(limit.get(), LEAST);
    }

    #[test]
    fn it_grows_back_to_what_it_was() {
        let limit = Limit::new(200);
        let at = after(&limit, 1, false, Instant::now());
        assert_eq!(limit.get(), 175);
        let at = after(&limit, 16, true, at);
        assert_eq!(limit.get(), 176);
        after(&limit, 16 * 100, true, at);
        assert_eq!(limit.get(), 200);
    }

    #[test]
    fn it_shrinks_to_less_than_what_was_too_many() {
        let limit = Limit::new(1_000);
        limit.learn(400, false, Instant::now());
        assert_eq!(limit.get(), 350);
    }

    #[test]
    fn who_is_late_among_few_says_nothing() {
        let limit = Limit::new(1_000);
        limit.learn(LEAST - 1, false, Instant::now());
        assert_eq!(limit.get(), 1_000);
    }
}
