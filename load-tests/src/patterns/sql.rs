//! Patterns whose stock is in PostgreSQL, each with the tables that it needs.
#![expect(clippy::disallowed_types, reason = "a baseline is SQL of its own")]

use anyhow::{Context as _, ensure};
use rand_chacha::ChaCha8Rng;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, types::Uuid};

use super::{Goods, SCARCE, SCARCE_UNITS};
use crate::{
    baseline,
    load::Client,
    sales::{ITEMS, LOCATIONS, OPENING_UNITS},
};

const DATABASE: &str = "patterns";
/// One set of tables for each pattern, so that none pays for the rows of another.
const SCHEMA: &str = "
    create table summed (item integer primary key, quantity bigint not null);
    create table allocation (
        allocation_id uuid primary key,
        item integer not null,
        quantity bigint not null,
        created_at timestamptz not null default now(),
        order_ref text not null
    );
    create index allocation_item on allocation (item);

    create table stocked (item integer primary key, quantity bigint not null);
    create table reservation_log (
        reservation_no bigint generated always as identity primary key,
        item integer not null,
        quantity bigint not null,
        order_ref text not null
    );
    create index reservation_log_item on reservation_log (item);

    create table counted (
        item integer primary key,
        quantity bigint not null,
        reserved bigint not null default 0
    );
    create table counted_reservation (
        reservation_id uuid primary key,
        item integer not null,
        quantity bigint not null,
        created_at timestamptz not null default now(),
        order_ref text not null
    );

    create table drained (
        entry text primary key,
        item integer not null,
        quantity bigint not null,
        order_ref text not null
    )";

/// Makes the database beside the server's, with the opening stock. Returns its URL.
///
/// # Errors
/// PostgreSQL refuses.
pub async fn prepare(server_url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(server_url).await?;
    sqlx::query("create database patterns").execute(&mut connection).await?;
    let url = baseline::beside(server_url, DATABASE)?;
    let mut connection = PgConnection::connect(&url).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await?;
    for table in ["summed", "stocked", "counted"] {
        let fill = format!(
            "insert into {table} (item, quantity)
             select item, case item when {SCARCE} then {SCARCE_UNITS} else {OPENING_UNITS} end
             from generate_series(0, {}) as item",
            LOCATIONS * ITEMS
        );
        sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut connection).await?;
    }
    sqlx::query("vacuum analyze").execute(&mut connection).await?;
    Ok(url)
}

/// How a client makes sure that the stock is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The row of the stock is locked, then the allocations against it are summed up.
    LockAndSum,
    /// The reservations are summed up and one more is appended; nothing is locked.
    AppendAndSum,
}

impl Way {
    /// The quantity in stock, and what is promised of it.
    fn question(self) -> [&'static str; 2] {
        match self {
            Way::LockAndSum => [
                "select quantity from summed where item = $1 for update",
                "select coalesce(sum(quantity), 0)::bigint from allocation where item = $1",
            ],
            Way::AppendAndSum => [
                "select quantity from stocked where item = $1",
                "select coalesce(-sum(quantity), 0)::bigint from reservation_log where item = $1",
            ],
        }
    }
}

/// A client with a connection of its own.
#[derive(Debug)]
pub struct SqlClient {
    connection: PgConnection,
    way: Way,
    goods: Goods,
    rng: ChaCha8Rng,
    number: usize,
    calls: u64,
    /// Units that it was granted of what is scarce.
    pub granted_scarce: i64,
}

impl SqlClient {
    /// Connects client `number`, which wants one unit of `goods` again and again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn connect(
        url: &str,
        way: Way,
        goods: Goods,
        number: usize,
    ) -> anyhow::Result<SqlClient> {
        let (calls, granted_scarce) = (0, 0);
        let connection = baseline::connect(url).await?;
        let rng = goods.choices(number);
        Ok(SqlClient { connection, way, goods, rng, number, calls, granted_scarce })
    }
}

impl Client for SqlClient {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.calls += 1;
        let item = self.goods.choose(&mut self.rng);
        let order = format!("O{:03}-{:08}", self.number, self.calls);
        let [stock, promised] = self.way.question();
        let mut transaction = self.connection.begin().await?;
        let stock: i64 = sqlx::query_scalar(stock).bind(item).fetch_one(&mut *transaction).await?;
        let promised: i64 =
            sqlx::query_scalar(promised).bind(item).fetch_one(&mut *transaction).await?;
        if promised >= stock {
            ensure!(self.goods == Goods::Scarce, "{promised} of {stock} are promised");
            return Ok(transaction.rollback().await?);
        }
        let insert = match self.way {
            Way::LockAndSum => sqlx::query(
                "insert into allocation (allocation_id, item, quantity, order_ref)
                 values ($3, $1, 1, $2)",
            ),
            Way::AppendAndSum => sqlx::query(
                "insert into reservation_log (item, quantity, order_ref)
                 select $1, -1, $2 where $3::uuid is not null",
            ),
        };
        let id = Uuid::from_u128(rand::random());
        insert.bind(item).bind(order).bind(id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        self.granted_scarce += i64::from(self.goods == Goods::Scarce);
        Ok(())
    }
}

/// Reserves one unit by its row alone, which a lock elsewhere protects. Returns whether it was
/// there.
///
/// # Errors
/// The database is away.
pub async fn reserve_counted(
    connection: &mut PgConnection,
    item: i32,
    order: &str,
) -> anyhow::Result<bool> {
    let mut transaction = connection.begin().await?;
    let (quantity, reserved): (i64, i64) =
        sqlx::query_as("select quantity, reserved from counted where item = $1")
            .bind(item)
            .fetch_one(&mut *transaction)
            .await?;
    if reserved >= quantity {
        transaction.rollback().await?;
        return Ok(false);
    }
    sqlx::query(
        "insert into counted_reservation (reservation_id, item, quantity, order_ref)
         values ($1, $2, 1, $3)",
    )
    .bind(Uuid::from_u128(rand::random()))
    .bind(item)
    .bind(order)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("update counted set reserved = $2 where item = $1")
        .bind(item)
        .bind(reserved + 1)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// Writes what a drainer found, by the names of its entries.
///
/// # Errors
/// The database is away.
pub async fn write_drained(
    connection: &mut PgConnection,
    entries: &[String],
    items: &[i32],
    orders: &[String],
) -> anyhow::Result<()> {
    sqlx::query(
        "insert into drained (entry, item, quantity, order_ref)
         select entry, item, 1, order_ref
         from unnest($1::text[], $2::int[], $3::text[]) as found (entry, item, order_ref)
         on conflict do nothing",
    )
    .bind(entries)
    .bind(items)
    .bind(orders)
    .execute(connection)
    .await
    .context("cannot write what was drained")?;
    Ok(())
}

/// Rows of reservations, by pattern: as many as calls were granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Rows {
    /// Of [`Way::LockAndSum`].
    pub lock_and_sum: i64,
    /// Of [`Way::AppendAndSum`].
    pub append_and_sum: i64,
    /// Under a lock in Redis.
    pub redis_lock: i64,
    /// Drained from Redis.
    pub redis_first: i64,
}

impl Rows {
    /// Counts them.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(url: &str) -> anyhow::Result<Rows> {
        let rows = sqlx::query_as(
            "select (select count(*) from allocation) as lock_and_sum,
                 (select count(*) from reservation_log) as append_and_sum,
                 (select count(*) from counted_reservation) as redis_lock,
                 (select count(*) from drained) as redis_first",
        );
        Ok(rows.fetch_one(&mut PgConnection::connect(url).await?).await?)
    }
}
