//! Closing a location for good.

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        network::{Change, LocationRow, location::Location},
    },
    stock::ids::Place,
};

/// What became of a location that was to be closed for good.
#[derive(Clone, Debug, PartialEq)]
pub enum Closed {
    /// It is closed, now or since it was first asked for.
    Done(Box<Location>),
    /// There is no such location.
    Unknown,
    /// There is still something.
    NotEmpty(Left),
}

/// What a location still has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Positions with units in any state.
    pub positions: u32,
    /// Promises that are open.
    pub promises: u32,
}

impl Ledger {
    /// Closes a location for good, if nothing is there any more and nothing promised. Both are judged
    /// under the lock of its partition: a promise is made before, and stands against it, or finds nothing
    /// to promise.
    ///
    /// # Errors
    /// The database is away.
    pub async fn close_location(&self, location_id: &str) -> Result<Closed, Fault> {
        let change = Change { what: "location_closed", subject: location_id, ..Change::default() };
        let (mut transaction, revision) = self.begin_put(change).await?;
        let row = LocationRow::in_transaction(&mut transaction, location_id).await?;
        let Some(row) = row else { return Ok(Closed::Unknown) };
        if row.live().closed_at.is_none() {
            let place = row.place();
            lock_head(&mut transaction, place).await?;
            let left = left(&mut transaction, place).await?;
            if left != Left::default() {
                return Ok(Closed::NotEmpty(left));
            }
            put_closed(&mut transaction, location_id, revision).await?;
        }
        let stored = LocationRow::written(&mut transaction, location_id).await?;
        transaction.commit().await.map_err(Fault::doing("close a location for good"))?;
        Ok(Closed::Done(Box::new(self.learn_stored(stored))))
    }
}

/// A statement of its own: what is decided on is read by statements that begin after it.
async fn lock_head(connection: &mut PgConnection, place: Place) -> Result<(), Fault> {
    sqlx::query!(
        "select partition from ledger_head where partition = $1 for update",
        place.partition.0
    )
    .fetch_one(connection)
    .answered("lock a head to close a location")
    .await?;
    Ok(())
}

async fn left(connection: &mut PgConnection, place: Place) -> Result<Left, Fault> {
    let left = sqlx::query!(
        r#"select (
                   select count(*) from position
                   where partition = $1 and location = $2
                       and (sellable, staged, blocked, in_transit, expected, reserved)
                           is distinct from (0, 0, 0, 0, 0, 0)
               ) as "positions!",
               (
                   select count(*) from reservation
                   where partition = $1 and location = $2 and state in (1, 2, 3, 9)
               ) as "promises!""#,
        place.partition.0,
        place.location.0,
    )
    .fetch_one(connection)
    .answered("look for what a location still has")
    .await?;
    let count = |rows: i64| u32::try_from(rows).unwrap_or(u32::MAX);
    Ok(Left { positions: count(left.positions), promises: count(left.promises) })
}

async fn put_closed(
    connection: &mut PgConnection,
    location_id: &str,
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "update location set closed_at = clock_timestamp(), revision = $2 where location_id = $1",
        location_id,
        revision,
    )
    .execute(connection)
    .answered("close a location for good")
    .await?;
    Ok(())
}
