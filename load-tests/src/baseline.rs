//! What Stockroom is measured against: plain SQL over the same schema on the same PostgreSQL, with
//! prepared statements and the same fsync, in a database of its own.
#![expect(clippy::disallowed_types, reason = "a baseline is SQL of its own")]

use std::{
    collections::BTreeMap,
    str::FromStr as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use rand::Rng as _;
use sqlx::{
    AssertSqlSafe, Connection as _, Encode, PgConnection, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgConnectOptions, PgHasArrayType, PgTypeInfo, types::Oid},
    types::Uuid,
};
use stockroom::ledger::Ledger;

use crate::{
    load::Client,
    sales::{ITEMS, OPENING_UNITS, Sale},
};

/// Lines of one transaction of the bulk load.
const TRANSACTION_LINES: usize = 1_000;
const DATABASE: &str = "baseline";
/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_SHIFT: i64 = 946_684_800_000_000;

/// What a ledger adds up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Entries.
    pub entries: i64,
    /// Rows of keys.
    pub requests: i64,
    /// SELLABLE units over all positions.
    pub sellable: i64,
}

impl Totals {
    /// Reads them from a database with the schema of the ledger.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read(url: &str) -> anyhow::Result<Totals> {
        let mut connection = PgConnection::connect(url).await?;
        let (entries, requests, sellable) = sqlx::query_as(
            "select (select count(*) from ledger_entry), (select count(*) from request),
                 (select sum(sellable)::bigint from position)",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok(Totals { entries, requests, sellable })
    }
}

/// Units reserved, and the lines that reserve them, in a database with the schema of the ledger.
///
/// # Errors
/// The database is away, or a position has promised more than it has.
pub async fn granted(url: &str) -> anyhow::Result<(i64, i64)> {
    let (units, lines, oversold): (i64, i64, i64) = sqlx::query_as(
        "select coalesce(sum(l.quantity), 0)::bigint, count(*),
             (select count(*) from position where reserved > sellable)
         from reservation r join reservation_line l using (partition, no)
         where r.held_as is null and r.state = 1",
    )
    .fetch_one(&mut PgConnection::connect(url).await?)
    .await?;
    ensure!(oversold == 0, "{oversold} positions have promised more than they have");
    Ok((units, lines))
}

/// The id of PostgreSQL's parent process, from any of its sessions.
///
/// # Errors
/// The database is away.
pub async fn postmaster(url: &str) -> anyhow::Result<u32> {
    let mut connection = PgConnection::connect(url).await?;
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await?;
    crate::cpu::parent_of(u32::try_from(pid)?)
}

/// The version of PostgreSQL.
///
/// # Errors
/// The database is away.
pub async fn version(url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    let version = sqlx::query_scalar("show server_version");
    Ok(version.fetch_one(&mut connection).await?)
}

/// Lets PostgreSQL take `connections` connections, from its next start on.
///
/// # Errors
/// It is away.
pub async fn allow_connections(url: &str, connections: u32) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let setting = format!("alter system set max_connections = {connections}");
    sqlx::raw_sql(AssertSqlSafe(setting)).execute(&mut connection).await?;
    Ok(())
}

/// Makes the database for the baselines, with the schema of the ledger and the opening stock of every
/// position. Returns its URL.
///
/// # Errors
/// PostgreSQL refuses.
pub async fn prepare(server_url: &str, partitions: &[i16]) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(server_url).await?;
    sqlx::query("create database baseline").execute(&mut connection).await?;
    let url = beside(server_url, DATABASE)?;
    let most = partitions.iter().max().context("no partitions")?;
    Ledger::migrate(&url, u16::try_from(*most)? + 1).await?;
    let mut connection = PgConnection::connect(&url).await?;
    for (location, partition) in partitions.iter().enumerate() {
        sqlx::query(
            "insert into position (
                 partition, location, item, sellable, staged, blocked, in_transit, expected,
                 reserved, seq, fact_at)
             select $1, $2, item, $3, 0, 0, 0, 0, 0, 0, now() from generate_series(1, $4) as item",
        )
        .bind(partition)
        .bind(i32::try_from(location)? + 1)
        .bind(OPENING_UNITS)
        .bind(i32::try_from(ITEMS)?)
        .execute(&mut connection)
        .await?;
    }
    sqlx::query("vacuum analyze").execute(&mut connection).await?;
    Ok(url)
}

