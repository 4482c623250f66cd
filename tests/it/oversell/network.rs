//! Stock that is split over locations.

use stockroom::api::proto::{
    BatchCreateReservationsRequest, MovementKind, Reservation, ReservationDraft,
};
use tokio::task::JoinSet;

use super::{
    crowd::refused,
    scene::{Scene, lines, lines_of, seconds},
    with_every_redis,
};
use crate::harness::redis::Redis;

const ITEM: &str = "coat";
const SPLIT: [(&str, &str, i64); 2] = [("berlin", ITEM, 10), ("paris", ITEM, 15)];
/// Clients that want the same set.
const CLIENTS: usize = 100;

fn set(request_id: &str, parts: &[(&str, i64)]) -> BatchCreateReservationsRequest {
    let draft = |&(location, quantity): &(&str, i64)| ReservationDraft {
        location_id: location.to_owned(),
        lines: lines(&[(ITEM, quantity)]),
        ..ReservationDraft::default()
    };
    BatchCreateReservationsRequest {
        request_id: request_id.to_owned(),
        reservations: parts.iter().map(draft).collect(),
        ttl: seconds(3_600),
        ..BatchCreateReservationsRequest::default()
    }
}

async fn reserved(scene: &Scene) -> [i64; 2] {
    [scene.reserved("berlin", ITEM).await, scene.reserved("paris", ITEM).await]
}

/// Sends it until it is answered one way or the other; nothing if it is refused.
async fn create(
    scene: &Scene,
    number: usize,
    request: BatchCreateReservationsRequest,
) -> Option<Vec<Reservation>> {
    match scene.reservations(number).batch_create_reservations(request).await {
        Ok(answer) => Some(answer.into_inner().reservations),
        Err(status) => {
            refused(scene.redis, &status);
            None
        }
    }
}

async fn f34_what_one_location_lacks_another_gives(redis: Redis) {
    let scene = Scene::open(redis, &SPLIT).await;
    // Each of the two has enough for its part, so nothing but the sum of both is 13.
    let made = create(&scene, 0, set("s1", &[("berlin", 10), ("paris", 3)])).await;
    if redis == Redis::Lying && made.is_none() {
        return scene.check().await;
    }
    let made = made.unwrap();
    let parts: Vec<_> = made.iter().map(|one| (&*one.location_id, lines_of(one))).collect();
    assert_eq!(parts, [("berlin", vec![(ITEM, 10)]), ("paris", vec![(ITEM, 3)])]);
    assert_eq!(reserved(&scene).await, [10, 3]);
    for (location, quantity) in [("berlin", 10), ("paris", 3)] {
        let entries = scene.servers[1].entries_of(location, ITEM).await;
        let reserve = MovementKind::Reserve as i32;
        let mut steps = entries.iter().filter(|entry| entry.kind == reserve);
        assert_eq!(steps.next().map(|entry| entry.quantity), Some(quantity), "{location}");
        assert_eq!(steps.next(), None, "{location}");
    }
    // The same again has the same effect: none.
    let again = create(&scene, 1, set("s1", &[("berlin", 10), ("paris", 3)])).await;
    assert_eq!(again.unwrap(), made);
    assert_eq!(reserved(&scene).await, [10, 3]);
    scene.check().await;
}

async fn f34_a_set_of_which_one_part_is_short_is_not_made_at_all(redis: Redis) {
    let scene = Scene::open(redis, &SPLIT).await;
    for (number, parts) in [[11, 3], [3, 16], [11, 16]].into_iter().enumerate() {
        let set = set(&format!("s{number}"), &[("berlin", parts[0]), ("paris", parts[1])]);
        assert_eq!(create(&scene, number, set).await, None);
        assert_eq!(reserved(&scene).await, [0, 0]);
    }
    scene.check().await;
}

async fn f34_of_many_sets_that_race_as_many_are_made_as_fit(redis: Redis) {
    let scene = Scene::open(redis, &SPLIT).await;
    let mut running = JoinSet::new();
    for number in 0..CLIENTS {
        // Half of them name the locations the other way round.
        let mut parts = [("berlin", 3), ("paris", 5)];
        if number % 4 > 1 {
            parts.reverse();
        }
        let mut client = scene.reservations(number);
        let set = set(&format!("s{number}"), &parts);
        running.spawn(async move { client.batch_create_reservations(set).await });
    }
    let mut made = 0;
    while let Some(done) = running.join_next().await {
        match done.unwrap() {
            Ok(_) => made += 1,
            Err(status) => {
                refused(redis, &status);
            }
        }
    }
    if redis != Redis::Lying {
        assert_eq!(made, 3);
    }
    assert_eq!(reserved(&scene).await, [made * 3, made * 5]);
    scene.check().await;
}

with_every_redis!(
    f34_what_one_location_lacks_another_gives,
    f34_a_set_of_which_one_part_is_short_is_not_made_at_all,
    f34_of_many_sets_that_race_as_many_are_made_as_fit,
);
