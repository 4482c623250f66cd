//! What is sold.

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        directory::KnownItem,
        fault::{Answered as _, Fault},
    },
    stock::ids::ItemNo,
};

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

    /// One item.
    ///
    /// # Errors
    /// The database is away.
    pub async fn item(&self, sku: &str) -> Result<Option<Item>, Fault> {
        sqlx::query_as!(Item, "select sku, name, gtins, stock_item from item where sku = $1", sku,)
            .fetch_optional(&self.readers)
            .answered("read an item")
            .await
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
        .answered("list items")
        .await
    }
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
