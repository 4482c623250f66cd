//! The live status of locations, and deadlines that are to follow what it changed.

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        network::{Change, LocationRow, location::Location},
        sql_time::At,
    },
    stock::{
        ids::{LocationNo, Partition, Place},
        live::{Live, LocationStatus},
        time::Timestamp,
    },
};

/// A location whose deadlines are to be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which.
    pub place: Place,
    /// The revision that they are to follow.
    pub revision: i64,
}

impl Ledger {
    /// Gives a location another status, from now on; one that was closed for good stays as it is. `None`:
    /// there is no such location.
    ///
    /// # Errors
    /// The database is away.
    pub async fn set_location_status(
        &self,
        location_id: &str,
        status: LocationStatus,
        until: Option<Timestamp>,
    ) -> Result<Option<Location>, Fault> {
        let detail = match until {
            None => status.name().to_owned(),
            Some(Timestamp(until)) => {
                let until = jiff::Timestamp::from_microsecond(until).unwrap_or_default();
                format!("{} until {until}", status.name())
            }
        };
        let change = Change {
            what: "location_status",
            subject: location_id,
            detail: &detail,
            ..Change::default()
        };
        let (mut transaction, revision) = self.begin_put(change).await?;
        let row = LocationRow::in_transaction(&mut transaction, location_id).await?;
        let Some(row) = row else { return Ok(None) };
        let before = row.live();
        if before.closed_at.is_some() {
            return Ok(Some(row.location().1));
        }
        let live = before.set(status, until, clock(&mut transaction).await?);
        // Before its end is known a closure says nothing of deadlines.
        let ends = live.closure.is_some_and(|closure| closure.until.is_some());
        let moves = ends && live.closure != before.closure;
        put_live(&mut transaction, location_id, &live, moves, revision).await?;
        let stored = LocationRow::written(&mut transaction, location_id).await?;
        transaction.commit().await.map_err(Fault::doing("commit a status"))?;
        Ok(Some(self.learn_stored(stored)))
    }

    /// Locations whose deadlines are to be moved, up to `rows_max`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn pending_deadlines(&self, rows_max: i64) -> Result<Vec<Pending>, Fault> {
        let rows = sqlx::query!(
            "select location_no, partition, calendar_revision from location
             where rescheduled_revision < calendar_revision order by location_no limit $1",
            rows_max,
        )
        .fetch_all(&mut *self.follower().await?)
        .answered("look for deadlines to move")
        .await?;
        let pending = rows.into_iter().map(|row| Pending {
            place: Place {
                partition: Partition(row.partition),
                location: LocationNo(row.location_no),
            },
            revision: row.calendar_revision,
        });
        Ok(pending.collect())
    }

    /// Says that the deadlines of these locations follow these revisions.
    ///
    /// # Errors
    /// The database is away.
    pub async fn moved_deadlines(&self, done: &[Pending]) -> Result<(), Fault> {
        sqlx::query!(
            "update location set rescheduled_revision = done.revision
             from unnest($1::int[], $2::bigint[]) as done (number, revision)
             where location.location_no = done.number
                 and location.rescheduled_revision < done.revision",
            &done.iter().map(|done| done.place.location.0).collect::<Vec<_>>(),
            &done.iter().map(|done| done.revision).collect::<Vec<_>>(),
        )
        .execute(&mut *self.follower().await?)
        .answered("say that deadlines were moved")
        .await?;
        Ok(())
    }
}

async fn put_live(
    connection: &mut PgConnection,
    location_id: &str,
    live: &Live,
    moves_deadlines: bool,
    revision: i64,
) -> Result<(), Fault> {
    let closure = live.closure;
    sqlx::query!(
        "update location set live_status = $2, live_status_until = $3, closed_from = $4,
             closed_until = $5, revision = $6,
             calendar_revision = case when $7 then $6 else calendar_revision end
         where location_id = $1",
        location_id,
        live.status as i16,
        live.until.map(At) as _,
        closure.map(|closure| At(closure.from)) as _,
        closure.and_then(|closure| closure.until).map(At) as _,
        revision,
        moves_deadlines,
    )
    .execute(connection)
    .answered("put a status")
    .await?;
    Ok(())
}

async fn clock(connection: &mut PgConnection) -> Result<Timestamp, Fault> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!: At""#)
        .fetch_one(connection)
        .answered("read the clock")
        .await?;
    Ok(now.0)
}
