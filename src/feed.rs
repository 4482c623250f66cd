//! The ledger's entries in order, to whoever follows them.
//!
//! [`Feed`] keeps Redis equal to the ledger: [`decide`] says what is to be done for a partition, given
//! where it stands; [`projection`] does it; [`scrub`] walks over everything for ever and mends what
//! differs by [`compare`]; [`verify`] only tells. [`steps`] is for those who watch reservations.
//!
//! Any number of servers may run it: whatever they do twice is guarded in Redis.

pub mod compare;
pub mod decide;
pub mod projection;
pub mod scrub;
pub mod steps;
pub mod verify;

use std::sync::Arc;

use tokio::{sync::Notify, task::JoinSet};

use crate::{availability::Availability, ledger::Ledger};

/// Keeps Redis equal to the ledger, for as long as it lives.
#[derive(Debug)]
pub struct Feed {
    wake: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Feed {
    /// Begins to project, and to walk over what was projected.
    pub fn start(ledger: Ledger, availability: Availability) -> Feed {
        let wake = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        let (projected, woken) = ((ledger.clone(), availability.clone()), Arc::clone(&wake));
        let _ = tasks.spawn(projection::run(projected.0, projected.1, woken));
        let _ = tasks.spawn(scrub::run(ledger, availability));
        Feed { wake, _tasks: tasks }
    }

    /// What tells it that something was committed: a hint that saves it a moment.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }
}
