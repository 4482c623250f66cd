//! More calls than can be answered in time.
#![expect(clippy::disallowed_types, reason = "states time-outs as a client does")]

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use stockroom::api::proto::{
    CreateReservationRequest, Movement, reservation_service_client::ReservationServiceClient,
};
use tonic::Code;

use crate::harness::{
    databases::{lock_heads, number},
    errors::explained,
    frames::answers_after_resets,
    movements::{Became as _, receipt, sale},
    reservations::{basket, create, line},
    server::{Server, connect, eventually},
};

/// Calls that ask for stock and may be under way at once.
const PROMISES_MAX: usize = 1_024;
/// Those that are too many.
const MORE: usize = 50;
/// Calls of a connection that may be given up before they were looked at.
const RESETS_MAX: u32 = 1_000;
/// A connection carries at most 200 calls at once.
const CONNECTIONS: usize = 8;

/// As many calls for stock as there is room for, while nothing is written.
#[tokio::test]
async fn what_has_happened_and_what_is_given_back_is_taken_while_no_more_stock_is_promised() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record_one(receipt("r", "shop", "jam", 10_000)).await.recorded();
    let made = |key: &'static str| server.create(create(key, "shop", vec![line("jam", 1)]));
    let (collected, paid) = (made("collected").await.unwrap(), made("paid").await.unwrap());
    let cancelled = made("cancelled").await.unwrap();
    let (held, _) = server.hold_one("held", "shop", "jam", 1).await.unwrap();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    let stalled = lock_heads(&server.database_url).await;
    let calls = (0..PROMISES_MAX + 1).map(|number| {
        let mut client = ReservationServiceClient::new(connections[number % CONNECTIONS].clone());
        let request = create(&format!("k{number}"), "shop", vec![line("jam", 1)]);
        async move { client.create_reservation(request).await }
    });
    let mut calls: FuturesUnordered<_> = calls.collect();
    let refused = calls.next().await.unwrap().unwrap_err();
    explained(&refused, Code::ResourceExhausted, "OVERLOADED");

    let facts = async {
        tokio::join!(
            server.record_one(sale("s", "shop", "jam", 1)),
            server.collect("c", &collected.reservation_id),
            server.confirm_payment("p", &paid.reservation_id),
            server.cancel("x", &cancelled.reservation_id),
            server.release_hold("l", &held.hold_id),
        )
    };
    let refused = async {
        stalled_batch(&server).await;
        let one = server.create(create("one more", "shop", vec![line("jam", 1)])).await;
        explained(&one.unwrap_err(), Code::ResourceExhausted, "OVERLOADED");
        drop(stalled);
    };
    let ((sold, collected, paid, cancelled, released), ()) = tokio::join!(facts, refused);
    sold.recorded();
    collected.unwrap();
    paid.unwrap();
    cancelled.unwrap();
    released.unwrap();
    drop(calls);
}

#[tokio::test]
async fn a_call_too_many_is_refused_at_once_and_costs_no_other_kind_anything() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record_one(receipt("r", "shop", "jam", 10_000)).await.recorded();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    let stalled = lock_heads(&server.database_url).await;
    let calls = (0..PROMISES_MAX + MORE).map(|number| {
        let mut client = ReservationServiceClient::new(connections[number % CONNECTIONS].clone());
        let request = create(&format!("k{number}"), "shop", vec![line("jam", 1)]);
        async move { client.create_reservation(request).await }
    });
    let mut calls: FuturesUnordered<_> = calls.collect();
    for _ in 0..MORE {
        let refused = calls.next().await.unwrap().unwrap_err();
        explained(&refused, Code::ResourceExhausted, "OVERLOADED");
    }
    assert_eq!(server.sellable("shop", "jam").await, 10_000, "reads have room of their own");
    drop(stalled);
    let rest: Vec<_> = calls.collect().await;
    assert_eq!(rest.len(), PROMISES_MAX);
    let granted = rest.iter().filter(|answer| answer.is_ok()).count();
    let position = server.position("shop", "jam").await;
    assert_eq!(usize::try_from(position.reserved), Ok(granted));
    assert!(granted > 0, "those that were let in are answered");
}

