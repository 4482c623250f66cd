//! Bad calls: each gets one typed error with details, and has no effect.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use prost::Message as _;
use prost_types::Timestamp;
use stockroom::api::proto::{
    BatchGetPositionsRequest, DismissRejectedMovementRequest, GetPositionRequest,
    ListEntriesRequest, ListRejectedMovementsRequest, Movement, PositionRef,
    ResubmitMovementRequest,
};
use tonic::{Code, Status, codegen::http::HeaderMap};

use crate::harness::{
    databases::lock_heads,
    errors::explained,
    movements::{Became as _, put_request, sale, seconds_from_now, sync_request},
    raw::{call, call_stream},
    server::{SOURCE, Server},
    web,
};

const RECORD: &str = "/stockroom.v1.MovementService/RecordMovements";
const SYNC: &str = "/stockroom.v1.MovementService/SyncMovements";

async fn shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server
}

/// Nothing was recorded, nothing was kept for review.
async fn left_nothing(server: &Server) {
    assert_eq!(server.entries().await, []);
    assert_eq!(server.rejected().await, []);
}

fn position_of(location_id: &str, sku: &str) -> GetPositionRequest {
    let (location_id, sku) = (location_id.to_owned(), sku.to_owned());
    GetPositionRequest { location_id, sku, ..GetPositionRequest::default() }
}

#[tokio::test]
async fn f32_a_source_must_be_an_identifier() {
    let server = shop().await;
    for source in ["", " ", "a b", "é", "a\0", &"x".repeat(65)] {
        let request = put_request(source, vec![sale("s", "berlin", "A", 1)]);
        let status = server.movements().record_movements(request).await.unwrap_err();
        let metadata = explained(&status, Code::InvalidArgument, "SOURCE_INVALID");
        assert_eq!(metadata["field"], "source");
        let messages = tokio_stream::iter([sync_request(source, Vec::new())]);
        let stream = server.movements().sync_movements(messages).await.unwrap();
        let status = stream.into_inner().message().await.unwrap_err();
        explained(&status, Code::InvalidArgument, "SOURCE_INVALID");
    }
    left_nothing(&server).await;
}

#[tokio::test]
async fn f32_more_than_1_000_movements_fail_the_call() {
    let server = shop().await;
    let lines = |number: usize| -> Vec<_> {
        (0..number).map(|line| sale(&format!("s{line}"), "berlin", "A", 1)).collect()
    };
    let request = put_request(SOURCE, lines(1_001));
    let status = server.movements().record_movements(request).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "TOO_MANY_MOVEMENTS");
    left_nothing(&server).await;
    let response = server.record(lines(1_000)).await;
    assert_eq!(response.results.len(), 1_000);
    assert_eq!(server.sellable("berlin", "A").await, -1_000);
}

#[tokio::test]
async fn f32_a_message_above_4_mib_fails_the_call() {
    let server = shop().await;
    let line = Movement { note: "x".repeat(4 << 20), ..sale("s", "berlin", "A", 1) };
    let request = put_request(SOURCE, vec![line.clone()]);
    let status = server.movements().record_movements(request).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    let message = sync_request(SOURCE, vec![line]).encode_to_vec();
    let status = call_stream(server.connection(), SYNC, message).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "MESSAGE_TOO_LARGE");
    left_nothing(&server).await;
}

#[tokio::test]
async fn f32_bytes_that_are_no_message_fail_the_call() {
    let server = shop().await;
    let bad_text = |text: &[u8]| [&[0x0a, text.len() as u8], text].concat();
    for message in [vec![0xff; 40], vec![0x0a, 0x7f, b'x'], bad_text(&[0xc3, 0x28])] {
        let status = call(server.connection(), RECORD, message.clone()).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "MESSAGE_MALFORMED");
        let status = call_stream(server.connection(), SYNC, message).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "MESSAGE_MALFORMED");
    }
    left_nothing(&server).await;
}

#[tokio::test]
async fn f32_unknown_methods_say_so() {
    let server = shop().await;
    for method in ["/stockroom.v1.MovementService/Nothing", "/stockroom.v2.Other/Nothing"] {
        let status = call(server.connection(), method, Vec::new()).await.unwrap_err();
        explained(&status, Code::Unimplemented, "NOT_IMPLEMENTED");
    }
}

