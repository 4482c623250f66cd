//! How far events have gone out: cursors, who moves them, and what could not be delivered.
//!
//! Everything here lies beside the entries that it is about, in the same partition. What goes out is
//! read here, decided on elsewhere, and sent while no transaction is open.

mod dead;
mod overdue;
mod settle;

use rustc_hash::FxHashMap;
use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

pub use self::{
    dead::{DeadLetter, Progress},
    overdue::Overdue,
    settle::{Attempt, Failure, Settled, Undelivered},
};
use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        reservation::by_number,
        rows::entries_between,
        sql_time::At,
    },
    stock::{
        entry::Entry,
        ids::{Partition, Seq},
        reservation::{Reservation, State},
        time::{Micros, Timestamp},
    },
};

/// The number of the message stream among those who are told.
pub const STREAM: i32 = 0;

/// How far somebody was told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Who: the number of a webhook, or [`STREAM`].
    pub sink: i32,
    /// Everything up to here was delivered or is kept.
    pub seq: Seq,
    /// Transfers that were due by then were told.
    pub told_until: Timestamp,
    /// Grows when dead letters are to be sent again.
    pub replays: i64,
}

/// Entries behind a cursor.
#[derive(Debug)]
pub struct Behind {
    /// The epoch of the ledger.
    pub epoch: i64,
    /// The last entry that there was.
    pub head: Seq,
    /// In order; the last one read, even where it makes no sense.
    pub last: Seq,
    /// Those that make sense.
    pub entries: Vec<Entry<'static>>,
    /// Their checksums.
    pub checksums: Vec<i64>,
}

/// A step of a reservation.
#[derive(Clone, Debug)]
pub struct StepRead {
    /// The entry that answers it.
    pub seq: Seq,
    /// How far it had come before.
    pub before: Option<State>,
    /// As it stood afterwards.
    pub after: Option<Reservation>,
}

impl Ledger {
    /// Takes the cursors of a partition that nobody else holds, and keeps those that `owner` holds, for
    /// so long. Returns all that it holds.
    ///
    /// # Errors
    /// The database is away.
    pub async fn claim_cursors(
        &self,
        partition: Partition,
        sinks: &[i32],
        owner: u128,
        lease: Micros,
    ) -> Result<Vec<Cursor>, Fault> {
        let rows = sqlx::query!(
            r#"update event_cursor
               set owner = $3, lease_until = now() + $4::bigint * interval '1 microsecond'
               where partition = $1 and sink = any($2)
                   and (owner = $3 or owner is null or lease_until < now())
               returning sink, seq, told_until as "told_until: At", replays"#,
            partition.0,
            sinks,
            Uuid::from_u128(owner),
            lease,
        )
        .fetch_all(&mut *self.courier().await?)
        .answered("claim cursors")
        .await?;
        let cursors = rows.into_iter().map(|row| Cursor {
            sink: row.sink,
            seq: row.seq,
            told_until: row.told_until.0,
            replays: row.replays,
        });
        Ok(cursors.collect())
    }

    /// Lets others have what `owner` holds in a partition, but for these.
    ///
    /// # Errors
    /// The database is away.
    pub async fn release_cursors(
        &self,
        partition: Partition,
        owner: u128,
        but: &[i32],
    ) -> Result<(), Fault> {
        sqlx::query!(
            "update event_cursor set owner = null
             where partition = $1 and owner = $2 and not sink = any($3)",
            partition.0,
            Uuid::from_u128(owner),
            but,
        )
        .execute(&mut *self.courier().await?)
        .answered("release cursors")
        .await?;
        Ok(())
    }

