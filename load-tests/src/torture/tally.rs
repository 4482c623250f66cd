//! What was asked and answered, over time.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::history::call::Answered;

/// Goodput is looked at in slices of this length.
const SLICE: Duration = Duration::from_millis(100);
/// Slices of a second.
const SECOND: usize = 10;

/// Counts, for all clients.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    pub operations: AtomicU64,
    pub acknowledged: AtomicU64,
    pub refused: AtomicU64,
    pub unknown: AtomicU64,
    /// Holds that were given.
    pub holds: AtomicU64,
    /// Acknowledged in each slice.
    slices: Mutex<Vec<u32>>,
}

impl Tally {
    pub(super) fn new() -> Tally {
        Tally {
            began: Instant::now(),
            operations: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            slices: Mutex::default(),
        }
    }

    /// Counts a call.
    pub(super) fn count(&self, answered: &Answered) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let given = answered.is_given();
        let counter = match answered {
            _ if given => &self.acknowledged,
            Answered::Unknown { .. } => &self.unknown,
            _ => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if matches!(answered, Answered::Held { .. }) {
            self.holds.fetch_add(1, Ordering::Relaxed);
        }
        if given {
            let slice = slice_of(self.began.elapsed());
            let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
            let length = slices.len().max(slice + 1);
            slices.resize(length, 0);
            if let Some(count) = slices.get_mut(slice) {
                *count += 1;
            }
        }
    }

    /// Since the tally began.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Acknowledged a second, on the average, between two moments.
    pub(super) fn per_s(&self, from: Duration, until: Duration) -> f64 {
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let range = slices.iter().take(slice_of(until)).skip(slice_of(from));
        let sum: u64 = range.map(|count| u64::from(*count)).sum();
        sum as f64 / until.saturating_sub(from).as_secs_f64().max(SLICE.as_secs_f64())
    }

    /// The best second after a moment, and the end of the first one in which at least `least` were
    /// acknowledged.
    pub(super) fn back(&self, from: Duration, least: f64) -> (f64, Option<Duration>) {
        let slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut best, mut first) = (0.0_f64, None);
        for (number, window) in slices.windows(SECOND).enumerate().skip(slice_of(from)) {
            let sum: u64 = window.iter().map(|count| u64::from(*count)).sum();
            best = best.max(sum as f64);
            if sum as f64 >= least && first.is_none() {
                first = u32::try_from(number + SECOND).ok().map(|slice| SLICE * slice);
            }
        }
        (best, first)
    }
}

fn slice_of(at: Duration) -> usize {
    usize::try_from(at.as_millis() / SLICE.as_millis()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goodput_is_back_at_the_end_of_the_first_good_second() {
        let tally = Tally::new();
        // Ten a slice for a second, then nothing for a second, five, and ten again.
        let slices = [10, 0, 5, 10].into_iter().flat_map(|count| [count; SECOND]);
        *tally.slices.lock().unwrap() = slices.collect();
        let second = Duration::from_secs(1);
        assert!((tally.per_s(Duration::ZERO, second) - 100.0).abs() < 1e-9);
        assert!((tally.per_s(second, 2 * second)).abs() < 1e-9);
        let (best, first) = tally.back(second, 90.0);
        assert!((best - 100.0).abs() < 1e-9);
        assert_eq!(first, Some(3_800 * Duration::from_millis(1)));
        assert_eq!(tally.back(second, 101.0).1, None);
    }
}
