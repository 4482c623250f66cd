//! Budgets: how often something may go wrong before whoever does it has to wait.
//!
//! What goes well costs nothing, so that a busy shop is not told from a quiet one; who guesses pays for
//! every guess. A budget grows back evenly (the generic cell rate algorithm: of each key nothing is
//! kept but when its debts are paid).

use std::{
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// Keys with debts at once. When there are more, who has none yet has to wait.
const KEYS_MAX: usize = 100_000;

/// How much may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// At once.
    pub burst: u32,
    /// One more after so long.
    pub every: Duration,
}

/// A budget for each key.
#[derive(Debug)]
pub(crate) struct Budget<K> {
    allowance: Allowance,
    /// When the debts of each are paid.
    paid_at: Mutex<FxHashMap<K, Instant>>,
}

impl<K: Eq + Hash> Budget<K> {
    pub(crate) fn new(allowance: Allowance) -> Budget<K> {
        Budget { allowance, paid_at: Mutex::default() }
    }

    /// Whether there is something left to spend.
    ///
    /// # Errors
    /// How long there is not.
    pub(crate) fn check(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let Allowance { burst, every } = self.allowance;
        match paid_at.get(key) {
            Some(paid_at) => {
                let least = *paid_at + every;
                let wait = least.saturating_duration_since(now + burst * every);
                if wait.is_zero() { Ok(()) } else { Err(wait) }
            }
            None if paid_at.len() >= KEYS_MAX => Err(every),
            None => Ok(()),
        }
    }

    /// Spends something, there or not.
    pub(crate) fn spend(&self, key: K, now: Instant) {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        if paid_at.len() >= KEYS_MAX {
            paid_at.retain(|_, paid_at| *paid_at > now);
        }
        if paid_at.len() < KEYS_MAX || paid_at.contains_key(&key) {
            let debts = paid_at.entry(key).or_insert(now);
            *debts = (*debts).max(now) + self.allowance.every;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance { burst: 3, every: Duration::from_secs(10) };

    #[test]
    fn who_has_spent_everything_waits_until_some_of_it_grew_back() {
        let (budget, now) = (Budget::new(ALLOWANCE), Instant::now());
        for _ in 0..3 {
            assert_eq!(budget.check(&"a", now), Ok(()));
            budget.spend("a", now);
        }
        assert_eq!(budget.check(&"a", now), Err(Duration::from_secs(10)));
        assert_eq!(budget.check(&"b", now), Ok(()));
        let later = now + Duration::from_secs(4);
        assert_eq!(budget.check(&"a", later), Err(Duration::from_secs(6)));
        let later = now + Duration::from_secs(10);
        assert_eq!(budget.check(&"a", later), Ok(()));
        budget.spend("a", later);
        assert!(budget.check(&"a", later).is_err());
        assert_eq!(budget.check(&"a", now + Duration::from_secs(100)), Ok(()));
    }

    #[test]
    fn it_remembers_only_so_many_and_forgets_who_has_no_debts() {
        let (budget, now) = (Budget::new(ALLOWANCE), Instant::now());
        (0..KEYS_MAX + 10).for_each(|key| budget.spend(key, now));
        assert_eq!(budget.paid_at.lock().unwrap().len(), KEYS_MAX);
        assert!(budget.check(&usize::MAX, now).is_err(), "nobody is let off because many owe");
        let later = now + Duration::from_secs(11);
        budget.spend(usize::MAX, later);
        assert_eq!(budget.paid_at.lock().unwrap().len(), 1);
    }
}
