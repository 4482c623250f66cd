//! The condition of the database: how it is set, and what keeps it from tidying up.

use std::collections::BTreeMap;

use sqlx::{Connection as _, PgConnection};

use crate::{
    ledger::{
        Ledger, connect_options,
        fault::{Answered as _, Fault},
        sql_time::At,
    },
    stock::time::{Micros, Timestamp},
};

/// What keeps PostgreSQL from removing dead rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oldest {
    /// How long the oldest transaction has been open.
    pub open_us: Micros,
    /// Transactions since the oldest snapshot that somebody may still read.
    pub transactions: i64,
}

/// A database as it is set.
#[derive(Clone, Debug)]
pub struct Condition {
    /// As `server_version_num`: 150004 is 15.4.
    pub version: i32,
    /// Settings as their units say, by name; those that do not exist are missing.
    pub settings: BTreeMap<String, String>,
    /// Its clock.
    pub now: Timestamp,
    /// The newest migration that was applied; `None`: none.
    pub migrated_to: Option<i64>,
    /// Partitions of the ledger; 0: none, or it was not prepared.
    pub partitions: i64,
    /// What keeps it from tidying up.
    pub oldest: Oldest,
    /// Sessions of any program.
    pub sessions: i64,
}

/// The newest migration of this program.
pub fn newest_migration() -> i64 {
    sqlx::migrate!().iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl Ledger {
    /// What keeps the database from tidying up, as far as this account may see.
    ///
    /// # Errors
    /// The database is away.
    pub async fn oldest(&self) -> Result<Oldest, Fault> {
        oldest(&mut *self.follower().await?).await
    }

    /// Looks at a database over a connection of its own, whether or not it was prepared.
    ///
    /// # Errors
    /// The database is away, or the URL is malformed.
    pub async fn condition(url: &str, settings: &[&str]) -> Result<Condition, Fault> {
        let options = connect_options(url)?;
        let connected = PgConnection::connect_with(&options);
        let mut connection = connected.answered("connect to the database").await?;
        let settings = read_settings(&mut connection, settings).await?;
        let version = settings.get("server_version_num").and_then(|version| version.parse().ok());
        let condition = Condition {
            version: version.unwrap_or(0),
            settings,
            now: now(&mut connection).await?,
            migrated_to: migrated_to(&mut connection).await?,
            partitions: count_partitions(&mut connection).await?,
            oldest: oldest(&mut connection).await?,
            sessions: sessions(&mut connection).await?,
        };
        connection.close().await.map_err(Fault::doing("close the connection"))?;
        Ok(condition)
    }
}

async fn oldest(connection: &mut PgConnection) -> Result<Oldest, Fault> {
    let row = sqlx::query!(
        r#"select
             (select coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0) * 1e6
              from pg_stat_activity where pid <> pg_backend_pid())::int8 as "open_us!",
             greatest(
               (select max(age(backend_xmin)) from pg_stat_activity where pid <> pg_backend_pid()),
               (select max(age(xmin)) from pg_replication_slots),
               (select max(age(transaction)) from pg_prepared_xacts),
               0)::int8 as "transactions!""#
    )
    .fetch_one(connection)
    .answered("look for the oldest transaction")
    .await?;
    Ok(Oldest { open_us: row.open_us.max(0), transactions: row.transactions })
}

async fn read_settings(
    connection: &mut PgConnection,
    names: &[&str],
) -> Result<BTreeMap<String, String>, Fault> {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    // What the server does; this session sets some of them for itself.
    let rows = sqlx::query!(
        r#"select name as "name!",
                  case source when 'client' then reset_val else setting end as "setting!"
           from pg_settings where name = any ($1)"#,
        &names,
    )
    .fetch_all(connection)
    .answered("read how the database is set")
    .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.setting)).collect())
}

async fn now(connection: &mut PgConnection) -> Result<Timestamp, Fault> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!: At""#);
    let now = now.fetch_one(connection).answered("read the clock of the database").await?;
    Ok(now.0)
}

async fn sessions(connection: &mut PgConnection) -> Result<i64, Fault> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from pg_stat_activity
           where backend_type = 'client backend' and pid <> pg_backend_pid()"#
    )
    .fetch_one(connection)
    .answered("count sessions")
    .await
}

async fn count_partitions(connection: &mut PgConnection) -> Result<i64, Fault> {
    if !has_table(connection, "ledger_head").await? {
        return Ok(0);
    }
    sqlx::query_scalar!(r#"select count(*) as "count!" from ledger_head"#)
        .fetch_one(connection)
        .answered("count the partitions")
        .await
}

async fn migrated_to(connection: &mut PgConnection) -> Result<Option<i64>, Fault> {
    if !has_table(connection, "_sqlx_migrations").await? {
        return Ok(None);
    }
    // Not checked when the program is built: the table is made by the library that migrates.
    sqlx::query_scalar("select max(version) from _sqlx_migrations where success")
        .fetch_one(connection)
        .answered("read which migrations were applied")
        .await
}

async fn has_table(connection: &mut PgConnection, name: &str) -> Result<bool, Fault> {
    sqlx::query_scalar!(r#"select to_regclass($1) is not null as "has!""#, name)
        .fetch_one(connection)
        .answered("look for a table")
        .await
}
