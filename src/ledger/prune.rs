//! Removes what is kept besides the ledger and has done its duty, a bounded number of rows at a time,
//! each statement a transaction of its own. Entries, and what follows from them, are never removed.

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        sql_time::At,
    },
    stock::{ids::Partition, time::Timestamp},
};

/// How many rows were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events that were given up.
    pub dead_letters: u64,
    /// Counts of refusals, by quarter of an hour.
    pub refusal_counts: u64,
    /// Rejected movements that were resubmitted or dismissed.
    pub rejected_movements: u64,
    /// Changes of the network.
    pub network_changes: u64,
}

/// Rows of one statement: it takes milliseconds, and nobody waits for its locks.
const ROWS_MAX: i64 = 1_000;

impl Ledger {
    /// Removes what is older than `before`.
    ///
    /// # Errors
    /// The database is away, or the role may not delete; what was removed until then stays removed.
    pub async fn prune(&self, before: Timestamp) -> Result<Pruned, Fault> {
        let mut pruned = Pruned::default();
        for &partition in self.partitions().await? {
            pruned.dead_letters +=
                until_none_is_left(async || self.prune_dead_letters(partition, before).await)
                    .await?;
        }
        pruned.refusal_counts =
            until_none_is_left(async || self.prune_refusal_counts(before).await).await?;
        pruned.rejected_movements =
            until_none_is_left(async || self.prune_rejected(before).await).await?;
        pruned.network_changes =
            until_none_is_left(async || self.prune_network_changes(before).await).await?;
        Ok(pruned)
    }

    async fn prune_dead_letters(
        &self,
        partition: Partition,
        before: Timestamp,
    ) -> Result<u64, Fault> {
        let done = sqlx::query!(
            "delete from undelivered_event
             where partition = $1 and (sink, seq, event_type) in (
                 select sink, seq, event_type from undelivered_event
                 where partition = $1 and state = 2 and failed_at < $2 limit $3
             ) and state = 2",
            partition.0,
            At(before) as _,
            ROWS_MAX,
        )
        .execute(&mut *self.reader().await?)
        .answered("remove old dead letters")
        .await?;
        Ok(done.rows_affected())
    }

    async fn prune_refusal_counts(&self, before: Timestamp) -> Result<u64, Fault> {
        let done = sqlx::query!(
            "delete from refusal_count where (quarter, location, channel) in (
                 select quarter, location, channel from refusal_count
                 where quarter < $1 order by quarter limit $2
             )",
            At(before) as _,
            ROWS_MAX,
        )
        .execute(&mut *self.reader().await?)
        .answered("remove old counts of refusals")
        .await?;
        Ok(done.rows_affected())
    }

    /// What nobody has decided about stays, however old it is.
    async fn prune_rejected(&self, before: Timestamp) -> Result<u64, Fault> {
        let done = sqlx::query!(
            "delete from rejected_movement where rejected_movement_id in (
                 select rejected_movement_id from rejected_movement
                 where state in (2, 3) and rejected_at < $1 limit $2
             ) and state in (2, 3)",
            At(before) as _,
            ROWS_MAX,
        )
        .execute(&mut *self.reader().await?)
        .answered("remove rejected movements that were decided")
        .await?;
        Ok(done.rows_affected())
    }

    /// Revisions follow time, so the oldest come first.
    async fn prune_network_changes(&self, before: Timestamp) -> Result<u64, Fault> {
        let done = sqlx::query!(
            "delete from network_change where revision in (
                 select revision from (
                     select revision, changed_at from network_change order by revision limit $2
                 ) as oldest where changed_at < $1
             )",
            At(before) as _,
            ROWS_MAX,
        )
        .execute(&mut *self.reader().await?)
        .answered("remove old changes of the network")
        .await?;
        Ok(done.rows_affected())
    }
}

/// Removes again and again, as long as a statement finds as much as it may remove.
async fn until_none_is_left(remove: impl AsyncFn() -> Result<u64, Fault>) -> Result<u64, Fault> {
    let mut all = 0;
    loop {
        let removed = remove().await?;
        all += removed;
        if removed < ROWS_MAX as u64 {
            return Ok(all);
        }
    }
}
