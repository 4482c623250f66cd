//! F29: a marketplace that polls slowly and retries blindly.

use std::collections::BTreeMap;

use stockroom::api::proto::{
    ChannelPolicy, ExportPositionsRequest, ExportPositionsResponse, ExportedPosition,
    LocationStatus, PutChannelPolicyRequest, SetLocationStatusRequest, channel_policy::Buffer,
};
use tonic::Code;

use crate::harness::{
    errors::explained,
    movements::{Became as _, receipt, sale},
    server::Server,
};

/// Two shops with so many items each: more than a message holds.
const ITEMS: usize = 1_300;

async fn shops() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["shop-1", "shop-2"]).await;
    server.put_channel("market").await;
    for shop in ["shop-1", "shop-2"] {
        for from in (0..ITEMS).step_by(1_000) {
            let items = from..ITEMS.min(from + 1_000);
            let items = items.map(|n| receipt(&format!("r{n}"), shop, &format!("i{n}"), 9));
            for result in server.record(items.collect()).await.results {
                result.recorded();
            }
        }
    }
    server
}

fn request(channel_id: &str, cursor: &str) -> ExportPositionsRequest {
    let (channel_id, cursor) = (channel_id.to_owned(), cursor.to_owned());
    ExportPositionsRequest { channel_id, cursor, ..ExportPositionsRequest::default() }
}

/// The first messages of an export.
async fn export(
    server: &Server,
    request: ExportPositionsRequest,
    messages: usize,
) -> Vec<ExportPositionsResponse> {
    let mut stream = server.ledger().export_positions(request).await.unwrap().into_inner();
    let mut all = Vec::new();
    while all.len() < messages
        && let Some(message) = stream.message().await.unwrap()
    {
        all.push(message);
    }
    all
}

/// A whole export: what it says of each pair, and its cursor.
async fn whole(server: &Server, request: ExportPositionsRequest) -> (Pairs, String) {
    let messages = export(server, request, usize::MAX).await;
    let last = messages.last().unwrap();
    assert!(last.complete);
    (pairs(&messages), last.cursor.clone())
}

type Pairs = BTreeMap<(String, String), i64>;

fn pairs(messages: &[ExportPositionsResponse]) -> Pairs {
    let mut told = Pairs::new();
    for message in messages {
        assert!(message.positions.len() <= 1_000);
        for ExportedPosition { availability, position } in &message.positions {
            let availability = availability.clone().map(|a| ((a.location_id, a.sku), a.available));
            let position = position.clone().map(|p| ((p.location_id, p.sku), p.sellable));
            let (pair, units) = availability.or(position).unwrap();
            assert!(told.insert(pair, units).is_none(), "told once in an export");
        }
    }
    told
}

fn pair(location: &str, item: usize) -> (String, String) {
    (location.to_owned(), format!("i{item}"))
}

#[tokio::test]
async fn f29_a_marketplace_that_polls_slowly_gets_what_changed_and_may_ask_again() {
    let server = shops().await;
    let (all, cursor) = whole(&server, request("market", "")).await;
    assert_eq!(all.len(), 2 * ITEMS);
    assert!(all.values().all(|&units| units == 9));
    let (nothing, cursor) = whole(&server, request("market", &cursor)).await;
    assert_eq!(nothing, Pairs::new());

    for (key, units) in [("s1", 2), ("s2", 3)] {
        server.record_one(sale(key, "shop-1", "i7", units)).await.recorded();
    }
    server.record_one(sale("s3", "shop-2", "i8", 9)).await.recorded();
    let changed = Pairs::from([(pair("shop-1", 7), 4), (pair("shop-2", 8), 0)]);
    // It retries blindly, and is told the same each time.
    for _ in 0..3 {
        assert_eq!(whole(&server, request("market", &cursor)).await.0, changed);
    }
    let (_, cursor) = whole(&server, request("market", &cursor)).await;
    assert_eq!(whole(&server, request("market", &cursor)).await.0, Pairs::new());
}

#[tokio::test]
async fn f29_what_left_the_assortment_is_told_as_zero() {
    let server = shops().await;
    let (_, cursor) = whole(&server, request("market", "")).await;
    let put = async |policy| {
        let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
        server.network().put_channel_policy(request).await.unwrap();
    };
    let policy = ChannelPolicy {
        channel_id: "market".to_owned(),
        buffer: Some(Buffer::BufferUnits(2)),
        eligible_location_ids: vec!["shop-1".to_owned()],
        ..ChannelPolicy::default()
    };
    put(policy).await;
    let (told, _) = whole(&server, request("market", &cursor)).await;
    assert_eq!(told.len(), 2 * ITEMS);
    assert_eq!((told[&pair("shop-1", 5)], told[&pair("shop-2", 5)]), (7, 0));
}

#[tokio::test]
async fn f29_a_shop_that_promises_nothing_any_more_is_told_as_zero() {
    let server = shops().await;
    let (_, cursor) = whole(&server, request("market", "")).await;
    let request_of = SetLocationStatusRequest {
        location_id: "shop-2".to_owned(),
        status: LocationStatus::NoNewReservations as i32,
        until: None,
    };
    server.network().set_location_status(request_of).await.unwrap();
    let (told, _) = whole(&server, request("market", &cursor)).await;
    assert_eq!((told[&pair("shop-1", 5)], told[&pair("shop-2", 5)]), (9, 0));
}

#[tokio::test]
async fn f29_an_export_that_was_cut_off_goes_on_where_it_was() {
    let server = shops().await;
    for channel in ["market", ""] {
        let begun = export(&server, request(channel, ""), 1).await;
        let first = pairs(&begun);
        assert_eq!(first.len(), 1_000);
        // What changes meanwhile is told of what was told already, and of what was not.
        let told = first.keys().next().unwrap().clone();
        let other = if told.0 == "shop-1" { "shop-2" } else { "shop-1" };
        let key = format!("s-{channel}");
        server.record_one(sale(&key, &told.0, &told.1, 1)).await.recorded();
        server.record_one(sale(&key, other, "i1299", 1)).await.recorded();
        let (rest, cursor) = whole(&server, request(channel, &begun[0].cursor)).await;
        let all: Pairs = first.clone().into_iter().chain(rest.clone()).collect();
        assert_eq!(all.len(), 2 * ITEMS);
        let now = server.sellable(&told.0, &told.1).await;
        assert_eq!((rest.get(&told), all[&pair(other, 1_299)]), (Some(&now), now));
        assert_eq!(whole(&server, request(channel, &cursor)).await.0, Pairs::new());
    }
}

#[tokio::test]
async fn f29_a_cursor_of_a_dead_epoch_begins_anew_and_says_so() {
    let server = shops().await;
    let (_, cursor) = whole(&server, request("", "")).await;
    server.ledger.bump_epoch().await.unwrap();
    let messages = export(&server, request("", &cursor), usize::MAX).await;
    assert!(messages[0].reset && messages[1..].iter().all(|message| !message.reset));
    assert_eq!(pairs(&messages).len(), 2 * ITEMS);
    let malformed = server.ledger().export_positions(request("", "x")).await.unwrap_err();
    explained(&malformed, Code::InvalidArgument, "CURSOR_INVALID");
    let nowhere = ExportPositionsRequest {
        location_ids: vec!["nowhere".to_owned()],
        ..ExportPositionsRequest::default()
    };
    let nowhere = server.ledger().export_positions(nowhere).await.unwrap_err();
    explained(&nowhere, Code::NotFound, "LOCATION_UNKNOWN");
}
