//! Deliberate defects, to prove that the tests would find them. One at a time is on, in one thread, and
//! only where the feature `simulation` is compiled in; elsewhere none ever is, and the compiler drops
//! them. Each stands where a careless change would put it.

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mutant {
    /// A batch locks no head.
    NoHeadLock,
    /// What a batch decides on is read as it was before the lock was granted.
    LockJoinedWithRead,
}

/// Whether a defect is on.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub(crate) const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "simulation")]
pub use self::choice::{choose, on};

#[cfg(feature = "simulation")]
mod choice {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static CHOSEN: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Turns one defect on in this thread, or none.
    pub fn choose(mutant: Option<Mutant>) {
        CHOSEN.set(mutant);
    }

    /// Whether a defect is on in this thread.
    pub fn on(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(mutant)
    }
}
