//! More calls than can be answered in time.

use futures::{StreamExt as _, stream::FuturesUnordered};
use stockroom::api::proto::reservation_service_client::ReservationServiceClient;
use tonic::Code;

use crate::harness::{
    databases::lock_heads,
    errors::explained,
    movements::{Became as _, receipt},
    reservations::{create, line},
    server::{Server, connect},
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
