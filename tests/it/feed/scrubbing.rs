//! What is spoiled in Redis behind everybody's back is mended within seconds.

use stockroom::{
    availability::{
        Row, Trust,
        hold::{Caps, HoldAnswer, HoldRequest, Wanted},
    },
    stock::{hold::HoldId, policy::Buffer},
};

use super::scene::{Scene, nowhere, spoil, stored};
use crate::harness::server::{eventually, prefix_of};

#[tokio::test]
async fn rows_that_differ_are_mended() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1", "shop-2"], 200).await;
    assert_eq!(scene.equal().await.rows, 400);
    let key = scene.position("shop-1", "sku-7").await;
    let (epoch, row) = stored(&scene.redis, key).await;
    let spoiled = [
        None,
        Some((epoch, Row { seq: row.seq - 1, sellable: 99, ..row })),
        Some((epoch, Row { sellable: 99, ..row })),
        Some((epoch, Row { seq: row.seq + 1_000_000, ..row })),
        Some((epoch - 1, row)),
        Some((epoch + 1, row)),
    ];
    for spoiled in spoiled {
        spoil(&scene.redis, key, spoiled).await;
        eventually("it is mended", || async {
            let found = scene.redis.bucket(stockroom::availability::Bucket::of(key)).await.unwrap();
            found.rows.get(&key.item).is_some_and(|stored| stored.is(epoch, row)).then_some(())
        })
        .await;
    }
    assert_eq!(scene.equal().await.rows, 400);
}

#[tokio::test]
async fn strays_are_removed() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 5).await;
    scene.equal().await;
    let key = scene.position("shop-1", "sku-1").await;
    let partition = key.place.partition;
    let (epoch, _) = stored(&scene.redis, key).await;
    let stray = nowhere(partition);
    spoil(&scene.redis, stray, Some((epoch, Row { key: stray, seq: 1, sellable: 5, reserved: 0 })))
        .await;
    let tag = format!("{}:{{p{}}}", prefix_of(&scene.database_url), partition.0);
    let bucket = format!("{tag}:r:{}:{}", key.place.location.0, key.item.0 >> 6);
    scene.raw.command(&["HSET", &bucket, "garbage", "garbage", "127", "garbage"]).await;
    scene
        .raw
        .command(&[
            "SREM",
            &format!("{tag}:buckets"),
            &format!("{}:{}", key.place.location.0, key.item.0 >> 6),
        ])
        .await;
    eventually("the stray bucket is gone", || async {
        let stray = format!("{tag}:r:{}:0", stray.place.location.0);
        (scene.raw.number(&["EXISTS", &stray]).await == 0).then_some(())
    })
    .await;
    assert_eq!(scene.equal().await.rows, 5);
}

#[tokio::test]
async fn totals_of_holds_are_counted_again() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 2).await;
    scene.equal().await;
    let key = scene.position("shop-1", "sku-0").await;
    let lines = [Wanted { item: key.item, quantity: 4, buffer: Buffer::default() }];
    let request = HoldRequest {
        id: HoldId::of("somebody", key.place, "one"),
        fingerprint: 1,
        lines: &lines,
        per_line: false,
        ttl_ms: 600_000,
        trust: Trust { epoch: None, age_us_max: 1_000_000 },
        caps: Caps::default(),
    };
    eventually("a hold", || async {
        let answer = scene.redis.hold(request).await.unwrap();
        matches!(answer, HoldAnswer::Granted(_)).then_some(())
    })
    .await;
    let tag = format!("{}:{{p{}}}", prefix_of(&scene.database_url), key.place.partition.0);
    let name = format!("{}:{}", key.place.location.0, key.item.0);
    let dead = "\u{1}";
    for spoil in [
        vec!["HSET", "held", &name, "9"],
        vec!["DEL", "held"],
        vec!["DEL", "tick_units"],
        vec!["DEL", "ticks"],
        vec!["DEL", "due"],
        vec!["HSET", "holds", "7.00", "garbage"],
        vec!["HSET", "taken", &name, dead],
        vec!["HSET", "tokens", "00", dead],
    ] {
        let full = format!("{tag}:{}", spoil[1]);
        let words: Vec<_> = [&spoil[..1], &[&*full], &spoil[2..]].concat();
        scene.raw.command(&words).await;
        eventually("everything fits again", || async {
            scene.compare(super::scene::AT_ONCE).await.difference.is_none().then_some(())
        })
        .await;
        let reading = scene.redis.read(&[key], None).await.unwrap();
        assert_eq!(reading.positions[0].held, 4, "{spoil:?}");
    }
    assert_eq!(scene.equal().await.holds, 1);
}
