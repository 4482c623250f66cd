//! What a source sends in order is decided in order, also where a movement is about two partitions.

use futures::StreamExt as _;
use stockroom::api::proto::{Movement, MovementKind, MovementResult};

use crate::harness::{
    movements::{Became as _, linked_return, movement, receipt, sale, sync_request},
    server::{SOURCE, Server},
};

/// Receipt, transfer to another partition, sale: each sees what was before it.
fn lines(round: usize) -> [Movement; 3] {
    let key = |kind: &str| format!("{kind}{round}");
    let ship = Movement {
        to_location_id: "berlin".to_owned(),
        ..movement(MovementKind::TransferShip, &key("t"), "warehouse", "A", 4)
    };
    [receipt(&key("r"), "warehouse", "A", 10), ship, sale(&key("s"), "warehouse", "A", 1)]
}

fn assert_in_order(results: &[MovementResult]) {
    let after: Vec<_> = results.iter().map(|result| result.recorded().sellable_after).collect();
    let step = [10, -4, -1];
    let expected: Vec<i64> = step
        .iter()
        .cycle()
        .take(after.len())
        .scan(0, |sellable, change| {
            *sellable += change;
            Some(*sellable)
        })
        .collect();
    assert_eq!(after, expected);
}

async fn chain() -> Server {
    let server = Server::start().await;
    server.put_locations(&["warehouse", "berlin"]).await;
    server
}

#[tokio::test]
async fn lines_of_a_report_are_decided_in_order_although_one_is_about_two_partitions() {
    let server = chain().await;
    let results = server.record((0..3).flat_map(lines).collect()).await.results;
    assert_in_order(&results);
    let shipped = &server.entries_of("warehouse", "A").await[1];
    let arrived = &server.entries_of("berlin", "A").await[0];
    assert_ne!(shipped.partition, arrived.partition, "or this test shows nothing");
}

#[tokio::test]
async fn messages_of_a_stream_are_decided_in_order_although_some_are_about_two_partitions() {
    let server = chain().await;
    let messages = (0..8).flat_map(lines).map(|line| sync_request(SOURCE, vec![line]));
    let messages = tokio_stream::iter(messages.collect::<Vec<_>>());
    let stream = server.movements().sync_movements(messages).await.unwrap().into_inner();
    let results: Vec<_> =
        stream.map(|response| response.unwrap().results.remove(0)).collect().await;
    assert_in_order(&results);
}

#[tokio::test]
async fn a_return_finds_its_sale_of_another_shop_in_the_same_report() {
    let server = chain().await;
    for round in 0..8 {
        let key = format!("sale{round}");
        let back = linked_return(&format!("back{round}"), "berlin", "A", 2, (SOURCE, &key));
        let results = server.record(vec![sale(&key, "warehouse", "A", 1), back]).await.results;
        results[0].recorded();
        assert_eq!(results[1].recorded().flags, [1], "OVER_RETURN: it knows what was sold");
    }
}
