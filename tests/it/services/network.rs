//! NetworkService: puts, lists and bounds; what one server puts, the others see.
#![expect(clippy::disallowed_types, reason = "looks at a row as it is stored")]

use sqlx::{Connection as _, PgConnection};
use stockroom::api::proto::{
    Channel, GetChannelRequest, GetItemRequest, GetLocationRequest, Item, ListChannelsRequest,
    ListItemsRequest, ListLocationsRequest, Location, LocationStatus, MovementStatus,
    PutChannelRequest, PutItemRequest, PutLocationRequest,
    movement_service_client::MovementServiceClient,
};
use tonic::Code;

use crate::harness::{
    binary::Binary,
    errors::explained,
    movements::{Became as _, put_request, receipt, sale},
    server::{SOURCE, Server, eventually},
};

fn location(location_id: &str) -> Location {
    Location { location_id: location_id.into(), ..Location::default() }
}

fn item(sku: &str) -> Item {
    Item { sku: sku.into(), ..Item::default() }
}

#[tokio::test]
async fn a_location_is_created_and_replaced_and_keeps_its_partition() {
    let server = Server::start().await;
    let put = |location: Location| {
        let mut network = server.network();
        async move {
            let request = PutLocationRequest { location: Some(location) };
            network.put_location(request).await.unwrap().into_inner().location.unwrap()
        }
    };
    let created = put(Location { partition: 3, ..location("berlin") }).await;
    assert_eq!(created.time_zone, "Etc/UTC");
    let two_hours = Some(prost_types::Duration { seconds: 7_200, nanos: 0 });
    assert_eq!(created.preparation_time, two_hours);
    assert_eq!(created.status(), LocationStatus::Open);
    let full = Location {
        name: "Mitte".into(),
        time_zone: "Europe/Berlin".into(),
        latitude: Some(52.52),
        longitude: Some(13.4),
        pickup_enabled: true,
        partition: created.partition,
        preparation_time: two_hours,
        status: created.status,
        ..location("berlin")
    };
    let replaced = put(Location { partition: created.partition + 1, ..full.clone() }).await;
    assert_eq!(replaced, full, "the partition is given by Stockroom");
    let request = GetLocationRequest { location_id: "berlin".into() };
    let read = server.network().get_location(request).await.unwrap().into_inner();
    assert_eq!(read.location, Some(full));
    assert_eq!(put(location("berlin")).await, created, "what is not set gets its default");
}

#[tokio::test]
async fn locations_out_of_bounds_are_refused() {
    let server = Server::start().await;
    let at = |latitude, longitude| Location { latitude, longitude, ..location("berlin") };
    let cases = [
        (location(""), "IDENTIFIER_INVALID"),
        (location("a b"), "IDENTIFIER_INVALID"),
        (Location { name: "x".repeat(201), ..location("berlin") }, "NAME_INVALID"),
        (Location { name: "\u{7}".into(), ..location("berlin") }, "NAME_INVALID"),
        (Location { time_zone: "Berlin".into(), ..location("berlin") }, "TIME_ZONE_INVALID"),
        (Location { time_zone: "../etc".into(), ..location("berlin") }, "TIME_ZONE_INVALID"),
        (at(Some(90.1), Some(0.0)), "COORDINATES_INVALID"),
        (at(Some(0.0), Some(-180.1)), "COORDINATES_INVALID"),
        (at(Some(f64::NAN), Some(0.0)), "COORDINATES_INVALID"),
        (at(Some(1.0), None), "COORDINATES_INVALID"),
        (at(None, Some(1.0)), "COORDINATES_INVALID"),
    ];
    for (location, reason) in cases {
        let request = PutLocationRequest { location: Some(location) };
        let status = server.network().put_location(request).await.unwrap_err();
        explained(&status, Code::InvalidArgument, reason);
    }
    let request = PutLocationRequest { location: Some(at(Some(-90.0), Some(180.0))) };
    server.network().put_location(request).await.unwrap();
}

