//! One batch, one transaction: lock the heads, read, let the core decide, write, commit.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool, Postgres, pool::PoolConnection};
use tokio::time::Instant;

use crate::{
    ledger::{
        Ledger,
        directory::Directory,
        fault::{Defect, Fault, Kind},
        head::{Head, Locked, lock_statement},
        load::{load, open},
        write::write,
    },
    stock::{
        book::{Book, Needs},
        ids::{Partition, Seq},
        machine::Plan,
        time::Timestamp,
    },
};

/// A transaction that holds the heads of its partitions.
#[derive(Debug)]
pub struct Batch {
    transaction: OwnTransaction,
    partitions: Vec<Partition>,
    /// Known once it was opened.
    heads: Vec<Locked>,
}

/// What a committed batch says of itself.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Head of every partition that it locked, as it left them.
    pub heads: Vec<Head>,
    /// Whether a standby has it too.
    pub replicated: bool,
}

/// A batch may wait at most this long for a head, however late its deadline is.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

impl Ledger {
    /// Until when a batch that begins now waits for a head.
    pub fn lock_wait_until(deadline: Instant) -> Instant {
        deadline.min(Instant::now() + LOCK_WAIT_MAX)
    }

    /// Begins a batch over `partitions`, which must be ascending: that order keeps two batches over
    /// several partitions from waiting for each other.
    ///
    /// # Errors
    /// The database is away, or a head was not to be had before the deadline.
    pub async fn begin(&self, partitions: &[Partition], deadline: Instant) -> Result<Batch, Fault> {
        let left = Ledger::lock_wait_until(deadline).saturating_duration_since(Instant::now());
        let begin = format!("begin; set local lock_timeout = {}", left.as_millis().max(1));
        // In one round trip, and yet statements of their own.
        let locks = partitions.iter().copied().map(lock_statement);
        let statements: Vec<_> = std::iter::once(begin).chain(locks).collect();
        let transaction = OwnTransaction::begin(&self.writers, statements.join("; ")).await?;
        Ok(Batch { transaction, partitions: partitions.to_vec(), heads: Vec::new() })
    }
}

impl Committed {
    /// Nothing was written.
    pub fn nothing() -> Committed {
        Committed { heads: Vec::new(), replicated: true }
    }
}

impl Batch {
    /// Reads the heads and what is needed at first. `None`: the database changed under the ledger, so
    /// that the epoch must be mended before anything is written.
    ///
    /// # Errors
    /// The database is away.
    pub async fn open(&mut self, needs: &Needs) -> Result<Option<Book>, Fault> {
        let (heads, book) = open(&mut self.transaction.connection, &self.partitions, needs).await?;
        self.heads = heads;
        Ok(Some(book).filter(|_| !self.heads.iter().any(Locked::tail_may_be_lost)))
    }

    /// Looks items up that were unknown when their movements were resolved; those that have a number
    /// by now are known afterwards.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_items(&mut self, directory: &Directory, skus: &[&str]) -> Result<(), Fault> {
        directory.find_items_over(&mut self.transaction.connection, skus).await
    }

    /// Reads what else is needed into the book.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(&mut self, needs: &Needs, book: &mut Book) -> Result<(), Fault> {
        load(&mut self.transaction.connection, &[], needs, book).await.map(|_| ())
    }

    /// Writes everything that the plan says.
    ///
    /// # Errors
    /// The database is away, or a row breaks a constraint.
    pub async fn write(&mut self, plan: &Plan<'_>, now: Timestamp) -> Result<(), Fault> {
        for locked in &mut self.heads {
            let head = &mut locked.head;
            let Some(log) = plan.logs.get(&head.partition) else { continue };
            let before = head.seq;
            if !log.entries.is_empty() {
                head.seq += log.entries.len() as Seq;
                head.recorded_at = now;
            }
            // Also where nothing but replays was answered: with a synchronous standby only a COMMIT
            // of our own waits for what they saw.
            let moved = write(&mut self.transaction.connection, head, before, log, plan).await?;
            if moved != 1 {
                return Err(Fault::defect("write a head", Defect::HeadMoved(head.partition.0)));
            }
        }
        Ok(())
    }

    /// Commits.
    ///
    /// # Errors
    /// Whatever it says, the outcome is unknown: the same batch must be executed again with the same
    /// keys.
    pub async fn commit(self) -> Result<Committed, Fault> {
        let heads = self.heads.iter().map(|locked| locked.head).collect();
        let replicated = self.heads.iter().all(|locked| locked.replicated);
        let unknown = |error| {
            let fault = Fault::doing("commit a batch")(error);
            Fault { kind: Kind::Unavailable, ..fault }
        };
        self.transaction.end("COMMIT").await.map_err(unknown)?;
        Ok(Committed { heads, replicated })
    }

    /// Gives the locks back without an effect.
    ///
    /// # Errors
    /// The database is away; then there is no effect either.
    pub async fn roll_back(self) -> Result<(), Fault> {
        self.transaction.end("ROLLBACK").await.map_err(Fault::doing("roll a batch back"))
    }
}

/// A connection in a transaction that begins with statements of our own. One that is not ended is
/// closed, with its locks: whatever went wrong on it, nobody takes it over.
#[derive(Debug)]
struct OwnTransaction {
    connection: PoolConnection<Postgres>,
    ended: bool,
}

impl OwnTransaction {
    async fn begin(pool: &PgPool, statements: String) -> Result<OwnTransaction, Fault> {
        let connection = pool.acquire().await.map_err(Fault::doing("connect to begin a batch"))?;
        let mut begun = OwnTransaction { connection, ended: false };
        let statements = sqlx::raw_sql(AssertSqlSafe(statements));
        statements.execute(&mut *begun.connection).await.map_err(Fault::doing("begin a batch"))?;
        Ok(begun)
    }

    async fn end(mut self, how: &'static str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(how).execute(&mut *self.connection).await?;
        self.ended = true;
        Ok(())
    }
}

impl Drop for OwnTransaction {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}
