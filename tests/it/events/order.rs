//! Receivers that are slow, fail, or give up.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use stockroom::api::proto::{
    DismissDeadLettersRequest, EventType, GetWebhookRequest, ListDeadLettersRequest,
    ListDeadLettersResponse, ReplayDeadLettersRequest,
};

use crate::harness::{
    movements::{receipt, sale},
    receiver::{Receiver, Reply, quick, webhook},
    server::{Server, eventually},
};

const BOTH: [EventType; 2] = [EventType::OutOfStock, EventType::BackInStock];

/// In and out of stock, again and again.
async fn up_and_down(server: &Server, sku: &str, times: usize) {
    let pair = |n: usize| {
        let (into, out) = (format!("{sku}r{n}"), format!("{sku}s{n}"));
        [receipt(&into, "berlin", sku, 1), sale(&out, "berlin", sku, 1)]
    };
    server.record((0..times).flat_map(pair).collect()).await;
}

async fn dead_letters(server: &Server, webhook_id: &str) -> ListDeadLettersResponse {
    let request =
        ListDeadLettersRequest { webhook_id: webhook_id.to_owned(), ..Default::default() };
    server.events().list_dead_letters(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn events_of_a_position_arrive_in_order_though_attempts_fail_and_take_their_time() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let mut number = 0u64;
    let receiver = Receiver::start_as(move |_| {
        number += 1;
        let delay = Duration::from_millis(number * 7 % 23);
        Reply { delay, ..Reply::status(if number.is_multiple_of(3) { 503 } else { 200 }) }
    })
    .await;
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let mut options = quick();
    options.backoff.attempts_max = 30;
    let _delivery =
        stockroom::feed::deliver::Delivery::start(server.ledger.clone(), options).unwrap();
    let skus = ["A", "B", "C", "D"];
    for sku in skus {
        up_and_down(&server, sku, 15).await;
    }
    receiver
        .wait_until("all events", |received| {
            let ids: std::collections::BTreeSet<_> =
                received.iter().map(|received| &received.id).collect();
            ids.len() == 120
        })
        .await;
    let mut seqs: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for received in receiver.received() {
        let subject = received.event["subject"].as_str().unwrap().to_owned();
        let seq = received.data()["entry"]["seq"].as_u64().unwrap();
        seqs.entry(subject).or_default().push(seq);
    }
    for (subject, mut seqs) in seqs {
        assert!(seqs.is_sorted(), "{subject}: {seqs:?}");
        seqs.dedup();
        assert_eq!(seqs.len(), 30, "{subject}");
    }
    assert_eq!(dead_letters(&server, "shop").await.dead_letters.len(), 0);
}

#[tokio::test]
async fn what_is_refused_again_and_again_becomes_a_dead_letter_and_can_be_sent_again() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let refuses = |received: &crate::harness::receiver::Received| {
        Reply::status(if received.event["subject"] == "berlin/A" { 400 } else { 200 })
    };
    let receiver = Receiver::start_as(refuses).await;
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let _delivery = server.deliver();
    up_and_down(&server, "A", 1).await;
    up_and_down(&server, "B", 3).await;
    let letters = eventually("two dead letters", || async {
        let letters = dead_letters(&server, "shop").await.dead_letters;
        (letters.len() == 2).then_some(letters)
    })
    .await;
    let received = receiver.received();
    let sent_to = |subject: &str| {
        received.iter().filter(|received| received.event["subject"] == subject).count()
    };
    assert_eq!((sent_to("berlin/A"), sent_to("berlin/B")), (6, 6), "others do not wait");
    assert_eq!(letters[0].event_type(), EventType::BackInStock);
    assert_eq!((letters[0].attempts, letters[0].failed_status), (3, 400));
    assert_eq!(letters[0].failure, "answered with status 400");
    let first = received.iter().find(|received| received.id == letters[0].event_id).unwrap();
    assert_eq!(letters[0].body, first.body, "as it was sent");
    let progress = server.progress("shop").await;
    assert_eq!((progress.dead_letters, progress.failed_status), (2, 400));

    receiver.behave(|_| Reply::status(200));
    let replay = |event_ids| ReplayDeadLettersRequest { webhook_id: "shop".to_owned(), event_ids };
    let replayed = server.events().replay_dead_letters(replay(vec![])).await.unwrap();
    assert_eq!(replayed.into_inner().replayed, 2);
    let received = receiver.wait_for(14).await;
    let again: Vec<_> = received[12..].iter().map(|received| &received.id).collect();
    assert_eq!(again, [&letters[0].event_id, &letters[1].event_id], "in order, as they were");
    eventually("none is left", || async {
        let progress = server.progress("shop").await;
        (progress.dead_letters == 0 && progress.events_waiting == 0).then_some(())
    })
    .await;
    let nothing = server.events().replay_dead_letters(replay(vec!["1-2-3".to_owned()])).await;
    assert_eq!(nothing.unwrap().into_inner().replayed, 0);
}