/// Answers once a batch waits for a lock that the test holds.
async fn stalled_batch(server: &Server) {
    let waiting = "select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'";
    eventually("a batch waits", || async {
        (number(&server.database_url, waiting).await > 0).then_some(())
    })
    .await;
}

fn within<T>(seconds: u64, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(Duration::from_secs(seconds));
    request
}

/// A shop in whose lane a hundred lines took a second.
async fn slow_shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin", "warehouse"]).await;
    server.record_one(receipt("r", "berlin", "jam", 10_000)).await.recorded();
    let stall = lock_heads(&server.database_url).await;
    let (recorded, ()) = tokio::join!(server.record(sales("first", 100)), async {
        stalled_batch(&server).await;
        let request = within(1, create("late", "berlin", vec![line("jam", 1)]));
        let late = server.reservations().create_reservation(request).await.unwrap_err();
        explained(&late, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        drop(stall);
    });
    assert_eq!(recorded.results.len(), 100);
    server
}

fn sales(name: &str, lines: usize) -> Vec<Movement> {
    (0..lines).map(|line| sale(&format!("{name}{line}"), "berlin", "jam", 1)).collect()
}

#[tokio::test]
async fn what_would_wait_too_long_in_a_slow_lane_is_refused_at_once() {
    let server = slow_shop().await;
    let stall = lock_heads(&server.database_url).await;
    let (recorded, ()) = tokio::join!(server.record(sales("more", 60)), async {
        stalled_batch(&server).await;
        let request = within(1, create("one", "berlin", vec![line("jam", 1)]));
        let one = server.reservations().create_reservation(request).await.unwrap_err();
        explained(&one, Code::ResourceExhausted, "OVERLOADED");
        let both = basket("both", &[("berlin", "jam", 1), ("warehouse", "jam", 1)]);
        let both = server.reservations().batch_create_reservations(within(1, both)).await;
        explained(&both.unwrap_err(), Code::ResourceExhausted, "OVERLOADED");
        let patient = within(60, create("patient", "berlin", vec![line("jam", 1)]));
        let mut client = server.reservations();
        let (patient, ()) = tokio::join!(client.create_reservation(patient), async {
            drop(stall);
        });
        patient.unwrap();
    });
    assert_eq!(recorded.results.len(), 60);
}

#[tokio::test]
async fn while_a_lane_refuses_there_is_room_for_fewer_calls() {
    let server = slow_shop().await;
    let _stall = lock_heads(&server.database_url).await;
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    let create = |number: usize| {
        let mut client = ReservationServiceClient::new(connections[number % CONNECTIONS].clone());
        let request = create(&format!("k{number}"), "berlin", vec![line("jam", 1)]);
        async move { client.create_reservation(within(5, request)).await }
    };
    // Half of five seconds is enough for 250 lines.
    let mut calls: FuturesUnordered<_> = (0..500).map(create).collect();
    for _ in 0..150 {
        let refused = calls.next().await.unwrap().unwrap_err();
        explained(&refused, Code::ResourceExhausted, "OVERLOADED");
    }
    // A lane refuses only what was read and resolved; without room even what is wrong is not looked at.
    eventually("there is less room", || async {
        let refused = create(500).await.unwrap_err();
        explained(&refused, Code::ResourceExhausted, "OVERLOADED");
        let wrong = within(1, CreateReservationRequest::default());
        let unread = server.reservations().create_reservation(wrong).await.unwrap_err();
        (unread.code() == Code::ResourceExhausted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_outlives_calls_that_were_given_up_before_they_were_looked_at_up_to_a_bound() {
    let server = Server::start().await;
    let path = "/stockroom.v1.ReservationService/CreateReservation";
    assert!(answers_after_resets(server.address, path, RESETS_MAX - 1).await);
    assert!(!answers_after_resets(server.address, path, 4 * RESETS_MAX).await);
    server.put_locations(&["shop"]).await;
}
