//! Master data as administrators see it: locations, channels, items.

use sqlx::{PgConnection, Postgres, Transaction};

use crate::{
    ledger::{Ledger, directory::KnownItem, fault::Fault, partition_for},
    stock::ids::{ItemNo, Partition},
};

/// A shop, a warehouse or a pickup point.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Location")]
pub struct Location {
    pub location_id: String,
    pub name: String,
    pub time_zone: String,
    pub coordinates: Option<(f64, f64)>,
    pub pickup_enabled: bool,
    pub partition: Partition,
}

/// Through which goods are sold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Channel")]
pub struct Channel {
    pub channel_id: String,
    pub name: String,
}

/// What is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Item")]
pub struct Item {
    pub sku: String,
    pub name: String,
    pub gtins: Vec<String>,
    pub stock_item: bool,
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
        let partition = put_location(&mut transaction, &location, partition, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit a location"))?;
        Ok(Location { partition, ..location })
    }

    /// Creates or replaces a channel.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_channel(&self, channel: &Channel) -> Result<(), Fault> {
        let (mut transaction, revision) = self.begin_put().await?;
        put_channel(&mut transaction, channel, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit a channel"))
    }

    /// Creates or replaces an item.
    ///
    /// # Errors
    /// The database is away.
    pub async fn put_item(&self, item: &Item) -> Result<(), Fault> {
        let (mut transaction, revision) = self.begin_put().await?;
        let item_no = put_item(&mut transaction, item, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit an item"))?;
        let known = KnownItem { item: item_no, stock_item: item.stock_item, revision };
        self.directory().learn_item(&item.sku, known);
        Ok(())
    }

    /// Locations with an id above `after`, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn locations(&self, after: &str, rows_max: i64) -> Result<Vec<Location>, Fault> {
        let rows = sqlx::query_as!(
            LocationRow,
            "select location_id, name, time_zone, latitude, longitude, pickup_enabled, partition
             from location where location_id > $1 order by location_id limit $2",
            after,
            rows_max,
        )
        .fetch_all(&self.readers)
        .await
        .map_err(Fault::doing("list locations"))?;
        Ok(rows.into_iter().map(Location::from).collect())
    }

    /// Channels with an id above `after`, by id.
    ///
    /// # Errors
    /// The database is away.
    pub async fn channels(&self, after: &str, rows_max: i64) -> Result<Vec<Channel>, Fault> {
        sqlx::query_as!(
            Channel,
            "select channel_id, name from channel
             where channel_id > $1 order by channel_id limit $2",
            after,
            rows_max,
        )
        .fetch_all(&self.readers)
        .await
        .map_err(Fault::doing("list channels"))
    }

    /// Items with a code above `after`, by code.
    ///
    /// # Errors
    /// The database is away.
    pub async fn items(&self, after: &str, rows_max: i64) -> Result<Vec<Item>, Fault> {
        sqlx::query_as!(
            Item,
            "select sku, name, gtins, stock_item from item
             where sku > $1 order by sku limit $2",
            after,
            rows_max,
        )
        .fetch_all(&self.readers)
        .await
        .map_err(Fault::doing("list items"))
    }

    /// One location.
    ///
    /// # Errors
    /// The database is away.
    pub async fn location(&self, location_id: &str) -> Result<Option<Location>, Fault> {
        let row = sqlx::query_as!(
            LocationRow,
            "select location_id, name, time_zone, latitude, longitude, pickup_enabled, partition
             from location where location_id = $1",
            location_id,
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(Fault::doing("read a location"))?;
        Ok(row.map(Location::from))
    }

    /// One channel.
    ///
    /// # Errors
    /// The database is away.
    pub async fn channel(&self, channel_id: &str) -> Result<Option<Channel>, Fault> {
        sqlx::query_as!(
            Channel,
            "select channel_id, name from channel where channel_id = $1",
            channel_id,
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(Fault::doing("read a channel"))
    }

    /// One item.
    ///
    /// # Errors
    /// The database is away.
    pub async fn item(&self, sku: &str) -> Result<Option<Item>, Fault> {
        sqlx::query_as!(Item, "select sku, name, gtins, stock_item from item where sku = $1", sku,)
            .fetch_optional(&self.readers)
            .await
            .map_err(Fault::doing("read an item"))
    }

    /// Takes the next revision, whose row lock orders puts by commit.
    async fn begin_put(&self) -> Result<(Transaction<'static, Postgres>, i64), Fault> {
        let begin = Fault::doing("begin to change the network");
        let mut transaction = self.readers.begin().await.map_err(begin)?;
        let revision = sqlx::query_scalar!(
            "update network_revision set revision = revision + 1 returning revision"
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Fault::doing("take a revision"))?;
        Ok((transaction, revision))
    }
}

struct LocationRow {
    location_id: String,
    name: String,
    time_zone: String,
    latitude: Option<f64>,
    longitude: Option<f64>,
    pickup_enabled: bool,
    partition: i16,
}

impl From<LocationRow> for Location {
    fn from(row: LocationRow) -> Location {
        Location {
            location_id: row.location_id,
            name: row.name,
            time_zone: row.time_zone,
            coordinates: row.latitude.zip(row.longitude),
            pickup_enabled: row.pickup_enabled,
            partition: Partition(row.partition),
        }
    }
}

async fn put_location(
    connection: &mut PgConnection,
    location: &Location,
    partition: Partition,
    revision: i64,
) -> Result<Partition, Fault> {
    sqlx::query_scalar!(
        "insert into location (location_id, name, time_zone, latitude, longitude, pickup_enabled,
             partition, revision)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (location_id) do update set
             name = excluded.name, time_zone = excluded.time_zone, latitude = excluded.latitude,
             longitude = excluded.longitude, pickup_enabled = excluded.pickup_enabled,
             revision = excluded.revision
         returning partition",
        location.location_id,
        location.name,
        location.time_zone,
        location.coordinates.map(|(latitude, _)| latitude),
        location.coordinates.map(|(_, longitude)| longitude),
        location.pickup_enabled,
        partition.0,
        revision,
    )
    .fetch_one(connection)
    .await
    .map(Partition)
    .map_err(Fault::doing("put a location"))
}

async fn put_channel(
    connection: &mut PgConnection,
    channel: &Channel,
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into channel (channel_id, name, revision) values ($1, $2, $3)
         on conflict (channel_id) do update set
             name = excluded.name, revision = excluded.revision",
        channel.channel_id,
        channel.name,
        revision,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("put a channel"))?;
    Ok(())
}

async fn put_item(
    connection: &mut PgConnection,
    item: &Item,
    revision: i64,
) -> Result<ItemNo, Fault> {
    sqlx::query_scalar!(
        "insert into item (sku, name, gtins, stock_item, revision) values ($1, $2, $3, $4, $5)
         on conflict (sku) do update set
             name = excluded.name, gtins = excluded.gtins, stock_item = excluded.stock_item,
             revision = excluded.revision
         returning item_no",
        item.sku,
        item.name,
        &item.gtins,
        item.stock_item,
        revision,
    )
    .fetch_one(connection)
    .await
    .map(ItemNo)
    .map_err(Fault::doing("put an item"))
}