    /// Makes sure that the message stream has its cursors: it is told what is recorded from then on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begin_stream(&self) -> Result<(), Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.courier().await?;
        for &partition in partitions {
            begin_cursor(&mut connection, partition, STREAM).await?;
        }
        Ok(())
    }

    /// Where a cursor stands, as long as `owner` holds it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn own_cursor(
        &self,
        partition: Partition,
        sink: i32,
        owner: u128,
    ) -> Result<Option<Cursor>, Fault> {
        let row = sqlx::query!(
            r#"select seq, told_until as "told_until: At", replays from event_cursor
               where partition = $1 and sink = $2 and owner = $3"#,
            partition.0,
            sink,
            Uuid::from_u128(owner),
        )
        .fetch_optional(&mut *self.courier().await?)
        .answered("read a cursor")
        .await?;
        Ok(row.map(|row| Cursor {
            sink,
            seq: row.seq,
            told_until: row.told_until.0,
            replays: row.replays,
        }))
    }

    /// The entries behind `after`, in order, at most `rows_max` of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn entries_behind(
        &self,
        partition: Partition,
        after: Seq,
        rows_max: i64,
    ) -> Result<Behind, Fault> {
        let mut connection = self.courier().await?;
        // The head first: what is read after it may only be newer.
        let head =
            sqlx::query!("select epoch, seq from ledger_head where partition = $1", partition.0)
                .fetch_one(&mut *connection)
                .answered("read a head for events")
                .await?;
        let (epoch, head) = (head.epoch, head.seq);
        let (entries, checksums) = (Vec::new(), Vec::new());
        let mut behind = Behind { epoch, head, last: after, entries, checksums };
        let until = behind.head.min(after.saturating_add(rows_max));
        if until <= after {
            return Ok(behind);
        }
        for (seq, stored) in entries_between(&mut connection, partition, after, until).await? {
            behind.last = seq;
            match stored {
                Ok(stored) => {
                    behind.entries.push(stored.entry);
                    behind.checksums.push(stored.checksum);
                }
                Err(fault) => {
                    tracing::error!(seq, fault = fault.chain(), "an entry tells no event");
                }
            }
        }
        Ok(behind)
    }

    /// What these steps, each by the number of its reservation and the entry that answers it, did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn steps_read(
        &self,
        partition: Partition,
        steps: &[(Seq, Seq)],
    ) -> Result<Vec<StepRead>, Fault> {
        let (numbers, versions): (Vec<_>, Vec<_>) = steps.iter().copied().unzip();
        let mut connection = self.courier().await?;
        // As they are now is read first: what moves on meanwhile is then found among the earlier states.
        let now = by_number(&mut connection, partition, &numbers).await?;
        let now: FxHashMap<_, _> = now.into_iter().map(|made| (made.version, made)).collect();
        let earlier = earlier(&mut connection, partition, &numbers, &versions).await?;
        let read = earlier.into_iter().map(|(seq, before, after)| StepRead {
            seq,
            before: before.map(|before| before.state),
            after: after.or_else(|| now.get(&seq).cloned()),
        });
        Ok(read.collect())
    }
}

/// A cursor that stands where the ledger does now, unless there is one already.
pub(in crate::ledger) async fn begin_cursor(
    connection: &mut PgConnection,
    partition: Partition,
    sink: i32,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into event_cursor (partition, sink, seq, told_until, lease_until, replays)
         select $1, $2, head.seq, now(), now(), 0 from ledger_head as head
         where head.partition = $1
         on conflict (partition, sink) do nothing",
        partition.0,
        sink,
    )
    .execute(connection)
    .answered("begin a cursor")
    .await?;
    Ok(())
}

/// Forgets how far somebody was told of a partition, and what was not delivered.
pub(in crate::ledger) async fn drop_cursor(
    connection: &mut PgConnection,
    partition: Partition,
    sink: i32,
) -> Result<(), Fault> {
    sqlx::query!(
        "with events as (delete from undelivered_event where partition = $1 and sink = $2)
         delete from event_cursor where partition = $1 and sink = $2",
        partition.0,
        sink,
    )
    .execute(connection)
    .answered("drop a cursor")
    .await?;
    Ok(())
}

/// The state of each of these reservations before a version, and at it where that is an earlier one.
async fn earlier(
    connection: &mut PgConnection,
    partition: Partition,
    numbers: &[Seq],
    versions: &[Seq],
) -> Result<Vec<(Seq, Option<Reservation>, Option<Reservation>)>, Fault> {
    let rows = sqlx::query!(
        r#"select wanted.version as "version!",
               before.snapshot as "before?: Json<Reservation>",
               stood.snapshot as "stood?: Json<Reservation>"
           from unnest($2::bigint[], $3::bigint[]) as wanted (no, version)
           left join lateral (
               select snapshot from reservation_version
               where partition = $1 and no = wanted.no and version < wanted.version
               order by version desc limit 1
           ) as before on true
           left join lateral (
               select snapshot from reservation_version
               where partition = $1 and no = wanted.no and version = wanted.version offset 0
           ) as stood on true"#,
        partition.0,
        numbers,
        versions,
    )
    .fetch_all(connection)
    .answered("read what steps did")
    .await?;
    let read = rows.into_iter().map(|row| {
        (row.version, row.before.map(|Json(before)| before), row.stood.map(|Json(stood)| stood))
    });
    Ok(read.collect())
}
