//! Where stock is, and when it is open.

use std::collections::BTreeMap;

use jiff::civil::Date;
use sqlx::{PgConnection, PgPool, types::Json};

use crate::{
    ledger::{
        Ledger,
        directory::KnownLocation,
        fault::{Answered as _, Fault},
        partition_for,
    },
    stock::{
        calendar::{Interval, Opening},
        distance::Coordinates,
        ids::{LocationNo, Partition, Place},
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
    revision: i64,
}

/// Reads whole rows; the statement goes on as the caller says.
macro_rules! select_locations {
    ($where:literal, $($value:expr),+) => {
        sqlx::query_as!(
            LocationRow,
            r#"select location_no, location_id, name, time_zone, latitude, longitude,
                   pickup_enabled, partition, opening_hours as "opening_hours: _",
                   opening_exceptions as "opening_exceptions: _", preparation_us, revision
               from location "# + $where,
            $($value),+
        )
    };
}

impl Ledger {
    /// Creates or replaces a location. A new one is given its partition, which it keeps; what the
    /// caller says of the partition is ignored. Returns what is stored.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_location(&self, location: Location) -> Result<Location, Fault> {
        let partitions = self.partitions().await?;
        let partition = partition_for(&location.location_id, partitions.len());
        let (mut transaction, revision) = self.begin_put().await?;
        let place = put_location(&mut transaction, &location, partition, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit a location"))?;
        self.directory().learn_location(KnownLocation::new(place, &location, revision));
        Ok(Location { partition: place.partition, ..location })
    }

    /// One location.
    ///
    /// # Errors
    /// The database is away.
    pub async fn location(&self, location_id: &str) -> Result<Option<Location>, Fault> {
        let mut rows = LocationRow::named(&self.readers, &[location_id]).await?;
        Ok(rows.pop().map(|row| row.location().1))
    }

    /// Locations with an id above `after`, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn locations(&self, after: &str, rows_max: i64) -> Result<Vec<Location>, Fault> {
        let rows = LocationRow::after(&self.readers, after, rows_max).await?;
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

    async fn after(pool: &PgPool, after: &str, rows_max: i64) -> Result<Vec<LocationRow>, Fault> {
        select_locations!("where location_id > $1 order by location_id limit $2", after, rows_max)
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

    fn location(self) -> (Place, Location) {
        let place = place(self.partition, self.location_no);
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
        };
        (place, location)
    }
}

async fn put_location(
    connection: &mut PgConnection,
    location: &Location,
    partition: Partition,
    revision: i64,
) -> Result<Place, Fault> {
    let put = sqlx::query!(
        "insert into location (location_id, name, time_zone, latitude, longitude, pickup_enabled,
             partition, opening_hours, opening_exceptions, preparation_us, revision)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (location_id) do update set
             name = excluded.name, time_zone = excluded.time_zone, latitude = excluded.latitude,
             longitude = excluded.longitude, pickup_enabled = excluded.pickup_enabled,
             opening_hours = excluded.opening_hours,
             opening_exceptions = excluded.opening_exceptions,
             preparation_us = excluded.preparation_us, revision = excluded.revision
         returning location_no, partition",
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
    )
    .fetch_one(connection)
    .answered("put a location")
    .await?;
    Ok(place(put.partition, put.location_no))
}

fn place(partition: i16, location: i32) -> Place {
    Place { partition: Partition(partition), location: LocationNo(location) }
}
