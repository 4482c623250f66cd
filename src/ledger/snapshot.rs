//! Snapshots: what the ledger had at a cut-off, and which snapshots there were.

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

use crate::{
    ledger::{
        Ledger,
        archive::{PastError, archived, nothing_archived_behind},
        fault::{Answered as _, Fault},
        sql_time::At,
    },
    stock::{
        hash::Digest,
        ids::{Place, Seq},
        snapshot::Comparison,
        time::Timestamp,
    },
};

/// A snapshot that came before.
#[derive(Clone, Debug)]
pub struct KnownSnapshot {
    /// Over its content.
    pub fingerprint: i64,
    /// What was told of it.
    pub comparison: Comparison,
}

impl Ledger {
    /// Item codes of a location and their SELLABLE as of a moment, by all that is known now: the fold of
    /// the facts that took effect until then. Without zeros, ascending by code, up to `rows_max`.
    ///
    /// # Errors
    /// Later entries are archived; the database is away.
    pub async fn stock_as_of(
        &self,
        place: Place,
        at: Timestamp,
        rows_max: i64,
    ) -> Result<Vec<(String, i64)>, PastError> {
        // Nothing takes effect after it was recorded: what happened later was recorded later.
        let recorded_until = self.seq_at(place.partition, at).await?;
        let mut connection = self.reader().await?;
        let archived = archived(&mut connection, place.partition).await?;
        let (known, archived_until) =
            archived.map_or((0, Timestamp::Y2000), |slice| (slice.last, slice.recorded_at));
        if at < archived_until {
            return Err(PastError::Archived { until: archived_until });
        }
        let moments = (at, archived_until);
        let there = there(&mut connection, place, recorded_until, moments, rows_max).await?;
        nothing_archived_behind(&mut connection, place.partition, known).await?;
        Ok(there)
    }

    /// The snapshot that came under this key, if one did.
    ///
    /// # Errors
    /// The database is away.
    pub async fn snapshot(
        &self,
        place: Place,
        key: Digest,
    ) -> Result<Option<KnownSnapshot>, Fault> {
        let found = sqlx::query!(
            r#"select fingerprint, comparison as "comparison: Json<Comparison>"
               from location_snapshot where partition = $1 and digest = $2 and location = $3"#,
            place.partition.0,
            Uuid::from_u128(key.0),
            place.location.0,
        )
        .fetch_optional(&self.readers)
        .answered("look a snapshot up")
        .await?;
        Ok(found.map(|row| {
            let Json(comparison) = row.comparison;
            KnownSnapshot { fingerprint: row.fingerprint, comparison }
        }))
    }

    /// Keeps what is told of a snapshot. False: another one came first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn keep_snapshot(
        &self,
        place: Place,
        key: Digest,
        snapshot: &KnownSnapshot,
    ) -> Result<bool, Fault> {
        let kept = sqlx::query!(
            "insert into location_snapshot (partition, digest, location, fingerprint, comparison)
             values ($1, $2, $3, $4, $5) on conflict (partition, digest, location) do nothing",
            place.partition.0,
            Uuid::from_u128(key.0),
            place.location.0,
            snapshot.fingerprint,
            Json(&snapshot.comparison) as _,
        )
        .execute(&self.readers)
        .answered("keep a snapshot")
        .await?;
        Ok(kept.rows_affected() == 1)
    }
}

/// Mostly what is there now less what happened since. Where a later count stands, the facts until then are
/// added up as the machine does it; where they begin in the archive, to what the ledger said when it ends.
/// What took effect before that and came later is left out.
async fn there(
    connection: &mut PgConnection,
    place: Place,
    recorded_until: Seq,
    (at, archived_until): (Timestamp, Timestamp),
    rows_max: i64,
) -> Result<Vec<(String, i64)>, Fault> {
    let rows = sqlx::query!(
        r#"with moved as not materialized (
               select e.item, e.seq, e.kind, e.effective_at, e.quantity,
                   e.quantity * ((e.legs & 2 <> 0 and e.to_state = 1)::int
                       - (e.legs & 1 <> 0 and e.from_state = 1)::int) as change
               from ledger_entry e where e.partition = $1 and e.location = $2
           ), fact as not materialized (
               select * from moved
               where kind in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16) and effective_at <= $4
                   and not exists (
                       select from ledger_entry c
                       where c.partition = $1 and c.location = $2 and c.item = moved.item
                           and c.kind = 12 and c.refers_to_seq = moved.seq
                   )
           )
           select i.sku as "sku!", there.sellable as "sellable!"
           from (
               select p.item, p.sellable - coalesce(since.change, 0) as sellable
               from position p
               left join (
                   select item, sum(change)::bigint as change from moved
                   where seq > $3 and effective_at > $4 group by item
               ) as since on since.item = p.item
               where p.partition = $1 and p.location = $2
                   and (p.count_at is null or p.count_at <= $4)
               union all
               select p.item, case
                   when counted.seq is null then coalesce(carried.sellable, 0) + added.change
                   else counted.quantity + added.change end
               from position p
               left join carried_position as carried
                   on carried.partition = $1 and carried.location = $2 and carried.item = p.item
               left join lateral (
                   select effective_at, seq, quantity from fact
                   where item = p.item and kind = 11
                       and (effective_at > $6 or carried.seq is null)
                   order by effective_at desc, seq desc limit 1
               ) as counted on true
               cross join lateral (
                   select coalesce(sum(change), 0)::bigint as change from fact
                   where item = p.item and (effective_at > $6 or carried.seq is null)
                       and (counted.seq is null
                           or (effective_at, seq) > (counted.effective_at, counted.seq))
               ) as added
               where p.partition = $1 and p.location = $2 and p.count_at > $4
           ) as there
           join item i on i.item_no = there.item
           where there.sellable <> 0
           order by i.sku limit $5"#,
        place.partition.0,
        place.location.0,
        recorded_until,
        At(at) as _,
        rows_max,
        At(archived_until) as _,
    )
    .fetch_all(connection)
    .answered("read the stock of a location as of a moment")
    .await?;
    Ok(rows.into_iter().map(|row| (row.sku, row.sellable)).collect())
}
