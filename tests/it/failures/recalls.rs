//! F11 and F12: an item is recalled, and what becomes of it everywhere.

use std::time::{Duration, Instant};

use stockroom::api::proto::{
    BlockItemRequest, BlockItemResponse, EntryFlag, EventType, Location, Movement, MovementKind,
    PutLocationRequest, StockState, UnblockItemRequest, WatchAvailabilityRequest,
};
use tonic::Code;

use crate::harness::{
    errors::explained,
    live::{Live, watch},
    movements::{Became as _, linked_return, movement, receipt, sale},
    receiver::{Receiver, webhook},
    reservations::{create, line},
    server::{SOURCE, Server},
};

const SOLD: &str = "stockroom.movement.recalled_sold";

async fn shops() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["berlin", "paris"]).await;
    for channel in ["web", "app", "till"] {
        server.put_channel(channel).await;
    }
    server.record(vec![receipt("r1", "berlin", "jam", 10), receipt("r2", "paris", "jam", 5)]).await;
    server.record(vec![receipt("r3", "berlin", "tea", 10)]).await;
    server
}

async fn recall(server: &Server, sku: &str) -> BlockItemResponse {
    let request = BlockItemRequest {
        sku: sku.to_owned(),
        actor: "quality".to_owned(),
        note: "glass in it".to_owned(),
    };
    server.network().block_item(request).await.unwrap().into_inner()
}

fn stock(position: &stockroom::api::proto::Position) -> (i64, i64, i64) {
    (position.sellable, position.staged, position.blocked)
}

#[tokio::test]
async fn f11_what_is_returned_of_a_recalled_item_is_blocked_whatever_the_clerk_chose() {
    let server = shops().await;
    server.record_one(sale("s1", "berlin", "jam", 4)).await.recorded();
    recall(&server, "jam").await;
    let shelf = StockState::Sellable as i32;
    let linked = linked_return("b1", "paris", "jam", 1, (SOURCE, "s1"));
    let unlinked = Movement {
        reason: "unwanted".to_owned(),
        ..movement(MovementKind::Return, "b2", "berlin", "jam", 1)
    };
    for back in [linked, unlinked] {
        let back = Movement { to_state: shelf, ..back };
        let posted = server.record_one(back).await.recorded();
        assert_eq!(posted.flags, [EntryFlag::Recalled as i32]);
    }
    // What is delivered or found is no better.
    server.record_one(receipt("r9", "berlin", "jam", 7)).await.recorded();
    assert_eq!(stock(&server.position("berlin", "jam").await), (0, 0, 6 + 1 + 7));
    assert_eq!(stock(&server.position("paris", "jam").await), (0, 0, 5 + 1));
    let entry = server.entries_of("paris", "jam").await.pop().unwrap();
    assert_eq!(entry.to_state(), StockState::Blocked);
    // Of other items the clerk decides.
    server.record_one(sale("s2", "berlin", "tea", 1)).await.recorded();
    let tea = linked_return("b3", "berlin", "tea", 1, (SOURCE, "s2"));
    server.record_one(Movement { to_state: shelf, ..tea }).await.recorded();
    assert_eq!(server.sellable("berlin", "tea").await, 10);
}

#[tokio::test]
async fn f12_a_recall_blocks_an_item_everywhere_and_names_and_freezes_its_promises() {
    let server = shops().await;
    let old = server.reserve("k1", "berlin", "jam", 2).await.unwrap().reservation_id;
    let request = create("k2", "berlin", vec![line("jam", 1), line("tea", 1)]);
    let new = server.create(request).await.unwrap().reservation_id;
    server.start_picking("k3", &new).await.unwrap();
    let tea = server.reserve("k4", "berlin", "tea", 1).await.unwrap().reservation_id;
    let (held, _) = server.hold_one("h1", "paris", "jam", 2).await.unwrap();

    let told = recall(&server, "jam").await;
    assert!(told.item.unwrap().recalled_at.is_some());
    let mut blocked: Vec<_> =
        told.blocked.iter().map(|at| (at.location_id.as_str(), at.quantity)).collect();
    blocked.sort_unstable();
    assert_eq!(blocked, [("berlin", 10), ("paris", 5)]);
    let named: Vec<_> = told.reservations.iter().map(|made| made.reservation_id.clone()).collect();
    assert_eq!((named, told.reservations_total), (vec![new.clone(), old.clone()], 2));
    let holds: Vec<_> =
        told.holds.iter().map(|held| (held.hold_id.clone(), held.quantity)).collect();
    assert_eq!(holds, [(held.hold_id.clone(), 2)]);

    // Nothing more is promised on any channel, and nothing is handed over.
    for channel in ["web", "app", "till"] {
        assert_eq!(server.available_to(channel, "paris", "jam").await, 0);
    }
    let frozen = |refused| explained(&refused, Code::FailedPrecondition, "ITEM_RECALLED");
    frozen(server.reserve("k5", "paris", "jam", 1).await.unwrap_err());
    frozen(server.hold_one("h2", "paris", "jam", 1).await.unwrap_err());
    frozen(server.start_picking("k6", &old).await.unwrap_err());
    frozen(server.mark_ready("k7", &new).await.unwrap_err());
    frozen(server.collect("k8", &new).await.unwrap_err());
    frozen(server.move_to("k9", &old, "paris").await.unwrap_err());
    server.start_picking("k10", &tea).await.unwrap();
    server.cancel("k11", &old).await.unwrap();
    // Repeated, it is answered as it stands now.
    let again = recall(&server, "jam").await;
    assert_eq!((again.blocked.len(), again.reservations_total), (0, 1));

    let request = UnblockItemRequest { sku: "jam".to_owned() };
    let ended = server.network().unblock_item(request).await.unwrap().into_inner();
    assert!(ended.item.unwrap().recalled_at.is_none());
    let back = movement(MovementKind::Unblock, "u1", "paris", "jam", 5);
    server.record_one(back).await.recorded();
    server.release_hold("e1", &held.hold_id).await.unwrap();
    server.reserve("k12", "paris", "jam", 5).await.unwrap();
}