/// The URL of another database of the same PostgreSQL.
///
/// # Errors
/// The URL names no database.
pub fn beside(server_url: &str, database: &str) -> anyhow::Result<String> {
    let (head, tail) = server_url.rsplit_once('/').context("the URL names no database")?;
    Ok(match tail.split_once('?') {
        Some((_, options)) => format!("{head}/{database}?{options}"),
        None => format!("{head}/{database}"),
    })
}

/// The raw limit: the rows of sales by bulk statements, over one or two connections.
#[derive(Debug)]
pub struct Bulk {
    connections: Vec<PgConnection>,
    /// Of every shop.
    partitions: Vec<i16>,
    /// Last sequence number of every partition.
    heads: BTreeMap<i16, i64>,
}

impl Bulk {
    /// Connects.
    ///
    /// # Errors
    /// The database is away.
    pub async fn connect(url: &str, partitions: &[i16]) -> anyhow::Result<Bulk> {
        let connections = vec![connect(url).await?, connect(url).await?];
        let heads = partitions.iter().map(|&partition| (partition, 0)).collect();
        Ok(Bulk { connections, partitions: partitions.to_vec(), heads })
    }

    /// Writes sales over `connections` connections, each with partitions of its own, and says how long
    /// that took; sorting the sales into transactions beforehand is not counted.
    ///
    /// # Errors
    /// A statement fails.
    pub async fn write(&mut self, sales: &[Sale], connections: usize) -> anyhow::Result<Duration> {
        let mut parts: BTreeMap<i16, Vec<&Sale>> = BTreeMap::new();
        for sale in sales {
            parts.entry(self.partitions[sale.location]).or_default().push(sale);
        }
        let mut work: Vec<Vec<Rows>> = (0..connections).map(|_| Vec::new()).collect();
        for (number, (partition, sales)) in parts.into_iter().enumerate() {
            let head = self.heads.entry(partition).or_default();
            for sales in sales.chunks(TRANSACTION_LINES) {
                work[number % connections].push(Rows::of(partition, *head, sales));
                *head += sales.len() as i64;
            }
        }
        let started = Instant::now();
        let writing = work.iter().zip(&mut self.connections).map(|(rows, connection)| async move {
            for rows in rows {
                rows.write(connection).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(writing).await?;
        Ok(started.elapsed())
    }
}

/// The rows of one transaction, column by column.
#[derive(Debug, Default)]
struct Rows {
    partition: i16,
    head: i64,
    seqs: Vec<i64>,
    quantities: Vec<i64>,
    moments: Vec<Moment>,
    locations: Vec<i32>,
    items: Vec<i32>,
    lines: Vec<i32>,
    documents: Vec<String>,
    keys: Vec<String>,
    digests: Vec<Uuid>,
    hashes: Vec<i64>,
    /// Units sold of every position.
    sold: BTreeMap<(i32, i32), i64>,
}

impl Rows {
    fn of(partition: i16, head: i64, sales: &[&Sale]) -> Rows {
        let mut rng = rand::rng();
        let mut rows = Rows { partition, head, ..Rows::default() };
        for (seq, sale) in (head + 1..).zip(sales) {
            let (location, item) = (sale.location as i32 + 1, sale.item as i32 + 1);
            rows.seqs.push(seq);
            rows.quantities.push(sale.quantity);
            rows.moments.push(Moment(sale.occurred_at));
            rows.locations.push(location);
            rows.items.push(item);
            rows.lines.push(sale.document_line as i32);
            rows.documents.push(sale.document.clone());
            rows.keys.push(sale.key.clone());
            rows.digests.push(Uuid::from_u128(rng.random()));
            rows.hashes.push(rng.random());
            *rows.sold.entry((location, item)).or_default() += sale.quantity;
        }
        rows
    }

    async fn write(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let mut transaction = connection.begin().await?;
        sqlx::query(
            "insert into ledger_entry (
                 partition, seq, quantity, sellable_after, reserved_change, reserved_after,
                 occurred_at, effective_at, recorded_at, checksum, fingerprint, location, item,
                 source, channel, kind, legs, from_state, to_state, flags, utc_offset_minutes,
                 document_line, key, document)
             select $1, seq, quantity, quantity, 0, 0, at, at, now(), hash, hash, location, item, 1,
                 1, 3, 3, 1, 6, 0, 60, line, key, document
             from unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::int[],
                 $7::int[], $8::int[], $9::text[], $10::text[])
                 as sale (seq, quantity, at, hash, location, item, line, key, document)",
        )
        .bind(self.partition)
        .bind(&self.seqs)
        .bind(&self.quantities)
        .bind(&self.moments)
        .bind(&self.hashes)
        .bind(&self.locations)
        .bind(&self.items)
        .bind(&self.lines)
        .bind(&self.keys)
        .bind(&self.documents)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "insert into request (partition, digest, location, seq)
             select $1, * from unnest($2::uuid[], $3::int[], $4::bigint[])",
        )
        .bind(self.partition)
        .bind(&self.digests)
        .bind(&self.locations)
        .bind(&self.seqs)
        .execute(&mut *transaction)
        .await?;
        let (places, sold): (Vec<(i32, i32)>, Vec<i64>) = self.sold.iter().unzip();
        let (locations, items): (Vec<i32>, Vec<i32>) = places.into_iter().unzip();
        let head = self.head + self.seqs.len() as i64;
        sqlx::query(
            "update position p set sellable = p.sellable - sold.units, seq = $5, fact_at = now()
             from unnest($2::int[], $3::int[], $4::bigint[]) as sold (location, item, units)
             where p.partition = $1 and p.location = sold.location and p.item = sold.item",
        )
        .bind(self.partition)
        .bind(locations)
        .bind(items)
        .bind(sold)
        .bind(head)
        .execute(&mut *transaction)
        .await?;
        let moved = sqlx::query(
            "update ledger_head set seq = $3, recorded_at = now() where partition = $1 and seq = $2",
        )
        .bind(self.partition)
        .bind(self.head)
        .bind(head)
        .execute(&mut *transaction)
        .await?;
        ensure!(moved.rows_affected() == 1, "the head has moved");
        Ok(transaction.commit().await?)
    }
}

