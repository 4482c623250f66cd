//! A new epoch of the ledger, and a Redis that is ahead of it.

use stockroom::stock::ids::Partition;

use super::scene::{PATIENCE, Scene};
use crate::harness::{databases, movements::sale, server::eventually};

#[tokio::test]
async fn a_new_epoch_makes_everything_anew() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1", "shop-2"], 5).await;
    scene.equal().await;
    let epoch = scene.server.ledger.bump_epoch().await.unwrap();
    scene.server.record_one(sale("s1", "shop-1", "sku-1", 1)).await;
    assert_eq!(scene.equal().await.rows, 10);
    let checkpoint = scene.state(Partition(0)).await.view.checkpoint.unwrap();
    assert_eq!(checkpoint.epoch, epoch);
}

#[tokio::test]
async fn another_timeline_begins_a_new_epoch_although_nobody_writes() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 5).await;
    scene.equal().await;
    let before = scene.state(Partition(0)).await.view.checkpoint.unwrap();
    // As it is found after a fail-over.
    databases::execute(&scene.database_url, "update ledger_head set timeline = timeline + 1").await;
    let after = eventually("a new epoch", || async {
        let checkpoint = scene.state(Partition(0)).await.view.checkpoint?;
        (checkpoint.epoch > before.epoch).then_some(checkpoint)
    })
    .await;
    scene.equal().await;
    let query = "select count(distinct epoch) * max(epoch) from ledger_head";
    assert_eq!(databases::number(&scene.database_url, query).await, after.epoch, "moved once");
}

#[tokio::test]
async fn a_checkpoint_ahead_of_the_ledger_is_not_believed() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 5).await;
    scene.equal().await;
    let partition = scene.position("shop-1", "sku-1").await.place.partition;
    let prefix = crate::harness::server::prefix_of(&scene.database_url);
    let key = format!("{prefix}:{{p{}}}:checkpoint", partition.0);
    for (field, value) in [("seq", "1000000"), ("epoch", "9000000000000000")] {
        scene.raw.command(&["HSET", &key, field, value]).await;
        scene.compare(PATIENCE).await;
        eventually("it is right again", || async {
            let checkpoint = scene.state(partition).await.view.checkpoint?;
            (checkpoint.seq < 1_000 && checkpoint.epoch < 9_000_000_000_000_000).then_some(())
        })
        .await;
        scene.equal().await;
    }
}
