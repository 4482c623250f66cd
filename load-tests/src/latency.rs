//! How long calls took.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Anything longer is counted as this long.
const LONGEST: Duration = Duration::from_secs(60);
/// Three significant digits, as every percentile here is read.
const DIGITS: u8 = 3;
/// Of many small ones, a tenth of the memory.
const DIGITS_COARSE: u8 = 2;

/// A histogram of durations, from one microsecond to a minute.
#[derive(Clone, Debug)]
pub struct Latency {
    micros: Histogram<u64>,
}

impl Latency {
    /// An empty one.
    ///
    /// # Errors
    /// Never, with the constants above.
    pub fn new() -> anyhow::Result<Latency> {
        Ok(Latency { micros: Histogram::new_with_bounds(1, micros(LONGEST), DIGITS)? })
    }

    /// An empty one with two digits instead of three.
    ///
    /// # Errors
    /// As [`Latency::new`].
    pub fn coarse() -> anyhow::Result<Latency> {
        Ok(Latency { micros: Histogram::new_with_bounds(1, micros(LONGEST), DIGITS_COARSE)? })
    }

    /// Counts one call.
    pub fn record(&mut self, took: Duration) {
        self.micros.saturating_record(micros(took));
    }

    /// Adds all of another one.
    ///
    /// # Errors
    /// Never: all have the same bounds.
    pub fn add(&mut self, other: &Latency) -> anyhow::Result<()> {
        Ok(self.micros.add(&other.micros)?)
    }

    /// Calls counted.
    pub fn count(&self) -> u64 {
        self.micros.len()
    }

    /// What `percent` of the calls did not exceed, in milliseconds.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        self.micros.value_at_percentile(percent) as f64 / 1_000.0
    }

    /// The longest, in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.micros.max() as f64 / 1_000.0
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |percent| self.percentile_ms(percent);
        let (p50, p99, max) = (at(50.0), at(99.0), self.max_ms());
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
