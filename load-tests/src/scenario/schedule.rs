//! When calls are due: fixed before the first one is made, whatever is answered.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How arrivals follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// At equal distances.
    Even,
    /// Independently of each other, as strangers do (a Poisson process), from this seed.
    Random(u64),
}

/// A stretch of one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// How long it is.
    pub seconds: f64,
    /// Arrivals a second, 0 included.
    pub per_s: f64,
}

/// The moments at which calls are due, counted from the beginning, in order.
#[derive(Clone, Debug)]
pub struct Schedule {
    stretches: std::vec::IntoIter<Stretch>,
    now: Stretch,
    /// When the present stretch began, in seconds.
    from: f64,
    /// Of the present stretch, in arrivals at its rate.
    passed: f64,
    rng: Option<ChaCha8Rng>,
}

impl Schedule {
    /// One stretch after the other.
    pub fn new(stretches: Vec<Stretch>, spacing: Spacing) -> Schedule {
        let mut rng = match spacing {
            Spacing::Even => None,
            Spacing::Random(seed) => Some(ChaCha8Rng::seed_from_u64(seed)),
        };
        // The first even one is due at once, the first random one after a gap of its own.
        let passed = if rng.is_some() { gap(&mut rng) } else { 0.0 };
        let now = Stretch { seconds: 0.0, per_s: 0.0 };
        Schedule { stretches: stretches.into_iter(), now, from: 0.0, passed, rng }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        while self.passed >= self.now.per_s * self.now.seconds {
            self.passed -= self.now.per_s * self.now.seconds;
            self.from += self.now.seconds;
            self.now = self.stretches.next()?;
        }
        let due = self.from + self.passed / self.now.per_s;
        self.passed += gap(&mut self.rng);
        Some(Duration::from_secs_f64(due))
    }
}

/// How much of the rate passes until the next arrival: 1 on average.
fn gap(rng: &mut Option<ChaCha8Rng>) -> f64 {
    match rng {
        None => 1.0,
        Some(rng) => -(1.0 - rng.random::<f64>()).ln(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(schedule: Schedule) -> Vec<f64> {
        schedule.map(|due| due.as_secs_f64()).collect()
    }

    #[test]
    fn even_arrivals_follow_the_rate_of_each_stretch() {
        let stretch = |seconds, per_s| Stretch { seconds, per_s };
        let stretches = vec![stretch(2.0, 1.0), stretch(1.0, 0.0), stretch(1.0, 4.0)];
        let due = seconds(Schedule::new(stretches, Spacing::Even));
        assert_eq!(due, [0.0, 1.0, 3.0, 3.25, 3.5, 3.75]);
    }

    #[test]
    fn random_arrivals_keep_the_rate_and_are_the_same_for_the_same_seed() {
        let stretches = vec![Stretch { seconds: 100.0, per_s: 100.0 }];
        let due = seconds(Schedule::new(stretches.clone(), Spacing::Random(7)));
        assert!((9_600..10_400).contains(&due.len()), "{} arrivals", due.len());
        assert!(due.is_sorted());
        // Strangers come in clusters: 1 - e^-0.4 of the gaps are below 4 ms, of 10 ms on average.
        let short = due.windows(2).filter(|pair| pair[1] - pair[0] < 0.004).count();
        assert!((0.30..0.37).contains(&(short as f64 / due.len() as f64)), "{short}");
        assert_eq!(due, seconds(Schedule::new(stretches.clone(), Spacing::Random(7))));
        assert_ne!(due, seconds(Schedule::new(stretches, Spacing::Random(8))));
    }

    #[test]
    fn nothing_arrives_where_there_is_no_rate() {
        let stretches = vec![Stretch { seconds: 5.0, per_s: 0.0 }];
        assert_eq!(Schedule::new(stretches, Spacing::Even).count(), 0);
        assert_eq!(Schedule::new(Vec::new(), Spacing::Random(1)).count(), 0);
    }
}
