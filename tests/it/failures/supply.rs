//! F25 and F26: deliveries that differ from their announcement, and facts in the wrong order.

use stockroom::api::proto::{EntryFlag, Movement, MovementKind, StockState};

use crate::harness::{
    movements::{Became as _, at, correction, movement, receipt, sale},
    server::{SOURCE, Server},
};

fn on_order(movement: Movement) -> Movement {
    Movement { document: "PO-1".to_owned(), document_line: 1, ..movement }
}

fn expect(key: &str, quantity: i64) -> Movement {
    let announced = movement(MovementKind::Expect, key, "berlin", "A", quantity);
    Movement { expected_at: Some(at("2030-01-01T08:00:00Z")), ..on_order(announced) }
}

async fn shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server
}

async fn stock(server: &Server) -> (i64, i64) {
    let position = server.position("berlin", "A").await;
    (position.sellable, position.expected)
}

#[tokio::test]
async fn f25_what_arrives_closes_the_announcement_whatever_its_quantity() {
    for (name, delivered) in [("exactly", 10), ("less", 7), ("more", 13)] {
        let server = shop().await;
        server.record_one(expect("e", 10)).await.recorded();
        assert_eq!(stock(&server).await, (0, 10));
        let arrived = on_order(receipt("r", "berlin", "A", delivered));
        server.record_one(arrived).await.recorded();
        assert_eq!(stock(&server).await, (delivered, 0), "{name}");
        let entries = server.entries_of("berlin", "A").await;
        assert_eq!(entries[1].from_state(), StockState::Expected, "{name}");
        let variance = entries.iter().find(|e| e.kind() == MovementKind::ExpectVariance);
        assert_eq!(variance.is_some(), delivered != 10, "{name}");
    }
}

#[tokio::test]
async fn f25_a_second_delivery_of_a_closed_line_comes_from_outside() {
    let server = shop().await;
    server.record_one(expect("e", 10)).await.recorded();
    server.record_one(on_order(receipt("r1", "berlin", "A", 4))).await.recorded();
    server.record_one(on_order(receipt("r2", "berlin", "A", 6))).await.recorded();
    assert_eq!(stock(&server).await, (10, 0));
}

#[tokio::test]
async fn f25_something_else_arrives_and_the_announcement_stays_until_it_is_withdrawn() {
    let server = shop().await;
    server.record_one(expect("e", 10)).await.recorded();
    server.record_one(on_order(receipt("r", "berlin", "B", 10))).await.recorded();
    assert_eq!(stock(&server).await, (0, 10));
    assert_eq!(server.sellable("berlin", "B").await, 10);
    server.record_one(correction("c", "berlin", "A", (SOURCE, "e"))).await.recorded();
    assert_eq!(stock(&server).await, (0, 0));
}

#[tokio::test]
async fn f25_a_receipt_that_did_not_occur_reopens_the_announcement() {
    let server = shop().await;
    server.record_one(expect("e", 10)).await.recorded();
    server.record_one(on_order(receipt("r", "berlin", "A", 7))).await.recorded();
    server.record_one(correction("c", "berlin", "A", (SOURCE, "r"))).await.recorded();
    assert_eq!(stock(&server).await, (0, 10));
}

#[tokio::test]
async fn f26_a_receipt_before_its_announcement_leaves_nothing_expected() {
    let server = shop().await;
    server.record_one(on_order(receipt("r", "berlin", "A", 7))).await.recorded();
    server.record_one(expect("e", 10)).await.recorded();
    assert_eq!(stock(&server).await, (7, 0));
}

#[tokio::test]
async fn f26_a_cancellation_before_its_sale_waits_for_it() {
    let server = shop().await;
    server.record_one(receipt("r", "berlin", "A", 5)).await.recorded();
    let cancelled = server.record_one(correction("c", "berlin", "A", (SOURCE, "s"))).await;
    assert_eq!(cancelled.recorded().flags, [EntryFlag::AwaitsOriginal as i32]);
    assert_eq!(server.sellable("berlin", "A").await, 5, "nothing to take back yet");
    server.record_one(sale("s", "berlin", "A", 2)).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 5, "sold and taken back");
    server.record_one(sale("s", "berlin", "A", 2)).await.duplicate();
    assert_eq!(server.sellable("berlin", "A").await, 5);
    let error = server.record_one(correction("c2", "berlin", "A", (SOURCE, "s"))).await;
    error.rejected("ALREADY_CORRECTED");
}

#[tokio::test]
async fn f26_any_order_of_announcement_receipt_and_cancellation_ends_the_same() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        let server = shop().await;
        let facts = [
            expect("e", 10),
            on_order(receipt("r", "berlin", "A", 7)),
            correction("c", "berlin", "A", (SOURCE, "r")),
        ];
        for fact in order {
            server.record_one(facts[fact].clone()).await.recorded();
        }
        assert_eq!(stock(&server).await, (0, 10), "{order:?}");
    }
}
