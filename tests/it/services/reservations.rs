//! ReservationService.

use prost_types::Duration;
use stockroom::api::proto::{CreateReservationRequest, ReservationState};
use tonic::Code;

use crate::harness::{
    errors::explained,
    movements::receipt,
    reservations::{create, line, micros},
    server::{Server, eventually},
};

#[tokio::test]
async fn a_reservation_is_picked_made_ready_and_collected() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record(vec![receipt("r", "shop", "jam", 5)]).await;
    let made = server.reserve("k1", "shop", "jam", 3).await.unwrap();
    assert_eq!(made.state(), ReservationState::Reserved);
    let again = server.reserve("k1", "shop", "jam", 3).await.unwrap();
    assert_eq!(again, made);
    assert_eq!(server.position("shop", "jam").await.reserved, 3);
    let id = &made.reservation_id;
    server.start_picking("k2", id).await.unwrap();
    let ready = server.mark_ready("k3", id).await.unwrap();
    assert_eq!(ready.state(), ReservationState::Ready);
    let position = server.position("shop", "jam").await;
    assert_eq!((position.sellable, position.staged, position.reserved), (2, 3, 0));
    let collected = server.collect("k4", id).await.unwrap();
    assert_eq!(collected.state(), ReservationState::Collected);
    assert_eq!(server.reserve("k1", "shop", "jam", 3).await.unwrap(), made, "the first answer");
    assert_eq!(server.mark_ready("k3", id).await.unwrap(), ready, "the first answer");
    let position = server.position("shop", "jam").await;
    assert_eq!((position.sellable, position.staged, position.reserved), (2, 0, 0));
    server.stop().await;
}

#[tokio::test]
async fn a_reservation_ends_at_its_deadline_and_not_before() {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    server.record(vec![receipt("r", "shop", "jam", 1)]).await;
    let ttl = Some(Duration { seconds: 1, nanos: 0 });
    let request = CreateReservationRequest { ttl, ..create("k1", "shop", vec![line("jam", 1)]) };
    let made = server.create(request).await.unwrap();
    let refused = server.reserve("k2", "shop", "jam", 1).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    let again = eventually("the units are free", || async {
        server.reserve("k2", "shop", "jam", 1).await.ok()
    })
    .await;
    let ended = server.get(&made.reservation_id).await;
    assert_eq!(ended.state(), ReservationState::Expired);
    let (deadline, ended_at) = (micros(made.expires_at), micros(ended.changed_at));
    assert!(ended_at >= deadline, "{ended_at} is before {deadline}");
    assert!(ended_at < deadline + 250_000, "{ended_at} is long after {deadline}");
    assert!(micros(again.created_at) >= ended_at);
    server.stop().await;
}
