//! What became of events that were sent, written at once by whoever holds the cursor.

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        outbox::Cursor,
        sql_time::At,
    },
    stock::{
        event::EventType,
        ids::{ItemNo, LocationNo, Partition, Seq},
        time::Timestamp,
    },
};

/// Why an attempt failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// HTTP; `None`: there was no answer.
    pub status: Option<u16>,
    /// For people; nothing of what the receiver sent.
    pub text: String,
}

/// An event that is kept because it was not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// The entry that it tells of.
    pub seq: Seq,
    /// What it tells.
    pub event_type: EventType,
    /// Its id.
    pub event_id: String,
    /// Where.
    pub location: LocationNo,
    /// Of which item.
    pub item: ItemNo,
    /// The reservation that it tells of.
    pub reservation: Option<Seq>,
    /// As it is sent.
    pub body: String,
    /// How often, and when again.
    pub attempt: Attempt,
}

/// How often an event was sent in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// 0: it waits for another one of its position.
    pub attempts: u32,
    /// Not before this moment; `None`: never, it is given up.
    pub next_at: Option<Timestamp>,
    /// What happened last, and when.
    pub failed: Option<(Failure, Timestamp)>,
}

/// What became of some events.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// Everything up to here was delivered or is kept.
    pub seq: Seq,
    /// Transfers that were due by then were told, if that is later than before.
    pub told_until: Option<Timestamp>,
    /// To be kept from now on.
    pub kept: Vec<Undelivered>,
    /// Kept, and sent in vain again.
    pub tried: Vec<(Seq, EventType, Attempt)>,
    /// Kept, and delivered.
    pub delivered: Vec<(Seq, EventType)>,
    /// The last failure since the last time.
    pub failed: Option<(Failure, Timestamp)>,
}

impl Ledger {
    /// Writes what became of events. False, and nothing is written: `owner` no longer holds the cursor,
    /// or the ledger is not the one that the events were read from.
    ///
    /// # Errors
    /// The database is away.
    pub async fn settle_events(
        &self,
        partition: Partition,
        cursor: &Cursor,
        (owner, epoch): (u128, i64),
        settled: &Settled,
    ) -> Result<bool, Fault> {
        let mut connection = self.courier().await?;
        let begin = Fault::doing("begin to settle events");
        let mut transaction = connection.begin().await.map_err(begin)?;
        if !move_cursor(&mut transaction, partition, cursor, (owner, epoch), settled).await? {
            transaction.rollback().await.map_err(Fault::doing("leave events as they are"))?;
            return Ok(false);
        }
        if !settled.kept.is_empty() {
            keep(&mut transaction, partition, cursor.sink, &settled.kept).await?;
        }
        for (seq, event_type, attempt) in &settled.tried {
            note(&mut transaction, (partition, cursor.sink), (*seq, *event_type), attempt).await?;
        }
        if !settled.delivered.is_empty() {
            forget(&mut transaction, partition, cursor.sink, &settled.delivered).await?;
        }
        transaction.commit().await.map_err(Fault::doing("commit what became of events"))?;
        Ok(true)
    }

    /// Events that wait for another attempt, in order, at most `rows_max` of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn waiting_events(
        &self,
        partition: Partition,
        sink: i32,
        rows_max: i64,
    ) -> Result<Vec<Undelivered>, Fault> {
        let rows = sqlx::query!(
            r#"select seq, event_type, event_id, location, item, reservation_no, body, attempts,
                   next_attempt_at as "next_attempt_at: At"
               from undelivered_event where partition = $1 and sink = $2 and state = 1
               order by seq, event_type limit $3"#,
            partition.0,
            sink,
            rows_max,
        )
        .fetch_all(&mut *self.courier().await?)
        .answered("read events that wait")
        .await?;
        let waiting = rows.into_iter().filter_map(|row| {
            Some(Undelivered {
                seq: row.seq,
                event_type: EventType::of(i32::from(row.event_type))?,
                event_id: row.event_id,
                location: LocationNo(row.location),
                item: ItemNo(row.item),
                reservation: row.reservation_no,
                body: row.body,
                attempt: Attempt {
                    attempts: row.attempts.unsigned_abs(),
                    next_at: Some(row.next_attempt_at.0),
                    failed: None,
                },
            })
        });
        Ok(waiting.collect())
    }
}

