//! Streams without end and headers without measure.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::api::proto::GetPositionRequest;
use tonic::{Code, Request, metadata::MetadataValue};

use crate::harness::{
    errors::explained,
    frames::{Frames, REMEMBERED, call_frame, endless_headers, plain_field, remembered_field},
    movements::{Became as _, receipt},
    server::Server,
};

const PATH: &str = "/stockroom.v1.ReservationService/CreateReservation";
/// Calls of one connection at once.
const STREAMS_MAX: usize = 200;

async fn shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.record_one(receipt("r", "berlin", "jam", 5)).await.recorded();
    server
}

/// The server answers others.
async fn goes_on(server: &Server) {
    assert_eq!(server.sellable("berlin", "jam").await, 5);
}

#[tokio::test]
async fn of_ten_thousand_calls_on_one_connection_all_but_a_few_are_refused() {
    let server = shop().await;
    let mut frames = Frames::connect(server.address).await;
    let calls = (0..10_000).flat_map(|call| call_frame(2 * call + 1, PATH, &[]));
    frames.send(&calls.collect::<Vec<u8>>()).await;
    goes_on(&server).await;
    let (received, _) = frames.ping().await;
    let refused = received.iter().filter(|frame| frame.is_reset()).count();
    let ended = received.iter().any(|frame| frame.is_goaway());
    assert!(ended || refused >= 10_000 - STREAMS_MAX, "{refused} refused");
    goes_on(&server).await;
}

#[tokio::test]
async fn headers_that_are_many_or_huge_end_their_call_or_its_connection() {
    let server = shop().await;
    let many = (0..4_000).flat_map(|n| plain_field(format!("x-{n}").as_bytes(), b"value"));
    let huge = plain_field(b"x-huge", &vec![b'v'; 1_000_000]);
    // 3 KB once, and 10,000 times by reference: 30 MB for whoever unpacks it.
    let bomb = [remembered_field(b"x-bomb", &[b'v'; 3_000]), vec![REMEMBERED; 10_000]].concat();
    for (name, more) in [("many", many.collect()), ("huge", huge), ("bomb", bomb)] {
        let mut frames = Frames::connect(server.address).await;
        frames.send(&call_frame(1, PATH, &more)).await;
        goes_on(&server).await;
        let (received, answers) = frames.ping().await;
        // HEADERS with a status (431), a reset, or the end of the connection.
        let refused = received.iter().any(|it| it.stream == 1 || it.is_goaway());
        assert!(refused || !answers, "{name}: {received:?}");
    }
    goes_on(&server).await;
}

#[tokio::test]
async fn headers_that_do_not_end_lose_their_connection() {
    let server = shop().await;
    for (part, parts) in [(vec![], 200_000), (plain_field(b"x-more", &[b'v'; 1_000]), 20_000)] {
        let mut frames = Frames::connect(server.address).await;
        frames.send(&endless_headers(1, PATH, &part, parts)).await;
        let (received, answers) = frames.ping().await;
        assert!(!answers, "it is still open: {received:?}");
        goes_on(&server).await;
    }
}

#[tokio::test]
async fn metadata_that_is_no_text_does_no_harm() {
    let server = shop().await;
    let mut frames = Frames::connect(server.address).await;
    let odd = [plain_field(b"x-odd", b"\xff\xfe\x80"), plain_field(b"grpc-timeout", b"\xff")];
    frames.send(&call_frame(1, PATH, &odd.concat())).await;
    goes_on(&server).await;
    let mut request = Request::new(GetPositionRequest::default());
    let bytes = MetadataValue::try_from(&b"\xc3\x28"[..]).unwrap();
    request.metadata_mut().insert("x-odd", bytes);
    let status = server.ledger().get_position(request).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "SKU_INVALID");
}
