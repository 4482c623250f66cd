//! What every batch is made with.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::{Notify, watch};

use crate::{
    availability::Availability,
    ledger::Ledger,
    writer::{counted::Counted, patience::Patience},
};

/// The stores, and what all lanes have found out about them. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub ledger: Ledger,
    pub availability: Availability,
    /// The epoch of the last batch of any lane; 0: none was written yet.
    epoch: Arc<AtomicI64>,
    /// Told whenever something was committed that Redis was not told of.
    pub committed: Arc<Notify>,
    /// Changes with every batch that wrote something.
    recorded: Arc<watch::Sender<()>>,
    /// With projections that are late.
    pub patience: Arc<Patience>,
    /// Not told yet.
    pub counted: Counted,
}

impl Stores {
    pub(super) fn new(ledger: Ledger, availability: Availability) -> Stores {
        Stores {
            ledger,
            availability,
            epoch: Arc::default(),
            committed: Arc::default(),
            recorded: Arc::default(),
            patience: Arc::default(),
            counted: Counted::default(),
        }
    }

    /// The epoch of the ledger, as far as this server knows.
    pub(super) fn epoch(&self) -> Option<i64> {
        Some(self.epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch > 0)
    }

    /// A batch was written in this epoch.
    pub(super) fn wrote(&self, epoch: i64) {
        self.epoch.fetch_max(epoch, Ordering::Relaxed);
        self.recorded.send_replace(());
    }

    /// Told whenever something was recorded by this server.
    pub(super) fn recorded(&self) -> watch::Receiver<()> {
        self.recorded.subscribe()
    }
}
