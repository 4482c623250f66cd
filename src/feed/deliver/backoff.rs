//! How long to wait before an event is sent again. Pure.

use crate::stock::time::{Micros, SECOND};

/// How often, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Attempts before an event is given up. At least 1.
    pub attempts_max: u32,
    /// Before the second attempt; it doubles with each.
    pub first: Micros,
    /// At most, whatever the receiver asks for.
    pub longest: Micros,
}

impl Default for Backoff {
    /// The waits add up to about nine hours.
    fn default() -> Backoff {
        Backoff { attempts_max: 20, first: SECOND, longest: 3_600 * SECOND }
    }
}

impl Backoff {
    /// The wait after so many attempts, the last of which failed: half of it by rule, half of it by
    /// `chance`, so that those that failed together do not come back together. Longer where the receiver
    /// asked for it. `None`: no more.
    pub fn wait(&self, attempts: u32, chance: u32, asked: Option<Micros>) -> Option<Micros> {
        if attempts >= self.attempts_max {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << attempts.saturating_sub(1).min(40));
        let half = doubled.clamp(0, self.longest) / 2;
        let by_chance = (i128::from(half) * i128::from(chance) / i128::from(u32::MAX)) as Micros;
        Some((half + by_chance).max(asked.unwrap_or(0)).clamp(0, self.longest))
    }
}
