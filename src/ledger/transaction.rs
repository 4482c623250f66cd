//! One batch, one transaction: lock the heads, read, let the core decide, write, commit.

use std::time::Duration;

use rustc_hash::FxHashMap;
use sqlx::{Postgres, Transaction};
use tokio::time::Instant;

use crate::{
    ledger::{
        Ledger,
        directory::Directory,
        epoch::{Head, Locked, lock},
        fault::{Defect, Fault, Kind},
        load::load,
        write::{write, write_head},
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
    pub(crate) transaction: Transaction<'static, Postgres>,
    pub(crate) heads: Vec<Locked>,
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
    /// Begins a batch over `partitions`, which must be ascending: that order keeps two batches over
    /// several partitions from waiting for each other. Moves the epoch first where the database
    /// changed under the ledger.
    ///
    /// # Errors
    /// The database is away, or a head was not to be had before the deadline.
    pub async fn begin(&self, partitions: &[Partition], deadline: Instant) -> Result<Batch, Fault> {
        let batch = self.lock_all(partitions, deadline).await?;
        if !batch.heads.iter().any(Locked::tail_may_be_lost) {
            return Ok(batch);
        }
        batch.roll_back().await?;
        self.mend_epoch().await?;
        self.lock_all(partitions, deadline).await
    }

    async fn lock_all(&self, partitions: &[Partition], deadline: Instant) -> Result<Batch, Fault> {
        let left = deadline.saturating_duration_since(Instant::now()).min(LOCK_WAIT_MAX);
        let begin = format!("begin; set local lock_timeout = {}", left.as_millis().max(1));
        let transaction = self
            .writers
            .begin_with(sqlx::AssertSqlSafe(begin))
            .await
            .map_err(Fault::doing("begin a batch"))?;
        let mut batch = Batch { transaction, heads: Vec::new() };
        for &partition in partitions {
            let locked = lock(&mut batch.transaction, partition).await?;
            batch.heads.push(locked);
        }
        Ok(batch)
    }
}

impl Committed {
    /// Nothing was written.
    pub fn nothing() -> Committed {
        Committed { heads: Vec::new(), replicated: true }
    }
}

impl Batch {
    /// An empty book for this batch. Its moment is the newest that any of its heads or the clock, read
    /// under lock, knows: time never runs backwards within a partition.
    pub fn book(&self) -> Book {
        let now = self.heads.iter().flat_map(|locked| [locked.now, locked.head.recorded_at]).max();
        let seqs = self.heads.iter().map(|locked| (locked.head.partition, locked.head.seq));
        let mut book = Book::new(now.unwrap_or(Timestamp::MIN), seqs.collect::<FxHashMap<_, _>>());
        let epochs = self.heads.iter().map(|locked| (locked.head.partition, locked.head.epoch));
        book.epochs = epochs.collect();
        book
    }

    /// Looks items up that were unknown when their movements were resolved; those that have a number
    /// by now are known afterwards.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_items(&mut self, directory: &Directory, skus: &[&str]) -> Result<(), Fault> {
        directory.find_items_over(&mut self.transaction, skus).await
    }

    /// Reads what is needed into the book.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(&mut self, needs: &Needs, book: &mut Book) -> Result<(), Fault> {
        load(&mut self.transaction, needs, book).await
    }

    /// Writes everything that the plan says. The heads come last.
    ///
    /// # Errors
    /// The database is away, or a row breaks a constraint.
    pub async fn write(&mut self, plan: &Plan<'_>, now: Timestamp) -> Result<(), Fault> {
        for locked in &mut self.heads {
            let head = &mut locked.head;
            let Some(log) = plan.logs.get(&head.partition) else { continue };
            let before = head.seq;
            write(&mut self.transaction, head.partition, log, plan).await?;
            if !log.entries.is_empty() {
                head.seq += log.entries.len() as Seq;
                head.recorded_at = now;
            }
            // Also where nothing but replays was answered: with a synchronous standby only a COMMIT
            // of our own waits for what they saw.
            let moved = write_head(&mut self.transaction, head, before).await?;
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
        self.transaction.commit().await.map_err(unknown)?;
        Ok(Committed { heads, replicated })
    }

    /// Gives the locks back without an effect.
    ///
    /// # Errors
    /// The database is away; then there is no effect either.
    pub async fn roll_back(self) -> Result<(), Fault> {
        self.transaction.rollback().await.map_err(Fault::doing("roll a batch back"))
    }
}
