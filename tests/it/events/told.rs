//! What is told of what happens.

use serde_json::{Value, json};
use stockroom::api::proto::{
    CancelledBy, ChannelPolicy, EventType, Movement, MovementKind, PutChannelPolicyRequest,
    channel_policy::Buffer,
};

use crate::harness::{
    movements::{Became as _, at, count, linked_return, movement, receipt, sale, seconds_from_now},
    receiver::{Received, Receiver, webhook},
    reservations::line,
    server::{SOURCE, Server},
};

/// A server whose events, of these types, go to a receiver.
async fn told(event_types: &[EventType]) -> (Server, Receiver, stockroom::feed::deliver::Delivery) {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin", "paris"]).await;
    server.put_webhook(webhook("all", &receiver.url, event_types)).await;
    let delivery = server.deliver();
    (server, receiver, delivery)
}

fn short(received: &Received) -> (&str, &str) {
    (received.kind(), received.event["subject"].as_str().unwrap())
}

#[tokio::test]
async fn thresholds_are_those_of_the_webhook_and_its_channel() {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin"]).await;
    server.put_channel("web").await;
    let policy = ChannelPolicy {
        channel_id: "web".to_owned(),
        buffer: Some(Buffer::BufferUnits(2)),
        ..ChannelPolicy::default()
    };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
    let types = [EventType::OutOfStock, EventType::LowStock, EventType::BackInStock];
    let mut hook = webhook("web", &receiver.url, &types);
    (hook.channel_id, hook.low_stock_units) = ("web".to_owned(), 3);
    hook.skus = vec!["A".to_owned()];
    server.put_webhook(hook).await;
    let _delivery = server.deliver();
    // 10 less 2 are 8, then 3, 0, 0, 1 and 5: low, out, nothing, back, nothing.
    let sold = |key: &str, quantity| sale(key, "berlin", "A", quantity);
    let other = [receipt("o", "berlin", "B", 1), sale("p", "berlin", "B", 1)];
    let in_order = [receipt("r", "berlin", "A", 10), sold("s1", 5), sold("s2", 3), sold("s3", 1)];
    let back = [receipt("r2", "berlin", "A", 2), receipt("r3", "berlin", "A", 4)];
    for movement in other.into_iter().chain(in_order).chain(back) {
        server.record_one(movement).await.recorded();
    }
    let received = receiver.wait_for(4).await;
    let told: Vec<_> = received
        .iter()
        .map(|received| (received.kind(), received.data()["available"].as_i64().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("availability.back_in_stock", 8),
            ("availability.low_stock", 3),
            ("availability.out_of_stock", 0),
            ("availability.back_in_stock", 1),
        ]
    );
    assert_eq!(received[3].data()["level"], "low");
    assert_eq!(received[1].data()["channel_id"], "web");
    assert_eq!(received[1].data()["low_stock_units"], 3);
}

