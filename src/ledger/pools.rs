//! How the pools of connections are used.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::{PgPool, Postgres, pool::PoolConnection};

use crate::ledger::{COURIERS_MAX, FOLLOWERS_MAX, Ledger, Options};

/// The pools of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolName {
    Writers,
    Readers,
    Followers,
    Couriers,
}

/// How a pool is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Its name.
    pub name: &'static str,
    /// Connections that somebody uses.
    pub in_use: u32,
    /// Connections that nobody uses.
    pub idle: u32,
    /// Connections that it may have.
    pub max: u32,
    /// Who waits for one.
    pub waiting: usize,
}

/// Who waits for a connection of each pool, in this process.
static WAITING: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

/// Counts one who waits.
struct Waiter(&'static AtomicUsize);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection of a pool; who waits for it is counted.
pub(super) async fn acquire(
    pool: &PgPool,
    name: PoolName,
) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let waiting = name.waiting();
    waiting.fetch_add(1, Ordering::Relaxed);
    let _waiter = Waiter(waiting);
    pool.acquire().await
}

impl PoolName {
    fn waiting(self) -> &'static AtomicUsize {
        let [writers, readers, followers, couriers] = &WAITING;
        match self {
            PoolName::Writers => writers,
            PoolName::Readers => readers,
            PoolName::Followers => followers,
            PoolName::Couriers => couriers,
        }
    }
}

impl Options {
    /// Connections that one server may have.
    pub fn connections_max(&self) -> u32 {
        self.writers_max + self.readers_max + FOLLOWERS_MAX + COURIERS_MAX
    }
}

impl Ledger {
    /// How its pools are used at the moment.
    pub fn pools(&self) -> [PoolUse; 4] {
        let used = |pool: &PgPool, named: PoolName, name| {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            PoolUse {
                name,
                in_use: pool.size().saturating_sub(idle),
                idle,
                max: pool.options().get_max_connections(),
                waiting: named.waiting().load(Ordering::Relaxed),
            }
        };
        [
            used(&self.writers, PoolName::Writers, "writers"),
            used(&self.readers, PoolName::Readers, "readers"),
            used(&self.followers, PoolName::Followers, "followers"),
            used(&self.couriers, PoolName::Couriers, "couriers"),
        ]
    }
}