#[tokio::test]
async fn items_out_of_bounds_are_refused() {
    let server = Server::start().await;
    let with = |gtins: &[&str]| {
        let gtins = gtins.iter().map(|gtin| (*gtin).to_owned()).collect();
        Item { gtins, ..item("A") }
    };
    let cases = [
        (item(""), "SKU_INVALID"),
        (item("a  b"), "SKU_INVALID"),
        (Item { name: "x".repeat(201), ..item("A") }, "NAME_INVALID"),
        (with(&["4006381333932"]), "GTIN_INVALID"),
        (with(&["400638133393"]), "GTIN_INVALID"),
        (with(&["400638133393x"]), "GTIN_INVALID"),
        (with(&[""]), "GTIN_INVALID"),
        (with(&["4006381333931"; 21]), "GTIN_INVALID"),
    ];
    for (item, reason) in cases {
        let request = PutItemRequest { item: Some(item) };
        let status = server.network().put_item(request).await.unwrap_err();
        explained(&status, Code::InvalidArgument, reason);
    }
    let good = with(&["4006381333931", "96385074", "036000291452", "10614141000415"]);
    let request = PutItemRequest { item: Some(good.clone()) };
    let put = server.network().put_item(request).await.unwrap().into_inner().item.unwrap();
    assert_eq!(put, Item { stock_item: Some(true), ..good });
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    let server = Server::start().await;
    let mut network = server.network();
    let request = GetLocationRequest { location_id: "x".into() };
    let status = network.get_location(request).await.unwrap_err();
    assert_eq!(explained(&status, Code::NotFound, "LOCATION_UNKNOWN")["location_id"], "x");
    let status = network.get_channel(GetChannelRequest { channel_id: "x".into() }).await;
    explained(&status.unwrap_err(), Code::NotFound, "CHANNEL_UNKNOWN");
    let status = network.get_item(GetItemRequest { sku: "x".into() }).await;
    explained(&status.unwrap_err(), Code::NotFound, "ITEM_UNKNOWN");
}

#[tokio::test]
async fn lists_are_paged_by_id() {
    let server = Server::start().await;
    let mut network = server.network();
    for id in ["c", "a", "b"] {
        server.put_locations(&[id]).await;
        server.put_item(id, true).await;
        let channel = Channel { channel_id: id.into(), name: id.to_uppercase() };
        network.put_channel(PutChannelRequest { channel: Some(channel) }).await.unwrap();
    }
    let mut seen = [Vec::new(), Vec::new(), Vec::new()];
    let mut tokens = [String::new(), String::new(), String::new()];
    for page_size in [2, 2] {
        let [first, second, third] = tokens.clone();
        let request = ListLocationsRequest { page_size, page_token: first };
        let page = network.list_locations(request).await.unwrap().into_inner();
        seen[0].extend(page.locations.into_iter().map(|location| location.location_id));
        tokens[0] = page.next_page_token;
        let request = ListChannelsRequest { page_size, page_token: second };
        let page = network.list_channels(request).await.unwrap().into_inner();
        seen[1].extend(page.channels.into_iter().map(|channel| channel.channel_id));
        tokens[1] = page.next_page_token;
        let request = ListItemsRequest { page_size, page_token: third };
        let page = network.list_items(request).await.unwrap().into_inner();
        seen[2].extend(page.items.into_iter().map(|item| item.sku));
        tokens[2] = page.next_page_token;
    }
    assert_eq!(seen, [["a", "b", "c"], ["a", "b", "c"], ["a", "b", "c"]]);
    assert!(tokens.iter().all(String::is_empty));
}

#[tokio::test]
async fn a_second_server_sees_new_rows_at_once_and_changes_within_a_second() {
    let first = Server::start().await;
    let second = Binary::start(&first.database_url).await;
    let mut movements = MovementServiceClient::new(second.connection());
    first.put_locations(&["berlin"]).await;
    first.put_item("A", true).await;
    let mut record = async |key: String| {
        let request = put_request(SOURCE, vec![sale(&key, "berlin", "A", 1)]);
        movements.record_movements(request).await.unwrap().into_inner().results.remove(0)
    };
    record("s".into()).await.recorded();
    first.put_item("A", false).await;
    let changed = tokio::time::Instant::now();
    let mut number = 0;
    loop {
        number += 1;
        let result = record(format!("s{number}")).await;
        if result.status() == MovementStatus::Rejected {
            result.rejected("NOT_A_STOCK_ITEM");
            break;
        }
        assert!(changed.elapsed().as_secs_f32() < 2.0, "a second, and what a busy machine takes");
    }
    eventually("the first server knows its own change at once", || async {
        first.record_one(sale("own", "berlin", "A", 1)).await.error
    })
    .await;
}

/// Hundreds of calls may need it at once after a start: each would wait for the one before.
#[tokio::test]
async fn a_source_that_another_server_added_is_read_and_not_written_again() {
    let first = Server::start().await;
    first.put_locations(&["shop"]).await;
    first.record(vec![receipt("r1", "shop", "MUG", 5)]).await;
    let mut database = PgConnection::connect(&first.database_url).await.unwrap();
    let mut stored = async || {
        let row = sqlx::query_as::<_, (String, i32)>(
            "select ctid::text, source_no from source where source = $1",
        );
        row.bind(SOURCE).fetch_one(&mut database).await.unwrap()
    };
    let added = stored().await;
    let second = Server::start_on(&first.database_url).await;
    second.record(vec![receipt("r2", "shop", "MUG", 5)]).await;
    assert_eq!(stored().await, added);
}
