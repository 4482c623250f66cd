//! Where stock is, and when it is open.

use std::collections::BTreeMap;

use jiff::civil::Date;
use sqlx::{PgConnection, PgPool, types::Json};

use crate::{
    ledger::{
        Ledger,
        directory::KnownLocation,
        fault::{Answered as _, Defect, Fault},
        network::Change,
        partition_for,
        sql_time::At,
    },
    stock::{
        calendar::{Interval, Opening},
        distance::Coordinates,
        ids::{LocationNo, Partition, Place},
        live::{Closure, Live, LocationStatus},
        time::Micros,
    },
};

/// A shop, a warehouse or a pickup point.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Location")]
pub struct Location {
    pub location_id: String,
    pub name: String,
    pub time_zone: String,
    pub coordinates: Option<Coordinates>,
    pub pickup_enabled: bool,
    pub partition: Partition,
    pub opening: Opening,
    pub preparation: Micros,
    pub pickups_per_quarter_hour: u32,
    pub live: Live,
}

/// A row of the table.
pub(in crate::ledger) struct LocationRow {
    location_no: i32,
    location_id: String,
    name: String,
    time_zone: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
    pickup_enabled: bool,
    partition: i16,
    opening_hours: Json<[Vec<Interval>; 7]>,
    opening_exceptions: Json<BTreeMap<Date, Vec<Interval>>>,
    preparation_us: i64,
    pickups_per_quarter_hour: i32,
    live_status: i16,
    live_status_until: Option<At>,
    closed_from: Option<At>,
    closed_until: Option<At>,
    closed_at: Option<At>,
    revision: i64,
}

/// Reads whole rows; the statement goes on as the caller says.
macro_rules! select_locations {
    ($where:literal, $($value:expr),+) => {
        sqlx::query_as!(
            LocationRow,
            r#"select location_no, location_id, name, time_zone, latitude, longitude,
                   pickup_enabled, partition, opening_hours as "opening_hours: _",
                   opening_exceptions as "opening_exceptions: _", preparation_us,
                   pickups_per_quarter_hour, live_status,
                   live_status_until as "live_status_until: At", closed_from as "closed_from: At",
                   closed_until as "closed_until: At", closed_at as "closed_at: At", revision
               from location "# + $where,
            $($value),+
        )
    };
}

impl Ledger {
    /// Creates or replaces a location. A new one is given its partition, which it keeps; what the
    /// caller says of the partition and of its status is ignored. Returns what is stored.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_location(&self, location: Location) -> Result<Location, Fault> {
        let partitions = self.partitions().await?;
        let partition = partition_for(&location.location_id, partitions.len());
        let change =
            Change { what: "location", subject: &location.location_id, ..Change::default() };
        let (mut transaction, revision) = self.begin_put(change).await?;
        put_location(&mut transaction, &location, partition, revision).await?;
        let stored = LocationRow::written(&mut transaction, &location.location_id).await?;
        transaction.commit().await.map_err(Fault::doing("commit a location"))?;
        Ok(self.learn_stored(stored))
    }

    /// Makes known what was stored.
    pub(super) fn learn_stored(&self, stored: LocationRow) -> Location {
        let revision = stored.revision;
        let (place, location) = stored.location();
        self.directory().learn_location(KnownLocation::new(place, &location, revision));
        location
    }

    /// One location.
    ///
    /// # Errors
    /// The database is away.
    pub async fn location(&self, location_id: &str) -> Result<Option<Location>, Fault> {
        let mut rows = LocationRow::named(&self.readers, &[location_id]).await?;
        Ok(rows.pop().map(|row| row.location().1))
    }

    /// Locations with an id above `after`, by id; among these ids, or all (`None`).
    ///
    /// # Errors
    /// The database is away.
    pub async fn locations(
        &self,
        among: Option<&[String]>,
        after: &str,
        rows_max: i64,
    ) -> Result<Vec<Location>, Fault> {
        let rows = LocationRow::after(&self.readers, among, after, rows_max).await?;
        Ok(rows.into_iter().map(|row| row.location().1).collect())
    }
}

impl LocationRow {
    /// Those with these ids.
    pub async fn named(pool: &PgPool, location_ids: &[&str]) -> Result<Vec<LocationRow>, Fault> {
        select_locations!("where location_id = any($1)", location_ids as _)
            .fetch_all(pool)
            .answered("look locations up")
            .await
    }

