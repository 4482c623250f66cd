//! Redis is emptied, killed, set back and stopped in the midst of it.

use std::time::Instant;

use stockroom::api::proto::{GetReservationRequest, Reservation, ReservationState};

use super::{
    crowd::{Answers, Asking, CLIENTS, Crowd, Got, convert, refused},
    scene::{SHOP, Scene, reservation},
};
use crate::harness::{private_redis::PrivateRedis, redis::Redis};

const ITEM: &str = "hot";
const UNITS: usize = 10;
/// Something happens after so many answers, and ends after so many.
const BEGINS: usize = CLIENTS / 5;
const ENDS: usize = CLIENTS / 2;

/// What happens to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// FLUSHALL.
    Emptied,
    /// `kill -9`, and it comes back empty.
    Killed,
    /// It comes back as it was before anything was promised.
    SetBack,
    /// It is away for a while, and comes back as it was.
    Stopped,
    /// It takes everything and answers nothing for a while.
    Frozen,
}

impl Trouble {
    async fn happen(self, redis: &mut PrivateRedis, answers: &Answers) {
        answers.reach(BEGINS).await;
        match self {
            Trouble::Emptied => redis.flush().await,
            Trouble::SetBack => redis.restart_from_snapshot().await,
            Trouble::Killed => {
                redis.kill();
                answers.reach(ENDS).await;
                redis.start_again().await;
            }
            Trouble::Stopped => {
                redis.stop().await;
                answers.reach(ENDS).await;
                redis.start_again().await;
            }
            Trouble::Frozen => {
                redis.freeze(true);
                answers.reach(ENDS).await;
                redis.freeze(false);
            }
        }
    }
}

/// Every reservation that was answered is there, on both servers.
async fn none_is_lost(scene: &Scene, reservations: &[Reservation]) {
    for reservation in reservations {
        for number in 0..scene.servers.len() {
            let reservation_id = reservation.reservation_id.clone();
            let request = GetReservationRequest { reservation_id };
            let answer = scene.reservations(number).get_reservation(request).await.unwrap();
            let found = answer.into_inner().reservation.unwrap();
            assert_eq!(found.state(), ReservationState::Reserved);
            assert_eq!(found.lines, reservation.lines);
        }
    }
}

/// Reserves until nothing is left. Returns how many there are then.
async fn take_the_rest(scene: &Scene) -> usize {
    for number in 0..=UNITS {
        let request = reservation(&format!("rest-{number}"), SHOP, &[(ITEM, 1)]);
        if let Err(status) = scene.reservations(number).create_reservation(request).await {
            refused(scene.redis, &status);
            if scene.redis == Redis::Real {
                break;
            }
        }
    }
    usize::try_from(scene.reserved(SHOP, ITEM).await).unwrap()
}

async fn never_more_than_ten(redis: Redis, trouble: Trouble) {
    let mut private = PrivateRedis::start().await;
    let scene = Scene::open_on(redis, &private.url(), &[(SHOP, ITEM, UNITS as i64)]).await;
    private.keep_snapshot().await;
    let crowd = |name| Crowd {
        scene: &scene,
        name,
        asking: Asking::Mixture,
        channels: true,
        wanted: &[(ITEM, 1)],
    };
    let answers = Answers::default();
    let happens = trouble.happen(&mut private, &answers);
    let ((mut got, _), ()) = tokio::join!(crowd("first").rush_counted(&answers), happens);
    let back = Instant::now();
    let (second, ()) = tokio::join!(crowd("second").rush(), scene.check_redis(back));
    got.extend(second.0);
    let reserved = |got: &Got| match got {
        Got::Reservation(reservation) => Some(Reservation::clone(reservation)),
        _ => None,
    };
    let reservations: Vec<_> = got.iter().filter_map(reserved).collect();
    println!("{} reservations for good", reservations.len());
    assert!(reservations.len() <= UNITS, "{}", reservations.len());
    none_is_lost(&scene, &reservations).await;
    // Holds that only Redis knew may have died with it.
    let converted = convert(&scene, &got, &[(ITEM, 1)], true).await;
    assert!(converted <= UNITS, "{converted}");
    none_is_lost(&scene, &reservations).await;
    scene.check().await;
    scene.check_redis(Instant::now()).await;
    let all = take_the_rest(&scene).await;
    assert!(all == UNITS || redis == Redis::Lying && all < UNITS, "{all}");
    scene.check().await;
}

macro_rules! with_every_trouble {
    ($($test:ident: $trouble:ident),* $(,)?) => {$(
        mod $test {
            use super::{Redis, Trouble, never_more_than_ten};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn real() {
                never_more_than_ten(Redis::Real, Trouble::$trouble).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn lying() {
                never_more_than_ten(Redis::Lying, Trouble::$trouble).await;
            }
        }
    )*};
}

with_every_trouble!(
    f31_redis_is_emptied: Emptied,
    f31_redis_is_killed: Killed,
    f31_redis_comes_back_as_it_once_was: SetBack,
    f31_redis_is_stopped: Stopped,
    f31_redis_stands_still: Frozen,
);
