//! Where each source can go on: a hint that may lag behind what is settled, never lead it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::ledger::{Ledger, fault::Fault};

/// How often resume points are written. One that is lost makes a source send again what it sent since.
const FLUSH_EVERY: Duration = Duration::from_millis(250);

/// The resume points of all sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ResumePoints {
    ledger: Ledger,
    unwritten: Arc<Mutex<HashMap<String, String>>>,
    _flusher: Arc<AbortOnDrop>,
}

#[derive(Debug)]
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ResumePoints {
    pub(super) fn start(ledger: Ledger) -> ResumePoints {
        let unwritten = Arc::default();
        let flusher = tokio::spawn(flush_for_ever(ledger.clone(), Arc::clone(&unwritten)));
        ResumePoints { ledger, unwritten, _flusher: Arc::new(AbortOnDrop(flusher)) }
    }

    /// The key that a source is settled up to; empty: none is known.
    ///
    /// # Errors
    /// The database is away.
    pub async fn get(&self, source: &str) -> Result<String, Fault> {
        if let Some(key) = lock(&self.unwritten).get(source) {
            return Ok(key.clone());
        }
        self.ledger.resume_key(source).await
    }

    /// Everything that `source` sent up to `key` is settled.
    pub fn advance(&self, source: &str, key: &str) {
        lock(&self.unwritten).insert(source.to_owned(), key.to_owned());
    }

    /// Writes what was advanced since the last time.
    ///
    /// # Errors
    /// The database is away; what was advanced is kept for the next time.
    pub async fn flush(&self) -> Result<(), Fault> {
        flush(&self.ledger, &self.unwritten).await
    }
}

async fn flush_for_ever(ledger: Ledger, unwritten: Arc<Mutex<HashMap<String, String>>>) {
    let mut ticks = tokio::time::interval(FLUSH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(fault) = flush(&ledger, &unwritten).await {
            tracing::warn!(fault = fault.chain(), "resume points were not written");
        }
    }
}

async fn flush(ledger: &Ledger, unwritten: &Mutex<HashMap<String, String>>) -> Result<(), Fault> {
    let points = lock(unwritten).clone();
    if points.is_empty() {
        return Ok(());
    }
    ledger.put_resume_keys(&points).await?;
    // What was advanced meanwhile stays.
    lock(unwritten).retain(|source, key| points.get(source) != Some(key));
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
