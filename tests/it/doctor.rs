//! `stockroom doctor` against servers that are set well, and wrongly.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, process::Command};

use stockroom::{
    embedded::{Embedded, Wanted, write_connections},
    ledger::Ledger,
};

use crate::{
    embedded::DataDir,
    harness::{
        databases::execute,
        private_redis::PrivateRedis,
        server::{eventually, migrated_database},
    },
};

/// What it says: its exit code, and the level of each check.
fn doctor(settings: &[&str]) -> (Option<i32>, BTreeMap<String, String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
    command.args(["doctor", "--json"]).args(settings);
    for variable in ["DATABASE_URL", "REDIS_URL", "STOCKROOM_DATA_DIR"] {
        command.env_remove(variable);
    }
    let output = command.output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    });
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let mut levels = BTreeMap::new();
    for finding in told["findings"].as_array().unwrap() {
        let (check, level) = (text(&finding["check"]), text(&finding["level"]));
        assert!(!text(&finding["what"]).is_empty(), "{check}");
        assert_eq!(level == "ok", text(&finding["why"]).is_empty(), "{check}");
        assert_eq!(level == "ok", text(&finding["do"]).is_empty(), "{check}");
        levels.insert(check, level);
    }
    let errors = levels.values().filter(|level| *level == "error").count();
    assert_eq!(told["errors"], errors);
    assert_eq!(told["ok"], errors == 0);
    (output.status.code(), levels)
}

/// The checks at a level.
fn at<'l>(levels: &'l BTreeMap<String, String>, level: &str) -> Vec<&'l str> {
    levels.iter().filter(|(_, found)| *found == level).map(|(check, _)| &**check).collect()
}

#[tokio::test]
async fn databases_of_the_default_are_well_and_wrong_settings_are_found() {
    let data_dir = DataDir::new(0o755);
    let wanted = Wanted { postgres: true, redis: true };
    let embedded = Embedded::start(&data_dir.path(), wanted).await.unwrap();
    let database_url = embedded.database_url().unwrap().to_owned();
    let redis_url = embedded.redis_url().unwrap().to_owned();
    write_connections(&data_dir.path(), &database_url, &redis_url).unwrap();
    let folder = data_dir.path();
    let settings = ["--data-dir", folder.to_str().unwrap(), "--http-listen", "127.0.0.1:0"];

    let (code, levels) = doctor(&settings);
    assert_eq!((code, at(&levels, "error")), (Some(1), vec!["partitions", "schema"]));
    Ledger::migrate(&database_url, 4).await.unwrap();
    let (code, levels) = doctor(&settings);
    assert_eq!((code, at(&levels, "error"), at(&levels, "warning")), (Some(0), vec![], vec![]));
    assert!(levels.len() > 20, "{levels:?}");

    for name in ["fsync", "full_page_writes", "autovacuum"] {
        execute(&database_url, &format!("alter system set {name} = off")).await;
    }
    let isolation = "set default_transaction_isolation = 'serializable'";
    execute(&database_url, &format!("alter database stockroom {isolation}")).await;
    execute(&database_url, "update _sqlx_migrations set success = false where version > 3").await;
    execute(&database_url, "select pg_reload_conf()").await;
    let connections = folder.join("connections.env");
    fs::set_permissions(&connections, fs::Permissions::from_mode(0o644)).unwrap();
    let many = [&settings[..], &["--servers", "100"]].concat();
    let expected = [
        "connections.env",
        "postgresql autovacuum",
        "postgresql connections",
        "postgresql fsync",
        "postgresql full_page_writes",
        "postgresql isolation",
        "schema",
    ];
    eventually("the new settings are in force", || {
        let (code, levels) = doctor(&many);
        let found = code == Some(1) && at(&levels, "error") == expected;
        async move { found.then_some(()) }
    })
    .await;
    embedded.stop().await.unwrap();
    let away = ["--database-url", &database_url, "--redis-url", &redis_url];
    let (code, levels) = doctor(&away);
    assert_eq!((code, at(&levels, "error")), (Some(1), vec!["postgresql", "redis"]));
}

#[tokio::test]
async fn a_redis_that_forgets_is_found() {
    let redis = PrivateRedis::start().await;
    redis.command("CONFIG SET maxmemory-policy allkeys-lru").await;
    redis.command("CONFIG SET appendonly no").await;
    let (database_url, redis_url) = (migrated_database().await, redis.url());
    let settings = ["--database-url", &database_url, "--redis-url", &redis_url];
    let (code, levels) = doctor(&settings);
    assert_eq!(code, Some(1));
    assert_eq!(at(&levels, "error"), ["redis maxmemory-policy"]);
    assert!(at(&levels, "warning").contains(&"redis appendonly"), "{levels:?}");
    redis.command("CONFIG SET maxmemory-policy noeviction").await;
    assert_eq!(doctor(&settings).0, Some(0));
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_found() {
    let redis = PrivateRedis::start().await;
    let (database_url, redis_url) = (migrated_database().await, redis.url());
    let databases = ["--database-url", &database_url, "--redis-url", &redis_url];
    let wrong = ["--listen", "0.0.0.0:7777", "--nats-stream", "events", "--drain-seconds", "0"];
    let retries = ["--event-retry-ms", "2000", "--event-retry-max-seconds", "1"];
    let (code, levels) = doctor(&[&databases[..], &wrong, &retries].concat());
    assert_eq!((code, at(&levels, "error")), (Some(1), vec!["--listen"]));
    for check in ["--http-listen", "--nats-url", "--drain-seconds", "--event-retry-ms"] {
        assert!(at(&levels, "warning").contains(&check), "{levels:?}");
    }
}
