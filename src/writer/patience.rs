//! How long a projection that is late is waited for. Who does without it does not see what is held in
//! Redis; but a tailer that stands still for good must not hold up everybody, again and again.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::{availability::Unusable, stock::ids::Partition};

/// A projection that has been late for this long is not waited for.
const LATE_MAX: Duration = Duration::from_secs(2);
/// Between two questions.
pub(super) const LATE_PAUSE: Duration = Duration::from_millis(20);

/// Since when projections are late.
#[derive(Debug, Default)]
pub(super) struct Patience {
    late: Mutex<FxHashMap<Partition, Instant>>,
}

impl Patience {
    /// Notes why Redis cannot say anything of a partition, if it cannot, and says whether to ask again.
    pub(super) fn is_worth_waiting(&self, partition: Partition, why: Option<Unusable>) -> bool {
        self.is_worth_waiting_at(Instant::now(), partition, why)
    }

    fn is_worth_waiting_at(
        &self,
        now: Instant,
        partition: Partition,
        why: Option<Unusable>,
    ) -> bool {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if why != Some(Unusable::Late) {
            late.remove(&partition);
            return false;
        }
        now - *late.entry(partition).or_insert(now) < LATE_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_is_waited_for_until_it_is_late_for_good() {
        let (patience, [one, other]) = (Patience::default(), [1, 2].map(Partition));
        let (now, late) = (Instant::now(), Some(Unusable::Late));
        let waits = |now, partition, why| patience.is_worth_waiting_at(now, partition, why);
        assert!(!waits(now, one, None) && !waits(now, one, Some(Unusable::Unknown)));
        assert!(waits(now, one, late));
        let later = now + LATE_MAX;
        assert!(!waits(later, one, late), "it stands still");
        assert!(waits(later, other, late), "that one is another");
        assert!(!waits(later, one, None), "nothing to wait for");
        assert!(waits(later, one, late), "it was not late meanwhile");
    }
}