    /// One in a transaction that has changed it, or is about to.
    pub async fn in_transaction(
        connection: &mut PgConnection,
        location_id: &str,
    ) -> Result<Option<LocationRow>, Fault> {
        select_locations!("where location_id = $1", location_id)
            .fetch_optional(connection)
            .answered("look a location up to change it")
            .await
    }

    /// The one that was just written.
    pub async fn written(
        connection: &mut PgConnection,
        location_id: &str,
    ) -> Result<LocationRow, Fault> {
        let row = LocationRow::in_transaction(connection, location_id).await?;
        row.ok_or_else(|| Fault::defect("read a location that was written", Defect::RowMissing))
    }

    /// Those with these numbers.
    pub async fn numbered(pool: &PgPool, numbers: &[i32]) -> Result<Vec<LocationRow>, Fault> {
        select_locations!("where location_no = any($1)", numbers)
            .fetch_all(pool)
            .answered("look locations up by number")
            .await
    }

    /// Those that changed after a revision.
    pub async fn since(pool: &PgPool, revision: i64) -> Result<Vec<LocationRow>, Fault> {
        select_locations!("where revision > $1", revision)
            .fetch_all(pool)
            .answered("read changed locations")
            .await
    }

    async fn after(
        pool: &PgPool,
        among: Option<&[String]>,
        after: &str,
        rows_max: i64,
    ) -> Result<Vec<LocationRow>, Fault> {
        select_locations!(
            "where location_id > $1 and ($3::text[] is null or location_id = any($3))
             order by location_id limit $2",
            after,
            rows_max,
            among as _
        )
        .fetch_all(pool)
        .answered("list locations")
        .await
    }

    /// As the hot path needs it.
    pub fn known(self) -> KnownLocation {
        let revision = self.revision;
        let (place, location) = self.location();
        KnownLocation::new(place, &location, revision)
    }

    /// What its status says.
    pub fn live(&self) -> Live {
        let at = |at: Option<At>| at.map(|at| at.0);
        let until = at(self.closed_until);
        Live {
            // A constraint knows them all.
            status: LocationStatus::of(self.live_status.into()).unwrap_or_default(),
            until: at(self.live_status_until),
            closure: at(self.closed_from).map(|from| Closure { from, until }),
            closed_at: at(self.closed_at),
        }
    }

    /// Where its stock is.
    pub fn place(&self) -> Place {
        Place { partition: Partition(self.partition), location: LocationNo(self.location_no) }
    }

    /// As administrators see it, and where its stock is.
    pub fn location(self) -> (Place, Location) {
        let (place, live) = (self.place(), self.live());
        let (Json(week), Json(exceptions)) = (self.opening_hours, self.opening_exceptions);
        let location = Location {
            location_id: self.location_id,
            name: self.name,
            time_zone: self.time_zone,
            coordinates: self.latitude.zip(self.longitude),
            pickup_enabled: self.pickup_enabled,
            partition: place.partition,
            opening: Opening { week, exceptions },
            preparation: self.preparation_us,
            pickups_per_quarter_hour: self.pickups_per_quarter_hour.unsigned_abs(),
            live,
        };
        (place, location)
    }
}

/// New hours, or the same by another clock, move deadlines.
async fn put_location(
    connection: &mut PgConnection,
    location: &Location,
    partition: Partition,
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into location (location_id, name, time_zone, latitude, longitude, pickup_enabled,
             partition, opening_hours, opening_exceptions, preparation_us, revision,
             pickups_per_quarter_hour)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (location_id) do update set
             name = excluded.name, time_zone = excluded.time_zone, latitude = excluded.latitude,
             longitude = excluded.longitude, pickup_enabled = excluded.pickup_enabled,
             opening_hours = excluded.opening_hours,
             opening_exceptions = excluded.opening_exceptions,
             preparation_us = excluded.preparation_us, revision = excluded.revision,
             pickups_per_quarter_hour = excluded.pickups_per_quarter_hour,
             calendar_revision = case
                 when (location.time_zone, location.opening_hours, location.opening_exceptions)
                     is distinct from
                     (excluded.time_zone, excluded.opening_hours, excluded.opening_exceptions)
                 then excluded.revision else location.calendar_revision end",
        location.location_id,
        location.name,
        location.time_zone,
        location.coordinates.map(|(latitude, _)| latitude),
        location.coordinates.map(|(_, longitude)| longitude),
        location.pickup_enabled,
        partition.0,
        Json(&location.opening.week) as _,
        Json(&location.opening.exceptions) as _,
        location.preparation,
        revision,
        location.pickups_per_quarter_hour.cast_signed(),
    )
    .execute(connection)
    .answered("put a location")
    .await?;
    Ok(())
}