/// The naive way of one sale at a time: lock the row, look, write, commit.
#[derive(Debug)]
pub struct RowLocker {
    connection: PgConnection,
    partition: i16,
    till: i32,
    sales: i64,
}

impl RowLocker {
    /// Connects; all sell the first item of the first shop, which is in `partition`.
    ///
    /// # Errors
    /// The database is away.
    pub async fn connect(url: &str, partition: i16, till: i32) -> anyhow::Result<RowLocker> {
        Ok(RowLocker { connection: connect(url).await?, partition, till, sales: 0 })
    }
}

impl Client for RowLocker {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.sales += 1;
        let document = format!("R{:02}-{:08}", self.till, self.sales);
        let mut transaction = self.connection.begin().await?;
        let (sellable, seq): (i64, i64) = sqlx::query_as(
            "select sellable, seq from position
             where partition = $1 and location = 1 and item = 1 for update",
        )
        .bind(self.partition)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query(
            "insert into ledger_entry (
                 partition, seq, quantity, sellable_after, reserved_change, reserved_after,
                 occurred_at, effective_at, recorded_at, checksum, fingerprint, location, item,
                 source, channel, kind, legs, from_state, to_state, flags, utc_offset_minutes,
                 document_line, key, document)
             values ($1, $2, 1, $3, 0, 0, now(), now(), now(), 0, 0, 1, 1, $4, 1, 3, 3, 1, 6, 0, 60,
                 1, $5 || '-1', $5)",
        )
        .bind(self.partition)
        .bind(seq + 1)
        .bind(sellable - 1)
        .bind(self.till)
        .bind(document)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "update position set sellable = $2, seq = $3, fact_at = now()
             where partition = $1 and location = 1 and item = 1",
        )
        .bind(self.partition)
        .bind(sellable - 1)
        .bind(seq + 1)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}

/// A connection whose commits are on the disk.
///
/// # Errors
/// The database is away.
pub async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options = PgConnectOptions::from_str(url)?.options([("synchronous_commit", "on")]);
    Ok(PgConnection::connect_with(&options).await?)
}

/// Microseconds since 1970 as a `timestamptz`.
#[derive(Clone, Copy, Debug)]
struct Moment(i64);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&(self.0 - EPOCH_SHIFT).to_be_bytes());
        Ok(IsNull::No)
    }
}
