//! How the databases are set, and why it matters.

use std::time::Duration;

use crate::{
    availability::condition::Condition as Redis,
    cli::doctor::finding::Finding,
    ledger::condition::Condition as Postgres,
    stock::time::{Micros, SECOND, Timestamp},
};

/// Settings of PostgreSQL that are looked at.
pub(super) const POSTGRES_SETTINGS: [&str; 14] = [
    "server_version_num",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "autovacuum",
    "wal_level",
    "data_checksums",
    "server_encoding",
    "default_transaction_isolation",
    "in_hot_standby",
    "idle_in_transaction_session_timeout",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
];
/// Settings of Redis that are looked at.
pub(super) const REDIS_SETTINGS: [&str; 3] = ["maxmemory-policy", "maxmemory", "appendonly"];

/// The oldest versions that work.
const POSTGRES_MIN: i32 = 150_000;
const REDIS_MIN: (u32, u32) = (7, 0);
/// Clocks that differ by more stop expiry; by a quarter of it they are on their way there.
const CLOCK_DIFFERENCE_MAX: Micros = 2 * SECOND;
/// A transaction that is open for so long should have ended.
const TRANSACTION_LONG: Micros = 300 * SECOND;
/// A round trip that takes longer costs every read.
const ROUND_TRIP_LONG: Duration = Duration::from_millis(5);

/// Looks at PostgreSQL, over which servers will have so many connections; `newest` is the migration that
/// this program needs, `clock` that of this machine.
pub(super) fn check_postgres(
    found: &Postgres,
    connections: u32,
    newest: i64,
    clock: Timestamp,
) -> Vec<Finding> {
    let mut findings = vec![
        Finding::error(
            "postgresql version",
            format!("{}.{}", found.version / 10_000, found.version % 10_000),
            "older ones than 15 lack what the ledger is written with",
            "upgrade PostgreSQL",
        )
        .only_if(found.version < POSTGRES_MIN),
    ];
    findings.extend(durability(found));
    findings.extend(sessions(found, connections));
    findings.extend(schema(found, newest));
    findings.push(clocks("postgresql clock", clock, found.now));
    findings
}

fn is(found: &Postgres, name: &str, wanted: &str) -> bool {
    // A version that does not know a setting cannot have it wrong.
    found.settings.get(name).is_none_or(|value| value == wanted)
}

fn told(found: &Postgres, name: &str) -> String {
    found.settings.get(name).cloned().unwrap_or_else(|| "unknown".to_owned())
}

fn durability(found: &Postgres) -> Vec<Finding> {
    let must = |name: &'static str, check, wanted: &str, why, advice| {
        Finding::error(check, told(found, name), why, advice).only_if(!is(found, name, wanted))
    };
    let should = |name: &'static str, check, wrong: &str, why, advice| {
        Finding::warning(check, told(found, name), why, advice).only_if(told(found, name) == wrong)
    };
    vec![
        must(
            "fsync",
            "postgresql fsync",
            "on",
            "what was acknowledged is lost when the machine stops, and the database may be broken",
            "set fsync = on",
        ),
        must(
            "full_page_writes",
            "postgresql full_page_writes",
            "on",
            "a page that was half written when the machine stopped is lost",
            "set full_page_writes = on",
        ),
        Finding::error(
            "postgresql synchronous_commit",
            told(found, "synchronous_commit"),
            "what was acknowledged may be lost; each connection asks for `on`, so something between \
             Stockroom and PostgreSQL drops the settings of connections",
            "let the pooler pass startup options on, or set it for the role",
        )
        .only_if(!matches!(&*told(found, "synchronous_commit"), "on" | "remote_apply")),
        must(
            "autovacuum",
            "postgresql autovacuum",
            "on",
            "positions and heads are written again and again: dead rows make every write slower",
            "set autovacuum = on",
        ),
        must(
            "in_hot_standby",
            "postgresql standby",
            "off",
            "a standby accepts no writes",
            "name the primary in DATABASE_URL, or promote this one",
        ),
        should(
            "wal_level",
            "postgresql wal_level",
            "minimal",
            "neither a standby nor a recovery to a point in time is possible",
            "set wal_level = replica",
        ),
        should(
            "data_checksums",
            "postgresql data_checksums",
            "off",
            "a disk that returns other data than was written is not noticed",
            "enable them with pg_checksums --enable while the server is stopped",
        ),
    ]
}

