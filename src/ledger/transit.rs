//! How long goods have been on the road.

use rustc_hash::FxHashMap;
use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        archive::archived,
        fault::{Answered as _, Fault},
        sql_time::At,
    },
    stock::{
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
        position::Position,
        time::Timestamp,
    },
};

impl Ledger {
    /// When the oldest unit that is still on its way to each of these positions was shipped, first in,
    /// first out. Positions without goods in transit are passed over.
    ///
    /// # Errors
    /// The database is away.
    pub async fn in_transit_since(
        &self,
        positions: &FxHashMap<PositionKey, Position>,
    ) -> Result<FxHashMap<PositionKey, Timestamp>, Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.reader().await?;
        let mut since = FxHashMap::default();
        for &partition in partitions {
            let own = positions.iter().filter(|(key, position)| {
                key.place.partition == partition && position.in_transit > 0
            });
            let own: Vec<_> = own.collect();
            if !own.is_empty() {
                since.extend(shipped_at(&mut connection, partition, &own).await?);
            }
        }
        Ok(since)
    }
}

/// Counts back from the newest shipment until what is in transit is accounted for. What is older than
/// all that are there still was shipped before the archive ends.
async fn shipped_at(
    connection: &mut PgConnection,
    partition: Partition,
    positions: &[(&PositionKey, &Position)],
) -> Result<Vec<(PositionKey, Timestamp)>, Fault> {
    let locations: Vec<_> = positions.iter().map(|(key, _)| key.place.location.0).collect();
    let items: Vec<_> = positions.iter().map(|(key, _)| key.item.0).collect();
    let units: Vec<_> = positions.iter().map(|(_, position)| position.in_transit).collect();
    let archived = archived(&mut *connection, partition).await?;
    let archived_until = archived.map(|slice| At(slice.recorded_at));
    let rows = sqlx::query!(
        r#"select wanted.location as "location!", wanted.item as "item!",
               case when coalesce(sum(shipment.quantity), 0) >= wanted.units
                   then min(shipment.effective_at) else $5 end as "since?: At"
           from unnest($2::int[], $3::int[], $4::bigint[]) as wanted (location, item, units)
           left join lateral (
               select e.effective_at, e.quantity,
                   sum(e.quantity) over (order by e.effective_at desc, e.seq desc) as until_here
               from ledger_entry e
               where e.partition = $1 and e.location = wanted.location and e.item = wanted.item
                   and e.to_state = 4 and e.legs & 2 <> 0 and e.kind <> 12
                   and not exists (
                       select from ledger_entry c
                       where c.partition = $1 and c.location = wanted.location
                           and c.item = wanted.item and c.kind = 12 and c.refers_to_seq = e.seq
                   )
           ) as shipment on shipment.until_here - shipment.quantity < wanted.units
           group by wanted.location, wanted.item, wanted.units"#,
        partition.0,
        &locations,
        &items,
        &units,
        archived_until as _,
    )
    .fetch_all(connection)
    .answered("find out since when goods are in transit")
    .await?;
    let key = |location, item| PositionKey {
        place: Place { partition, location: LocationNo(location) },
        item: ItemNo(item),
    };
    let since = rows
        .into_iter()
        .filter_map(|row| row.since.map(|since| (key(row.location, row.item), since.0)));
    Ok(since.collect())
}
