//! WatchAvailability: what there is, every change, and going on after a cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    Channel, ChannelPolicy, HoldStockRequest, Item, LocationStatus, PutChannelPolicyRequest,
    PutChannelRequest, PutItemRequest, SetLocationStatusRequest, WatchAvailabilityRequest,
    availability_service_client::AvailabilityServiceClient, channel_policy::Buffer,
    movement_service_client::MovementServiceClient,
};
use tonic::{Code, transport::Endpoint};

use crate::harness::{
    binary::Binary,
    errors::explained,
    holds::hold,
    live::{Live, watch},
    movements::{Became as _, put_request, receipt, sale, seconds_from_now},
    reservations::{line, seconds},
    seed::seed,
    server::{SOURCE, Server},
};

/// Of a transport: less than a message of 1,000 positions.
const WINDOW_BYTES: u32 = 65_535;
const SHOPS: [&str; 3] = ["shop-1", "shop-2", "shop-3"];

/// Three shops, two of which have 10 of `jam` and 5 of `tea`.
async fn shops() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&SHOPS).await;
    for shop in ["shop-1", "shop-2"] {
        server.record_one(receipt("r1", shop, "jam", 10)).await.recorded();
        server.record_one(receipt("r2", shop, "tea", 5)).await.recorded();
    }
    server
}

fn pairs(live: &Live) -> BTreeSet<(&str, &str)> {
    live.known.keys().map(|(location, sku)| (location.as_str(), sku.as_str())).collect()
}

#[tokio::test]
async fn a_watch_begins_with_what_there_is_and_follows_every_change() {
    let server = shops().await;
    let mut live = Live::begin(&server, watch(&["shop-1", "shop-3"], &["jam"])).await;
    assert_eq!(pairs(&live), BTreeSet::from([("shop-1", "jam"), ("shop-3", "jam")]));
    assert_eq!(live.available("shop-1", "jam"), Some(10));
    assert!(!live.known[&("shop-3".to_owned(), "jam".to_owned())].known);

    server.record_one(sale("s1", "shop-1", "jam", 3)).await.recorded();
    live.says("shop-1", "jam", 7).await;
    let reserved = server.reserve("k1", "shop-1", "jam", 2).await.unwrap();
    live.says("shop-1", "jam", 5).await;
    server.cancel("k2", &reserved.reservation_id).await.unwrap();
    live.says("shop-1", "jam", 7).await;
    // What was not asked for is not told of.
    server.record_one(sale("s2", "shop-2", "jam", 1)).await.recorded();
    server.record_one(sale("s3", "shop-1", "tea", 1)).await.recorded();
    server.record_one(receipt("r3", "shop-3", "jam", 4)).await.recorded();
    live.says("shop-3", "jam", 4).await;
    assert_eq!(pairs(&live).len(), 2);
}

#[tokio::test]
async fn everything_can_be_watched_also_what_appears_later() {
    let server = shops().await;
    let mut all = Live::begin(&server, watch(&[], &[])).await;
    let mut place = Live::begin(&server, watch(&["shop-3"], &[])).await;
    let mut item = Live::begin(&server, watch(&[], &["rye"])).await;
    assert_eq!((pairs(&all).len(), pairs(&place).len(), pairs(&item).len()), (4, 0, 3));

    server.record_one(receipt("r3", "shop-3", "rye", 4)).await.recorded();
    for live in [&mut all, &mut place, &mut item] {
        live.says("shop-3", "rye", 4).await;
    }
    server.put_locations(&["shop-4"]).await;
    server.ledger.directory().refresh().await.unwrap();
    server.record_one(receipt("r4", "shop-4", "rye", 6)).await.recorded();
    all.says("shop-4", "rye", 6).await;
    item.says("shop-4", "rye", 6).await;
    assert_eq!(pairs(&place).len(), 1);
}

#[tokio::test]
async fn an_item_that_appears_is_told_of_however_busy_the_others_are() {
    let server = shops().await;
    let mut live = Live::begin(&server, watch(&["shop-1"], &["jam", "rye"])).await;
    server.record_one(receipt("r9", "shop-1", "rye", 4)).await.recorded();
    let until = Instant::now() + Duration::from_secs(15);
    let mut number = 0;
    while live.available("shop-1", "rye") != Some(4) {
        assert!(Instant::now() < until, "never told, with {number} changes of another item");
        number += 1;
        server.record_one(receipt(&format!("m{number}"), "shop-1", "jam", 1)).await.recorded();
        live.says("shop-1", "jam", 10 + number).await;
    }
}

#[tokio::test]
async fn holds_are_seen_when_they_are_taken_and_when_they_end() {
    let server = shops().await;
    let mut live = Live::begin(&server, watch(&["shop-1"], &["jam"])).await;
    let (taken, _) = server.hold_one("h1", "shop-1", "jam", 4).await.unwrap();
    live.says("shop-1", "jam", 6).await;
    server.release_hold("e1", &taken.hold_id).await.unwrap();
    live.says("shop-1", "jam", 10).await;
    let request = hold("h2", "shop-1", vec![line("jam", 3)]);
    server.hold(HoldStockRequest { ttl: seconds(2), ..request }).await.unwrap();
    live.says("shop-1", "jam", 7).await;
    live.says("shop-1", "jam", 10).await;
}