/// Only over what is still in the ledger that it was read from, and only by who holds it.
async fn move_cursor(
    connection: &mut PgConnection,
    partition: Partition,
    cursor: &Cursor,
    (owner, epoch): (u128, i64),
    settled: &Settled,
) -> Result<bool, Fault> {
    let (failure, failed_at) = settled.failed.clone().unzip();
    let moved = sqlx::query!(
        "update event_cursor set
             seq = $5, told_until = coalesce($6, told_until), failed_at = coalesce($7, failed_at),
             failed_status = case when $7 is null then failed_status else $8 end,
             failure = coalesce($9, failure)
         where partition = $1 and sink = $2 and owner = $3 and seq = $4 and exists (
             select from ledger_head
             where ledger_head.partition = $1 and ledger_head.epoch = $10 and ledger_head.seq >= $5
         )",
        partition.0,
        cursor.sink,
        Uuid::from_u128(owner),
        cursor.seq,
        settled.seq,
        settled.told_until.map(At) as _,
        failed_at.map(At) as _,
        failure.as_ref().and_then(|failure| failure.status).map(i32::from),
        failure.map(|failure| failure.text),
        epoch,
    )
    .execute(connection)
    .answered("move a cursor")
    .await?;
    Ok(moved.rows_affected() == 1)
}

async fn keep(
    connection: &mut PgConnection,
    partition: Partition,
    sink: i32,
    kept: &[Undelivered],
) -> Result<(), Fault> {
    fn column<T>(kept: &[Undelivered], of: impl Fn(&Undelivered) -> T) -> Vec<T> {
        kept.iter().map(of).collect()
    }
    let failed = |event: &Undelivered| event.attempt.failed.clone();
    sqlx::query!(
        "insert into undelivered_event (
             partition, sink, seq, event_type, event_id, location, item, reservation_no, body,
             attempts, state, next_attempt_at, failed_at, failed_status, failure)
         select $1, $2, event.* from unnest(
             $3::bigint[], $4::smallint[], $5::text[], $6::int[], $7::int[], $8::bigint[],
             $9::text[], $10::int[], $11::smallint[], $12::timestamptz[], $13::timestamptz[],
             $14::int[], $15::text[]) as event
         on conflict (partition, sink, seq, event_type) do nothing",
        partition.0,
        sink,
        &column(kept, |event| event.seq),
        &column(kept, |event| event.event_type as i16),
        &column(kept, |event| event.event_id.clone()),
        &column(kept, |event| event.location.0),
        &column(kept, |event| event.item.0),
        &column(kept, |event| event.reservation) as _,
        &column(kept, |event| event.body.clone()),
        &column(kept, |event| event.attempt.attempts as i32),
        &column(kept, |event| state(&event.attempt)),
        &column(kept, |event| next_at(&event.attempt)) as _,
        &column(kept, |event| failed(event).map(|(_, at)| At(at))) as _,
        &column(kept, |event| failed(event).and_then(|(why, _)| why.status).map(i32::from)) as _,
        &column(kept, |event| failed(event).map(|(why, _)| why.text)) as _,
    )
    .execute(connection)
    .answered("keep events")
    .await?;
    Ok(())
}

async fn note(
    connection: &mut PgConnection,
    (partition, sink): (Partition, i32),
    (seq, event_type): (Seq, EventType),
    attempt: &Attempt,
) -> Result<(), Fault> {
    let (failure, failed_at) = attempt.failed.clone().unzip();
    sqlx::query!(
        "update undelivered_event set attempts = $5, state = $6, next_attempt_at = $7,
             failed_at = $8, failed_status = $9, failure = $10
         where partition = $1 and sink = $2 and seq = $3 and event_type = $4",
        partition.0,
        sink,
        seq,
        event_type as i16,
        attempt.attempts as i32,
        state(attempt),
        next_at(attempt) as _,
        failed_at.map(At) as _,
        failure.as_ref().and_then(|failure| failure.status).map(i32::from),
        failure.map(|failure| failure.text),
    )
    .execute(connection)
    .answered("note that an event failed again")
    .await?;
    Ok(())
}

async fn forget(
    connection: &mut PgConnection,
    partition: Partition,
    sink: i32,
    delivered: &[(Seq, EventType)],
) -> Result<(), Fault> {
    let seqs: Vec<_> = delivered.iter().map(|(seq, _)| *seq).collect();
    let types: Vec<_> = delivered.iter().map(|(_, event_type)| *event_type as i16).collect();
    sqlx::query!(
        "delete from undelivered_event as event
         using unnest($3::bigint[], $4::smallint[]) as done (seq, event_type)
         where event.partition = $1 and event.sink = $2 and event.seq = done.seq
             and event.event_type = done.event_type",
        partition.0,
        sink,
        &seqs,
        &types,
    )
    .execute(connection)
    .answered("forget events that were delivered")
    .await?;
    Ok(())
}

/// 1 waits, 2 is given up.
fn state(attempt: &Attempt) -> i16 {
    if attempt.next_at.is_some() { 1 } else { 2 }
}

fn next_at(attempt: &Attempt) -> At {
    let failed_at = attempt.failed.as_ref().map(|(_, at)| *at);
    At(attempt.next_at.or(failed_at).unwrap_or(Timestamp::Y2000))
}
