//! What Stockroom is measured against: plain SQL over the same schema on the same PostgreSQL, with
//! prepared statements and the same fsync, in a database of its own.
#![expect(clippy::disallowed_types, reason = "a baseline is SQL of its own")]

pub mod bulk;

use std::str::FromStr as _;

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, postgres::PgConnectOptions};
use stockroom::ledger::Ledger;

use crate::{
    load::Client,
    sales::{ITEMS, OPENING_UNITS},
};

const DATABASE: &str = "baseline";

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

/// Makes the database for the baselines, with the schema of the ledger and the opening stock of
/// every position. Returns its URL.
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