#[tokio::test]
async fn who_goes_on_at_the_cursor_is_told_what_was_missed_and_nothing_twice() {
    let server = shops().await;
    for request in [watch(&[], &["jam", "tea"]), watch(&[], &[]), watch(&["shop-1", "shop-2"], &[])]
    {
        let live = Live::begin(&server, request).await;
        let jam = live.available("shop-1", "jam").unwrap();
        let url = server.database_url.clone();
        let sold = server.record_one(sale(&format!("s{jam}"), "shop-1", "jam", 1)).await;
        sold.recorded();
        let other = Server::start_on(&url).await;
        // Another server, which never saw this watcher.
        let mut live = live.resume(&other).await;
        live.complete().await;
        assert_eq!(live.available("shop-1", "jam"), Some(jam - 1));
        assert_eq!(live.told, 1, "only what was missed");
        // Nothing happened since.
        let mut live = live.resume(&server).await;
        live.complete().await;
        assert_eq!(live.told, 0);
        let key = format!("t{jam}");
        server.record_one(sale(&key, "shop-2", "tea", 1)).await.recorded();
        while live.told == 0 {
            live.next().await;
        }
        assert_eq!(live.told, 1, "and what comes then");
        drop(live);
        other.stop().await;
    }
}

#[tokio::test]
async fn a_hold_that_ended_meanwhile_is_told_of_to_who_goes_on() {
    let server = shops().await;
    let (taken, _) = server.hold_one("h1", "shop-1", "jam", 4).await.unwrap();
    let mut live = Live::begin(&server, watch(&["shop-1", "shop-2"], &["jam", "tea"])).await;
    live.says("shop-1", "jam", 6).await;
    let (other, _) = server.hold_one("h2", "shop-2", "tea", 1).await.unwrap();
    server.release_hold("e1", &taken.hold_id).await.unwrap();
    let mut live = live.resume(&server).await;
    live.says("shop-1", "jam", 10).await;
    live.says("shop-2", "tea", 4).await;
    server.release_hold("e2", &other.hold_id).await.unwrap();
}

#[tokio::test]
async fn a_policy_is_told_of_to_those_whom_it_concerns() {
    let server = shops().await;
    for channel_id in ["web", "app"] {
        let channel = Channel { channel_id: channel_id.to_owned(), name: String::new() };
        let request = PutChannelRequest { channel: Some(channel) };
        server.network().put_channel(request).await.unwrap();
    }
    let request = watch(&["shop-1"], &["jam"]);
    let request = WatchAvailabilityRequest { channel_id: "web".to_owned(), ..request };
    let mut live = Live::begin(&server, request.clone()).await;
    let request = WatchAvailabilityRequest { channel_id: "app".to_owned(), ..request };
    let mut other = Live::begin(&server, request).await;
    let policy = ChannelPolicy {
        channel_id: "web".to_owned(),
        buffer: Some(Buffer::BufferUnits(3)),
        ..ChannelPolicy::default()
    };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
    server.ledger.directory().refresh().await.unwrap();
    live.says("shop-1", "jam", 7).await;
    server.record_one(sale("s1", "shop-1", "jam", 1)).await.recorded();
    other.says("shop-1", "jam", 9).await;
    assert_eq!(other.told, 2, "what concerns others is not told");
    // Also to who was away when it was put.
    let live = live.resume(&server).await;
    let policy = ChannelPolicy { channel_id: "web".to_owned(), ..ChannelPolicy::default() };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
    let mut live = live.resume(&server).await;
    live.says("shop-1", "jam", 9).await;
}

#[tokio::test]
async fn a_location_where_nothing_is_promised_has_nothing_until_its_status_ends() {
    let server = shops().await;
    let mut live = Live::begin(&server, watch(&["shop-1", "shop-2"], &["jam"])).await;
    let request = SetLocationStatusRequest {
        location_id: "shop-1".to_owned(),
        status: LocationStatus::NoNewReservations as i32,
        until: Some(seconds_from_now(3)),
    };
    server.network().set_location_status(request).await.unwrap();
    server.ledger.directory().refresh().await.unwrap();
    live.says("shop-1", "jam", 0).await;
    assert_eq!(live.available("shop-2", "jam"), Some(10));
    live.says("shop-1", "jam", 10).await;
}

#[tokio::test]
async fn a_new_epoch_makes_void_what_was_told() {
    let server = shops().await;
    let mut live = Live::begin(&server, watch(&[], &[])).await;
    let cursor = live.last.cursor.clone();
    server.ledger.bump_epoch().await.unwrap();
    while !live.next().await.reset {}
    while !live.last.complete {
        live.next().await;
    }
    assert_eq!(pairs(&live).len(), 4);
    let request = WatchAvailabilityRequest { cursor, ..watch(&[], &[]) };
    let mut late = Live::open(&server, request).await.unwrap();
    assert!(late.next().await.reset);
}

