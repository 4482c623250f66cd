//! The epoch: moves whenever the ledger may have lost its tail, so that nothing outside PostgreSQL
//! that rests on the lost entries is believed any longer.

use sqlx::{Connection as _, PgConnection};

use crate::{
    ledger::{
        Ledger,
        fault::Fault,
        head::{Head, Locked, lock_statement},
        load::open,
    },
    stock::{book::Needs, ids::Partition},
};

impl Ledger {
    /// Moves the epoch of every partition at once: after a restore, or when a writer finds that the
    /// database changed under it. Returns the new epoch.
    ///
    /// # Errors
    /// The database is away.
    pub async fn bump_epoch(&self) -> Result<i64, Fault> {
        let connect = Fault::doing("connect to move the epoch");
        let mut connection = self.writers.acquire().await.map_err(connect)?;
        let epoch = begin_epoch(&mut connection, |_| true).await?.unwrap_or(0);
        self.directory.enter(epoch);
        tracing::warn!(epoch, "the ledger begins a new epoch");
        Ok(epoch)
    }

    /// Moves the epoch of every partition if the database changed under the ledger, and nobody else
    /// has done so yet. Returns the new epoch.
    ///
    /// # Errors
    /// The database is away.
    pub async fn mend_epoch(&self) -> Result<Option<i64>, Fault> {
        simulated!(self.simulated => |database| self.mend_simulated_epoch(&**database));
        let connect = Fault::doing("connect to move the epoch");
        let mut connection = self.writers.acquire().await.map_err(connect)?;
        let lost = |locked: &[Locked]| locked.iter().any(Locked::tail_may_be_lost);
        let epoch = begin_epoch(&mut connection, lost).await?;
        if let Some(epoch) = epoch {
            self.directory.enter(epoch);
            tracing::warn!(epoch, "the database changed: the ledger begins a new epoch");
        }
        Ok(epoch)
    }
}

/// Moves the epoch of every partition at once, if that is `needed`. Returns the new epoch.
pub(crate) async fn begin_epoch(
    connection: &mut PgConnection,
    needed: impl FnOnce(&[Locked]) -> bool,
) -> Result<Option<i64>, Fault> {
    let begin = Fault::doing("begin to move the epoch");
    let mut transaction = connection.begin().await.map_err(begin)?;
    let partitions = partitions(&mut transaction).await?;
    for &partition in &partitions {
        let lock = sqlx::AssertSqlSafe(lock_statement(partition));
        let locking = sqlx::raw_sql(lock).execute(&mut *transaction).await;
        locking.map_err(Fault::doing("lock the head of a partition"))?;
    }
    let (locked, _) = open(&mut transaction, &partitions, &Needs::default()).await?;
    if !needed(&locked) {
        transaction.rollback().await.map_err(Fault::doing("leave the epoch as it is"))?;
        return Ok(None);
    }
    let heads = heads_of_next_epoch(&locked);
    for head in &heads {
        move_epoch(&mut transaction, head).await?;
    }
    transaction.commit().await.map_err(Fault::doing("commit the new epoch"))?;
    Ok(heads.first().map(|head| head.epoch))
}

/// The heads of all partitions in the epoch after theirs, which is one for all of them.
pub(crate) fn heads_of_next_epoch(locked: &[Locked]) -> Vec<Head> {
    let now_ms = locked.iter().map(|locked| locked.now.0 / 1_000).max().unwrap_or(0);
    let stored = locked.iter().map(|locked| locked.head.epoch).max().unwrap_or(0);
    let epoch = now_ms.max(stored + 1);
    let head = |locked: &Locked| Head {
        epoch,
        system_identifier: locked.live_system_identifier,
        timeline: locked.live_timeline,
        ..locked.head
    };
    locked.iter().map(head).collect()
}

/// Every partition, ascending.
pub(crate) async fn partitions(connection: &mut PgConnection) -> Result<Vec<Partition>, Fault> {
    let rows = sqlx::query_scalar!("select partition from ledger_head order by partition")
        .fetch_all(connection)
        .await
        .map_err(Fault::doing("list the partitions"))?;
    Ok(rows.into_iter().map(Partition).collect())
}

async fn move_epoch(connection: &mut PgConnection, head: &Head) -> Result<(), Fault> {
    sqlx::query!(
        "update ledger_head
         set epoch = $2, system_identifier = $3, timeline = $4, checksum = $5
         where partition = $1",
        head.partition.0,
        head.epoch,
        head.system_identifier,
        head.timeline,
        head.checksum(),
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("move the epoch of a partition"))?;
    Ok(())
}
