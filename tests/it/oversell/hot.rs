//! One hot item with ten units.

use std::time::{Duration, Instant};

use super::{
    crowd::{Asking, CLIENTS, Crowd, Got, convert, granted},
    scene::{SHOP, Scene},
    with_every_redis,
};
use crate::harness::redis::Redis;

const ITEM: &str = "hot";
const UNITS: i64 = 10;
/// Nobody waits for a lock time-out; those are seconds.
const WAIT_MAX: Duration = Duration::from_secs(20);

async fn ten_are_granted(redis: Redis, asking: Asking, channels: bool) {
    let scene = Scene::open(redis, &[(SHOP, ITEM, UNITS)]).await;
    let crowd = Crowd { scene: &scene, name: "c", asking, channels, wanted: &[(ITEM, 1)] };
    let (got, waited) = crowd.rush().await;
    let (all, for_good) = granted(&got);
    println!("{all} granted, {for_good} of them for good; the last one waited {waited:?}");
    assert_eq!(got.len(), CLIENTS);
    assert!(waited < WAIT_MAX, "{waited:?}");
    if redis == Redis::Lying {
        // Holds that were only in a Redis that lies are worth nothing.
        assert!(for_good <= UNITS as usize, "{for_good}");
    } else {
        assert_eq!(all, UNITS as usize);
        let too_little = got.iter().filter(|got| **got == Got::TooLittle).count();
        assert_eq!(too_little, CLIENTS - UNITS as usize);
    }
    scene.check().await;
    let reserved = convert(&scene, &got, &[(ITEM, 1)], false).await as i64;
    if redis == Redis::Lying {
        assert!(reserved <= UNITS, "{reserved}");
    } else {
        assert_eq!(reserved, UNITS);
        assert_eq!(scene.reserved(SHOP, ITEM).await, UNITS);
        assert_eq!(scene.available(1, SHOP, ITEM).await, 0);
    }
    scene.check().await;
    scene.check_redis(Instant::now()).await;
}

async fn f35_ten_of_500_reservations_are_granted(redis: Redis) {
    ten_are_granted(redis, Asking::Reservations, false).await;
}

async fn f35_ten_of_500_reservations_on_five_channels_are_granted(redis: Redis) {
    ten_are_granted(redis, Asking::Reservations, true).await;
}

async fn f35_ten_of_500_holds_are_granted(redis: Redis) {
    ten_are_granted(redis, Asking::Holds, false).await;
}

async fn f35_ten_of_500_holds_on_five_channels_are_granted(redis: Redis) {
    ten_are_granted(redis, Asking::Holds, true).await;
}

async fn f35_ten_of_500_holds_and_reservations_are_granted(redis: Redis) {
    ten_are_granted(redis, Asking::Mixture, false).await;
}

async fn f35_ten_of_500_holds_and_reservations_on_five_channels_are_granted(redis: Redis) {
    ten_are_granted(redis, Asking::Mixture, true).await;
}

with_every_redis!(
    f35_ten_of_500_reservations_are_granted,
    f35_ten_of_500_reservations_on_five_channels_are_granted,
    f35_ten_of_500_holds_are_granted,
    f35_ten_of_500_holds_on_five_channels_are_granted,
    f35_ten_of_500_holds_and_reservations_are_granted,
    f35_ten_of_500_holds_and_reservations_on_five_channels_are_granted,
);