fn sessions(found: &Postgres, connections: u32) -> Vec<Finding> {
    let number = |name| found.settings.get(name).and_then(|value| value.parse::<i64>().ok());
    let reserved = ["superuser_reserved_connections", "reserved_connections"];
    let reserved: i64 = reserved.into_iter().filter_map(number).sum();
    let room = number("max_connections").unwrap_or(0) - reserved;
    let what = format!("room for {room}, servers want {connections}, {} open", found.sessions);
    vec![
        Finding::error(
            "postgresql connections",
            what,
            "who gets none waits, and is then answered UNAVAILABLE",
            "raise max_connections, or lower --writer-connections and --reader-connections",
        )
        .only_if(room < i64::from(connections)),
        Finding::error(
            "postgresql isolation",
            told(found, "default_transaction_isolation"),
            "a batch must see what was committed before it had its lock: READ COMMITTED",
            "reset default_transaction_isolation of the role, the database and the server",
        )
        .only_if(!is(found, "default_transaction_isolation", "read committed")),
        Finding::error(
            "postgresql encoding",
            told(found, "server_encoding"),
            "names and codes are UTF-8",
            "make the database with encoding 'UTF8'",
        )
        .only_if(!is(found, "server_encoding", "UTF8")),
        Finding::error(
            "postgresql idle transactions",
            format!("end after {} ms", told(found, "idle_in_transaction_session_timeout")),
            "a server that hangs keeps its locks for ever; each connection asks for 5 s, so \
             something between drops the settings of connections",
            "let the pooler pass startup options on, or set it for the role",
        )
        .only_if(told(found, "idle_in_transaction_session_timeout") == "0"),
        Finding::warning(
            "postgresql oldest transaction",
            format!("open for {} s", found.oldest.open_us / SECOND),
            "no row that died since it began can be removed, and tables grow",
            "find it in pg_stat_activity by xact_start, and end it with pg_terminate_backend",
        )
        .only_if(found.oldest.open_us > TRANSACTION_LONG),
    ]
}

fn schema(found: &Postgres, newest: i64) -> Vec<Finding> {
    let advice = "run `stockroom migrate`";
    let schema = match found.migrated_to {
        None => Finding::error(
            "schema",
            "the database was not prepared".to_owned(),
            "there are no tables",
            advice,
        ),
        Some(version) if version < newest => Finding::error(
            "schema",
            format!("is at {version}, this program needs {newest}"),
            "this program asks for tables and columns that are not there",
            advice,
        ),
        Some(version) => Finding::warning(
            "schema",
            format!("is at {version}, this program knows {newest}"),
            "it was migrated by a newer program, beside which this one may run for an upgrade only",
            "finish the upgrade",
        )
        .only_if(version > newest),
    };
    let partitions = Finding::error(
        "partitions",
        found.partitions.to_string(),
        "a ledger without partitions has no location",
        advice,
    );
    vec![schema, partitions.only_if(found.partitions == 0)]
}

/// Looks at Redis; `clock` is that of this machine.
pub(super) fn check_redis(found: &Redis, clock: Timestamp) -> Vec<Finding> {
    let mut numbers = found.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let unreadable = |check| {
        Finding::warning(
            check,
            "could not be read".to_owned(),
            "nobody knows whether Redis keeps what it is given",
            "run this with the REDIS_URL of an administrator, or look yourself",
        )
    };
    let mut findings = vec![
        match found.version.is_empty() {
            true => unreadable("redis version"),
            false => Finding::error(
                "redis version",
                found.version.clone(),
                "older ones than 7.0 do not run the scripts",
                "upgrade Redis",
            )
            .only_if(version < REDIS_MIN),
        },
        clocks("redis clock", clock, found.now),
        Finding::warning(
            "redis round trip",
            format!("{} us", found.round_trip.as_micros()),
            "every read of availability and every hold waits for one",
            "put Redis nearer to the servers",
        )
        .only_if(found.round_trip > ROUND_TRIP_LONG),
    ];
    findings.push(match found.settings.get("maxmemory-policy") {
        None => unreadable("redis maxmemory-policy"),
        Some(policy) => Finding::error(
            "redis maxmemory-policy",
            policy.clone(),
            "Redis throws away rows and holds when its memory is full; holds are then promised twice",
            "set maxmemory-policy noeviction",
        )
        .only_if(policy != "noeviction"),
    });
    findings.push(match found.settings.get("appendonly") {
        None => unreadable("redis appendonly"),
        Some(appendonly) => Finding::warning(
            "redis appendonly",
            appendonly.clone(),
            "holds that only Redis knows are lost when it is started again",
            "set appendonly yes, with appendfsync everysec",
        )
        .only_if(appendonly != "yes"),
    });
    findings
}

fn clocks(check: &'static str, ours: Timestamp, theirs: Timestamp) -> Finding {
    let difference = (theirs.0 - ours.0).abs();
    let what = format!("differs by {} ms from this machine's", difference / 1_000);
    let why = "beyond 2 s nothing expires any more, and nothing is promised from Redis";
    let advice = "let every machine follow the same time servers";
    match difference {
        off if off > CLOCK_DIFFERENCE_MAX => Finding::error(check, what, why, advice),
        off => Finding::warning(check, what, why, advice).only_if(off > CLOCK_DIFFERENCE_MAX / 4),
    }
}
