//! The archive: old entries leave the ledger in whole batches, as slices, each of which is a file. What
//! goes on being asked of them stays behind as rows: balances, open announcements, outcomes of keys.
//!
//! A slice is read, written and [read back](file::check) by the command; only then does one transaction
//! ([`put_away`]) remove its rows.

pub mod file;
mod put_away;

use sqlx::PgConnection;

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

/// Entries of one slice, unless one batch has more: their rows are removed within a fraction of a second,
/// for which the partition is locked.
const SLICE_ENTRIES: Seq = 20_000;
/// Batches of one slice.
const SLICE_LINKS: i64 = 20_000;

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

/// Batches with their entries that are to be archived together.
#[derive(Debug)]
pub struct Batches {
    /// Where.
    pub partition: Partition,
    /// Where the chain was before them.
    pub from: Chain,
    pub(in crate::ledger) links: Vec<Link>,
    pub(in crate::ledger) rows: Vec<Row>,
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
        let mut links = links(&mut connection, partition, from.seq, until, SLICE_LINKS).await?;
        let fits = |link: &Link| link.last - from.seq <= SLICE_ENTRIES;
        links.truncate(links.iter().take_while(|link| fits(link)).count().max(1));
        let Some(last) = links.last().map(|link| link.last) else { return Ok(None) };
        let rows = rows_between(&mut connection, partition, from.seq, last).await?;
        Ok(Some(Batches { partition, from, links, rows }))
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
