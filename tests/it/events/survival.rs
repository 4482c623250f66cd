//! Nothing is lost, whoever dies when.

use std::{collections::BTreeSet, time::Duration};

use stockroom::api::proto::EventType;

use crate::harness::{
    binary::Binary,
    movements::{receipt, sale},
    receiver::{Receiver, Reply, webhook},
    server::Server,
};

const ITEMS: usize = 120;

#[tokio::test]
async fn every_event_arrives_although_the_server_is_killed_again_and_again() {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin", "paris"]).await;
    let item = |number: usize| format!("item-{number}");
    let place = |number: usize| if number.is_multiple_of(2) { "berlin" } else { "paris" };
    let stock = |number| receipt(&format!("r{number}"), place(number), &item(number), 1);
    server.record((0..ITEMS).map(stock).collect()).await;
    server.put_webhook(webhook("shop", &receiver.url, &[EventType::OutOfStock])).await;
    // Slow, so that there is always something under way.
    receiver.behave(|_| Reply { delay: Duration::from_millis(20), ..Reply::status(200) });
    let sell = |number| sale(&format!("s{number}"), place(number), &item(number), 1);
    server.record((0..ITEMS).map(sell).collect()).await;
    let told = |receiver: &Receiver| -> BTreeSet<String> {
        let subject = |event: &serde_json::Value| event["subject"].as_str().unwrap().to_owned();
        receiver.received().iter().map(|received| subject(&received.event)).collect()
    };
    let mut kills = 0;
    let mut sent_by_killed = 0;
    while told(&receiver).len() < ITEMS {
        let settings = ["--webhook-allow-private", "--event-retry-ms", "20"];
        let mut binary = Binary::start_and(&server.database_url, &settings, &[]).await;
        let before = receiver.received().len();
        let enough = if kills < 2 { before + 15 } else { usize::MAX };
        receiver
            .wait_until("more events", |received| {
                received.len() >= enough || told(&receiver).len() == ITEMS
            })
            .await;
        sent_by_killed += receiver.received().len() - before;
        binary.kill();
        kills += 1;
    }
    assert!(kills > 2, "it was killed {kills} times");
    let received = receiver.received();
    assert!(sent_by_killed >= ITEMS);
    // Sent again under the same id, and with the same words.
    let ids: BTreeSet<_> = received.iter().map(|received| &received.id).collect();
    let words: BTreeSet<_> = received.iter().map(|received| &received.body).collect();
    assert_eq!((ids.len(), words.len()), (ITEMS, ITEMS), "of {} sent", received.len());
}

#[tokio::test]
async fn a_new_epoch_stops_nobody_and_nothing_is_lost() {
    let (server, receiver) = (Server::start().await, Receiver::start().await);
    server.put_locations(&["berlin"]).await;
    server.put_webhook(webhook("shop", &receiver.url, &[EventType::OutOfStock])).await;
    let _delivery = server.deliver();
    let sell_out = |n: usize| {
        let sku = format!("A{n}");
        vec![
            receipt(&format!("r{n}"), "berlin", &sku, 1),
            sale(&format!("s{n}"), "berlin", &sku, 1),
        ]
    };
    for n in 0..20 {
        server.record(sell_out(n)).await;
        if n % 7 == 3 {
            server.ledger.bump_epoch().await.unwrap();
        }
    }
    let told = receiver
        .wait_until("all", |received| {
            let ids: BTreeSet<_> = received.iter().map(|received| &received.id).collect();
            ids.len() == 20
        })
        .await;
    let words: BTreeSet<_> = told.iter().map(|received| &received.body).collect();
    assert_eq!(words.len(), 20, "the same under the same id");
}
