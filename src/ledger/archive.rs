//! The archive: old entries leave the ledger in whole batches, as slices, each of which is a file. What
//! goes on being asked of them stays behind as rows: balances, open announcements, outcomes of keys.
//!
//! A slice is [written and read back](file::write) by the command; only then does one transaction
//! ([`Ledger::put_away`]) remove its rows.

pub mod file;
mod put_away;

use std::collections::VecDeque;

use sqlx::{PgConnection, Postgres, pool::PoolConnection};

use crate::{
    ledger::{
        Ledger,
        audit::links,
        batch_rows::hash_of,
        chain::{Chain, Link},
        fault::{Answered as _, Fault},
        queries::seq_at,
        rows::{Row, rows_between},
        sql_time::At,
    },
    stock::{
        hash::Hash,
        ids::{Partition, Seq},
        time::Timestamp,
    },
};

/// Entries of one slice, unless one batch has more: the partition is locked while their rows are removed.
const SLICE_ENTRIES: Seq = 20_000;
/// Entries of one page.
const PAGE_ROWS: i64 = 5_000;

/// A file of archived entries, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Where.
    pub partition: Partition,
    /// Its first entry.
    pub first: Seq,
    /// Its last entry, which ends a batch.
    pub last: Seq,
    /// The epoch of its last batch.
    pub epoch: i64,
    /// When its last entry was recorded.
    pub recorded_at: Timestamp,
    /// Hash of the chain before it.
    pub previous: Hash,
    /// Hash of the chain behind it.
    pub hash: Hash,
    /// Within the folder of the archive.
    pub file_name: String,
    /// Of the file.
    pub file_sha256: Hash,
}

/// Why the ledger does not say how it was.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The entries of that time are in the archive.
    #[error("what was recorded until {} is archived", rfc3339(*until))]
    Archived {
        /// When the last of them was recorded.
        until: Timestamp,
    },
    /// The database is away.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Batches that are to be archived together.
#[derive(Debug)]
pub struct Batches {
    /// What is known of their slice before it is written.
    slice: Slice,
    links: Vec<Link>,
}

/// The entries of batches, page by page: those from before the chain began are one batch, however many
/// they are.
struct Entries<'l> {
    ledger: &'l Ledger,
    partition: Partition,
    /// What was read, and not yet taken.
    page: VecDeque<Row>,
    /// Up to where it was read.
    read: Seq,
    last: Seq,
}

impl Slice {
    /// The chain behind it.
    pub fn chain(&self) -> Chain {
        Chain { seq: self.last, hash: self.hash }
    }

    /// The chain before it.
    pub fn from(&self) -> Chain {
        Chain { seq: self.first - 1, hash: self.previous }
    }
}

impl Ledger {
    /// Every slice of a partition, in order.
    ///
    /// # Errors
    /// The database is away.
    pub async fn archived_slices(&self, partition: Partition) -> Result<Vec<Slice>, Fault> {
        slices(&mut *self.reader().await?, partition, i64::MAX).await
    }

    /// The next batches of a partition that may be archived: all their entries were recorded before
    /// `before`, and nobody waits to be told of one of them. `None`: there are none.
    ///
    /// # Errors
    /// The database is away.
    pub async fn batches_to_archive(
        &self,
        partition: Partition,
        before: Timestamp,
    ) -> Result<Option<Batches>, Fault> {
        let mut connection = self.reader().await?;
        let from = archived(&mut connection, partition).await?;
        let from = from.map_or_else(Chain::default, |slice| slice.chain());
        let recorded = seq_at(&mut connection, partition, before.saturating_add(-1)).await?;
        let until = recorded.min(told(&mut connection, partition).await?.unwrap_or(Seq::MAX));
        let near = until.min(from.seq + SLICE_ENTRIES);
        let mut batches = links(&mut connection, partition, from.seq, near, SLICE_ENTRIES).await?;
        if batches.is_empty() {
            batches = links(&mut connection, partition, from.seq, until, 1).await?;
        }
        let Some(last) = batches.last() else { return Ok(None) };
        let slice = Slice {
            partition,
            first: from.seq + 1,
            last: last.last,
            epoch: last.epoch,
            recorded_at: Timestamp::MIN,
            previous: from.hash,
            hash: last.hash,
            file_name: file::name(partition, from.seq + 1, last.last),
            file_sha256: Hash::default(),
        };
        Ok(Some(Batches { slice, links: batches }))
    }

