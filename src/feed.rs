//! The ledger's entries in order, to whoever follows them.
//!
//! [`Feed`] keeps Redis equal to the ledger: [`decide`] says what is to be done for a partition, given
//! where it stands; [`projection`] does it; [`scrub`] walks over everything for ever and mends what
//! differs by [`compare`]; [`verify`] only tells. [`follow`] reads what is recorded for everybody who
//! watches, [`watch`] knows who watches what is available, [`deliver`] tells subscribers of events.
//!
//! Any number of servers may run it: whatever they do twice is guarded in Redis.

pub mod anchoring;
pub mod compare;
pub mod decide;
pub mod deliver;
pub mod follow;
pub mod projection;
pub mod scrub;
pub mod verify;
pub mod watch;

use std::sync::Arc;

use tokio::{sync::Notify, task::JoinSet};

use crate::{availability::Availability, ledger::Ledger};

/// Keeps Redis equal to the ledger, for as long as it lives.
#[derive(Debug)]
pub struct Feed {
    _tasks: JoinSet<()>,
}

impl Feed {
    /// Begins to project, and to walk over what was projected. `wake` tells that something was
    /// committed: a hint that saves a moment.
    pub fn start(ledger: Ledger, availability: Availability, wake: Arc<Notify>) -> Feed {
        let mut tasks = JoinSet::new();
        let _ = tasks.spawn(projection::run(ledger.clone(), availability.clone(), wake));
        let _ = tasks.spawn(scrub::run(ledger, availability));
        Feed { _tasks: tasks }
    }
}
