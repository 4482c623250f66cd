//! What a process takes from its surroundings without asking anybody: the wall clock and chance. Both
//! come from here, so that a simulation can say what they are.

use crate::stock::time::Timestamp;

/// The clock of this machine.
pub fn now() -> Timestamp {
    #[cfg(feature = "simulation")]
    if let Some(now) = simulated::now() {
        return now;
    }
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// A number that nobody else has drawn.
pub fn random() -> u128 {
    #[cfg(feature = "simulation")]
    if let Some(number) = simulated::random() {
        return number;
    }
    rand::random()
}

/// Surroundings of one thread.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::{cell::RefCell, rc::Rc};

    use crate::stock::time::Timestamp;

    /// A clock and a source of numbers.
    pub trait Ambient {
        /// The clock of this machine.
        fn now(&self) -> Timestamp;
        /// The next number.
        fn random(&self) -> u128;
    }

    thread_local! {
        static AMBIENT: RefCell<Option<Rc<dyn Ambient>>> = const { RefCell::new(None) };
    }

    /// Replaces the surroundings of this thread; `None`: they are the real ones again.
    pub fn surround(ambient: Option<Rc<dyn Ambient>>) {
        AMBIENT.set(ambient);
    }

    pub(super) fn now() -> Option<Timestamp> {
        AMBIENT.with_borrow(|ambient| ambient.as_ref().map(|ambient| ambient.now()))
    }

    pub(super) fn random() -> Option<u128> {
        AMBIENT.with_borrow(|ambient| ambient.as_ref().map(|ambient| ambient.random()))
    }
}
