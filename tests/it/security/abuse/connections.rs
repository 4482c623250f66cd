//! How many connections there are, and how long they live.

use std::time::Duration;

use stockroom::api::{proto::ListLocationsRequest, transport::ConnectionLimits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    frames::Frames,
    server::{Server, eventually},
};

const PATIENCE: Duration = Duration::from_secs(20);

async fn limited(limits: ConnectionLimits) -> Server {
    Server::start_set(|api| api.with_connections(limits)).await
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_there_is_room_again_when_another_ends() {
    let server = limited(ConnectionLimits { per_address_max: 4, ..Default::default() }).await;
    server.put_locations(&["berlin"]).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut frames = Frames::connect(server.address).await;
        assert!(frames.ping().await.1);
        open.push(frames);
    }
    assert!(!Frames::connect(server.address).await.ping().await.1, "a fifth");
    server.put_locations(&["hamburg"]).await;
    open.pop();
    eventually("there is room", || async {
        Frames::connect(server.address).await.ping().await.1.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let arrival_max = Duration::from_millis(300);
    let unread_max = Duration::from_millis(600);
    let server = limited(ConnectionLimits { arrival_max, unread_max, ..Default::default() }).await;
    for said in ["", "PRI * HTTP/2."] {
        let mut connection = TcpStream::connect(server.address).await.unwrap();
        connection.write_all(said.as_bytes()).await.unwrap();
        let read = timeout(PATIENCE, connection.read(&mut [0; 64])).await.expect("it is closed");
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    server.put_locations(&["berlin"]).await;
}

#[tokio::test]
async fn old_connections_end_in_good_order_and_calls_go_on_over_new_ones() {
    let age_max = Duration::from_millis(100);
    let server = limited(ConnectionLimits { age_max, ..Default::default() }).await;
    let mut old = Frames::connect(server.address).await;
    let ended = async {
        loop {
            let (received, answers) = old.ping().await;
            if !answers || received.iter().any(|frame| frame.is_goaway()) {
                return;
            }
        }
    };
    let calls = async {
        // Over one connection after the other. What was about to be sent when its connection ended is
        // sent again, once.
        for _ in 0..300 {
            let request = || ListLocationsRequest::default();
            if server.network().list_locations(request()).await.is_err() {
                server.network().list_locations(request()).await.unwrap();
            }
        }
    };
    let (ended, ()) = tokio::join!(timeout(PATIENCE, ended), calls);
    ended.expect("it ends");
}
