//! Entries reach Redis, under traffic and whatever becomes of Redis.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use stockroom::{
    availability::{
        project::Effects,
        rebuild::{Cursor, Rebuild},
    },
    feed::Feed,
    stock::{hold::HoldId, ids::Partition},
};

use super::scene::{Scene, position, state};
use crate::harness::{
    movements::{receipt, sale},
    private_redis::PrivateRedis,
    server::{PARTITIONS, Server, eventually, migrated_database},
};

#[tokio::test]
async fn entries_reach_redis_at_once() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1", "shop-2", "shop-3", "shop-4"], 3).await;
    scene.server.record_one(sale("s1", "shop-1", "sku-1", 4)).await;
    let compared = scene.equal().await;
    assert_eq!(compared.rows, 12);
    let key = scene.position("shop-1", "sku-1").await;
    let row = scene.redis.read(&[key], None).await.unwrap().positions[0].row.unwrap();
    assert_eq!((row.sellable, row.reserved), (6, 0));
}

#[tokio::test]
async fn at_rest_the_checkpoint_stays_young() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 1).await;
    scene.equal().await;
    let begin = std::time::Instant::now();
    let mut oldest = 0;
    while begin.elapsed().as_millis() < 1_500 {
        for partition in 0..PARTITIONS {
            let partition = Partition(partition.try_into().unwrap());
            let view = scene.state(partition).await.view;
            assert!(view.checkpoint.is_some() && !view.doubtful);
            oldest = oldest.max(view.age_us);
        }
    }
    assert!(oldest < 1_000_000, "it was {oldest} us old");
}

#[tokio::test]
async fn a_ledger_that_was_there_before_redis_is_projected_in_pages() {
    let database_url = migrated_database().await;
    {
        // Its Redis is another one, and gone with it.
        let redis = PrivateRedis::start().await;
        let before = Scene::start_on(&database_url, &redis.url()).await;
        before.stock(&["shop-1", "shop-2"], 2_300).await;
        before.server.stop().await;
    }
    let redis = PrivateRedis::start().await;
    let scene = Scene::start_on(&database_url, &redis.url()).await;
    assert_eq!(scene.equal().await.rows, 4_600);
}

/// Sells one by one until told to stop. Returns how many.
async fn sell(server: &Server, name: &str, stop: &AtomicBool, sold: &AtomicUsize) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let location = ["shop-1", "shop-2"][number % 2];
        let sku = format!("sku-{}", number % 40);
        server.record_one(sale(&format!("{name}-{number}"), location, &sku, 1)).await;
        number += 1;
        sold.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sells on two servers while something is done to Redis, and compares afterwards.
