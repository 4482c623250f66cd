//! Master data as the hot path needs it: names to numbers, cached in the process.
//!
//! An unknown name is looked up before it is said to be unknown, so a new row works on every server
//! at once. What changed elsewhere is found by its revision.
//!
//! A fail-over may lose names together with the tail of the ledger, and give their numbers to others.
//! So everything is forgotten with an epoch, and whoever goes by a number says in which epoch it was read.

mod known;

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use sqlx::{PgConnection, PgPool};
use tokio::sync::{Mutex, watch};

pub use crate::ledger::directory::known::{Known, KnownChannel, KnownItem, KnownLocation};
use crate::{
    ledger::{
        fault::{Answered as _, Defect, Fault},
        network::{LocationRow, PolicyRow},
    },
    stock::ids::{ChannelNo, ItemNo, LocationNo, PositionKey, SourceNo},
};

/// Names and numbers of locations, channels, items and sources. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Directory {
    pool: PgPool,
    known: Arc<RwLock<Known>>,
    /// Hundreds of calls that meet the same new channel at once must not take a connection each.
    lookup: Arc<Mutex<()>>,
    /// The revision up to which everything is known.
    revision: Arc<watch::Sender<i64>>,
    #[cfg(feature = "simulation")]
    simulated: Option<Arc<dyn super::simulated::Database>>,
}

impl Directory {
    pub(crate) fn new(pool: PgPool) -> Directory {
        Directory {
            pool,
            known: Arc::default(),
            lookup: Arc::default(),
            revision: Arc::default(),
            #[cfg(feature = "simulation")]
            simulated: None,
        }
    }

