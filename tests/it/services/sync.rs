//! SyncMovements: order, window, one source, resume points.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use stockroom::api::proto::{Movement, MovementStatus, SyncMovementsRequest};
use tonic::Code;

use crate::harness::{
    databases::lock_heads,
    errors::explained,
    movements::{Became as _, sale, sync_request},
    server::{SOURCE, Server},
};

const LOCATIONS: [&str; 4] = ["berlin", "paris", "rome", "madrid"];

async fn chain() -> Server {
    let server = Server::start().await;
    server.put_locations(&LOCATIONS).await;
    server
}

async fn resume_key(server: &Server, source: &str) -> String {
    let requests = tokio_stream::iter([sync_request(source, Vec::new())]);
    let response = server.movements().sync_movements(requests).await.unwrap();
    let response = response.into_inner().message().await.unwrap().unwrap();
    assert!(response.results.is_empty());
    response.resume_key
}

#[tokio::test]
async fn answers_come_in_the_order_of_the_requests_whatever_their_partition() {
    let server = chain().await;
    let requests = (0..60).map(|number| {
        let lines = (0..=number % 3)
            .map(|line| sale(&format!("{number}/{line}"), LOCATIONS[(number + line) % 4], "A", 1));
        sync_request(SOURCE, lines.collect())
    });
    let requests: Vec<_> = requests.collect();
    let messages = tokio_stream::iter(requests.clone());
    let stream = server.movements().sync_movements(messages).await.unwrap();
    let responses: Vec<_> = stream.into_inner().collect().await;
    assert_eq!(responses.len(), requests.len());
    for (request, response) in requests.iter().zip(responses) {
        let response = response.unwrap();
        let sent: Vec<_> = request.movements.iter().map(|movement| &movement.key).collect();
        let answered: Vec<_> = response.results.iter().map(|result| &result.key).collect();
        assert_eq!(answered, sent);
        assert_eq!(&response.resume_key, *sent.last().unwrap());
        assert!(!response.token.is_empty());
    }
}

#[tokio::test]
async fn what_is_sent_later_on_a_stream_is_decided_later() {
    let server = chain().await;
    let requests = (0..30)
        .map(|number| sync_request(SOURCE, vec![sale(&format!("s{number}"), "berlin", "A", 1)]));
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let stream = server.movements().sync_movements(requests).await.unwrap().into_inner();
    let seqs: Vec<_> =
        stream.map(|response| response.unwrap().results[0].recorded().seq).collect().await;
    assert!(seqs.is_sorted(), "{seqs:?}");
}

/// A message that fills the window of a connection quickly.
fn large(number: usize) -> SyncMovementsRequest {
    let line = |line: usize| Movement {
        note: "x".repeat(500),
        ..sale(&format!("{number}/{line}"), "berlin", "A", 1)
    };
    sync_request(SOURCE, (0..100).map(line).collect())
}

#[tokio::test]
async fn a_sender_is_held_back_while_nothing_settles() {
    const MESSAGES: usize = 120;
    let server = chain().await;
    let slow = lock_heads(&server.database_url).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let requests = futures::stream::iter(0..MESSAGES).map(move |number| {
        counted.fetch_add(1, Ordering::SeqCst);
        large(number)
    });
    let mut client = server.movements();
    let answers = tokio::spawn(async move {
        let stream = client.sync_movements(requests).await.unwrap().into_inner();
        stream.map(|response| response.unwrap().results.len()).collect::<Vec<_>>().await
    });
    // Held back once nothing moves for a while.
    let (mut before, mut quiet) = (0, 0);
    while quiet < 20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = sent.load(Ordering::SeqCst);
        quiet = if now == before && now > 0 { quiet + 1 } else { 0 };
        before = now;
    }
    assert!((16..80).contains(&before), "{before} messages of 60 kB left the sender");
    drop(slow);
    let answered = answers.await.unwrap();
    assert_eq!(answered, vec![100; MESSAGES], "and all is well afterwards");
    assert_eq!(server.sellable("berlin", "A").await, -100 * MESSAGES as i64);
}

#[tokio::test]
async fn another_source_on_the_same_stream_is_refused_after_the_answers_before_it() {
    let server = chain().await;
    let requests = [
        sync_request("till-1", vec![sale("a", "berlin", "A", 1)]),
        sync_request("till-2", vec![sale("b", "berlin", "A", 1)]),
        sync_request("till-1", vec![sale("c", "berlin", "A", 1)]),
    ];
    let stream = server.movements().sync_movements(tokio_stream::iter(requests)).await.unwrap();
    let mut stream = stream.into_inner();
    stream.message().await.unwrap().unwrap().results[0].recorded();
    let status = stream.message().await.unwrap_err();
    explained(&status, Code::InvalidArgument, "SOURCE_CHANGED");
    assert_eq!(server.entries().await.len(), 1);
}

#[tokio::test]
async fn too_many_movements_end_the_stream_after_the_answers_before_them() {
    let server = chain().await;
    let requests = [
        sync_request(SOURCE, vec![sale("a", "berlin", "A", 1)]),
        sync_request(SOURCE, vec![sale("b", "berlin", "A", 1); 1_001]),
    ];
    let stream = server.movements().sync_movements(tokio_stream::iter(requests)).await.unwrap();
    let mut stream = stream.into_inner();
    stream.message().await.unwrap().unwrap();
    let status = stream.message().await.unwrap_err();
    explained(&status, Code::InvalidArgument, "TOO_MANY_MOVEMENTS");
}

#[tokio::test]
async fn bad_lines_are_settled_too_and_do_not_stop_a_stream() {
    let server = chain().await;
    let requests = [
        sync_request(SOURCE, vec![sale("a", "berlin", "A", 1), sale("b", "nowhere", "A", 1)]),
        sync_request(SOURCE, vec![sale("", "berlin", "A", 1)]),
        sync_request(SOURCE, vec![sale("c", "berlin", "A", 1)]),
    ];
    let stream = server.movements().sync_movements(tokio_stream::iter(requests)).await.unwrap();
    let responses: Vec<_> = stream.into_inner().map(|response| response.unwrap()).collect().await;
    responses[0].results[1].rejected("LOCATION_UNKNOWN");
    responses[1].results[0].rejected("KEY_INVALID");
    responses[2].results[0].recorded();
    let points: Vec<_> = responses.iter().map(|response| &*response.resume_key).collect();
    assert_eq!(points, ["b", "b", "c"], "a line without a key leaves the point where it was");
    assert_eq!(server.rejected().await.len(), 2);
}

#[tokio::test]
async fn resume_points_belong_to_their_source_and_survive_a_restart() {
    let server = chain().await;
    for (source, key) in [("till-1", "a"), ("till-2", "b"), ("till-1", "c")] {
        let requests = [sync_request(source, vec![sale(key, "berlin", "A", 1)])];
        let stream = server.movements().sync_movements(tokio_stream::iter(requests)).await;
        let mut stream = stream.unwrap().into_inner();
        let result = stream.message().await.unwrap().unwrap().results.remove(0);
        assert_eq!(result.status(), MovementStatus::Recorded);
        assert!(stream.message().await.unwrap().is_none());
    }
    assert_eq!(resume_key(&server, "till-1").await, "c");
    assert_eq!(resume_key(&server, "till-2").await, "b");
    assert_eq!(resume_key(&server, "till-3").await, "");
    let database_url = server.database_url.clone();
    server.stop().await;
    let server = Server::start_on(&database_url).await;
    assert_eq!(resume_key(&server, "till-1").await, "c");
    assert_eq!(resume_key(&server, "till-2").await, "b");
}
