//! What is looked at, and how much of it may grow.
#![expect(clippy::disallowed_types, reason = "looks into the databases themselves")]

use std::{collections::BTreeMap, fs, sync::atomic::Ordering, time::Duration};

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, Row as _};

use super::{
    super::{inject::Supervisor, tally::Tally},
    SERVERS,
    verdict::{Bound, Series},
};
use crate::{cpu, raw_redis};

/// Pools of a server for writing, reading, following and sending, and those of one that was just killed.
const CONNECTIONS_MAX: f64 = (8.0 + 8.0 + 4.0 + 2.0) * (SERVERS as f64 + 1.0);
/// All kinds of keys; those that there are only now and then count as empty.
const KINDS: [&str; 12] = [
    "checkpoint",
    "rebuild",
    "buckets",
    "holds",
    "due",
    "graves",
    "held",
    "tick_units",
    "ticks",
    "taken",
    "tokens",
    "r",
];
const MIB: f64 = 1_048_576.0;
/// Tables that have rows for entries, and so may grow with them: judged are the bytes that each row takes,
/// and how many rows there are for each entry.
const OF_THE_LEDGER: [&str; 6] = [
    "ledger_entry",
    "ledger_batch",
    "request",
    "reservation",
    "reservation_line",
    "reservation_version",
];
/// Keys whose fields stay for an hour: at most one for each hold that was given.
const TOMBSTONES: &str = "graves";

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    series: BTreeMap<String, Series>,
}

impl Sampler {
    /// Looks once.
    pub(super) async fn look(
        &mut self,
        at: Duration,
        supervisor: &Supervisor,
        tally: &Tally,
    ) -> anyhow::Result<()> {
        let mut look = Look { at_s: at.as_secs_f64(), sampler: self };
        let server = supervisor.servers.first().context("there is no server")?;
        look.process(server.pid().context("the first server does not run")?)?;
        look.postgres(&supervisor.postgres.url()).await?;
        let redis = format!("redis://{}/", supervisor.redis.address());
        look.redis(&redis, tally.holds.load(Ordering::Relaxed)).await
    }

    /// All of it, by name.
    pub(super) fn series(self) -> Vec<Series> {
        self.series.into_values().collect()
    }
}

/// One look.
struct Look<'s> {
    at_s: f64,
    sampler: &'s mut Sampler,
}

