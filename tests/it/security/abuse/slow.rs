//! Who sends byte by byte, and who does not read.

use std::{net::SocketAddr, time::Duration};

use h2::{Reason, SendStream, client};
use prost::{Message, bytes::Bytes};
use stockroom::api::{
    proto::{
        CheckAvailabilityRequest, ExportPositionsRequest, WatchAvailabilityRequest,
        availability_service_client::AvailabilityServiceClient,
    },
    transport::ConnectionLimits,
};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tonic::codegen::http::Request;

use crate::harness::{
    movements::{Became as _, receipt},
    server::Server,
};

const GET: &str = "/stockroom.v1.LedgerService/GetPosition";
/// Seats of calls that only read.
const READS_MAX: usize = 512;
const STREAMS_MAX: usize = 200;
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection that is spoken on call by call, and how it ends.
struct Client {
    calls: client::SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    /// One that grants so many bytes of each answer without being asked.
    async fn connect(server: SocketAddr, window: u32) -> Client {
        let stream = TcpStream::connect(server).await.unwrap();
        let mut builder = client::Builder::new();
        builder.initial_window_size(window);
        let (calls, connection) = builder.handshake(stream).await.unwrap();
        Client { calls, ended: tokio::spawn(connection) }
    }

    /// Begins a call; its message is to come.
    async fn begin(&mut self, path: &str) -> (client::ResponseFuture, SendStream<Bytes>) {
        let request = Request::post(format!("http://server{path}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let mut calls = self.calls.clone().ready().await.unwrap();
        calls.send_request(request.body(()).unwrap(), false).unwrap()
    }
}

fn framed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// A shop with 500 items, of 5,000 that are asked for.
async fn shop(limits: ConnectionLimits) -> Server {
    let server = Server::start_set(|api| api.with_connections(limits)).await;
    server.put_locations(&["berlin"]).await;
    server.put_channel("web").await;
    let receipts = skus().iter().take(500).map(|sku| receipt(sku, "berlin", sku, 5)).collect();
    for result in server.record(receipts).await.results {
        result.recorded();
    }
    server
}

fn skus() -> Vec<String> {
    (0..5_000).map(|number| format!("jam-{number}")).collect()
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_given_up_and_keeps_nobody_out() {
    let arrival_max = Duration::from_secs(2);
    let server = shop(ConnectionLimits { arrival_max, ..Default::default() }).await;
    let (mut slow, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..=READS_MAX / STREAMS_MAX {
        let mut client = Client::connect(server.address, 65_535).await;
        for _ in 0..STREAMS_MAX {
            let (answer, mut message) = client.begin(GET).await;
            message.send_data(Bytes::from_static(&[0]), false).unwrap();
            slow.push((answer, message));
        }
        clients.push(client);
    }
    assert!(slow.len() > READS_MAX);
    assert_eq!(server.sellable("berlin", "jam-1").await, 5, "they sit on no seat");
    for (answer, mut message) in slow {
        let _ = message.send_data(Bytes::from_static(&[0]), false);
        let answer = timeout(PATIENCE, answer).await.expect("it is given up").unwrap();
        let text = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(text("grpc-status"), "4");
        assert!(text("grpc-message").contains("arrive"), "{}", text("grpc-message"));
    }
}

#[tokio::test]
async fn who_takes_no_answer_loses_the_connection_and_others_do_not() {
    let unread_max = Duration::from_millis(600);
    let server = shop(ConnectionLimits { unread_max, ..Default::default() }).await;
    let (channel_id, skus) = (|| "web".to_owned(), skus());
    let check = CheckAvailabilityRequest { channel_id: channel_id(), skus, ..Default::default() };
    let watch = WatchAvailabilityRequest { channel_id: channel_id(), ..Default::default() };
    let export = ExportPositionsRequest { channel_id: channel_id(), ..Default::default() };
    let calls = [
        ("AvailabilityService/CheckAvailability", framed(&check)),
        ("AvailabilityService/WatchAvailability", framed(&watch)),
        ("LedgerService/ExportPositions", framed(&export)),
    ];
    let mut stalled = Vec::new();
    for (method, message) in calls {
        for window in [0, 100] {
            let mut client = Client::connect(server.address, window).await;
            let (answer, mut body) = client.begin(&format!("/stockroom.v1.{method}")).await;
            body.send_data(message.clone(), true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), 200);
            stalled.push((method, answer, client));
        }
    }
    for (method, _answer, client) in stalled {
        let end = timeout(PATIENCE, client.ended).await;
        let end = end.unwrap_or_else(|_| panic!("{method}: it is still there")).unwrap();
        // Good order is GOAWAY; the calls that were left are cut off afterwards.
        let reason = end.err().and_then(|error| error.reason());
        assert!(reason.is_none_or(|reason| reason == Reason::NO_ERROR), "{method}: {reason:?}");
    }
    let mut others = AvailabilityServiceClient::new(server.connection());
    assert_eq!(
        others.check_availability(check).await.unwrap().into_inner().availability.len(),
        5_000
    );
}
