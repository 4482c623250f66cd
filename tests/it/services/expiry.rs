//! How late promises end, and that none ends early.

use futures::future::join_all;
use stockroom::api::proto::{
    CreateReservationRequest, ListReservationsRequest, Reservation, ReservationState,
};

use crate::harness::{
    movements::receipt,
    reservations::{create, line, micros},
    server::{Server, eventually},
};

const RESERVATIONS: usize = 200;
const SHOPS: [&str; 4] = ["a", "b", "c", "d"];
/// A firm reservation's units are free again at most this late, but for one in a hundred.
const LATE_US_MAX: i64 = 250_000;

async fn expired(server: &Server, location_id: &str) -> Vec<Reservation> {
    let request = ListReservationsRequest {
        location_id: location_id.to_owned(),
        states: vec![ReservationState::Expired as i32],
        page_size: 1_000,
        ..ListReservationsRequest::default()
    };
    server.list(request).await.unwrap().reservations
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_200_reservations_none_ends_early_and_one_in_a_hundred_late() {
    let server = Server::start_honest().await;
    server.put_locations(&SHOPS).await;
    for shop in SHOPS {
        server.record(vec![receipt("r", shop, "jam", 100)]).await;
    }
    server.caught_up().await;
    let ask = |number: usize| {
        let request = create(&format!("k{number}"), SHOPS[number % 4], vec![line("jam", 1)]);
        // From 1 to 3 seconds.
        let (seconds, nanos) = (1 + number as i64 / 100, (number % 100) as i32 * 10_000_000);
        let ttl = Some(prost_types::Duration { seconds, nanos });
        server.create(CreateReservationRequest { ttl, ..request })
    };
    for made in join_all((0..RESERVATIONS).map(ask)).await {
        made.unwrap();
    }
    let mut late_us = Vec::new();
    for shop in SHOPS {
        let ended = eventually("everything has ended", || async {
            let ended = expired(&server, shop).await;
            (ended.len() == RESERVATIONS / SHOPS.len()).then_some(ended)
        })
        .await;
        let late = |made: &Reservation| micros(made.changed_at) - micros(made.expires_at);
        late_us.extend(ended.iter().map(late));
        assert_eq!(server.balances(shop, "jam").await, (100, 0, 0), "{shop}");
    }
    late_us.sort_unstable();
    assert!(late_us[0] >= 0, "one ended {} us early", -late_us[0]);
    let p99 = late_us[RESERVATIONS * 99 / 100 - 1];
    let median = late_us[RESERVATIONS / 2];
    println!("lateness: median {median} us, p99 {p99} us");
    assert!(p99 <= LATE_US_MAX, "p99 of lateness is {p99} us");
}
