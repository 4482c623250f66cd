//! Dead letters, and how far behind somebody is.

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        outbox::Failure,
        sql_time::At,
    },
    stock::{
        event::EventType,
        ids::{Partition, Seq},
        time::{Micros, Timestamp},
    },
};

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's DeadLetter")]
pub struct DeadLetter {
    pub event_id: String,
    pub event_type: EventType,
    pub partition: Partition,
    pub seq: Seq,
    pub attempts: u32,
    pub failed_at: Option<Timestamp>,
    pub failure: Failure,
    pub body: String,
}

/// How far somebody was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Entries that nothing was told of yet.
    pub behind: i64,
    /// How long ago the oldest of them was recorded.
    pub behind_for: Micros,
    /// Events that wait for another attempt.
    pub waiting: i64,
    /// Events that were given up.
    pub dead: i64,
    /// What failed last, and when.
    pub failed: Option<(Failure, Timestamp)>,
}

impl Ledger {
    /// How far somebody was told; `None`: nobody has this number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn event_progress(&self, sink: i32) -> Result<Option<Progress>, Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.reader().await?;
        let mut all = None;
        for &partition in partitions {
            let row = sqlx::query!(
                r#"select head.seq - cursor.seq as "behind!",
                       (extract(epoch from now() - next.recorded_at) * 1000000)::bigint
                           as behind_for,
                       kept.waiting as "waiting!", kept.dead as "dead!",
                       cursor.failed_at as "failed_at: At", cursor.failed_status, cursor.failure
                   from event_cursor as cursor
                   join ledger_head as head on head.partition = $1
                   left join ledger_entry as next
                       on next.partition = $1 and next.seq = cursor.seq + 1
                   cross join lateral (
                       select count(*) filter (where state = 1) as waiting,
                           count(*) filter (where state = 2) as dead
                       from undelivered_event where partition = $1 and sink = $2
                   ) as kept
                   where cursor.partition = $1 and cursor.sink = $2"#,
                partition.0,
                sink,
            )
            .fetch_optional(&mut *connection)
            .answered("read how far events have gone out")
            .await?;
            let Some(row) = row else { continue };
            let all: &mut Progress = all.get_or_insert_default();
            all.behind += row.behind.max(0);
            all.behind_for = all.behind_for.max(row.behind_for.unwrap_or(0));
            all.waiting += row.waiting;
            all.dead += row.dead;
            let failed = row.failed_at.map(|at| (failure(row.failed_status, row.failure), at.0));
            let later = |(_, at): &(Failure, Timestamp)| {
                all.failed.as_ref().is_none_or(|(_, known)| at > known)
            };
            if let Some(failed) = failed.filter(later) {
                all.failed = Some(failed);
            }
        }
        Ok(all)
    }

    /// Dead letters behind a place, by partition, entry and type.
    ///
    /// # Errors
    /// The database is away.
    pub async fn dead_letters(
        &self,
        sink: i32,
        (first, after, after_type): (Partition, Seq, i16),
        rows_max: i64,
    ) -> Result<Vec<DeadLetter>, Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.reader().await?;
        let mut letters: Vec<DeadLetter> = Vec::new();
        for &partition in partitions {
            let left = rows_max - letters.len() as i64;
            if partition < first || left == 0 {
                continue;
            }
            let (after, after_type) = if partition == first { (after, after_type) } else { (0, 0) };
            let rows = sqlx::query!(
                r#"select seq, event_type, event_id, attempts, failed_at as "failed_at: At",
                       failed_status, failure, body
                   from undelivered_event
                   where partition = $1 and sink = $2 and state = 2
                       and (seq, event_type) > ($3, $4)
                   order by seq, event_type limit $5"#,
                partition.0,
                sink,
                after,
                after_type,
                left,
            )
            .fetch_all(&mut *connection)
            .answered("list dead letters")
            .await?;
            letters.extend(rows.into_iter().filter_map(|row| {
                Some(DeadLetter {
                    event_id: row.event_id,
                    event_type: EventType::of(i32::from(row.event_type))?,
                    partition,
                    seq: row.seq,
                    attempts: row.attempts.unsigned_abs(),
                    failed_at: row.failed_at.map(|at| at.0),
                    failure: failure(row.failed_status, row.failure),
                    body: row.body,
                })
            }));
        }
        Ok(letters)
    }

    /// Has dead letters sent again: those with these ids, or all. Returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn replay_dead_letters(&self, sink: i32, event_ids: &[String]) -> Result<i64, Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.reader().await?;
        let mut replayed = 0;
        for &partition in partitions {
            // The cursor too, which tells whoever holds it to look.
            let marked = sqlx::query_scalar!(
                r#"with marked as (
                       update undelivered_event
                       set state = 1, attempts = 0, next_attempt_at = now()
                       where partition = $1 and sink = $2 and state = 2
                           and (cardinality($3::text[]) = 0 or event_id = any($3))
                       returning 1
                   ), told as (
                       update event_cursor set replays = replays + 1
                       where partition = $1 and sink = $2 and exists (select from marked)
                   )
                   select count(*) as "count!" from marked"#,
                partition.0,
                sink,
                event_ids,
            )
            .fetch_one(&mut *connection)
            .answered("have dead letters sent again")
            .await?;
            replayed += marked;
        }
        Ok(replayed)
    }

    /// Removes dead letters with these ids. Returns how many.
    ///
    /// # Errors
    /// The database is away.
    pub async fn dismiss_dead_letters(
        &self,
        sink: i32,
        event_ids: &[String],
    ) -> Result<i64, Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.reader().await?;
        let mut dismissed = 0;
        for &partition in partitions {
            let removed = sqlx::query!(
                "delete from undelivered_event
                 where partition = $1 and sink = $2 and state = 2 and event_id = any($3)",
                partition.0,
                sink,
                event_ids,
            )
            .execute(&mut *connection)
            .answered("remove dead letters")
            .await?;
            dismissed += i64::try_from(removed.rows_affected()).unwrap_or(i64::MAX);
        }
        Ok(dismissed)
    }
}

fn failure(status: Option<i32>, text: Option<String>) -> Failure {
    let status = status.and_then(|status| u16::try_from(status).ok());
    Failure { status, text: text.unwrap_or_default() }
}
