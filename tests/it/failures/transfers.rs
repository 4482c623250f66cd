//! F24: a transfer that is lost or short on the road.

use stockroom::api::proto::{Movement, MovementKind, MovementRef, StockState};

use crate::harness::{
    movements::{Became as _, adjust, at, correction, movement, receipt, reference},
    server::{SOURCE, Server},
};

fn ship(key: &str, quantity: i64) -> Movement {
    Movement {
        to_location_id: "berlin".to_owned(),
        document: "T-1".to_owned(),
        ..movement(MovementKind::TransferShip, key, "warehouse", "A", quantity)
    }
}

fn receive(key: &str, quantity: i64, original: MovementRef) -> Movement {
    Movement {
        document: "T-1".to_owned(),
        original: Some(original),
        ..movement(MovementKind::TransferReceive, key, "berlin", "A", quantity)
    }
}

async fn shipped() -> Server {
    let server = Server::start().await;
    server.put_locations(&["warehouse", "berlin"]).await;
    server.record_one(receipt("r", "warehouse", "A", 10)).await.recorded();
    let ship = Movement { occurred_at: Some(at("2024-03-01T12:00:00Z")), ..ship("s", 6) };
    server.record_one(Movement { ..ship }).await.recorded();
    server
}

#[tokio::test]
async fn f24_units_on_the_road_are_available_at_neither_end() {
    let server = shipped().await;
    let (sender, receiver) =
        (server.position("warehouse", "A").await, server.position("berlin", "A").await);
    assert_eq!((sender.sellable, sender.in_transit), (4, 0));
    assert_eq!((receiver.sellable, receiver.in_transit), (0, 6));
    let (out, into) =
        (server.entries_of("warehouse", "A").await, server.entries_of("berlin", "A").await);
    let (out, into) = (out.last().unwrap(), into.last().unwrap());
    assert_eq!((&*out.counter_location_id, out.counter_seq), ("berlin", into.seq));
    assert_eq!((&*into.counter_location_id, into.counter_seq), ("warehouse", out.seq));
    assert_eq!(out.recorded_at, into.recorded_at, "one transaction over two partitions");
    assert_ne!(out.partition, into.partition, "or this test shows nothing");
}

#[tokio::test]
async fn f24_a_short_receipt_leaves_the_rest_on_the_road_and_it_ages() {
    let server = shipped().await;
    server.record_one(receive("v", 4, reference((SOURCE, "s")))).await.recorded();
    let position = server.position("berlin", "A").await;
    assert_eq!((position.sellable, position.in_transit), (4, 2));
    assert_eq!(position.in_transit_since, Some(at("2024-03-01T12:00:00Z")), "since it was shipped");
}

#[tokio::test]
async fn f24_the_loss_is_closed_with_a_reason() {
    let server = shipped().await;
    server.record_one(receive("v", 4, reference((SOURCE, "s")))).await.recorded();
    let lost = Movement {
        from_state: StockState::InTransit as i32,
        document: "T-1".to_owned(),
        ..adjust("l", "berlin", "A", 2, "")
    };
    server.record_one(lost.clone()).await.rejected("REASON_REQUIRED");
    let lost = Movement { reason: "lost_in_transit".to_owned(), ..lost };
    server.record_one(lost).await.recorded();
    let position = server.position("berlin", "A").await;
    assert_eq!((position.sellable, position.in_transit), (4, 0));
    assert_eq!(position.in_transit_since, None);
    assert_eq!(server.sellable("warehouse", "A").await, 4);
    let reasons = server.entries_of("berlin", "A").await;
    assert_eq!(reasons.last().unwrap().reason, "lost_in_transit");
}

#[tokio::test]
async fn f24_a_receipt_before_its_shipment_is_reconciled() {
    let server = Server::start().await;
    server.put_locations(&["warehouse", "berlin"]).await;
    server.record_one(receive("v", 6, reference((SOURCE, "s")))).await.recorded();
    let early = server.position("berlin", "A").await;
    assert_eq!((early.sellable, early.in_transit), (6, -6));
    server.record_one(ship("s", 6)).await.recorded();
    let position = server.position("berlin", "A").await;
    assert_eq!((position.sellable, position.in_transit), (6, 0));
    assert_eq!(server.sellable("warehouse", "A").await, -6);
}

#[tokio::test]
async fn f24_a_shipment_that_did_not_occur_is_taken_back_at_both_ends() {
    let server = shipped().await;
    let correction = correction("c", "warehouse", "A", (SOURCE, "s"));
    let first = server.record_one(correction.clone()).await.recorded();
    assert_eq!(server.sellable("warehouse", "A").await, 10);
    assert_eq!(server.position("berlin", "A").await.in_transit, 0);
    assert_eq!(server.record_one(correction).await.duplicate(), first);
}

#[tokio::test]
async fn f24_a_resent_shipment_ships_once() {
    let server = shipped().await;
    let again = Movement { occurred_at: Some(at("2024-03-01T12:00:00Z")), ..ship("s", 6) };
    server.record_one(again).await.duplicate();
    assert_eq!(server.position("berlin", "A").await.in_transit, 6);
    assert_eq!(server.sellable("warehouse", "A").await, 4);
}
