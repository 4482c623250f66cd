//! Baskets of several items are granted whole or not at all.

use super::{
    crowd::{Asking, Crowd, convert, granted, refused, short_lines},
    scene::{SHOP, Scene, hold, lines_of, reservation},
    with_every_redis,
};
use crate::harness::{errors::explained, redis::Redis};

const PLENTY: i64 = 1_000;
const SHORT: i64 = 10;
const BASKET: [(&str, i64); 5] = [("a", 1), ("b", 2), ("short", 1), ("c", 3), ("d", 1)];

/// So many units of the short item, and plenty of the others.
fn stock(short: i64) -> Vec<(&'static str, &'static str, i64)> {
    let units = |sku| if sku == "short" { short } else { PLENTY };
    BASKET.iter().map(|&(sku, _)| (SHOP, sku, units(sku))).collect()
}

async fn baskets(redis: Redis, asking: Asking, channels: bool) {
    let scene = Scene::open(redis, &stock(SHORT)).await;
    let crowd = Crowd { scene: &scene, name: "c", asking, channels, wanted: &BASKET };
    let (got, _) = crowd.rush().await;
    let (all, for_good) = granted(&got);
    for g in &got {
        if let super::crowd::Got::Hold(h) = g {
            println!("HOLD {}", h.hold_id);
        }
    }
    println!("{all} granted, {for_good} of them for good");
    scene.check().await;
    let baskets = convert(&scene, &got, &BASKET, false).await as i64;
    if redis == Redis::Lying {
        assert!(baskets <= SHORT, "{baskets}");
    } else {
        assert_eq!((all as i64, baskets), (SHORT, SHORT));
        for (sku, quantity) in BASKET {
            assert_eq!(scene.reserved(SHOP, sku).await, quantity * SHORT, "{sku}");
        }
    }
    scene.check().await;
}

async fn ten_of_500_reserved_baskets_are_granted(redis: Redis) {
    baskets(redis, Asking::Reservations, false).await;
}

async fn ten_of_500_held_baskets_are_granted(redis: Redis) {
    baskets(redis, Asking::Holds, false).await;
}

async fn ten_of_500_baskets_of_both_kinds_on_five_channels_are_granted(redis: Redis) {
    baskets(redis, Asking::Mixture, true).await;
}

async fn a_basket_of_which_one_is_short_takes_nothing_of_the_others(redis: Redis) {
    let mut stock = stock(2);
    stock.push((SHOP, "last", 1));
    let scene = Scene::open(redis, &stock).await;
    let wanted = [("a", 1), ("b", 2), ("short", 3), ("c", 3), ("d", 1)];
    let request = hold("h", SHOP, &wanted);
    // Of a Redis that lies a hold may be had that is worth nothing.
    if let Err(status) = scene.reservations(0).hold_stock(request).await {
        refused(redis, &status);
    }
    let request = reservation("r", SHOP, &wanted);
    let status = scene.reservations(1).create_reservation(request).await.unwrap_err();
    refused(redis, &status);
    scene.check().await;
    if redis != Redis::Lying {
        assert_eq!(short_lines(&status), ["short"]);
        for (sku, _) in BASKET {
            assert_eq!(scene.reserved(SHOP, sku).await, 0, "{sku}");
        }
        for number in 0..2 {
            assert_eq!(scene.available(number, SHOP, "a").await, PLENTY);
        }
        // All of the others is still to be had.
        let rest = [("a", PLENTY), ("b", PLENTY), ("short", 2), ("c", PLENTY), ("d", PLENTY)];
        let request = reservation("rest", SHOP, &rest);
        scene.reservations(0).create_reservation(request).await.unwrap();
    }
    scene.check().await;
}

async fn f33_lines_of_one_item_are_summed(redis: Redis) {
    let scene = Scene::open(redis, &[(SHOP, "tea", 5)]).await;
    let twice = [("tea", 4), ("tea", 4)];
    let (held, reserved) = (hold("h", SHOP, &twice), reservation("r", SHOP, &twice));
    let status = scene.reservations(0).create_reservation(reserved).await.unwrap_err();
    refused(redis, &status);
    match scene.reservations(1).hold_stock(held).await {
        Err(status) => {
            refused(redis, &status);
        }
        Ok(_) => assert_eq!(redis, Redis::Lying),
    }
    if redis != Redis::Lying {
        let metadata = explained(&status, status.code(), "INSUFFICIENT_STOCK");
        let expected = [("sku", "tea"), ("available", "5"), ("wanted", "8"), ("short_lines", "1")];
        assert_eq!(metadata, expected.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(scene.reserved(SHOP, "tea").await, 0);
        let request = reservation("r5", SHOP, &[("tea", 3), ("tea", 2)]);
        let answer = scene.reservations(0).create_reservation(request).await.unwrap();
        let made = answer.into_inner().reservation.unwrap();
        assert_eq!(lines_of(&made), [("tea", 5)]);
        assert_eq!(scene.reserved(SHOP, "tea").await, 5);
    }
    scene.check().await;
}

with_every_redis!(
    ten_of_500_reserved_baskets_are_granted,
    ten_of_500_held_baskets_are_granted,
    ten_of_500_baskets_of_both_kinds_on_five_channels_are_granted,
    a_basket_of_which_one_is_short_takes_nothing_of_the_others,
    f33_lines_of_one_item_are_summed,
);
