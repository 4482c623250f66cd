//! What is sold.

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        directory::KnownItem,
        fault::{Answered as _, Fault},
        network::Change,
        sql_time::At,
    },
    stock::{ids::ItemNo, time::Timestamp},
};

/// What is sold.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Item")]
pub struct Item {
    pub sku: String,
    pub name: String,
    pub gtins: Vec<String>,
    pub stock_item: bool,
    pub recalled_at: Option<Timestamp>,
}

/// A new item, or what changes of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the contract's Item")]
pub struct PutItem {
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
    pub async fn put_item(&self, item: &PutItem) -> Result<Item, Fault> {
        // Importers put all items every night: that is no news.
        let (mut transaction, revision) = self.begin_put_unnoted().await?;
        let (known, item) = put_item(&mut transaction, item, revision).await?;
        transaction.commit().await.map_err(Fault::doing("commit an item"))?;
        self.directory().learn_item(&item.sku, known);
        Ok(item)
    }

    /// Recalls an item, or ends its recall; of one that is recalled already the first time stands.
    /// None: there is no such item.
    ///
    /// # Errors
    /// The database is away.
    pub async fn recall(
        &self,
        sku: &str,
        recalled: bool,
        actor: &str,
        note: &str,
    ) -> Result<Option<Item>, Fault> {
        let what = if recalled { "recall" } else { "recall_ended" };
        let change = Change { what, subject: sku, actor: Some(actor), detail: note };
        let (mut transaction, revision) = self.begin_put(change).await?;
        let row = sqlx::query!(
            r#"update item set revision = $2,
                   recalled_at = case when $3 then coalesce(recalled_at, clock_timestamp()) end,
                   recalled_by = case when $3 then $4 else '' end,
                   recall_note = case when $3 then $5 else '' end
               where sku = $1
               returning item_no, name, gtins, stock_item, recalled_at as "recalled_at: At""#,
            sku,
            revision,
            recalled,
            actor,
            note,
        )
        .fetch_optional(&mut *transaction)
        .await
        .map_err(Fault::doing("recall an item"))?;
        let Some(row) = row else { return Ok(None) };
        transaction.commit().await.map_err(Fault::doing("commit a recall"))?;
        let (item, stock_item) = (ItemNo(row.item_no), row.stock_item);
        self.directory().learn_item(sku, KnownItem { item, stock_item, recalled, revision });
        Ok(Some(Item {
            sku: sku.to_owned(),
            name: row.name,
            gtins: row.gtins,
            stock_item,
            recalled_at: row.recalled_at.map(|at| at.0),
        }))
    }

    /// One item.
    ///
    /// # Errors
    /// The database is away.
    pub async fn item(&self, sku: &str) -> Result<Option<Item>, Fault> {
        let row = sqlx::query_as!(
            ItemRow,
            r#"select sku, name, gtins, stock_item, recalled_at as "recalled_at: At"
               from item where sku = $1"#,
            sku,
        )
        .fetch_optional(&self.readers)
        .answered("read an item")
        .await?;
        Ok(row.map(Item::from))
    }

    /// Items with a code above `after`, by code.
    ///
    /// # Errors
    /// The database is away.
    pub async fn items(&self, after: &str, rows_max: i64) -> Result<Vec<Item>, Fault> {
        let rows = sqlx::query_as!(
            ItemRow,
            r#"select sku, name, gtins, stock_item, recalled_at as "recalled_at: At"
               from item where sku > $1 order by sku limit $2"#,
            after,
            rows_max,
        )
        .fetch_all(&self.readers)
        .answered("list items")
        .await?;
        Ok(rows.into_iter().map(Item::from).collect())
    }
}

/// An item as it is stored.
struct ItemRow {
    sku: String,
    name: String,
    gtins: Vec<String>,
    stock_item: bool,
    recalled_at: Option<At>,
}

impl From<ItemRow> for Item {
    fn from(row: ItemRow) -> Item {
        let ItemRow { sku, name, gtins, stock_item, recalled_at } = row;
        Item { sku, name, gtins, stock_item, recalled_at: recalled_at.map(|at| at.0) }
    }
}

async fn put_item(
    connection: &mut PgConnection,
    item: &PutItem,
    revision: i64,
) -> Result<(KnownItem, Item), Fault> {
    let row = sqlx::query!(
        r#"insert into item (sku, name, gtins, stock_item, revision) values ($1, $2, $3, $4, $5)
           on conflict (sku) do update set
               name = excluded.name, gtins = excluded.gtins, stock_item = excluded.stock_item,
               revision = excluded.revision
           returning item_no, recalled_at as "recalled_at: At""#,
        item.sku,
        item.name,
        &item.gtins,
        item.stock_item,
        revision,
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::doing("put an item"))?;
    let PutItem { sku, name, gtins, stock_item } = item.clone();
    let recalled_at = row.recalled_at.map(|at| at.0);
    let recalled = recalled_at.is_some();
    let known = KnownItem { item: ItemNo(row.item_no), stock_item, recalled, revision };
    Ok((known, Item { sku, name, gtins, stock_item, recalled_at }))
}
