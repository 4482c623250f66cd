//! Preparing a database, separately from serving.

use sqlx::{
    ConnectOptions as _, Connection as _, PgConnection,
    migrate::{Migrate as _, Migrator},
};

use crate::ledger::{
    connect_options,
    epoch::begin_epoch,
    fault::{Defect, Fault},
};

/// Migrations with numbers of the same thousand only add: a server that does not know the newest of them
/// goes on beside one that does. One that takes something away begins a new thousand.
const ADDITIVE: i64 = 1_000;

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
    /// The database is away, a migration fails, or the database is too new for this program.
    pub async fn migrate(url: &str, partitions: u16) -> Result<Prepared, Fault> {
        let mut connection = connect_options(url)?
            .connect()
            .await
            .map_err(Fault::doing("connect to the database"))?;
        migrator()
            .run(&mut connection)
            .await
            .map_err(|error| Fault::doing("migrate the database")(error.into()))?;
        check(&mut connection).await?;
        if count_partitions(&mut connection).await? == 0 {
            create_partitions(&mut connection, partitions).await?;
            begin_epoch(&mut connection, |_| true).await?;
        }
        let partitions = count_partitions(&mut connection).await?;
        connection.close().await.map_err(Fault::doing("close the connection"))?;
        Ok(Prepared { partitions })
    }
}

impl crate::ledger::Ledger {
    /// Whether this program can use the database: every migration that it knows is there, and none that
    /// takes away what it needs.
    ///
    /// # Errors
    /// The database is away, was not prepared, or is too new.
    pub async fn check_schema(&self) -> Result<(), Fault> {
        let mut connection = self.reader().await?;
        check(&mut connection).await
    }
}

/// The migrations of this program; there may be newer ones.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator
}

async fn check(connection: &mut PgConnection) -> Result<(), Fault> {
    let migrator = migrator();
    let applied = connection
        .list_applied_migrations(&migrator.table_name)
        .await
        .map_err(|error| Fault::doing("look at the schema")(error.into()))?;
    let applied: Vec<_> = applied.iter().map(|migration| migration.version).collect();
    let known = migrator.iter().map(|migration| migration.version);
    judge(&applied, &known.collect::<Vec<_>>())
}

fn judge(applied: &[i64], known: &[i64]) -> Result<(), Fault> {
    if known.iter().any(|version| !applied.contains(version)) {
        return Err(Fault::unprepared());
    }
    let newest = known.iter().max().copied().unwrap_or_default();
    match applied.iter().find(|version| **version / ADDITIVE > newest / ADDITIVE) {
        Some(version) => {
            Err(Fault::defect("use the database", Defect::TooNew { version: *version }))
        }
        None => Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_migrations_that_only_add_are_no_hindrance_and_missing_ones_are() {
        assert!(judge(&[1, 2, 3], &[1, 2, 3]).is_ok());
        assert!(judge(&[1, 2, 3, 4, 999], &[1, 2, 3]).is_ok());
        assert!(judge(&[1, 2], &[1, 2, 3]).is_err());
        assert!(judge(&[], &[1]).is_err());
        let too_new = judge(&[1, 2, 3, 1_000], &[1, 2, 3]).unwrap_err();
        assert!(too_new.chain().contains("1000"), "{}", too_new.chain());
    }
}
