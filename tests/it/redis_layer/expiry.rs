//! Holds end by Redis' own clock, purged or not.

use stockroom::{
    availability::hold::{HoldAnswer, HoldRequest, HoldStatus, KnownHold, Released},
    stock::hold::HoldId,
};

use super::layer::{Layer, id, request, wanted};
use crate::harness::server::eventually;

/// Takes a hold that ends soon.
async fn short_hold(layer: &Layer, id: HoldId, lines: &[(i32, i64)], ttl_ms: i64) -> i64 {
    let lines = wanted(lines);
    let asked = HoldRequest { ttl_ms, ..request(id, &lines) };
    match layer.redis.hold(asked).await.unwrap() {
        HoldAnswer::Granted(hold) => hold.expires_at.0,
        other => panic!("not granted: {other:?}"),
    }
}

async fn wait_until(layer: &Layer, moment: i64) {
    eventually("the moment comes", || async { (layer.now().await.0 >= moment).then_some(()) })
        .await;
}

#[tokio::test]
async fn a_hold_is_free_at_its_tick_and_not_before() {
    let layer = Layer::with(&[(1, 10, 0), (12, 10, 0)]).await;
    let before = layer.now().await.0;
    let expires_at = short_hold(&layer, id(1), &[(1, 4)], 250).await;
    assert_eq!(expires_at % 100_000, 0, "the beginning of a tick");
    assert!((before + 250_000..before + 400_000).contains(&expires_at));
    layer.granted(id(2), &[(1, 3), (12, 1)]).await;
    eventually("it is free", || async {
        let begin = layer.now().await.0;
        let held = layer.held(1).await;
        let end = layer.now().await.0;
        assert!(held == 7 || held == 3 && end >= expires_at, "free too early: {held}");
        assert!(held == 3 || begin < expires_at, "free too late: {held}");
        (held == 3).then_some(())
    })
    .await;
    // Nothing was purged, because only reads came since.
    assert_eq!(layer.raw.number(&["HGET", &layer.key("held"), "7:1"]).await, 7);
    assert_eq!(layer.held(12).await, 1);
    assert!(matches!(layer.status(id(1)).await, KnownHold::Here(_, HoldStatus::Expired)));
    let released = layer.redis.release(id(1)).await.unwrap();
    assert_eq!(released, Released::Already(HoldStatus::Expired));
}

#[tokio::test]
async fn what_expired_can_be_held_at_once_without_a_purge() {
    let layer = Layer::with(&[(1, 200, 0)]).await;
    let mut last = 0;
    // More than one call purges.
    for number in 0..150 {
        last = short_hold(&layer, id(number), &[(1, 1)], 200).await.max(last);
    }
    wait_until(&layer, last).await;
    assert_eq!(layer.held(1).await, 0);
    layer.granted(id(1_000), &[(1, 200)]).await;
    let left = layer.raw.number(&["ZCARD", &layer.key("due")]).await;
    assert!((1..=150 + 1 - 64).contains(&left), "at most 64 are purged by a call: {left} left");
    assert_eq!(layer.held(1).await, 200);
    layer.stamp(10).await;
    layer.stamp(10).await;
    assert_eq!(layer.redis.release(id(1_000)).await.unwrap(), Released::Now);
    layer.assert_clean().await;
}

#[tokio::test]
async fn an_expired_hold_answers_from_its_tombstone_and_is_not_taken_again() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    let expires_at = short_hold(&layer, id(1), &[(1, 4)], 100).await;
    wait_until(&layer, expires_at).await;
    for purge in [false, true] {
        if purge {
            layer.stamp(10).await;
        }
        let HoldAnswer::Replayed(hold) = layer.hold(id(1), &[(1, 4)]).await else { panic!() };
        assert_eq!(hold.expires_at.0, expires_at);
        assert_eq!(layer.held(1).await, 0);
    }
    layer.assert_clean().await;
}

#[tokio::test]
async fn an_hour_later_a_tombstone_is_gone() {
    let layer = Layer::with(&[(1, 10, 0)]).await;
    layer.granted(id(1), &[(1, 4)]).await;
    layer.redis.release(id(1)).await.unwrap();
    let graves = layer.key("graves");
    let tick = layer.now().await.0 / 100_000;
    let removed_at = layer.raw.texts(&["ZRANGE", &graves, "0", "0", "WITHSCORES"]).await;
    let removed_at: i64 = removed_at[1].parse().unwrap();
    assert!((tick + 36_000 - 10..=tick + 36_001).contains(&removed_at), "60 minutes later");
    layer.raw.command(&["ZADD", &graves, "XX", &tick.to_string(), &removed(&layer).await]).await;
    layer.stamp(10).await;
    assert_eq!(layer.status(id(1)).await, KnownHold::Unknown);
    assert_eq!(layer.raw.number(&["HLEN", &layer.key("holds")]).await, 0);
    assert_eq!(layer.raw.number(&["ZCARD", &graves]).await, 0);
}

async fn removed(layer: &Layer) -> String {
    layer.raw.texts(&["ZRANGE", &layer.key("graves"), "0", "0"]).await.remove(0)
}