    /// Keeps everybody else from archiving until this is dropped. `None`: somebody is at it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn archiving(&self) -> Result<Option<Archiving>, Fault> {
        let mut connection = self.reader().await?;
        connection.close_on_drop();
        let locked = sqlx::query_scalar!(
            r#"select pg_try_advisory_lock(hashtext('stockroom archive')) as "locked!""#
        )
        .fetch_one(&mut *connection)
        .answered("lock the archive")
        .await?;
        Ok(locked.then_some(Archiving(connection)))
    }
}

/// While this is there nobody else archives: the lock is that of its session.
#[derive(Debug)]
pub struct Archiving(#[expect(dead_code, reason = "held, not read")] PoolConnection<Postgres>);

impl Entries<'_> {
    fn of<'l>(ledger: &'l Ledger, slice: &Slice) -> Entries<'l> {
        let (partition, read, last) = (slice.partition, slice.first - 1, slice.last);
        Entries { ledger, partition, page: VecDeque::new(), read, last }
    }

    /// The next one, if it is not behind `until`.
    async fn next(&mut self, until: Seq) -> Result<Option<Row>, Fault> {
        if self.page.is_empty() && self.read < until {
            let to = self.last.min(self.read + PAGE_ROWS);
            let connection = &mut *self.ledger.reader().await?;
            self.page = rows_between(connection, self.partition, self.read, to).await?.into();
            self.read = to;
        }
        Ok(self.page.pop_front_if(|row| row.seq <= until))
    }
}

/// Makes sure that everything behind entry `seq` of a partition is there still. Whoever has read what
/// they needed asks this afterwards: something may be archived at any time.
pub(super) async fn nothing_archived_behind(
    connection: &mut PgConnection,
    partition: Partition,
    seq: Seq,
) -> Result<(), PastError> {
    match archived(connection, partition).await? {
        Some(slice) if slice.last > seq => Err(PastError::Archived { until: slice.recorded_at }),
        _ => Ok(()),
    }
}

/// The same of everything that was recorded at a moment or later.
pub(super) async fn nothing_archived_since(
    connection: &mut PgConnection,
    partition: Partition,
    from: Timestamp,
) -> Result<(), PastError> {
    match archived(connection, partition).await? {
        Some(slice) if slice.recorded_at >= from => {
            Err(PastError::Archived { until: slice.recorded_at })
        }
        _ => Ok(()),
    }
}

fn rfc3339(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(time.0).unwrap_or_default()
}

/// The newest slice of a partition: behind it the log begins. `None`: nothing is archived.
pub(super) async fn archived(
    connection: &mut PgConnection,
    partition: Partition,
) -> Result<Option<Slice>, Fault> {
    Ok(slices(connection, partition, 1).await?.pop())
}

/// The newest slices of a partition, in order.
pub(super) async fn slices(
    connection: &mut PgConnection,
    partition: Partition,
    rows_max: i64,
) -> Result<Vec<Slice>, Fault> {
    let rows = sqlx::query!(
        r#"select first_seq, last_seq, epoch, recorded_at as "recorded_at: At", previous, hash,
               file_name, file_sha256
           from archived_slice where partition = $1 order by last_seq desc limit $2"#,
        partition.0,
        rows_max,
    )
    .fetch_all(connection)
    .answered("read what is archived")
    .await?;
    let slices = rows.into_iter().rev().map(|row| Slice {
        partition,
        first: row.first_seq,
        last: row.last_seq,
        epoch: row.epoch,
        recorded_at: row.recorded_at.0,
        previous: hash_of(&row.previous),
        hash: hash_of(&row.hash),
        file_name: row.file_name,
        file_sha256: hash_of(&row.file_sha256),
    });
    Ok(slices.collect())
}

/// The last entry that everybody was told of who is told of entries. `None`: nobody is.
async fn told(connection: &mut PgConnection, partition: Partition) -> Result<Option<Seq>, Fault> {
    sqlx::query_scalar!(
        "select least(
             (select min(seq) from event_cursor where partition = $1),
             (select min(seq) - 1 from undelivered_event where partition = $1))",
        partition.0,
    )
    .fetch_one(connection)
    .answered("read what everybody was told of")
    .await
}
