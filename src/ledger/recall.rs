//! What a recall concerns: where an item is, and who was promised some of it.

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        reservation::by_number,
    },
    stock::{
        ids::{ItemNo, LocationNo, Partition, Place},
        reservation::Reservation,
    },
};

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Where.
    pub place: Place,
    /// May be sold.
    pub sellable: i64,
    /// Whether somebody may have been promised some of it.
    pub promised: bool,
}

impl Ledger {
    /// Where in a partition there is something of an item, or something of it is promised, by location.
    ///
    /// # Errors
    /// The database is away.
    pub async fn whereabouts(
        &self,
        partition: Partition,
        locations: &[LocationNo],
        item: ItemNo,
    ) -> Result<Vec<Whereabouts>, Fault> {
        let locations: Vec<_> = locations.iter().map(|location| location.0).collect();
        let rows = sqlx::query!(
            "select location, sellable, staged, reserved from position
             where partition = $1 and location = any($2) and item = $3
                 and (sellable > 0 or reserved > 0 or staged > 0)
             order by location",
            partition.0,
            &locations,
            item.0,
        )
        .fetch_all(&mut *self.reader().await?)
        .answered("find where an item is")
        .await?;
        let whereabouts = rows.into_iter().map(|row| Whereabouts {
            place: Place { partition, location: LocationNo(row.location) },
            sellable: row.sellable,
            promised: row.reserved > 0 || row.staged > 0,
        });
        Ok(whereabouts.collect())
    }

    /// Open reservations, and holds that the ledger keeps, at some locations of a partition that some
    /// units of an item are promised by, newest first; and how many there are in all.
    ///
    /// # Errors
    /// The database is away.
    pub async fn promises_of_item(
        &self,
        partition: Partition,
        locations: &[LocationNo],
        item: ItemNo,
        rows_max: i64,
    ) -> Result<(Vec<Reservation>, i64), Fault> {
        let locations: Vec<_> = locations.iter().map(|location| location.0).collect();
        let mut reader = self.reader().await?;
        let rows = sqlx::query!(
            r#"select r.no, count(*) over () as "total!" from reservation r
               where r.partition = $1 and r.location = any($2) and r.state in (1, 2, 3, 9)
                   and exists (
                       select from reservation_line l
                       where l.partition = $1 and l.no = r.no and l.item = $3
                           and l.quantity > l.collected
                   )
               order by r.no desc limit $4"#,
            partition.0,
            &locations,
            item.0,
            rows_max,
        )
        .fetch_all(&mut *reader)
        .answered("find the promises of an item")
        .await?;
        let total = rows.first().map_or(0, |row| row.total);
        let numbers: Vec<_> = rows.iter().map(|row| row.no).collect();
        let mut found = by_number(&mut reader, partition, &numbers).await?;
        found.sort_by_key(|made| std::cmp::Reverse(made.id.no));
        Ok((found, total))
    }
}
