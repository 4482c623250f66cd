//! F10 and F13: what comes back, and what is exchanged.

use stockroom::api::proto::{EntryFlag, Movement, MovementKind, StockState};

use crate::harness::{
    movements::{Became as _, linked_return, movement, receipt, sale},
    server::{SOURCE, Server},
};

async fn chain() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris", "warehouse"]).await;
    server.put_channel("web").await;
    server
}

fn group(group: &str, movement: Movement) -> Movement {
    Movement { group: group.to_owned(), ..movement }
}

#[tokio::test]
async fn f10_a_return_in_another_shop_is_posted_where_it_is_received() {
    let server = chain().await;
    server.record(vec![receipt("r", "berlin", "A", 5), sale("s", "berlin", "A", 2)]).await;
    let back = linked_return("b", "paris", "A", 2, (SOURCE, "s"));
    let posted = server.record_as("till-paris", vec![back]).await.results[0].recorded();
    assert!(posted.flags.is_empty(), "exactly what was sold: {posted:?}");
    assert_eq!(server.sellable("berlin", "A").await, 3);
    assert_eq!(server.sellable("paris", "A").await, 2);
    let entry = server.entries_of("paris", "A").await.remove(0);
    let sold = &server.entries_of("berlin", "A").await[1];
    assert_eq!(entry.counter_location_id, "berlin");
    assert_eq!(entry.counter_seq, sold.seq, "it names the sale");
    assert_eq!(entry.original.unwrap().key, "s");
}

#[tokio::test]
async fn f10_a_return_may_name_what_any_channel_sold() {
    let server = chain().await;
    let shipped = Movement {
        channel_id: "web".to_owned(),
        ..movement(MovementKind::ShipOut, "order-1", "warehouse", "A", 1)
    };
    server.record_as("wms", vec![receipt("r", "warehouse", "A", 1), shipped]).await;
    let back = Movement {
        to_state: StockState::Blocked as i32,
        ..linked_return("b", "berlin", "A", 1, ("wms", "order-1"))
    };
    assert!(server.record_one(back).await.recorded().flags.is_empty());
    let position = server.position("berlin", "A").await;
    assert_eq!((position.sellable, position.blocked), (0, 1));
}

#[tokio::test]
async fn f10_more_than_was_sold_is_recorded_and_flagged() {
    let server = chain().await;
    server.record(vec![receipt("r", "berlin", "A", 5), sale("s", "berlin", "A", 2)]).await;
    let part = linked_return("b1", "paris", "A", 1, (SOURCE, "s"));
    assert!(server.record_one(part).await.recorded().flags.is_empty());
    let over = linked_return("b2", "berlin", "A", 2, (SOURCE, "s"));
    let posted = server.record_one(over.clone()).await.recorded();
    assert_eq!(posted.flags, [EntryFlag::OverReturn as i32]);
    assert_eq!(server.sellable("berlin", "A").await, 5, "the units are there, so they count");
    let replay = server.record_one(over).await.duplicate();
    assert_eq!(replay, posted, "sent again: the first answer, with its flag");
}

#[tokio::test]
async fn f10_a_return_may_come_before_the_sale_that_it_names() {
    let server = chain().await;
    let back = linked_return("b", "paris", "A", 3, ("till-berlin", "s"));
    let posted = server.record_one(back).await.recorded();
    assert_eq!(posted.flags, [EntryFlag::AwaitsOriginal as i32]);
    let sold = server.record_as("till-berlin", vec![sale("s", "paris", "A", 2)]).await;
    let flags = sold.results[0].recorded().flags;
    assert_eq!(flags, [EntryFlag::OverReturn as i32], "three came back of two");
    assert_eq!(server.sellable("paris", "A").await, 1);
}