#[tokio::test]
async fn f12_a_sale_after_the_recall_is_recorded_and_marked() {
    let server = shops().await;
    recall(&server, "jam").await;
    let posted = server.record_one(sale("s1", "berlin", "jam", 1)).await.recorded();
    assert_eq!(posted.flags, [EntryFlag::Recalled as i32]);
    assert_eq!(stock(&server.position("berlin", "jam").await), (-1, 0, 10));
    // A count does not make it promisable either.
    let counted = movement(MovementKind::Count, "c1", "berlin", "jam", 3);
    server.record_one(counted).await.recorded();
    assert_eq!(server.available("berlin", "jam").await, 0);
    let refused = server.reserve("k1", "berlin", "jam", 1).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "ITEM_RECALLED");
}

#[tokio::test]
async fn f12_what_was_aside_is_blocked_when_it_comes_back_to_the_shelf() {
    let server = shops().await;
    let id = server.reserve("k1", "berlin", "jam", 3).await.unwrap().reservation_id;
    server.start_picking("k2", &id).await.unwrap();
    server.mark_ready("k3", &id).await.unwrap();
    recall(&server, "jam").await;
    assert_eq!(stock(&server.position("berlin", "jam").await), (0, 3, 7));
    server.cancel("k4", &id).await.unwrap();
    server.return_to_shelf("k5", &id).await.unwrap();
    assert_eq!(stock(&server.position("berlin", "jam").await), (0, 0, 10));
    assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}

#[tokio::test]
async fn f12_another_server_refuses_as_soon_as_it_looks_at_what_changed() {
    let server = shops().await;
    let other = Server::start_on(&server.database_url).await;
    let id = other.reserve("k1", "berlin", "jam", 1).await.unwrap().reservation_id;
    recall(&server, "jam").await;
    // Nothing is sellable, whatever the other one knows.
    assert!(other.reserve("k2", "paris", "jam", 1).await.is_err());
    other.ledger.directory().refresh().await.unwrap();
    let refused = other.collect("k3", &id).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "ITEM_RECALLED");
    // One that starts now knows it from the beginning.
    let third = Server::start_on(&server.database_url).await;
    let refused = third.collect("k4", &id).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "ITEM_RECALLED");
    third.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn f12_an_item_that_nobody_knows_cannot_be_recalled() {
    let server = shops().await;
    let request = BlockItemRequest { sku: "rye".to_owned(), ..BlockItemRequest::default() };
    let unknown = server.network().block_item(request).await.unwrap_err();
    explained(&unknown, Code::NotFound, "ITEM_UNKNOWN");
    let request = BlockItemRequest { sku: " ".to_owned(), ..BlockItemRequest::default() };
    let malformed = server.network().block_item(request).await.unwrap_err();
    explained(&malformed, Code::InvalidArgument, "SKU_INVALID");
}

#[tokio::test]
async fn f12_a_sale_after_the_recall_raises_an_alarm() {
    let (server, receiver) = (shops().await, Receiver::start().await);
    let alarms = [EventType::Recall, EventType::RecalledSold];
    server.put_webhook(webhook("alarm", &receiver.url, &alarms)).await;
    let _delivery = server.deliver();
    recall(&server, "jam").await;
    server.record_one(sale("s1", "berlin", "jam", 2)).await.recorded();
    let received = receiver.wait_until("the alarm", |received| received.len() >= 3).await;
    let sold = received.iter().find(|received| received.event["type"] == SOLD).unwrap();
    assert_eq!(sold.event["subject"], "berlin/jam");
    assert_eq!(sold.event["data"]["quantity"], 2);
}

/// One item at 500 locations with 2,000 open reservations.
#[tokio::test]
async fn f12_a_recall_takes_effect_on_every_channel_within_a_second() {
    let server = shops().await;
    let names: Vec<_> = (0..500).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        let location = Location { location_id: name.clone(), ..Location::default() };
        let request = PutLocationRequest { location: Some(location) };
        server.network().put_location(request).await.unwrap();
    }
    let stocked = names.iter().map(|name| receipt("r", name, "jam", 10)).collect();
    server.record(stocked).await.results.iter().for_each(|result| drop(result.recorded()));
    for round in 0..4 {
        let reserve = |name: &String| {
            let (server, key, name) = (&server, format!("k{round}"), name.clone());
            async move { server.reserve(&key, &name, "jam", 1).await.unwrap() }
        };
        for part in names.chunks(50) {
            futures::future::join_all(part.iter().map(reserve)).await;
        }
    }
    let mut watchers = Vec::new();
    for channel in ["web", "app", "till"] {
        let channel_id = channel.to_owned();
        let request = WatchAvailabilityRequest { channel_id, ..watch(&[], &["jam"]) };
        watchers.push(Live::begin(&server, request).await);
    }
    let begun = Instant::now();
    let told = recall(&server, "jam").await;
    for live in &mut watchers {
        while live.known.values().any(|pair| pair.available > 0) {
            live.next().await;
        }
    }
    let took = begun.elapsed();
    assert_eq!((told.blocked.len(), told.reservations_total), (502, 2_000));
    assert_eq!(told.reservations.len(), 1_000);
    println!("a recall at 502 locations with 2,000 reservations took effect in {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}