#[tokio::test]
async fn dead_letters_are_dismissed_by_id() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let receiver = Receiver::start_as(|_| Reply::status(500)).await;
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let _delivery = server.deliver();
    up_and_down(&server, "A", 1).await;
    let letters = eventually("two dead letters", || async {
        let letters = dead_letters(&server, "shop").await.dead_letters;
        (letters.len() == 2).then_some(letters)
    })
    .await;
    let request = DismissDeadLettersRequest {
        webhook_id: "shop".to_owned(),
        event_ids: vec![letters[0].event_id.clone()],
    };
    let dismissed = server.events().dismiss_dead_letters(request).await.unwrap();
    assert_eq!(dismissed.into_inner().dismissed, 1);
    assert_eq!(dead_letters(&server, "shop").await.dead_letters, letters[1..]);
}

#[tokio::test]
async fn a_receiver_that_says_when_is_not_asked_before() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let mut first = None;
    let receiver = Receiver::start_as(move |_| {
        let begun = *first.get_or_insert_with(Instant::now);
        match begun.elapsed() < Duration::from_millis(950) {
            true => Reply { headers: vec![("retry-after", "1".to_owned())], ..Reply::status(429) },
            false => Reply::status(200),
        }
    })
    .await;
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let mut options = quick();
    options.backoff.longest = 5_000_000;
    let _delivery =
        stockroom::feed::deliver::Delivery::start(server.ledger.clone(), options).unwrap();
    server.record(vec![receipt("r", "berlin", "A", 1)]).await;
    eventually("it is taken", || async {
        let progress = server.progress("shop").await;
        let done = progress.events_waiting == 0 && progress.entries_behind == 0;
        (done && receiver.received().len() > 1).then_some(())
    })
    .await;
    assert_eq!(receiver.received().len(), 2, "once too early, then when it said");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more_until_it_is_put_again() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let receiver = Receiver::start_as(|_| Reply::status(410)).await;
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let _delivery = server.deliver();
    server.record(vec![receipt("r", "berlin", "A", 1)]).await;
    let get = || async {
        let request = GetWebhookRequest { webhook_id: "shop".to_owned() };
        server.events().get_webhook(request).await.unwrap().into_inner().webhook.unwrap()
    };
    eventually("it is disabled", || async {
        let webhook = get().await;
        (webhook.enabled == Some(false) && webhook.disabled_reason == "gone").then_some(())
    })
    .await;
    server.record(vec![sale("s", "berlin", "A", 1)]).await;
    receiver.behave(|_| Reply::status(200));
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let received = receiver.wait_for(3).await;
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].id, received[1].id, "it goes on where it stood");
    assert_eq!(get().await.disabled_reason, "");
}

#[tokio::test]
async fn two_servers_share_the_work_and_one_takes_over_from_the_other() {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris", "rome", "oslo"]).await;
    let receiver = Receiver::start().await;
    server.put_webhook(webhook("shop", &receiver.url, &BOTH)).await;
    let (first, second) = (server.deliver(), server.deliver());
    let places = ["berlin", "paris", "rome", "oslo"];
    let stock = |round: usize| {
        places
            .iter()
            .map(|place| receipt(&format!("r{round}"), place, &format!("A{round}"), 1))
            .collect()
    };
    server.record(stock(0)).await;
    receiver.wait_for(4).await;
    first.stop().await;
    server.record(stock(1)).await;
    receiver.wait_for(8).await;
    second.stop().await;
    let _third = server.deliver();
    server.record(stock(2)).await;
    let received = receiver.wait_for(12).await;
    let ids: std::collections::BTreeSet<_> = received.iter().map(|received| &received.id).collect();
    assert_eq!(ids.len(), received.len(), "nobody died, so nothing came twice");
}
