//! `stockroom verify` says which row of Redis differs.

use std::process::Stdio;

use serde_json::{Value, json};
use stockroom::availability::Row;
use tokio::process::Command;

use super::scene::{Scene, Still, nowhere, position, spoil, stored};
use crate::harness::server::{PARTITIONS, prefix_of};

async fn still() -> Still {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 5).await;
    scene.equal().await;
    scene.without_server().await
}

#[tokio::test]
async fn every_row_that_differs_is_named() {
    let still = still().await;
    assert_eq!(still.compare().await.difference, None);
    let key = position(&still.ledger, "shop-1", "sku-3").await;
    let (epoch, row) = stored(&still.redis, key).await;
    let name = format!(
        "redis partition={} location={} item={}: the row is",
        key.place.partition.0, key.place.location.0, key.item.0
    );
    for (spoiled, word) in [
        (None, "missing"),
        (Some((epoch, Row { seq: row.seq - 1, ..row })), "stale"),
        (Some((epoch, Row { reserved: 1, ..row })), "wrong"),
        (Some((epoch, Row { seq: row.seq + 100, ..row })), "ahead"),
        (Some((epoch + 1, row)), "ahead"),
        (Some((epoch - 1, row)), "missing"),
    ] {
        spoil(&still.redis, key, spoiled).await;
        assert_eq!(still.difference().await, format!("{name} {word}"));
        spoil(&still.redis, key, Some((epoch, row))).await;
        assert_eq!(still.compare().await.difference, None);
    }
    let stray = nowhere(key.place.partition);
    spoil(&still.redis, stray, Some((epoch, Row { key: stray, ..row }))).await;
    let difference = still.difference().await;
    assert!(difference.ends_with("location=9999 item=1: the row is stray"), "{difference}");
}

#[tokio::test]
async fn a_checkpoint_that_is_behind_or_missing_is_named() {
    let still = still().await;
    let key = position(&still.ledger, "shop-1", "sku-3").await;
    let partition = key.place.partition.0;
    let checkpoint = format!("{}:{{p{partition}}}:checkpoint", still.prefix);
    still.raw.command(&["HSET", &checkpoint, "seq", "1"]).await;
    let difference = still.difference().await;
    assert!(
        difference
            .starts_with(&format!("redis partition={partition}: the checkpoint stands at seq 1"))
            && difference.contains("expected seq 5"),
        "{difference}"
    );
    still.raw.command(&["DEL", &checkpoint]).await;
    let difference = still.difference().await;
    assert!(difference.contains("there is no checkpoint"), "{difference}");
}

async fn verify(arguments: &[&str]) -> (bool, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
    command.args(["verify", "--json"]).args(arguments);
    for variable in ["DATABASE_URL", "REDIS_URL", "STOCKROOM_DATA_DIR"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().await.unwrap();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn the_command_compares_redis_where_one_is_known() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 5).await;
    let (database, redis) = (scene.database_url.clone(), scene.redis_url.clone());
    let prefix = prefix_of(&database).to_owned();
    let known = ["--database-url", &database, "--redis-url", &redis, "--redis-prefix", &prefix];
    let (ok, verified) = verify(&known).await;
    assert!(ok, "{verified}");
    assert_eq!(verified["partitions"], json!(PARTITIONS));
    assert_eq!(verified["redis"], json!({ "compared": true, "rows": 5, "holds": 0 }));

    let (ok, verified) = verify(&["--database-url", &database]).await;
    assert!(ok, "{verified}");
    assert_eq!(verified["redis"], json!({ "compared": false, "why": "none is known" }));

    let away = ["--database-url", &database, "--redis-url", "redis://127.0.0.1:1/"];
    let (ok, verified) = verify(&away).await;
    assert!(!ok, "a Redis that was named and is away");
    assert_eq!(verified["redis"], json!({ "compared": false, "why": "away" }));
}