#[tokio::test]
async fn f32_pages_are_bounded_and_their_tokens_are_ours() {
    let server = shop().await;
    let mut ledger = server.ledger();
    let negative = ListEntriesRequest { page_size: -1, ..ListEntriesRequest::default() };
    let status = ledger.list_entries(negative).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "PAGE_SIZE_INVALID");
    let other_list = "bG9jYXRpb25zCmJlcmxpbg";
    for token in ["?", "AAAA", "ZW50cmllcwp4L3k", other_list] {
        let page_token = token.to_owned();
        let request = ListEntriesRequest { page_token, ..ListEntriesRequest::default() };
        let status = ledger.list_entries(request).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
    // "rejected\nx", "locations\n\0"
    let page_token = "cmVqZWN0ZWQKeA".to_owned();
    let request = ListRejectedMovementsRequest { page_token, ..Default::default() };
    let status = ledger.list_rejected_movements(request).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let request = stockroom::api::proto::ListLocationsRequest {
        page_token: "bG9jYXRpb25zCgA".to_owned(),
        page_size: 1,
    };
    let status = server.network().list_locations(request).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn f32_reads_of_positions_say_what_is_wrong() {
    let server = shop().await;
    let mut ledger = server.ledger();
    let as_of = Some(seconds_from_now(0));
    let cases = [
        (position_of("nowhere", "A"), Code::NotFound, "LOCATION_UNKNOWN"),
        (position_of("", "A"), Code::InvalidArgument, "LOCATION_ID_INVALID"),
        (position_of("berlin", ""), Code::InvalidArgument, "SKU_INVALID"),
        (
            GetPositionRequest { as_of, token: "x".into(), ..position_of("berlin", "A") },
            Code::InvalidArgument,
            "AS_OF_AMBIGUOUS",
        ),
        (
            GetPositionRequest { token: "x".into(), ..position_of("berlin", "A") },
            Code::InvalidArgument,
            "TOKEN_INVALID",
        ),
        (
            GetPositionRequest {
                as_of: Some(Timestamp { seconds: 0, nanos: -1 }),
                ..position_of("berlin", "A")
            },
            Code::InvalidArgument,
            "TIME_INVALID",
        ),
    ];
    for (request, code, reason) in cases {
        let status = ledger.get_position(request).await.unwrap_err();
        explained(&status, code, reason);
    }
    let pair = PositionRef { location_id: "berlin".into(), sku: "A".into() };
    for number in [0, 1_001] {
        let positions = vec![pair.clone(); number];
        let request = BatchGetPositionsRequest { positions, ..Default::default() };
        let status = ledger.batch_get_positions(request).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "POSITIONS_INVALID");
    }
}

#[tokio::test]
async fn f32_filters_that_are_malformed_are_refused_and_not_ignored() {
    let server = shop().await;
    let mut ledger = server.ledger();
    let filter = ListEntriesRequest::default;
    let bad = "a\u{7}".to_owned();
    for request in [
        ListEntriesRequest { location_id: bad.clone(), ..filter() },
        ListEntriesRequest { sku: bad.clone(), ..filter() },
        ListEntriesRequest { document: bad.clone(), ..filter() },
    ] {
        let status = ledger.list_entries(request).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "FIELD_INVALID");
    }
    let effective_from = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    let request = ListEntriesRequest { effective_from, ..filter() };
    let status = ledger.list_entries(request).await.unwrap_err();
    explained(&status, Code::InvalidArgument, "TIME_INVALID");
    let filter = ListRejectedMovementsRequest::default;
    for request in [
        ListRejectedMovementsRequest { source: bad.clone(), ..filter() },
        ListRejectedMovementsRequest { location_id: bad.clone(), ..filter() },
        ListRejectedMovementsRequest { reason: bad.clone(), ..filter() },
        ListRejectedMovementsRequest { state: 9, ..filter() },
    ] {
        let status = ledger.list_rejected_movements(request).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "FIELD_INVALID");
    }
}

#[tokio::test]
async fn f32_decisions_about_nothing_are_refused() {
    let server = shop().await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    let cases = [
        ("x", Code::InvalidArgument, "REJECTED_MOVEMENT_ID_INVALID"),
        (nobody, Code::NotFound, "REJECTED_MOVEMENT_UNKNOWN"),
    ];
    for (id, code, reason) in cases {
        let rejected_movement_id = id.to_owned();
        let request = ResubmitMovementRequest { rejected_movement_id, ..Default::default() };
        let status = server.ledger().resubmit_movement(request).await.unwrap_err();
        explained(&status, code, reason);
        let rejected_movement_id = id.to_owned();
        let request = DismissRejectedMovementRequest { rejected_movement_id, ..Default::default() };
        let status = server.ledger().dismiss_rejected_movement(request).await.unwrap_err();
        explained(&status, code, reason);
    }
}

#[tokio::test]
async fn f32_a_deadline_that_passes_is_answered_as_such() {
    let server = shop().await;
    server.record_one(sale("before", "berlin", "A", 1)).await.recorded();
    let slow = lock_heads(&server.database_url).await;
    let request = put_request(SOURCE, vec![sale("s", "berlin", "A", 1)]).encode_to_vec();
    // A client's own timer would only hide what the server answers.
    for timeout in ["5m", "30m", "300m", "300000u"] {
        let answer = web::call(server.address, RECORD, &request, Some(timeout)).await;
        let mut headers = HeaderMap::new();
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            headers.insert(name, answer.headers[name].parse().unwrap());
        }
        let status = Status::from_header_map(&headers).unwrap();
        explained(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    }
    drop(slow);
    server.record_one(sale("after", "berlin", "A", 1)).await.recorded();
    let results = server.record(vec![sale("s", "berlin", "A", 1)]).await.results;
    assert!(results[0].entry.is_some(), "recorded then or now, but once");
    assert_eq!(server.sellable("berlin", "A").await, -3);
}
