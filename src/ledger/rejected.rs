//! Movements that could not be recorded: kept as they were sent until somebody decides.

use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    ledger::{
        Ledger,
        directory::Known,
        fault::{Answered as _, Fault},
        queries::FoundRequest,
        sql_time::At,
    },
    stock::{hash::Digest, time::Timestamp},
};

/// What became of a rejected movement. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i16)]
pub enum State {
    /// Waits for somebody to decide.
    Open = 1,
    /// In the ledger by now.
    Resolved = 2,
    /// Taken off the list.
    Dismissed = 3,
}

/// A movement to be kept.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// Source and key, or source and payload where the key itself is invalid.
    pub digest: Digest,
    /// Who sent it.
    pub source: String,
    /// Where, if it is an identifier.
    pub location_id: Option<String>,
    /// Canonical status code.
    pub code: i32,
    /// Reason.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The values of the message: an object of strings.
    pub metadata: Value,
    /// What was sent, as its message of the contract.
    pub payload: Vec<u8>,
}

/// A movement that is kept.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// Identifies the row.
    pub id: Uuid,
    /// What was rejected, and why the last time.
    pub rejection: Rejection,
    /// When it was rejected first.
    pub rejected_at: Timestamp,
    /// How often it was tried.
    pub attempts: i32,
    /// What became of it.
    pub state: State,
    /// Who decided; empty: nobody.
    pub actor: String,
    /// Why it was dismissed.
    pub note: String,
}

/// Which rejected movements to list.
#[derive(Clone, Debug)]
pub struct RejectedFilter {
    /// Only this source.
    pub source: Option<String>,
    /// Only this location.
    pub location_id: Option<String>,
    /// Only these locations; `None`: any, and lines whose location is not known.
    pub location_ids: Option<Vec<String>>,
    /// Only this reason.
    pub reason: Option<String>,
    /// Only this state.
    pub state: State,
}

struct Row {
    rejected_movement_id: Uuid,
    digest: Uuid,
    source: String,
    location_id: Option<String>,
    code: i32,
    reason: String,
    message: String,
    metadata: Value,
    payload: Vec<u8>,
    rejected_at: At,
    attempts: i32,
    state: i16,
    actor: Option<String>,
    note: Option<String>,
}

/// What is looked for in the ledger.
struct OpenRow {
    id: Uuid,
    digest: Digest,
    location_id: Option<String>,
    rejected_at: Timestamp,
}

impl Ledger {
    /// Keeps movements: one row per source and key. One that is rejected again gets its new reason and
    /// is open again.
    ///
    /// # Errors
    /// The database is away; nothing was kept.
    pub async fn reject(&self, rejections: &[Rejection]) -> Result<(), Fault> {
        // The last of several with the same key counts: a statement must not touch a row twice.
        let mut last = std::collections::BTreeMap::new();
        last.extend(rejections.iter().map(|rejection| (rejection.digest, rejection)));
        let rejections: Vec<_> = last.into_values().collect();
        reject(&self.readers, &rejections).await
    }

    /// Up to `rows_max` rejected movements behind `after`, oldest first. What its source has sent
    /// again with success meanwhile is resolved first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list_rejected(
        &self,
        filter: &RejectedFilter,
        after: Uuid,
        rows_max: i64,
    ) -> Result<Vec<Rejected>, Fault> {
        self.resolve_posted().await?;
        list(&self.readers, filter, after, rows_max).await
    }

    /// One rejected movement.
    ///
    /// # Errors
    /// The database is away.
    pub async fn rejected(&self, id: Uuid) -> Result<Option<Rejected>, Fault> {
        read(&self.readers, id).await
    }

    /// Decides on a rejected movement. Returns whether it was open.
    ///
    /// # Errors
    /// The database is away.
    pub async fn decide_rejected(
        &self,
        id: Uuid,
        state: State,
        actor: &str,
        note: &str,
    ) -> Result<bool, Fault> {
        let done = sqlx::query!(
            "update rejected_movement
             set state = $2, actor = nullif($3, ''), note = nullif($4, '')
             where rejected_movement_id = $1 and state = 1",
            id,
            state as i16,
            actor,
            note,
        )
        .execute(&self.readers)
        .answered("decide on a rejected movement")
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// A movement that is posted after all leaves the open list. Found when somebody looks, so that
    /// the hot path need not.
    async fn resolve_posted(&self) -> Result<(), Fault> {
        let mut after = Uuid::nil();
        loop {
            let open = open_rows(&self.readers, after).await?;
            let Some(last) = open.last() else { return Ok(()) };
            after = last.id;
            let digests: Vec<_> = open.iter().map(|row| row.digest).collect();
            let found = self.find_requests(&digests).await?;
            let stated: Vec<_> = open.iter().filter_map(|row| row.location_id.as_deref()).collect();
            self.directory().find_locations(&stated).await?;
            let ids: Vec<_> = {
                let known = self.directory().known();
                let posted = |row: &OpenRow| {
                    found
                        .iter()
                        .any(|found| found.digest == row.digest && row.became(found, &known))
                };
                open.iter().filter(|row| posted(row)).map(|row| row.id).collect()
            };
            if !ids.is_empty() {
                resolve(&self.readers, &ids).await?;
            }
        }
    }
}

