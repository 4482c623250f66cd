//! What changed and was not taken yet: the newest state of each position, however slow its reader.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use crate::{ledger::feed::Balance, stock::ids::PositionKey};

#[derive(Debug, Default)]
pub(super) struct Mail {
    rows: Mutex<FxHashMap<PositionKey, Balance>>,
    bell: Notify,
}

impl Mail {
    /// Keeps it, unless something newer waits.
    pub(super) fn put(&self, row: Balance) {
        let mut rows = self.rows();
        let newest = rows.entry(row.key).or_insert(row);
        if newest.seq < row.seq {
            *newest = row;
        }
    }

    /// Wakes its reader.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(super) async fn changed(&self) {
        self.bell.notified().await;
    }

    /// Takes what is due; the rest waits.
    pub(super) fn take(&self, due: impl Fn(&Balance) -> bool) -> Vec<Balance> {
        let mut rows = self.rows();
        if rows.values().all(&due) {
            return std::mem::take(&mut *rows).into_values().collect();
        }
        let taken: Vec<_> = rows.values().copied().filter(due).collect();
        for row in &taken {
            rows.remove(&row.key);
        }
        taken
    }

    fn rows(&self) -> MutexGuard<'_, FxHashMap<PositionKey, Balance>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
