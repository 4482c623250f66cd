//! One batch, one transaction: lock the heads, read, let the core decide, write, commit.

use std::time::Duration;

use rustc_hash::FxHashMap;
use sqlx::{AssertSqlSafe, PgPool, Postgres, pool::PoolConnection};
use tokio::time::Instant;

use crate::{
    ambient::random,
    ledger::{
        Ledger,
        chain::Chained,
        directory::Directory,
        fault::{Defect, Fault, Kind},
        head::{Head, Locked, lock_statement},
        load::{load, open_at},
        pools::{PoolName, acquire},
        write::write,
    },
    mutants::{Mutant, on},
    stock::{
        book::{Book, Needs},
        ids::{Partition, Seq},
        machine::{Log, Plan},
        time::Timestamp,
    },
    telemetry,
};

/// A transaction that holds the heads of its partitions.
#[derive(Debug)]
pub struct Batch {
    transaction: Session,
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
pub(crate) const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);

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
        let batched = partitions.to_vec();
        let left = Ledger::lock_wait_until(deadline).saturating_duration_since(Instant::now());
        let locks = match partitions {
            _ if on(Mutant::NoHeadLock) => Vec::new(),
            [first, rest @ ..]
                if on(Mutant::HeadsLockedInAnyOrder) && random().is_multiple_of(2) =>
            {
                [rest, &[*first]].concat()
            }
            ascending => ascending.to_vec(),
        };
        #[cfg(feature = "simulation")]
        if let Some(database) = &self.simulated {
            let transaction = Session::Simulated(database.begin(locks, left).await?);
            return Ok(Batch { transaction, partitions: batched, heads: Vec::new() });
        }
        let begin = format!("begin; set local lock_timeout = {}", left.as_millis().max(1));
        // In one round trip, and yet statements of their own.
        let locks = locks.into_iter().map(lock_statement);
        let statements: Vec<_> = std::iter::once(begin).chain(locks).collect();
        let transaction = OwnTransaction::begin(&self.writers, statements.join("; ")).await?;
        let transaction = Session::Postgres(transaction);
        Ok(Batch { transaction, partitions: batched, heads: Vec::new() })
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
        let mut book = Book::new(Timestamp::MIN, FxHashMap::default());
        self.heads = self.transaction.load(&self.partitions, needs, &mut book).await?;
        open_at(&mut book, &self.heads);
        Ok(Some(book).filter(|_| !self.heads.iter().any(Locked::tail_may_be_lost)))
    }

    /// Whether the ledger is in this epoch still. What was read in another one is forgotten if not: the
    /// numbers of the batch may belong to others.
    pub fn is_of(&self, directory: &Directory, names: i64) -> bool {
        let epoch = self.heads.iter().map(|locked| locked.head.epoch).max().unwrap_or(names);
        directory.enter(epoch);
        epoch == names
    }

    /// Looks items up that were unknown when their movements were resolved; those that have a number
    /// by now are known afterwards.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_items(&mut self, directory: &Directory, skus: &[&str]) -> Result<(), Fault> {
        self.transaction.find_items(directory, skus).await
    }

    /// Reads what else is needed into the book.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(&mut self, needs: &Needs, book: &mut Book) -> Result<(), Fault> {
        self.transaction.load(&[], needs, book).await.map(|_| ())
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
            let chained = locked.chain.extend(head.partition, head.epoch, before, &log.entries);
            locked.chain = chained.chain;
            // Also where nothing but replays was answered: with a synchronous standby only a COMMIT
            // of our own waits for what they saw.
            let moved = self.transaction.write(head, before, &chained, log, plan).await?;
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
        let unknown = |fault| Fault { kind: Kind::Unavailable, ..fault };
        if on(Mutant::AnswerBeforeCommit) {
            tokio::spawn(self.transaction.end(End::Commit));
            return Ok(Committed { heads, replicated });
        }
        let ended = self.transaction.end(End::Commit).await.map_err(unknown);
        if !on(Mutant::UnknownTakenForDone) {
            ended?;
        }
        Ok(Committed { heads, replicated })
    }

    /// Gives the locks back without an effect.
    ///
    /// # Errors
    /// The database is away; then there is no effect either.
    pub async fn roll_back(self) -> Result<(), Fault> {
        self.transaction.end(End::RollBack).await
    }
}

/// What a batch is executed over.
#[derive(Debug)]
enum Session {
    Postgres(OwnTransaction),
    #[cfg(feature = "simulation")]
    Simulated(Box<dyn super::simulated::Transaction>),
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
}

impl Session {
    async fn load(
        &mut self,
        partitions: &[Partition],
        needs: &Needs,
        book: &mut Book,
    ) -> Result<Vec<Locked>, Fault> {
        match self {
            Session::Postgres(own) => load(&mut own.connection, partitions, needs, book).await,
            #[cfg(feature = "simulation")]
            Session::Simulated(simulated) => simulated.load(partitions, needs, book).await,
        }
    }

    async fn write(
        &mut self,
        head: &Head,
        before: Seq,
        chained: &Chained,
        log: &Log<'_>,
        plan: &Plan<'_>,
    ) -> Result<u64, Fault> {
        match self {
            Session::Postgres(own) => {
                write(&mut own.connection, head, before, chained, log, plan).await
            }
            #[cfg(feature = "simulation")]
            Session::Simulated(simulated) => {
                simulated.write(head, before, chained, log, plan).await
            }
        }
    }

    async fn find_items(&mut self, directory: &Directory, skus: &[&str]) -> Result<(), Fault> {
        match self {
            Session::Postgres(own) => directory.find_items_over(&mut own.connection, skus).await,
            #[cfg(feature = "simulation")]
            Session::Simulated(simulated) => {
                let skus = skus.iter().map(|&sku| sku.to_owned()).collect();
                directory.learn_items(simulated.items(skus).await?);
                Ok(())
            }
        }
    }

    async fn end(self, how: End) -> Result<(), Fault> {
        match self {
            Session::Postgres(own) => own.end(how).await,
            #[cfg(feature = "simulation")]
            Session::Simulated(simulated) => simulated.end(how == End::Commit).await,
        }
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
        let connection = acquire(pool, PoolName::Writers).await;
        let connection = connection.map_err(Fault::doing("connect to begin a batch"))?;
        let mut begun = OwnTransaction { connection, ended: false };
        let asked = Instant::now();
        let statements = sqlx::raw_sql(AssertSqlSafe(statements));
        statements.execute(&mut *begun.connection).await.map_err(Fault::doing("begin a batch"))?;
        telemetry::locked_after(asked.elapsed());
        Ok(begun)
    }

    async fn end(mut self, how: End) -> Result<(), Fault> {
        let (statement, doing) = match how {
            End::Commit => ("COMMIT", "commit a batch"),
            End::RollBack => ("ROLLBACK", "roll a batch back"),
        };
        let ending = sqlx::raw_sql(statement).execute(&mut *self.connection);
        ending.await.map_err(Fault::doing(doing))?;
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