impl OpenRow {
    /// Whether `found`, of the same source and key, is this movement sent again: at its location, and
    /// not recorded before it was rejected.
    fn became(&self, found: &FoundRequest, known: &Known) -> bool {
        let here = |id: &String| known.place(id) == Some(found.place);
        self.location_id.as_ref().is_none_or(here)
            && found.recorded_at.is_some_and(|recorded_at| recorded_at >= self.rejected_at)
    }
}

impl Row {
    fn rejected(self) -> Rejected {
        Rejected {
            id: self.rejected_movement_id,
            rejection: Rejection {
                digest: Digest(self.digest.as_u128()),
                source: self.source,
                location_id: self.location_id,
                code: self.code,
                reason: self.reason,
                message: self.message,
                metadata: self.metadata,
                payload: self.payload,
            },
            rejected_at: self.rejected_at.0,
            attempts: self.attempts,
            state: match self.state {
                2 => State::Resolved,
                3 => State::Dismissed,
                _ => State::Open,
            },
            actor: self.actor.unwrap_or_default(),
            note: self.note.unwrap_or_default(),
        }
    }
}

async fn reject(pool: &PgPool, rejections: &[&Rejection]) -> Result<(), Fault> {
    let ids: Vec<_> = rejections.iter().map(|_| Uuid::now_v7()).collect();
    let digests: Vec<_> =
        rejections.iter().map(|rejection| Uuid::from_u128(rejection.digest.0)).collect();
    let column = |text: fn(&Rejection) -> &str| -> Vec<&str> {
        rejections.iter().map(|rejection| text(rejection)).collect()
    };
    let locations: Vec<_> = rejections.iter().map(|r| r.location_id.as_deref()).collect();
    let codes: Vec<_> = rejections.iter().map(|rejection| rejection.code).collect();
    let metadata: Vec<_> = rejections.iter().map(|r| r.metadata.clone()).collect();
    let payloads: Vec<_> = rejections.iter().map(|rejection| &*rejection.payload).collect();
    sqlx::query!(
        "insert into rejected_movement (
             rejected_movement_id, digest, source, location_id, code, reason, message, metadata,
             payload, rejected_at, attempts, state)
         select rejected.*, clock_timestamp(), 1, 1 from unnest(
             $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::text[], $7::text[],
             $8::jsonb[], $9::bytea[]) as rejected
         on conflict (digest) do update set
             location_id = excluded.location_id, code = excluded.code, reason = excluded.reason,
             message = excluded.message, metadata = excluded.metadata, payload = excluded.payload,
             attempts = rejected_movement.attempts + 1, state = 1, actor = null, note = null",
        &ids,
        &digests,
        column(|rejection| &rejection.source) as _,
        locations as _,
        &codes,
        column(|rejection| &rejection.reason) as _,
        column(|rejection| &rejection.message) as _,
        &metadata,
        payloads as _,
    )
    .execute(pool)
    .answered("keep rejected movements")
    .await?;
    Ok(())
}

async fn list(
    pool: &PgPool,
    filter: &RejectedFilter,
    after: Uuid,
    rows_max: i64,
) -> Result<Vec<Rejected>, Fault> {
    let rows = sqlx::query_as!(
        Row,
        r#"select rejected_movement_id, digest, source, location_id, code, reason, message,
               metadata, payload, rejected_at as "rejected_at: At", attempts, state, actor, note
           from rejected_movement
           where rejected_movement_id > $1 and state = $2
               and ($3::text is null or source = $3)
               and ($4::text is null or location_id = $4)
               and ($5::text is null or reason = $5)
               and ($7::text[] is null or location_id = any($7))
           order by rejected_movement_id limit $6"#,
        after,
        filter.state as i16,
        filter.source.as_deref(),
        filter.location_id.as_deref(),
        filter.reason.as_deref(),
        rows_max,
        filter.location_ids.as_deref() as _,
    )
    .fetch_all(pool)
    .answered("list rejected movements")
    .await?;
    Ok(rows.into_iter().map(Row::rejected).collect())
}

async fn read(pool: &PgPool, id: Uuid) -> Result<Option<Rejected>, Fault> {
    let row = sqlx::query_as!(
        Row,
        r#"select rejected_movement_id, digest, source, location_id, code, reason, message,
               metadata, payload, rejected_at as "rejected_at: At", attempts, state, actor, note
           from rejected_movement where rejected_movement_id = $1"#,
        id,
    )
    .fetch_optional(pool)
    .answered("read a rejected movement")
    .await?;
    Ok(row.map(Row::rejected))
}

async fn open_rows(pool: &PgPool, after: Uuid) -> Result<Vec<OpenRow>, Fault> {
    let rows = sqlx::query!(
        r#"select rejected_movement_id, digest, location_id, rejected_at as "rejected_at: At"
           from rejected_movement
           where state = 1 and rejected_movement_id > $1 and reason <> 'KEY_REUSED'
           order by rejected_movement_id limit 1000"#,
        after,
    )
    .fetch_all(pool)
    .answered("read open rejected movements")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| OpenRow {
            id: row.rejected_movement_id,
            digest: Digest(row.digest.as_u128()),
            location_id: row.location_id,
            rejected_at: row.rejected_at.0,
        })
        .collect())
}

async fn resolve(pool: &PgPool, ids: &[Uuid]) -> Result<(), Fault> {
    sqlx::query!(
        "update rejected_movement set state = 2
         where rejected_movement_id = any($1) and state = 1",
        ids,
    )
    .execute(pool)
    .answered("resolve rejected movements")
    .await?;
    Ok(())
}
