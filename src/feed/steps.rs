//! Which reservations move: one reader a partition, whoever many watch, and none where nobody does.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::sync::broadcast;

use crate::{
    ledger::{Ledger, fault::Fault, reservation::Moved},
    stock::ids::{Partition, Seq},
};

/// How long a step may go unnoticed.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Pause after the database was away.
const PAUSE: Duration = Duration::from_millis(500);
/// Steps of one read.
const STEPS_MAX: i64 = 1_000;
/// Steps that a watcher may fall behind before it has to begin anew.
const BACKLOG: usize = 4_096;

/// The steps of all partitions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Steps {
    ledger: Ledger,
    watched: Arc<Mutex<FxHashMap<Partition, broadcast::Sender<Moved>>>>,
}

impl Steps {
    /// Reads nothing before somebody watches.
    pub fn new(ledger: Ledger) -> Steps {
        Steps { ledger, watched: Arc::default() }
    }

    /// Every step of a partition that is committed from now on; some from before may come too.
    ///
    /// # Errors
    /// The database is away.
    pub async fn subscribe(
        &self,
        partition: Partition,
    ) -> Result<broadcast::Receiver<Moved>, Fault> {
        if let Some(steps) = self.watched().get(&partition) {
            return Ok(steps.subscribe());
        }
        let head = self.ledger.head_seq(partition).await?;
        let mut watched = self.watched();
        if let Some(steps) = watched.get(&partition) {
            return Ok(steps.subscribe());
        }
        let (steps, first) = broadcast::channel(BACKLOG);
        watched.insert(partition, steps);
        tokio::spawn(follow(self.clone(), partition, head));
        Ok(first)
    }

    /// Tells what moved; false where nobody listens any more, and nobody can begin to.
    fn tell(&self, partition: Partition, moved: Vec<Moved>) -> bool {
        let mut watched = self.watched();
        let Some(steps) = watched.get(&partition) else { return false };
        if steps.receiver_count() == 0 {
            watched.remove(&partition);
            return false;
        }
        for moved in moved {
            // Only fails where the last listener went away a moment ago.
            let _ = steps.send(moved);
        }
        true
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, FxHashMap<Partition, broadcast::Sender<Moved>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn follow(steps: Steps, partition: Partition, mut seq: Seq) {
    loop {
        let (moved, last) = match steps.ledger.steps_behind(partition, seq, STEPS_MAX).await {
            Ok(read) => read,
            Err(fault) => {
                tracing::debug!(fault = fault.chain(), "steps could not be read");
                tokio::time::sleep(PAUSE).await;
                (Vec::new(), seq)
            }
        };
        let idle = last == seq;
        seq = last;
        if !steps.tell(partition, moved) {
            return;
        }
        if idle {
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}
