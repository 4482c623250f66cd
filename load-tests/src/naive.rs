//! The naive way to reserve: lock the position's row, look, insert, update, commit; one connection a
//! client, one row a reservation.
#![expect(clippy::disallowed_types, reason = "a baseline is SQL of its own")]

use anyhow::ensure;
use rand_chacha::ChaCha8Rng;
use sqlx::{Connection as _, PgConnection, types::Uuid};

use crate::{baseline, load::Client, reserve::Goods};

/// What a reservation needs at least, in the baseline's own database.
const SCHEMA: &str = "
    create table naive_reservation (
        reservation_id uuid not null,
        quantity bigint not null,
        created_at timestamptz not null,
        expires_at timestamptz not null,
        location integer not null,
        item integer not null,
        partition smallint not null,
        state smallint not null,
        channel smallint not null,
        order_ref text collate \"C\" not null,
        primary key (partition, reservation_id)
    )";

/// Makes the database. Returns its URL.
///
/// # Errors
/// As [`baseline::prepare`].
pub async fn prepare(server_url: &str, partitions: &[i16]) -> anyhow::Result<String> {
    let url = baseline::prepare(server_url, partitions).await?;
    sqlx::raw_sql(SCHEMA).execute(&mut PgConnection::connect(&url).await?).await?;
    Ok(url)
}

/// Promises all that is left of one position.
///
/// # Errors
/// The database is away.
pub async fn sell_out(
    url: &str,
    partitions: &[i16],
    (location, item): (usize, usize),
) -> anyhow::Result<()> {
    let done = sqlx::query(
        "update position set reserved = sellable
         where partition = $1 and location = $2 and item = $3",
    )
    .bind(partitions[location])
    .bind(i32::try_from(location)? + 1)
    .bind(i32::try_from(item)? + 1)
    .execute(&mut PgConnection::connect(url).await?)
    .await?;
    ensure!(done.rows_affected() == 1, "no such position");
    Ok(())
}

/// Units reserved by rows so far.
///
/// # Errors
/// The database is away, or a position has promised more than it has.
pub async fn granted(url: &str) -> anyhow::Result<i64> {
    let (granted, oversold): (i64, i64) = sqlx::query_as(
        "select (select coalesce(sum(quantity), 0)::bigint from naive_reservation),
             (select count(*) from position where reserved > sellable)",
    )
    .fetch_one(&mut PgConnection::connect(url).await?)
    .await?;
    ensure!(oversold == 0, "the naive way has oversold {oversold} positions");
    Ok(granted)
}

/// A client with a connection of its own.
#[derive(Debug)]
pub struct Naive {
    connection: PgConnection,
    partitions: Vec<i16>,
    goods: Goods,
    rng: ChaCha8Rng,
    number: usize,
    calls: u64,
}

impl Naive {
    /// Connects client `number`, which wants one unit of `goods` again and again.
    ///
    /// # Errors
    /// The database is away.
    pub async fn connect(
        url: &str,
        partitions: &[i16],
        goods: Goods,
        number: usize,
    ) -> anyhow::Result<Naive> {
        Ok(Naive {
            connection: baseline::connect(url).await?,
            partitions: partitions.to_vec(),
            goods,
            rng: goods.choices(number),
            number,
            calls: 0,
        })
    }
}

impl Client for Naive {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.calls += 1;
        let (location, item) = self.goods.choose(&mut self.rng);
        let partition = self.partitions[location];
        let (location, item) = (location as i32 + 1, item as i32 + 1);
        let mut transaction = self.connection.begin().await?;
        let (sellable, reserved): (i64, i64) = sqlx::query_as(
            "select sellable, reserved from position
             where partition = $1 and location = $2 and item = $3 for update",
        )
        .bind(partition)
        .bind(location)
        .bind(item)
        .fetch_one(&mut *transaction)
        .await?;
        ensure!((reserved < sellable) == self.goods.are_there(), "{reserved} of {sellable}");
        if reserved >= sellable {
            return Ok(transaction.rollback().await?);
        }
        sqlx::query(
            "insert into naive_reservation (
                 reservation_id, quantity, created_at, expires_at, location, item, partition, state,
                 channel, order_ref)
             values ($1, 1, now(), now() + interval '1 day', $2, $3, $4, 1, 1, $5)",
        )
        .bind(Uuid::from_u128(rand::random()))
        .bind(location)
        .bind(item)
        .bind(partition)
        .bind(format!("O{:03}-{:08}", self.number, self.calls))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "update position set reserved = $4
             where partition = $1 and location = $2 and item = $3",
        )
        .bind(partition)
        .bind(location)
        .bind(item)
        .bind(reserved + 1)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}