#[tokio::test]
async fn f14_a_shortfall_names_the_reservations_that_it_hits_newest_first() {
    let (server, receiver, _delivery) = told(&[EventType::Shortfall]).await;
    server.record_one(receipt("r", "berlin", "A", 6)).await.recorded();
    let mut ids = Vec::new();
    for n in 0..3 {
        let made = server.reserve(&format!("q{n}"), "berlin", "A", 2).await.unwrap();
        ids.push(made.reservation_id);
    }
    // Sold in the shop while the till was offline.
    server.record_one(sale("s1", "berlin", "A", 3)).await.recorded();
    let received = receiver.wait_for(1).await;
    let data = received[0].data();
    let lacking = |reservation: &Value| {
        (reservation["reservation_id"].clone(), reservation["lacking"].as_i64().unwrap())
    };
    let named: Vec<_> = data["reservations"].as_array().unwrap().iter().map(lacking).collect();
    assert_eq!(named, [(json!(ids[2]), 2), (json!(ids[1]), 1)]);
    assert_eq!((&data["shortfall"], &data["shortfall_before"]), (&json!(3), &json!(0)));
    assert_eq!((&data["sellable"], &data["reserved"]), (&json!(3), &json!(6)));
    // Less is no event, more is.
    server.record_one(receipt("r2", "berlin", "A", 1)).await.recorded();
    server.record_one(sale("s2", "berlin", "A", 4)).await.recorded();
    let received = receiver.wait_for(2).await;
    assert_eq!(received[1].data()["shortfall"], 6);
    assert_eq!(received[1].data()["reservations"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn every_state_of_a_reservation_is_told_once() {
    let states = [
        EventType::ReservationReserved,
        EventType::ReservationPicking,
        EventType::ReservationReady,
        EventType::ReservationCollected,
        EventType::ReservationCancelled,
        EventType::ReservationRejected,
        EventType::ReservationMoved,
    ];
    let (server, receiver, _delivery) = told(&states).await;
    let stock = ["berlin", "paris"].map(|place| receipt(place, place, "A", 20));
    server.record(stock.into()).await;
    server.record_one(receipt("b", "berlin", "B", 20)).await.recorded();
    let lines = vec![line("A", 2), line("B", 1)];
    let request = crate::harness::reservations::create("q1", "berlin", lines);
    let request = stockroom::api::proto::CreateReservationRequest {
        order_ref: "order-1".to_owned(),
        customer_ref: "customer-1".to_owned(),
        ..request
    };
    let one = server.create(request).await.unwrap().reservation_id;
    server.extend("q2", &one, 3_600).await.unwrap();
    server.start_picking("q3", &one).await.unwrap();
    server.report_pick("q4", &one, &[("A", 2, "")]).await.unwrap();
    server.mark_ready("q5", &one).await.unwrap();
    server.extend("q6", &one, 7_200).await.unwrap();
    server.collect("q7", &one).await.unwrap();
    let two = server.reserve("q8", "berlin", "A", 1).await.unwrap().reservation_id;
    let three = server.move_to("q9", &two, "paris").await.unwrap().reservation_id;
    server.cancel("q10", &three).await.unwrap();
    let four = server.reserve("q11", "berlin", "A", 1).await.unwrap().reservation_id;
    server.cancel_by(CancelledBy::Store, "broken", "q12", &four).await.unwrap();
    let received = receiver.wait_for(10).await;
    let of = |id: &str| -> Vec<&str> {
        let own = received.iter().map(short).filter(|(_, subject)| *subject == id);
        own.map(|(kind, _)| kind.strip_prefix("reservation.").unwrap()).collect()
    };
    assert_eq!(of(&one), ["reserved", "picking", "ready", "collected"]);
    assert_eq!(of(&two), ["reserved", "moved"]);
    assert_eq!(of(&three), ["reserved", "cancelled"]);
    assert_eq!(of(&four), ["reserved", "rejected"]);
    let picking = received.iter().find(|received| received.kind() == "reservation.picking");
    let data = picking.unwrap().data();
    assert_eq!((&data["state_before"], &data["state"]), (&json!("RESERVED"), &json!("PICKING")));
    assert_eq!(data["lines"][0], json!({"sku": "A", "quantity": 2, "picked": 0, "collected": 0}));
    assert_eq!(data["order_ref"], "order-1");
    let moved = received.iter().find(|received| received.kind() == "reservation.moved").unwrap();
    assert_eq!(moved.data()["successor_id"], three);
    assert_eq!(moved.data()["reason"], "closer_to_home");
    for received in &received {
        assert!(!received.body.contains("customer-1"), "nobody is named: {}", received.body);
    }
}

#[tokio::test]
async fn what_facts_say_of_themselves_is_told() {
    let types = [
        EventType::CountVariance,
        EventType::OverReturn,
        EventType::PromiseUnknown,
        EventType::Recall,
    ];
    let (server, receiver, _delivery) = told(&types).await;
    server.record_one(receipt("r", "berlin", "A", 10)).await.recorded();
    server.record_one(sale("s1", "berlin", "A", 1)).await.recorded();
    server.record_one(linked_return("b1", "paris", "A", 2, (SOURCE, "s1"))).await.recorded();
    let gone = Movement { reservation_id: "r0.1.1.1".to_owned(), ..sale("s2", "berlin", "A", 1) };
    server.record_one(gone).await.recorded();
    server.record_one(count("c1", "berlin", "A", 5)).await.recorded();
    let earlier =
        Movement { occurred_at: Some(at("2024-01-01T00:00:00Z")), ..sale("s3", "berlin", "A", 2) };
    server.record_one(earlier).await.recorded();
    let block = movement(MovementKind::Block, "k1", "berlin", "A", 3);
    let damaged = Movement { reason: "damage".to_owned(), ..block.clone() };
    server.record_one(damaged).await.recorded();
    let recalled =
        Movement { reason: "recall".to_owned(), key: "k2".to_owned(), quantity: 1, ..block };
    server.record_one(recalled).await.recorded();
    let received = receiver.wait_for(5).await;
    let find = |key: &str| received.iter().find(|received| received.data()["entry"]["key"] == key);
    let over = find("b1").unwrap();
    assert_eq!(short(over), ("movement.over_return", "paris/A"));
    assert_eq!(over.data()["original"], json!({"source": SOURCE, "key": "s1"}));
    assert_eq!(over.data()["quantity"], 2);
    let unknown = find("s2").unwrap();
    assert_eq!(short(unknown), ("movement.promise_unknown", "berlin/A"));
    assert_eq!(unknown.data()["reservation_id"], "r0.1.1.1");
    let counted = find("c1").unwrap();
    assert_eq!(short(counted), ("position.count_variance", "berlin/A"));
    assert_eq!((&counted.data()["change"], &counted.data()["sellable"]), (&json!(-3), &json!(5)));
    assert_eq!(counted.data()["cause"]["kind"], "COUNT");
    let late = find("s3").unwrap();
    assert_eq!((&late.data()["change"], &late.data()["sellable"]), (&json!(2), &json!(5)));
    assert_eq!(late.data()["cause"]["kind"], "SALE");
    let recall = find("k2").unwrap();
    assert_eq!(short(recall), ("movement.recall", "berlin/A"));
    assert!(find("k1").is_none(), "damage is no recall");
}

#[tokio::test]
async fn f24_a_transfer_that_should_have_arrived_is_told_unless_it_has() {
    let (server, receiver, _delivery) = told(&[EventType::TransferOverdue]).await;
    server.record_one(receipt("r", "berlin", "A", 20)).await.recorded();
    let ship = |key: &str, quantity, expected: i64| Movement {
        to_location_id: "paris".to_owned(),
        document: format!("T-{key}"),
        expected_at: Some(seconds_from_now(expected)),
        ..movement(MovementKind::TransferShip, key, "berlin", "A", quantity)
    };
    server.record_one(ship("late", 5, 1)).await.recorded();
    server.record_one(ship("far", 3, 3_600)).await.recorded();
    let received = receiver.wait_for(1).await;
    let data = received[0].data();
    assert_eq!(short(&received[0]), ("transfer.overdue", "paris/A"));
    assert_eq!(data["from_location_id"], "berlin");
    assert_eq!((&data["quantity"], &data["in_transit"]), (&json!(5), &json!(5)));
    assert_eq!(data["entry"]["document"], "T-late");
    // Everything that was on its way arrives; what was shipped before it is first in, first out.
    let arrived = movement(MovementKind::TransferReceive, "v1", "paris", "A", 8);
    server.record_one(arrived).await.recorded();
    server.record_one(ship("early", 2, 1)).await.recorded();
    let arrived = movement(MovementKind::TransferReceive, "v2", "paris", "A", 2);
    server.record_one(arrived).await.recorded();
    // Recorded when it was overdue already.
    server.record_one(ship("known late", 1, -60)).await.recorded();
    let received = receiver.wait_for(2).await;
    assert_eq!(received[1].data()["entry"]["document"], "T-known late");
    server.record_one(ship("last", 4, 1)).await.recorded();
    let received = receiver.wait_for(3).await;
    let documents: Vec<_> =
        received.iter().map(|received| received.data()["entry"]["document"].clone()).collect();
    assert_eq!(documents, ["T-late", "T-known late", "T-last"], "each once, the early one never");
}