    /// Knows a network, and looks nothing up but items, in a database that is simulated.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulate(
        &mut self,
        database: Arc<dyn super::simulated::Database>,
        network: &super::simulated::Network,
    ) {
        self.simulated = Some(database);
        network.locations.iter().for_each(|location| self.learn_location(location.clone()));
        network.channels.iter().for_each(|channel| self.learn_channel(channel.clone()));
        let mut known = self.known_mut();
        network.sources.iter().for_each(|(source, number)| known.learn_source(source, *number));
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn learn_items(&self, items: Vec<(String, KnownItem)>) {
        items.into_iter().for_each(|(sku, item)| self.learn_item(&sku, item));
    }

    /// The epoch in which everything that is known was read; 0: before any was heard of.
    pub fn epoch(&self) -> i64 {
        self.known().epoch
    }

    /// The ledger was seen in this epoch: what was read in an earlier one is forgotten.
    pub(crate) fn enter(&self, epoch: i64) {
        if epoch <= self.epoch() {
            return;
        }
        let mut known = self.known_mut();
        if epoch <= known.epoch {
            return;
        }
        if known.epoch != 0 {
            tracing::warn!(epoch, "names are looked up anew");
            known.forget();
        }
        known.epoch = epoch;
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
        let _one_at_a_time = self.lookup.lock().await;
        let unknown: Vec<_> = {
            let known = self.known();
            let ids = location_ids.iter().copied();
            ids.filter(|id| known.place(id).is_none()).collect()
        };
        if !unknown.is_empty() {
            self.learn_locations(LocationRow::named(&self.pool, &unknown).await?);
        }
        Ok(())
    }

    /// The same by number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_numbered_locations(&self, numbers: &[LocationNo]) -> Result<(), Fault> {
        let numbers: Vec<_> = numbers.iter().map(|number| number.0).collect();
        self.learn_locations(LocationRow::numbered(&self.pool, &numbers).await?);
        Ok(())
    }

    /// Looks up channels that are not known yet.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_channels(&self, channel_ids: &[&str]) -> Result<(), Fault> {
        let _one_at_a_time = self.lookup.lock().await;
        let unknown: Vec<_> = {
            let known = self.known();
            let ids = channel_ids.iter().copied();
            ids.filter(|id| known.channel(id).is_none()).collect()
        };
        if !unknown.is_empty() {
            self.learn_channels(PolicyRow::named(&self.pool, &unknown).await?);
        }
        Ok(())
    }

    /// The same by number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_numbered_channels(&self, numbers: &[ChannelNo]) -> Result<(), Fault> {
        let numbers: Vec<_> = numbers.iter().map(|number| number.0).collect();
        self.learn_channels(PolicyRow::numbered(&self.pool, &numbers).await?);
        Ok(())
    }

    /// Looks up items that are not known yet.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_items(&self, skus: &[&str]) -> Result<(), Fault> {
        #[cfg(feature = "simulation")]
        if let Some(database) = &self.simulated {
            let skus = skus.iter().map(|&sku| sku.to_owned()).collect();
            self.learn_items(database.items(skus, false).await?);
            return Ok(());
        }
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
            r#"select sku, item_no, stock_item, revision,
                 recalled_at is not null as "recalled!" from item where sku = any($1)"#,
            skus as _,
        )
        .fetch_all(connection)
        .answered("look items up")
        .await?;
        let mut known = self.known_mut();
        for row in rows {
            let (item, stock_item, revision) = (ItemNo(row.item_no), row.stock_item, row.revision);
            let recalled = row.recalled;
            known.learn_item(&row.sku, KnownItem { item, stock_item, recalled, revision });
        }
        Ok(())
    }

    /// The same by number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_numbered_items(&self, numbers: &[ItemNo]) -> Result<(), Fault> {
        #[cfg(feature = "simulation")]
        if let Some(database) = &self.simulated {
            self.learn_items(database.numbered_items(numbers.to_vec()).await?);
            return Ok(());
        }
        let numbers: Vec<_> = numbers.iter().map(|number| number.0).collect();
        let rows = sqlx::query!(
            r#"select sku, item_no, stock_item, revision,
                 recalled_at is not null as "recalled!" from item where item_no = any($1)"#,
            &numbers,
        )
        .fetch_all(&self.pool)
        .answered("look items up by number")
        .await?;
        let mut known = self.known_mut();
        for row in rows {
            let (item, stock_item, revision) = (ItemNo(row.item_no), row.stock_item, row.revision);
            let recalled = row.recalled;
            known.learn_item(&row.sku, KnownItem { item, stock_item, recalled, revision });
        }
        Ok(())
    }

    /// Looks up the names of positions that are not known yet.
    ///
    /// # Errors
    /// The database is away.
    pub async fn know_numbered(
        &self,
        keys: impl Iterator<Item = PositionKey> + Clone,
    ) -> Result<(), Fault> {
        let (items, locations) = {
            let known = self.known();
            let items = keys.clone().map(|key| key.item);
            let items = items.filter(|item| known.sku_of(*item).is_none());
            let locations = keys.map(|key| key.place.location);
            let locations = locations.filter(|at| known.location_of(*at).is_none());
            (items.collect::<BTreeSet<_>>(), locations.collect::<BTreeSet<_>>())
        };
        if !items.is_empty() {
            self.find_numbered_items(&items.into_iter().collect::<Vec<_>>()).await?;
        }
        if !locations.is_empty() {
            self.find_numbered_locations(&locations.into_iter().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }

    /// Gives numbers to items that appear for the first time.
    ///
    /// # Errors
    /// The database is away.
    pub async fn add_items(&self, skus: &[&str]) -> Result<(), Fault> {
        #[cfg(feature = "simulation")]
        if let Some(database) = &self.simulated {
            let skus = skus.iter().map(|&sku| sku.to_owned()).collect();
            self.learn_items(database.items(skus, true).await?);
            return Ok(());
        }
        // Sorted, so that two servers that add the same items do not wait for each other in a circle.
        sqlx::query!(
            "insert into item (sku) select distinct sku from unnest($1::text[]) as sku order by sku
             on conflict (sku) do nothing",
            skus as _,
        )
        .execute(&self.pool)
        .answered("add items")
        .await?;
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
        let mut found = self.find_or_add_source(source).await?;
        if found.is_none() {
            // Another one added it meanwhile, which only the next statement sees.
            found = self.find_or_add_source(source).await?;
        }
        let found = found.ok_or_else(|| Fault::defect("add a source", Defect::RowMissing))?;
        self.known_mut().learn_source(source, found);
        Ok(found)
    }

    /// One that is there already is only read: after a start hundreds of calls may ask at once.
    async fn find_or_add_source(&self, source: &str) -> Result<Option<SourceNo>, Fault> {
        let found = sqlx::query_scalar!(
            r#"with found as (select source_no from source where source = $1),
                   added as (
                       insert into source (source) select $1 where not exists (select from found)
                       on conflict (source) do nothing returning source_no
                   )
               select source_no as "source_no!" from found
               union all select source_no from added"#,
            source,
        )
        .fetch_optional(&self.pool)
        .answered("add a source")
        .await?;
        Ok(found.map(SourceNo))
    }

    /// Takes over what other servers changed since the last call.
    ///
    /// # Errors
    /// The database is away.
    pub async fn refresh(&self) -> Result<(), Fault> {
        #[cfg(feature = "simulation")]
        if self.simulated.is_some() {
            return Ok(());
        }
        let newest = sqlx::query_scalar!("select revision from network_revision")
            .fetch_one(&self.pool)
            .answered("read the network's revision")
            .await?;
        let seen = self.known().revision;
        if newest == seen {
            return Ok(());
        }
        self.learn_locations(LocationRow::since(&self.pool, seen).await?);
        self.learn_channels(PolicyRow::since(&self.pool, seen).await?);
        let changed = sqlx::query!(
            r#"select sku, item_no, stock_item, revision,
                 recalled_at is not null as "recalled!" from item
             where revision > $1 and revision > 0"#,
            seen,
        )
        .fetch_all(&self.pool)
        .answered("read changed items")
        .await?;
        let quotas = sqlx::query!(
            "select location_no, item_no, active, revision from quota_position where revision > $1",
            seen,
        )
        .fetch_all(&self.pool)
        .answered("read which positions have quotas")
        .await?;
        let mut known = self.known_mut();
        for row in quotas {
            let key = (LocationNo(row.location_no), ItemNo(row.item_no));
            known.learn_quotas(key, row.active, row.revision);
        }
        for row in changed {
            let (item, stock_item, revision) = (ItemNo(row.item_no), row.stock_item, row.revision);
            let recalled = row.recalled;
            known.learn_item(&row.sku, KnownItem { item, stock_item, recalled, revision });
        }
        known.revision = newest;
        drop(known);
        self.revision.send_replace(newest);
        Ok(())
    }

    /// The revision up to which what other servers changed was taken over.
    pub fn revision(&self) -> watch::Receiver<i64> {
        self.revision.subscribe()
    }

    pub(crate) fn learn_location(&self, location: KnownLocation) {
        self.known_mut().learn_location(location);
    }

    pub(crate) fn learn_channel(&self, channel: KnownChannel) {
        self.known_mut().learn_channel(channel);
    }

    pub(crate) fn learn_item(&self, sku: &str, item: KnownItem) {
        self.known_mut().learn_item(sku, item);
    }

    fn learn_locations(&self, rows: Vec<LocationRow>) {
        // Zones are looked up before the lock is taken.
        let locations: Vec<_> = rows.into_iter().map(LocationRow::known).collect();
        let mut known = self.known_mut();
        locations.into_iter().for_each(|location| known.learn_location(location));
    }

    fn learn_channels(&self, rows: Vec<PolicyRow>) {
        let mut known = self.known_mut();
        rows.into_iter().for_each(|row| known.learn_channel(row.known()));
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