async fn under_traffic(redis: &mut PrivateRedis, mut trouble: impl AsyncFnMut(&mut PrivateRedis)) {
    let scene = Scene::start_on(&migrated_database().await, &redis.url()).await;
    let second = scene.second_server().await;
    scene.stock(&["shop-1", "shop-2"], 40).await;
    scene.equal().await;
    let (stop, sold) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rounds = async {
        for _ in 0..3 {
            let before = sold.load(Ordering::Relaxed);
            trouble(redis).await;
            eventually("selling goes on", || async {
                (sold.load(Ordering::Relaxed) > before + 20).then_some(())
            })
            .await;
            // Under traffic, too, it becomes equal again.
            scene.equal().await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let one = sell(&scene.server, "one", &stop, &sold);
    let two = sell(&second, "two", &stop, &sold);
    tokio::join!(rounds, one, two);
    assert_eq!(scene.equal().await.rows, 80);
    second.stop().await;
    scene.server.stop().await;
}

#[tokio::test]
async fn redis_is_rebuilt_under_traffic_after_it_was_emptied() {
    let mut redis = PrivateRedis::start().await;
    under_traffic(&mut redis, async |redis| redis.flush().await).await;
}

#[tokio::test]
async fn redis_is_rebuilt_under_traffic_after_a_kill() {
    let mut redis = PrivateRedis::start().await;
    let kill = async |redis: &mut PrivateRedis| {
        redis.kill();
        redis.start_again().await;
    };
    under_traffic(&mut redis, kill).await;
}

#[tokio::test]
async fn what_an_old_snapshot_lacks_is_projected_again_under_traffic() {
    let mut redis = PrivateRedis::start().await;
    redis.keep_snapshot().await;
    let mut rounds = 0;
    let set_back = async |redis: &mut PrivateRedis| {
        rounds += 1;
        // The first one is from before the ledger had anything.
        redis.restart_from_snapshot().await;
        if rounds == 1 {
            redis.keep_snapshot().await;
        }
    };
    under_traffic(&mut redis, set_back).await;
}

#[tokio::test]
async fn after_a_stop_redis_goes_on_where_it_was() {
    let mut redis = PrivateRedis::start().await;
    let stop = async |redis: &mut PrivateRedis| {
        redis.stop().await;
        redis.start_again().await;
    };
    under_traffic(&mut redis, stop).await;
}

#[tokio::test]
async fn a_rebuild_goes_on_where_a_server_left_it() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 3).await;
    scene.equal().await;
    let first = scene.position("shop-1", "sku-0").await;
    let partition = first.place.partition;
    let still = scene.without_server().await;
    let checkpoint = state(&still.redis, partition).await.view.checkpoint.unwrap();

    // A server began a rebuild, put a first page there, and died.
    assert!(still.redis.forget(partition, checkpoint).await.unwrap());
    let epoch = checkpoint.epoch;
    assert!(still.redis.rebuild_begin(partition, epoch, 77, checkpoint.seq).await.unwrap());
    let begun = Rebuild { epoch, id: 77, noted: checkpoint.seq, cursor: Cursor(None) };
    let end = Cursor(Some((first.place.location, stockroom::stock::ids::ItemNo(i32::MAX))));
    assert!(still.redis.rebuild_page(partition, &begun, end, Effects::default()).await.unwrap());
    super::scene::spoil(&still.redis, first, None).await;

    let _feed = Feed::start(still.ledger.clone(), still.redis.clone(), Arc::default());
    let after = eventually("it is finished", || async {
        state(&still.redis, partition).await.view.checkpoint
    })
    .await;
    assert_eq!(after, checkpoint, "set from the cursor that was noted");
    let compared =
        stockroom::feed::verify::compare(&still.ledger, &still.redis, super::scene::PATIENCE);
    assert_eq!(compared.await.unwrap().difference, None, "the scrubber finds what the page lacks");
}

#[tokio::test]
async fn entries_consume_holds_and_keep_them_in_the_ledger() {
    let scene = Scene::start().await;
    scene.stock(&["shop-1"], 2).await;
    scene.equal().await;
    let key = position(&scene.server.ledger, "shop-1", "sku-0").await;
    let id = HoldId::of("somebody", key.place, "one");
    let line = stockroom::availability::hold::Wanted {
        item: key.item,
        quantity: 3,
        buffer: stockroom::stock::policy::Buffer::default(),
    };
    let request = stockroom::availability::hold::HoldRequest {
        id,
        fingerprint: 1,
        lines: &[line],
        per_line: false,
        ttl_ms: 600_000,
        trust: stockroom::availability::Trust { epoch: None, age_us_max: 1_000_000 },
        caps: stockroom::availability::hold::Caps::default(),
    };
    let held = eventually("a hold", || async {
        match scene.redis.hold(request).await.unwrap() {
            stockroom::availability::hold::HoldAnswer::Granted(hold) => Some(hold),
            _ => None,
        }
    })
    .await;
    assert_eq!(held.lines.len(), 1);
    assert_eq!(scene.equal().await.holds, 1);
    let sold = stockroom::api::proto::Movement {
        hold_id: id.to_string(),
        ..sale("s1", "shop-1", "sku-0", 3)
    };
    scene.server.record_one(sold).await;
    eventually("the hold is consumed", || async {
        let reading = scene.redis.read(&[key], None).await.unwrap();
        (reading.positions[0].held == 0).then_some(())
    })
    .await;
    assert_eq!(scene.equal().await.holds, 0);
    scene.server.record_one(receipt("r2", "shop-1", "sku-0", 1)).await;
    scene.equal().await;
}