#[tokio::test]
async fn what_cannot_be_watched_is_refused() {
    let server = shops().await;
    let refused = async |request| {
        let opened = Live::open(&server, request).await;
        opened.err().expect("it is refused")
    };
    let nowhere = refused(watch(&["nowhere"], &["jam"])).await;
    explained(&nowhere, Code::NotFound, "LOCATION_UNKNOWN");
    let malformed = refused(watch(&["a b"], &["jam"])).await;
    explained(&malformed, Code::InvalidArgument, "LOCATION_ID_INVALID");
    let malformed = refused(watch(&[], &["  "])).await;
    explained(&malformed, Code::InvalidArgument, "SKU_INVALID");
    let skus: Vec<_> = (0..7_000).map(|number| format!("i{number}")).collect();
    let skus: Vec<_> = skus.iter().map(String::as_str).collect();
    explained(&refused(watch(&[], &skus)).await, Code::InvalidArgument, "SKUS_INVALID");
    let request = WatchAvailabilityRequest { cursor: "x".to_owned(), ..watch(&[], &[]) };
    explained(&refused(request).await, Code::InvalidArgument, "CURSOR_INVALID");
    let channel_id = "nobody".to_owned();
    let request = WatchAvailabilityRequest { channel_id, ..watch(&[], &[]) };
    explained(&refused(request).await, Code::NotFound, "CHANNEL_UNKNOWN");
}

#[tokio::test]
async fn who_does_not_listen_is_cut_off_with_the_cursor() {
    let server = shops().await;
    let skus: Vec<_> = (0..3_000).map(|number| format!("item-{number:040}")).collect();
    let put = async |sku: &String| {
        let item = Item { sku: sku.clone(), ..Item::default() };
        server.network().put_item(PutItemRequest { item: Some(item) }).await.unwrap();
    };
    put(&skus[0]).await;
    let skus: Vec<_> = skus.iter().map(String::as_str).collect();
    // More is told than the window of the transport holds, and for this long nobody takes it.
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let connection = endpoint.initial_stream_window_size(WINDOW_BYTES).connect_lazy();
    let client = AvailabilityServiceClient::new(connection);
    let mut live = Live::open_over(client, watch(&[], &skus)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let cut = loop {
        match live.listen().await {
            Ok(message) => assert!(message.is_some(), "it ends with a reason"),
            Err(status) => break status,
        }
    };
    explained(&cut, Code::ResourceExhausted, "READER_TOO_SLOW");
}

/// Whatever happens, and however often a watcher is cut off, it ends with what there is.
#[tokio::test]
async fn every_watcher_ends_with_the_final_state() {
    let server = Server::start_honest().await;
    server.put_locations(&SHOPS).await;
    let skus = ["a", "b", "c", "d"];
    let mut rng = ChaCha8Rng::seed_from_u64(seed());
    let mut live = Live::begin(&server, watch(&[], &skus)).await;
    for number in 0..300 {
        let (shop, sku) = (SHOPS[rng.random_range(0..3)], skus[rng.random_range(0..4)]);
        let (key, units) = (number.to_string(), rng.random_range(1..9));
        match rng.random_range(0..9) {
            0..4 => server.record_one(receipt(&key, shop, sku, units)).await.recorded(),
            4..8 => server.record_one(sale(&key, shop, sku, units)).await.recorded(),
            _ => {
                live = live.resume(&server).await;
                live.complete().await;
                continue;
            }
        };
    }
    for shop in SHOPS {
        for sku in skus {
            let available = server.available(shop, sku).await;
            live.says(shop, sku, available).await;
        }
    }
}

/// The server is killed again and again; whoever watches goes on at the last cursor that it got.
#[tokio::test]
async fn after_kill_9_a_watch_goes_on_without_gap_or_repeat() {
    let server = shops().await;
    let request = watch(&["shop-1", "shop-2"], &["jam", "tea"]);
    let mut live = Live::begin(&server, request).await;
    let mut told: BTreeMap<_, _> =
        live.known.iter().map(|(pair, state)| (pair.clone(), state.version)).collect();
    for round in 0..3 {
        let mut binary = Binary::start(&server.database_url).await;
        live = live.resume_over(AvailabilityServiceClient::new(binary.connection())).await;
        let mut client = MovementServiceClient::new(binary.connection());
        for number in 0..20 {
            let key = format!("{round}-{number}");
            let shop = if number % 2 == 0 { "shop-1" } else { "shop-2" };
            let found = receipt(&key, shop, "jam", 1);
            client.record_movements(put_request(SOURCE, vec![found])).await.unwrap();
            if number % 5 == 4 {
                for pair in live.next().await.availability {
                    let (key, version) = ((pair.location_id, pair.sku), pair.version);
                    let before = told.insert(key, version);
                    assert!(before < Some(version), "told again: {version} after {before:?}");
                }
            }
        }
        binary.kill();
    }
    let mut live = live.resume(&server).await;
    for shop in ["shop-1", "shop-2"] {
        let there = server.sellable(shop, "jam").await;
        assert_eq!(there, 10 + 30);
        live.says(shop, "jam", there).await;
    }
}
