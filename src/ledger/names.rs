//! Names of what the ledger refers to by number.

use std::collections::HashMap;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
    },
    stock::entry::Entry,
};

/// Names of what entries refer to by number.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By location number.
    pub locations: HashMap<i32, String>,
    /// By item number.
    pub items: HashMap<i32, String>,
    /// By channel number.
    pub channels: HashMap<i32, String>,
    /// By source number.
    pub sources: HashMap<i32, String>,
}

impl Ledger {
    /// The names of everything that these entries refer to.
    ///
    /// # Errors
    /// The database is away.
    pub async fn names(&self, entries: &[Entry<'_>]) -> Result<Names, Fault> {
        let own = entries.iter().map(|entry| entry.location.0);
        let counter = entries.iter().filter_map(|entry| entry.counter);
        let locations: Vec<_> =
            own.chain(counter.map(|counter| counter.place.location.0)).collect();
        let items: Vec<_> = entries.iter().map(|entry| entry.item.0).collect();
        let channels: Vec<_> =
            entries.iter().filter_map(|entry| entry.channel).map(|channel| channel.0).collect();
        let sources: Vec<_> = entries.iter().map(|entry| entry.source.0).collect();
        self.named(&locations, &items, &channels, &sources).await
    }

    /// The names of these numbers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn named(
        &self,
        locations: &[i32],
        items: &[i32],
        channels: &[i32],
        sources: &[i32],
    ) -> Result<Names, Fault> {
        let rows = sqlx::query!(
            r#"select 1 as "table!", location_no as "no!", location_id as "name!" from location
               where location_no = any($1)
               union all select 2, item_no, sku from item where item_no = any($2)
               union all select 3, channel_no, channel_id from channel where channel_no = any($3)
               union all select 4, source_no, source from source where source_no = any($4)"#,
            locations,
            items,
            channels,
            sources,
        )
        .fetch_all(&self.readers)
        .answered("read names")
        .await?;
        let mut names = Names::default();
        for row in rows {
            let table = match row.table {
                1 => &mut names.locations,
                2 => &mut names.items,
                3 => &mut names.channels,
                _ => &mut names.sources,
            };
            table.insert(row.no, row.name);
        }
        Ok(names)
    }
}
