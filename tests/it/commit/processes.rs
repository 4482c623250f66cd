//! Several servers on one ledger; servers that are killed or frozen.
#![expect(clippy::disallowed_types, reason = "states a deadline as a client does")]

use std::{collections::HashMap, time::Duration};

use futures::StreamExt as _;
use stockroom::api::proto::{
    MovementStatus, SyncMovementsRequest, movement_service_client::MovementServiceClient,
};
use tokio::time::Instant;

use crate::harness::{
    binary::Binary,
    movements::{Became as _, put_request, sale, sync_request},
    proxy::{Cut, Proxy},
    server::{SOURCE, Server, eventually, migrated_database},
};

#[tokio::test]
async fn two_servers_record_each_key_once() {
    let first = Server::start().await;
    let second = Server::start_on(&first.database_url).await;
    first.put_locations(&["berlin", "paris"]).await;
    let line = |number: usize| {
        let place = if number.is_multiple_of(2) { "berlin" } else { "paris" };
        sale(&format!("s{number}"), place, "A", 1)
    };
    let sends = (0..20).flat_map(|batch| {
        let forward = (batch * 3..batch * 3 + 10).map(line).collect();
        let backward = (batch * 3..batch * 3 + 10).rev().map(line).collect();
        [first.record(forward), second.record(backward)]
    });
    let responses = futures::future::join_all(sends).await;
    let mut answers: HashMap<_, Vec<_>> = HashMap::new();
    for result in responses.into_iter().flat_map(|response| response.results) {
        answers.entry(result.key.clone()).or_default().push(result);
    }
    assert_eq!(answers.len(), 67);
    for (key, answers) in answers {
        let recorded = answers.iter().filter(|r| r.status() == MovementStatus::Recorded).count();
        assert_eq!(recorded, 1, "{key}");
        assert!(answers.iter().all(|answer| answer.entry == answers[0].entry), "{key}");
    }
    assert_eq!(first.sellable("berlin", "A").await + second.sellable("paris", "A").await, -67);
    let entries = first.entries().await;
    assert_eq!(entries.len(), 67);
}

fn day() -> Vec<SyncMovementsRequest> {
    let message = |message: usize| {
        let line = |line: usize| sale(&format!("{message}/{line}"), "berlin", "A", 1);
        sync_request(SOURCE, (0..20).map(line).collect())
    };
    (0..150).map(message).collect()
}

#[tokio::test]
async fn a_server_killed_in_mid_stream_leaves_each_key_with_one_effect() {
    let watcher = Server::start().await;
    watcher.put_locations(&["berlin"]).await;
    let mut server = Binary::start(&watcher.database_url).await;
    let mut client = MovementServiceClient::new(server.connection());
    let stream = client.sync_movements(tokio_stream::iter(day())).await.unwrap();
    let mut stream = stream.into_inner();
    let mut first_answers = HashMap::new();
    while let Ok(Some(response)) = stream.message().await {
        for result in response.results {
            first_answers.insert(result.key.clone(), result.recorded());
        }
        if first_answers.len() == 200 {
            server.kill();
        }
    }
    assert!((200..3_000).contains(&first_answers.len()), "killed in the middle");

    let server = Binary::start(&watcher.database_url).await;
    let mut client = MovementServiceClient::new(server.connection());
    let stream = client.sync_movements(tokio_stream::iter(day())).await.unwrap();
    let responses: Vec<_> = stream.into_inner().collect().await;
    for result in responses.into_iter().flat_map(|response| response.unwrap().results) {
        match first_answers.get(&result.key) {
            Some(first) => assert_eq!(result.duplicate(), *first, "the first answer"),
            None => assert!(result.entry.is_some(), "{result:?}"),
        }
    }
    assert_eq!(watcher.sellable("berlin", "A").await, -3_000);
    assert_eq!(watcher.position("berlin", "A").await.version, 3_000, "one entry each");
}

#[tokio::test]
async fn a_server_frozen_in_mid_transaction_does_not_stop_the_others() {
    let url = migrated_database().await;
    let proxy = Proxy::start(&url).await;
    let frozen = Binary::start(&proxy.url(&url)).await;
    let server = Server::start_on(&url).await;
    server.put_locations(&["berlin"]).await;
    server.record_one(sale("before", "berlin", "A", 1)).await.recorded();
    proxy.trap("insert into ledger_entry", Cut::Hold, 1);
    let mut client = MovementServiceClient::new(frozen.connection());
    let doomed = tokio::spawn(async move {
        client.record_movements(put_request(SOURCE, vec![sale("s", "berlin", "A", 1)])).await
    });
    eventually("it holds the head", || async { (proxy.sprung() == 1).then_some(()) }).await;
    frozen.freeze();

    let started = Instant::now();
    let mut request = tonic::Request::new(put_request(SOURCE, vec![sale("s", "berlin", "A", 1)]));
    request.set_timeout(Duration::from_secs(15));
    let response = server.movements().record_movements(request).await.unwrap().into_inner();
    response.results[0].recorded();
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    assert_eq!(server.sellable("berlin", "A").await, -2);
    doomed.abort();
}
