//! Preparing a database, separately from serving.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::ledger::{connect_options, epoch::begin_epoch, fault::Fault};

/// What a migration did.
#[derive(Clone, Copy, Debug)]
pub struct Prepared {
    /// How many partitions the ledger has.
    pub partitions: i64,
}

impl crate::ledger::Ledger {
    /// Brings the schema up to date and, in a new database, creates `partitions` partitions. On one
    /// dedicated connection: a migration that fails must not leave its lock in a pool.
    ///
    /// # Errors
    /// The database is away, a migration fails, or the database is newer than this program.
    pub async fn migrate(url: &str, partitions: u16) -> Result<Prepared, Fault> {
        let mut connection = connect_options(url)?
            .connect()
            .await
            .map_err(Fault::doing("connect to the database"))?;
        sqlx::migrate!()
            .run(&mut connection)
            .await
            .map_err(|error| Fault::doing("migrate the database")(error.into()))?;
        if count_partitions(&mut connection).await? == 0 {
            create_partitions(&mut connection, partitions).await?;
            begin_epoch(&mut connection, |_| true).await?;
        }
        let partitions = count_partitions(&mut connection).await?;
        connection.close().await.map_err(Fault::doing("close the connection"))?;
        Ok(Prepared { partitions })
    }
}

async fn create_partitions(connection: &mut PgConnection, partitions: u16) -> Result<(), Fault> {
    sqlx::query!(
        "insert into ledger_head
             (partition, epoch, seq, recorded_at, system_identifier, timeline, checksum)
         select partition, 0, 0, '2000-01-01 00:00:00+00', 0, 0, 0
         from generate_series(0, $1::int - 1) as partition
         on conflict do nothing",
        i32::from(partitions.max(1)),
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("create the partitions"))?;
    Ok(())
}

async fn count_partitions(connection: &mut PgConnection) -> Result<i64, Fault> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from ledger_head"#)
        .fetch_one(connection)
        .await
        .map_err(Fault::doing("count the partitions"))
}