impl Look<'_> {
    fn see(&mut self, name: &str, unit: &'static str, bound: Bound, value: f64) {
        let series = self.sampler.series.entry(name.to_owned()).or_insert_with(|| Series {
            name: name.to_owned(),
            unit,
            bound,
            points: Vec::new(),
        });
        series.points.push((self.at_s, value));
    }

    fn process(&mut self, pid: u32) -> anyhow::Result<()> {
        let entries = |of: &str| -> anyhow::Result<f64> {
            Ok(fs::read_dir(format!("/proc/{pid}/{of}"))?.count() as f64)
        };
        let memory = cpu::memory_of(pid)? as f64 / MIB;
        self.see("server: memory", "MiB", Bound::trend(16.0, 0.1), memory);
        self.see("server: threads", "threads", Bound::trend(2.0, 0.0), entries("task")?);
        let bound = Bound::trend(8.0, 0.05);
        self.see("server: descriptors", "descriptors", bound, entries("fd")?);
        Ok(())
    }

    async fn postgres(&mut self, url: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(url).await?;
        let connections = sqlx::query_scalar::<_, i64>(
            "select count(*) from pg_stat_activity
             where backend_type = 'client backend' and application_name = 'stockroom'",
        );
        let connections = connections.fetch_one(&mut connection).await?;
        let rows = rows(&mut connection).await?;
        let entries = rows.get("ledger_entry").copied().unwrap_or(1.0);
        for (table, rows) in rows.iter().filter(|(table, _)| **table != "ledger_entry") {
            let bound = Bound::trend(0.05, 0.25);
            self.see(&format!("{table}: rows for each entry"), "rows", bound, rows / entries);
        }
        let bound = Bound::limit(CONNECTIONS_MAX);
        self.see("PostgreSQL: connections", "connections", bound, connections as f64);
        let relations = sqlx::query(
            "select of_table.relname::text, relation.relname::text,
                 pg_table_size(relation.oid), coalesce(statistics.n_dead_tup, 0)
             from pg_class of_table
             join pg_class relation on relation.oid = of_table.oid
                 or relation.oid in (select indexrelid from pg_index where indrelid = of_table.oid)
             left join pg_stat_user_tables statistics on statistics.relid = relation.oid
             where of_table.relnamespace = 'public'::regnamespace and of_table.relkind = 'r'",
        );
        for row in relations.fetch_all(&mut connection).await? {
            let (table, relation): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let (bytes, dead): (i64, i64) = (row.try_get(2)?, row.try_get(3)?);
            if table == relation {
                // Cleared away each minute, once they are a fifth of a table.
                let bound = Bound::trend(20_000.0, 0.5);
                self.see(&format!("{table}: dead rows"), "rows", bound, dead as f64);
            }
            if let Some(rows) = rows.get(table.as_str()) {
                let bound = Bound::trend(4.0, 0.2);
                let name = format!("{relation}: size for each row");
                self.see(&name, "bytes", bound, bytes as f64 / rows);
            } else {
                let bound = Bound::trend(512.0, 0.2);
                self.see(&format!("{relation}: size"), "KiB", bound, bytes as f64 / 1_024.0);
            }
        }
        Ok(connection.close().await?)
    }

    async fn redis(&mut self, url: &str, holds: u64) -> anyhow::Result<()> {
        let mut keys = raw_redis::kinds(url).await?;
        for kind in KINDS {
            keys.entry(kind.to_owned()).or_default();
        }
        let clients = raw_redis::connections(url).await?;
        let bound = Bound::trend(4.0, 0.1);
        self.see("Redis: connections", "connections", bound, clients as f64);
        let fields = |kind: &str| keys.get(kind).map_or(0, |kind| kind.fields);
        let mut bytes = raw_redis::data_bytes(url).await?;
        for (kind, seen) in &keys {
            match kind.as_str() {
                TOMBSTONES => {
                    let each = seen.fields as f64 / holds.max(1) as f64;
                    let bound = Bound::trend(1.0, 0.0);
                    self.see("Redis: tombstones for each hold given", "", bound, each);
                    bytes = bytes.saturating_sub(seen.bytes);
                }
                "holds" => {
                    let live = seen.fields.saturating_sub(fields(TOMBSTONES));
                    let bound = Bound::trend(200.0, 0.25);
                    self.see("Redis: live holds", "holds", bound, live as f64);
                    bytes = bytes.saturating_sub(seen.bytes);
                }
                _ => {
                    let bound = Bound::trend(200.0, 0.25);
                    let name = format!("Redis: fields of {kind}");
                    self.see(&name, "fields", bound, seen.fields as f64);
                }
            }
        }
        let bound = Bound::trend(1_024.0, 0.2);
        let name = "Redis: memory without holds and tombstones";
        self.see(name, "KiB", bound, bytes as f64 / 1_024.0);
        Ok(())
    }
}

/// How many there are in each table of the ledger.
async fn rows(connection: &mut PgConnection) -> anyhow::Result<BTreeMap<&'static str, f64>> {
    let mut rows = BTreeMap::new();
    for table in OF_THE_LEDGER {
        // Sequence numbers are dense, and there are too many entries to count them again and again.
        let count = match table {
            "ledger_entry" => "select sum(seq)::bigint from ledger_head".to_owned(),
            _ => format!("select count(*) from {table}"),
        };
        let count = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count));
        rows.insert(table, count.fetch_one(&mut *connection).await?.max(1) as f64);
    }
    Ok(rows)
}
