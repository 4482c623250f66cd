//! What locations have, or had, stock of.

use std::collections::BTreeSet;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
    },
    stock::ids::Place,
};

impl Ledger {
    /// Codes of items with a position at one of these places, in order; about `skus_max` of them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn skus_at(
        &self,
        places: &[Place],
        skus_max: usize,
    ) -> Result<BTreeSet<String>, Fault> {
        let mut skus = BTreeSet::new();
        for place in places {
            if skus.len() >= skus_max {
                break;
            }
            let numbers = sqlx::query_scalar!(
                "select item from position where partition = $1 and location = $2
                 order by item limit $3",
                place.partition.0,
                place.location.0,
                skus_max as i64,
            )
            .fetch_all(&self.readers)
            .answered("list the items of a location")
            .await?;
            let named =
                sqlx::query_scalar!("select sku from item where item_no = any($1)", &numbers)
                    .fetch_all(&self.readers)
                    .answered("name the items of a location")
                    .await?;
            skus.extend(named);
        }
        Ok(skus)
    }
}
