//! Master data as the hot path needs it: names to numbers, cached in the process.
//!
//! An unknown name is looked up before it is said to be unknown, so a new row works on every server
//! at once. What changed elsewhere is found by its revision.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sqlx::{PgConnection, PgPool};

use crate::{
    ledger::fault::Fault,
    stock::ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, SourceNo},
};

/// Names and numbers of locations, channels, items and sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    pool: PgPool,
    known: Arc<RwLock<Known>>,
}

/// What is known so far.
#[derive(Debug, Default)]
pub struct Known {
    locations: HashMap<Box<str>, Place>,
    channels: HashMap<Box<str>, ChannelNo>,
    items: HashMap<Box<str>, KnownItem>,
    sources: HashMap<Box<str>, SourceNo>,
    revision: i64,
}

/// An item as the hot path needs it.
#[derive(Clone, Copy, Debug)]
pub struct KnownItem {
    /// Its number.
    pub item: ItemNo,
    /// Whether stock is kept of it.
    pub stock_item: bool,
    /// Of several readings of the row the newest counts.
    pub revision: i64,
}

impl Known {
    /// Where a location's stock is.
    pub fn place(&self, location_id: &str) -> Option<Place> {
        self.locations.get(location_id).copied()
    }

    /// A channel's number.
    pub fn channel(&self, channel_id: &str) -> Option<ChannelNo> {
        self.channels.get(channel_id).copied()
    }

    /// An item.
    pub fn item(&self, sku: &str) -> Option<KnownItem> {
        self.items.get(sku).copied()
    }

    /// A source's number.
    pub fn source(&self, source: &str) -> Option<SourceNo> {
        self.sources.get(source).copied()
    }

    /// A reading that was overtaken by a newer one must not undo it.
    fn learn_item(&mut self, sku: String, item: KnownItem) {
        let known = self.items.entry(sku.into()).or_insert(item);
        if known.revision <= item.revision {
            *known = item;
        }
    }
}

impl Directory {
    pub(crate) fn new(pool: PgPool) -> Directory {
        Directory { pool, known: Arc::default() }
    }

    /// What is known, for as long as the guard lives; not to be held across a wait.
    pub fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks up locations that are not known yet; those that exist are known afterwards.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_locations(&self, location_ids: &[&str]) -> Result<(), Fault> {
        let rows = sqlx::query!(
            "select location_id, location_no, partition from location
             where location_id = any($1)",
            location_ids as _,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(Fault::doing("look locations up"))?;
        let mut known = self.known_mut();
        for row in rows {
            let place = place(row.partition, row.location_no);
            known.locations.insert(row.location_id.into(), place);
        }
        Ok(())
    }

    /// Looks up channels that are not known yet.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_channels(&self, channel_ids: &[&str]) -> Result<(), Fault> {
        let rows = sqlx::query!(
            "select channel_id, channel_no from channel where channel_id = any($1)",
            channel_ids as _,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(Fault::doing("look channels up"))?;
        let mut known = self.known_mut();
        for row in rows {
            known.channels.insert(row.channel_id.into(), ChannelNo(row.channel_no));
        }
        Ok(())
    }

    /// Looks up items that are not known yet.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_items(&self, skus: &[&str]) -> Result<(), Fault> {
        let connect = Fault::doing("connect to look items up");
        let mut connection = self.pool.acquire().await.map_err(connect)?;
        self.find_items_over(&mut connection, skus).await
    }

    /// The same over a connection that the caller has already: under a lock nobody may wait for
    /// another one.
    pub(crate) async fn find_items_over(
        &self,
        connection: &mut PgConnection,
        skus: &[&str],
    ) -> Result<(), Fault> {
        let rows = sqlx::query!(
            "select sku, item_no, stock_item, revision from item where sku = any($1)",
            skus as _,
        )
        .fetch_all(connection)
        .await
        .map_err(Fault::doing("look items up"))?;
        let mut known = self.known_mut();
        for row in rows {
            let (item, stock_item, revision) = (ItemNo(row.item_no), row.stock_item, row.revision);
            known.learn_item(row.sku, KnownItem { item, stock_item, revision });
        }
        Ok(())
    }

    /// Gives numbers to items that appear for the first time.
    ///
    /// # Errors
    /// The database is away.
    pub async fn add_items(&self, skus: &[&str]) -> Result<(), Fault> {
        // Sorted, so that two servers that add the same items do not wait for each other in a circle.
        sqlx::query!(
            "insert into item (sku) select distinct sku from unnest($1::text[]) as sku order by sku
             on conflict (sku) do nothing",
            skus as _,
        )
        .execute(&self.pool)
        .await
        .map_err(Fault::doing("add items"))?;
        self.find_items(skus).await
    }

    /// The number of a source, given to it when it is heard of first.
    ///
    /// # Errors
    /// The database is away.
    pub async fn source(&self, source: &str) -> Result<SourceNo, Fault> {
        if let Some(known) = self.known().source(source) {
            return Ok(known);
        }
        let added = sqlx::query_scalar!(
            "insert into source (source) values ($1)
             on conflict (source) do update set source = excluded.source
             returning source_no",
            source,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(Fault::doing("add a source"))?;
        self.known_mut().sources.insert(source.into(), SourceNo(added));
        Ok(SourceNo(added))
    }

    /// Takes over what other servers changed since the last call.
    ///
    /// # Errors
    /// The database is away.
    pub async fn refresh(&self) -> Result<(), Fault> {
        let newest = sqlx::query_scalar!("select revision from network_revision")
            .fetch_one(&self.pool)
            .await
            .map_err(Fault::doing("read the network's revision"))?;
        let seen = self.known().revision;
        if newest == seen {
            return Ok(());
        }
        // Locations and channels are only ever added as far as the hot path can see; a known item may
        // stop being a stock item.
        let changed = sqlx::query!(
            "select sku, item_no, stock_item, revision from item
             where revision > $1 and revision > 0",
            seen,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(Fault::doing("read changed items"))?;
        let mut known = self.known_mut();
        for row in changed {
            let (item, stock_item, revision) = (ItemNo(row.item_no), row.stock_item, row.revision);
            known.learn_item(row.sku, KnownItem { item, stock_item, revision });
        }
        known.revision = newest;
        Ok(())
    }

    pub(crate) fn learn_item(&self, sku: &str, item: KnownItem) {
        self.known_mut().learn_item(sku.to_owned(), item);
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(partition: i16, location: i32) -> Place {
    Place { partition: Partition(partition), location: LocationNo(location) }
}
