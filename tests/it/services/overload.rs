//! More calls than can be answered in time.
#![expect(clippy::disallowed_types, reason = "states time-outs as a client does")]

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use stockroom::api::proto::{
    CreateReservationRequest, reservation_service_client::ReservationServiceClient,
};
use tonic::Code;

use crate::harness::{
    databases::{lock_heads, number},
    errors::explained,
    movements::{Became as _, receipt, sale},
    reservations::{create, line},
    server::{Server, connect, eventually},
};

/// Calls that ask for stock and may be under way at once.
const PROMISES_MAX: usize = 1_024;
/// Those that are too many.
const MORE: usize = 50;
/// A connection carries at most 200 calls at once.
const CONNECTIONS: usize = 8;

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

#[tokio::test]
async fn what_would_wait_too_long_in_a_slow_lane_is_refused_at_once() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record_one(receipt("r", "shop", "jam", 10_000)).await.recorded();
    let connections: Vec<_> = (0..CONNECTIONS).map(|_| connect(server.address)).collect();
    let create = |number: usize, seconds| {
        let mut client = ReservationServiceClient::new(connections[number % CONNECTIONS].clone());
        let request = create(&format!("k{number}"), "shop", vec![line("jam", 1)]);
        async move { client.create_reservation(within(seconds, request)).await }
    };
    // A hundred lines take a second, until a call that waits behind them is given up.
    let stall = lock_heads(&server.database_url).await;
    let lines = (0..100).map(|line| sale(&format!("s{line}"), "shop", "jam", 1)).collect();
    let (recorded, ()) = tokio::join!(server.record(lines), async {
        stalled_batch(&server).await;
        let late = create(1_000, 1).await.unwrap_err();
        explained(&late, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        drop(stall);
    });
    assert_eq!(recorded.results.len(), 100);

    let _stall = lock_heads(&server.database_url).await;
    let mut calls = FuturesUnordered::new();
    calls.push(create(0, 1));
    let (first, ()) = tokio::join!(calls.next(), stalled_batch(&server));
    explained(&first.unwrap().unwrap_err(), Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    // Half of five seconds is enough for 250 lines.
    calls.extend((1..500).map(|number| create(number, 5)));
    for _ in 0..150 {
        let refused = calls.next().await.unwrap().unwrap_err();
        explained(&refused, Code::ResourceExhausted, "OVERLOADED");
    }
    // The lane refuses only what was read and resolved. While it does, there is room for fewer calls:
    // then even one that is wrong is not looked at.
    eventually("there is less room", || async {
        let refused = create(2_000, 5).await.unwrap_err();
        explained(&refused, Code::ResourceExhausted, "OVERLOADED");
        let wrong = within(1, CreateReservationRequest::default());
        let unread = server.reservations().create_reservation(wrong).await.unwrap_err();
        (unread.code() == Code::ResourceExhausted).then_some(())
    })
    .await;
}
