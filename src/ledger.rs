//! PostgreSQL, the authority. All SQL of the project is here: one public method is one transaction,
//! one private function is one statement.
//!
//! Read [`transaction`] (how a batch is written), then `load` and `write` (what it reads under the
//! lock, and what it adds), [`directory`] (master data, cached), [`queries`], [`rejected`], [`verify`] and
//! [`audit`], which walks the hash chain that [`chain`] makes of the batches.
#![expect(clippy::disallowed_types, reason = "the one place that speaks SQL")]

/// Hands a call over to the simulation, where one runs.
#[cfg(feature = "simulation")]
macro_rules! simulated {
    ($simulated:expr => |$database:ident| $answer:expr) => {
        if let Some($database) = &$simulated {
            return $answer.await;
        }
    };
}
#[cfg(not(feature = "simulation"))]
macro_rules! simulated {
    ($($anything:tt)*) => {};
}

mod address;
pub mod api_key;
pub mod archive;
pub mod audit;
mod batch_rows;
pub mod chain;
pub mod condition;
pub mod directory;
mod entry_row;
pub mod epoch;
pub mod fault;
pub mod feed;
pub mod figures;
pub mod head;
mod load;
mod migrate;
mod names;
pub mod network;
pub mod outbox;
pub mod pools;
pub mod prune;
pub mod queries;
pub mod recall;
pub mod rejected;
pub mod reservation;
mod resume;
mod rows;
#[cfg(feature = "simulation")]
pub mod simulated;
pub mod snapshot;
mod sql_time;
pub mod transaction;
mod transit;
pub mod verify;
pub mod webhook;
mod write;

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres, pool::PoolConnection, postgres::PgPoolOptions,
};
use tokio::sync::OnceCell;

use crate::{
    ledger::{
        address::connect_options,
        directory::Directory,
        fault::Fault,
        pools::{PoolName, acquire},
    },
    stock::{hash::partition_of, ids::Partition},
};

/// How to connect.
#[derive(Clone)]
pub struct Options {
    /// `postgres://...`
    pub url: String,
    /// Connections that batches are written over.
    pub writers_max: u32,
    /// Connections for everything else.
    pub readers_max: u32,
    /// How long to wait for a connection.
    pub acquire_timeout: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL has a password.
        let mut shown = f.debug_struct("Options");
        shown.field("writers_max", &self.writers_max).field("readers_max", &self.readers_max);
        shown.finish_non_exhaustive()
    }
}

/// The ledger, and the master data that it refers to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    writers: PgPool,
    readers: PgPool,
    /// For what must go on whatever reads there are: the feed and the sweeper.
    followers: PgPool,
    /// For what goes out: it never keeps the others waiting.
    couriers: PgPool,
    directory: Directory,
    /// Who changes the network through it; empty: nobody said.
    actor: Arc<str>,
    /// A server serves the partitions that there were when it first looked.
    partitions: Arc<OnceCell<Vec<Partition>>>,
    #[cfg(feature = "simulation")]
    simulated: Option<Arc<dyn simulated::Database>>,
}

/// A connection that was given back and is silent for this long is given up.
const PING_MAX: Duration = Duration::from_secs(2);
/// Every statement of a batch looks rows up by key, for which one plan serves all values; none is worth
/// making anew for each batch.
const WRITER_PLANS: [(&str, &str); 2] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];
/// Connections of the feed and the sweeper: nobody's reads keep them waiting.
const FOLLOWERS_MAX: u32 = 4;
/// Connections over which events are read, and over which it is noted what became of them.
const COURIERS_MAX: u32 = 2;
/// Bounds of one page of any list.
pub const PAGE_ROWS_DEFAULT: i64 = 100;
/// Above this a page size is coerced.
pub const PAGE_ROWS_MAX: i64 = 1_000;

impl Ledger {
    /// Prepares the pools. Connects when a connection is needed first, so a database that is away
    /// does not keep a server from starting.
    ///
    /// # Errors
    /// The URL is malformed.
    pub fn new(options: &Options) -> Result<Ledger, Fault> {
        let connect = connect_options(&options.url)?;
        let pool = |connections_max, connect| {
            PgPoolOptions::new()
                .max_connections(connections_max)
                .acquire_timeout(options.acquire_timeout)
                .test_before_acquire(false)
                .after_release(|connection, _| Box::pin(is_heard(connection)))
                .connect_lazy_with(connect)
        };
        // Optional filters make a plan for all values a bad one for most.
        let custom = [("plan_cache_mode", "force_custom_plan")];
        let readers = pool(options.readers_max, connect.clone().options(custom));
        let followers = pool(FOLLOWERS_MAX, connect.clone().options(custom));
        let couriers = pool(COURIERS_MAX, connect.clone().options(custom));
        Ok(Ledger {
            writers: pool(options.writers_max, connect.options(WRITER_PLANS)),
            directory: Directory::new(readers.clone()),
            readers,
            followers,
            couriers,
            actor: "".into(),
            partitions: Arc::default(),
            #[cfg(feature = "simulation")]
            simulated: None,
        })
    }

    /// The master data.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Every partition of this database, ascending.
    ///
    /// # Errors
    /// The database is away, or was not migrated.
    pub async fn partitions(&self) -> Result<&[Partition], Fault> {
        let read = || async {
            let partitions = epoch::partitions(&mut *self.reader().await?).await?;
            if partitions.is_empty() { Err(Fault::unprepared()) } else { Ok(partitions) }
        };
        Ok(self.partitions.get_or_try_init(read).await?)
    }

    /// Whether the database answers and accepts writes.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), Fault> {
        sqlx::query_scalar!("select pg_current_wal_lsn() is not null")
            .fetch_one(&self.readers)
            .await
            .map_err(Fault::doing("ping the database"))?;
        Ok(())
    }

    pub(crate) async fn follower(&self) -> Result<PoolConnection<Postgres>, Fault> {
        let connection = acquire(&self.followers, PoolName::Followers).await;
        connection.map_err(Fault::doing("connect to follow the ledger"))
    }

    pub(crate) async fn courier(&self) -> Result<PoolConnection<Postgres>, Fault> {
        let connection = acquire(&self.couriers, PoolName::Couriers).await;
        connection.map_err(Fault::doing("connect to send events"))
    }

    pub(crate) async fn reader(&self) -> Result<PoolConnection<Postgres>, Fault> {
        let connection = acquire(&self.readers, PoolName::Readers).await;
        connection.map_err(Fault::doing("connect to the database"))
    }

    /// Closes every connection, after what is running on them.
    pub async fn close(&self) {
        self.writers.close().await;
        self.readers.close().await;
        self.followers.close().await;
        self.couriers.close().await;
    }
}

/// The pool itself would wait for an answer for ever, and be one connection short.
async fn is_heard(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let heard = tokio::time::timeout(PING_MAX, connection.ping()).await;
    heard.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
}

/// The partition that a new location is given, in a database of `partitions`.
pub(crate) fn partition_for(location_id: &str, partitions: usize) -> Partition {
    Partition(partition_of(location_id, u16::try_from(partitions).unwrap_or(u16::MAX)))
}
