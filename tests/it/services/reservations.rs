//! ReservationService.

use stockroom::api::proto::ReservationState;

use crate::harness::{movements::receipt, server::Server};

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