#[tokio::test]
async fn f10_a_return_that_was_corrected_no_longer_counts() {
    let server = chain().await;
    server.record(vec![receipt("r", "berlin", "A", 5), sale("s", "berlin", "A", 1)]).await;
    server.record_one(linked_return("b1", "paris", "A", 1, (SOURCE, "s"))).await.recorded();
    let correction = crate::harness::movements::correction("c", "paris", "A", (SOURCE, "b1"));
    server.record_one(correction).await.recorded();
    let again = linked_return("b2", "paris", "A", 1, (SOURCE, "s"));
    assert!(server.record_one(again).await.recorded().flags.is_empty());
    assert_eq!(server.sellable("paris", "A").await, 1);
}

#[tokio::test]
async fn f13_an_exchange_is_one_step() {
    let server = chain().await;
    server.record(vec![receipt("r1", "berlin", "A", 1), receipt("r2", "berlin", "B", 1)]).await;
    server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
    let exchange = vec![
        group("x", linked_return("x1", "berlin", "A", 1, (SOURCE, "s"))),
        group("x", sale("x2", "berlin", "B", 1)),
    ];
    let first = server.record(exchange.clone()).await;
    let posted: Vec<_> = first.results.iter().map(|result| result.recorded()).collect();
    assert_eq!(posted[0].recorded_at, posted[1].recorded_at, "one transaction");
    assert_eq!(posted[0].seq + 1, posted[1].seq);
    assert_eq!(server.sellable("berlin", "A").await, 1);
    assert_eq!(server.sellable("berlin", "B").await, 0);
    let replay = server.record(exchange.clone()).await;
    let again: Vec<_> = replay.results.iter().map(|result| result.duplicate()).collect();
    assert_eq!(again, posted);
    assert_eq!(server.entries().await.iter().filter(|entry| entry.group == "x").count(), 2);
    let spoiler = group("x", sale("x3", "berlin", "B", 0));
    let results = server.record([exchange, vec![spoiler]].concat()).await.results;
    assert_eq!(results[0].duplicate(), posted[0], "a known key is answered whatever came with it");
}

#[tokio::test]
async fn f13_an_exchange_with_one_bad_line_is_not_posted_at_all() {
    let server = chain().await;
    server.record_one(receipt("r", "berlin", "A", 1)).await.recorded();
    server.put_item("bag", false).await;
    for (name, bad) in [
        ("malformed", sale("x2", "berlin", "B", 0)),
        ("no stock is kept", sale("x3", "berlin", "bag", 1)),
        ("already used", sale("r", "berlin", "A", 9)),
    ] {
        let back = movement(MovementKind::Return, "x1", "berlin", "A", 1);
        let back = Movement { reason: "unwanted".to_owned(), ..back };
        let lines = vec![group("x", back), group("x", bad), sale(name, "berlin", "A", 1)];
        let results = server.record(lines).await.results;
        assert_eq!(results[0].rejected("GROUP_REFUSED").metadata["group"], "x");
        assert!(results[1].error.is_some(), "{name}");
        results[2].recorded();
    }
    assert_eq!(server.sellable("berlin", "A").await, -2, "only the lines beside it");
    assert!(server.entries().await.iter().all(|entry| entry.group.is_empty()));
}

#[tokio::test]
async fn f13_an_exchange_over_two_locations_is_all_or_nothing_too() {
    let server = chain().await;
    server.record(vec![receipt("r", "warehouse", "B", 1)]).await;
    let back = movement(MovementKind::Return, "x1", "berlin", "A", 1);
    let back = Movement { reason: "unwanted".to_owned(), ..back };
    let sent = movement(MovementKind::ShipOut, "x2", "warehouse", "B", 1);
    let spoiled = Movement { occurred_at: Some(prost_types::Timestamp::default()), ..sent.clone() };
    let refused = server.record(vec![group("x", back.clone()), group("x", spoiled)]).await.results;
    refused[0].rejected("GROUP_REFUSED");
    refused[1].rejected("OCCURRED_AT_OUT_OF_RANGE");
    assert_eq!(server.entries().await.len(), 1);
    let done = server.record(vec![group("x", back), group("x", sent)]).await.results;
    assert_eq!(done[0].recorded().recorded_at, done[1].recorded().recorded_at);
    assert_eq!(server.sellable("berlin", "A").await, 1);
    assert_eq!(server.sellable("warehouse", "B").await, 0);
}
