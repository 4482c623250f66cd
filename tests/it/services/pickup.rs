//! FindPickupLocations: where a basket could be collected.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use stockroom::api::proto::{
    ChannelPolicy, FindPickupLocationsRequest, FindPickupLocationsResponse, Location,
    OpeningException, PutChannelPolicyRequest, PutLocationRequest, channel_policy::Buffer,
};
use tonic::{Code, Status};

use crate::harness::{
    availability::check,
    errors::explained,
    movements::{Became as _, receipt},
    reservations::line,
    server::Server,
};

/// On a line to the east from 13 degrees on, a tenth of a degree (6.8 km) apart.
const SHOPS: [&str; 4] = ["a", "b", "c", "d"];

fn location(location_id: &str, longitude: f64) -> Location {
    Location {
        location_id: location_id.to_owned(),
        latitude: Some(52.0),
        longitude: Some(longitude),
        pickup_enabled: true,
        ..Location::default()
    }
}

async fn put(server: &Server, location: Location) {
    let request = PutLocationRequest { location: Some(location) };
    server.network().put_location(request).await.unwrap();
}

/// Shops with jam: 1, 2, 3, 4; with tea: 4, 3, 2, 1. A depot where nobody collects has plenty, and so
/// has a shop of which nobody knows where it is.
async fn chain() -> Server {
    let server = Server::start().await;
    for (number, shop) in SHOPS.iter().enumerate() {
        put(&server, location(shop, 13.0 + number as f64 / 10.0)).await;
    }
    put(&server, Location { pickup_enabled: false, ..location("depot", 13.0) }).await;
    let nowhere = Location { latitude: None, longitude: None, ..location("nowhere", 0.0) };
    put(&server, nowhere).await;
    for (units, shop) in (1..).zip(SHOPS) {
        server.record_one(receipt("j", shop, "jam", units)).await.recorded();
        server.record_one(receipt("t", shop, "tea", 5 - units)).await.recorded();
    }
    for shop in ["depot", "nowhere"] {
        server.record_one(receipt("j", shop, "jam", 100)).await.recorded();
    }
    server.caught_up().await;
    server
}

fn search(lines: &[(&str, i64)]) -> FindPickupLocationsRequest {
    FindPickupLocationsRequest {
        lines: lines.iter().map(|&(sku, quantity)| line(sku, quantity)).collect(),
        latitude: Some(52.0),
        longitude: Some(13.0),
        ..FindPickupLocationsRequest::default()
    }
}

async fn find(
    server: &Server,
    request: FindPickupLocationsRequest,
) -> Result<FindPickupLocationsResponse, Status> {
    Ok(server.availability().find_pickup_locations(request).await?.into_inner())
}

async fn names(server: &Server, request: FindPickupLocationsRequest) -> Vec<String> {
    let found = find(server, request).await.unwrap();
    found.locations.into_iter().map(|location| location.location_id).collect()
}

#[tokio::test]
async fn the_nearest_that_have_the_whole_basket_come_first() {
    let server = chain().await;
    assert_eq!(names(&server, search(&[("jam", 2)])).await, ["b", "c", "d"]);
    assert_eq!(names(&server, search(&[("jam", 2), ("tea", 2)])).await, ["b", "c"]);
    assert_eq!(names(&server, search(&[("jam", 1), ("tea", 1), ("jam", 2)])).await, ["c", "d"]);
    assert_eq!(names(&server, search(&[("jam", 5)])).await, [""; 0]);
    assert_eq!(names(&server, search(&[("jam", 1), ("unheard-of", 1)])).await, [""; 0]);
    assert_eq!(names(&server, search(&[])).await, SHOPS, "any will do");
    let one = FindPickupLocationsRequest { locations_max: 1, ..search(&[("jam", 2)]) };
    assert_eq!(names(&server, one).await, ["b"]);
    let near = FindPickupLocationsRequest { radius_m: 14_000.0, ..search(&[("jam", 2)]) };
    assert_eq!(names(&server, near).await, ["b", "c"]);
    let other_side = FindPickupLocationsRequest { longitude: Some(-179.9), ..search(&[]) };
    put(&server, location("over-the-line", 179.9)).await;
    assert_eq!(names(&server, other_side).await[0], "over-the-line");
}

#[tokio::test]
async fn what_is_reserved_or_kept_back_is_not_there() {
    let server = chain().await;
    server.reserve("k", "b", "jam", 1).await.unwrap();
    server.put_channel("web").await;
    let buffer = Some(Buffer::BufferUnits(1));
    let policy = ChannelPolicy { channel_id: "web".to_owned(), buffer, ..Default::default() };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
    server.caught_up().await;
    assert_eq!(names(&server, search(&[("jam", 2)])).await, ["c", "d"]);
    let web = FindPickupLocationsRequest { channel_id: "web".to_owned(), ..search(&[("jam", 3)]) };
    assert_eq!(names(&server, web).await, ["d"]);
}

#[tokio::test]
async fn what_a_location_lacks_is_said_where_that_is_wanted() {
    let server = chain().await;
    let request = search(&[("jam", 2), ("unheard-of", 7), ("tea", 3)]);
    let request = FindPickupLocationsRequest { include_incomplete: true, ..request };
    let found = find(&server, request).await.unwrap();
    let missing = found.locations.iter().map(|location| {
        let missing = location.missing.iter().map(|line| (&*line.sku, line.quantity));
        (&*location.location_id, missing.collect::<Vec<_>>())
    });
    assert_eq!(
        missing.collect::<Vec<_>>(),
        [
            ("a", vec![("jam", 1), ("unheard-of", 7)]),
            ("b", vec![("unheard-of", 7)]),
            ("c", vec![("unheard-of", 7), ("tea", 1)]),
            ("d", vec![("unheard-of", 7), ("tea", 2)]),
        ]
    );
    assert!(!found.truncated);
    // Without a reservation layer live holds cannot be seen.
    let read = server.availability().check_availability(check("a", "jam")).await.unwrap();
    assert_eq!(found.degraded, read.into_inner().degraded);
    let distances: Vec<_> = found.locations.iter().map(|found| found.distance_m).collect();
    assert!(distances[0] == 0.0 && distances.is_sorted(), "{distances:?}");
    assert!((6_800.0..6_900.0).contains(&distances[1]), "{distances:?}");
}

#[tokio::test]
async fn it_is_said_whether_a_location_is_open_and_when_it_would_be_ready() {
    let server = chain().await;
    let preparation_time = Some(prost_types::Duration { seconds: 1_800, nanos: 0 });
    put(&server, Location { preparation_time, ..location("a", 13.0) }).await;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let closed = [today.yesterday().unwrap(), today, today.tomorrow().unwrap()];
    let closed = closed.map(|date| OpeningException { date: date.to_string(), intervals: vec![] });
    let opening_exceptions = closed.to_vec();
    put(&server, Location { opening_exceptions, ..location("b", 13.1) }).await;
    let before = jiff::Timestamp::now().as_second();
    let found = find(&server, search(&[("jam", 1)])).await.unwrap();
    let after = jiff::Timestamp::now().as_second();
    let [a, b, ..] = &*found.locations else { panic!("two at least") };
    assert!(a.open_now && !b.open_now);
    let ready = a.ready_by.unwrap().seconds;
    assert!((before + 1_800..=after + 1_800).contains(&ready), "{before} {ready} {after}");
    assert!(b.ready_by.unwrap().seconds > after + 3_600, "after the days on which it is closed");
}

#[tokio::test]
async fn where_a_customer_cannot_be_is_refused() {
    let server = Server::start().await;
    let wrong = async |change: fn(&mut FindPickupLocationsRequest), reason: &str| {
        let mut request = search(&[("jam", 1)]);
        change(&mut request);
        let refused = find(&server, request).await.unwrap_err();
        explained(&refused, Code::InvalidArgument, reason);
    };
    wrong(|request| request.latitude = None, "COORDINATES_INVALID").await;
    wrong(|request| request.longitude = Some(180.1), "COORDINATES_INVALID").await;
    wrong(|request| request.latitude = Some(f64::NAN), "COORDINATES_INVALID").await;
    wrong(|request| request.radius_m = -1.0, "FIELD_INVALID").await;
    wrong(|request| request.radius_m = f64::NAN, "FIELD_INVALID").await;
    wrong(|request| request.locations_max = 101, "FIELD_INVALID").await;
    wrong(|request| request.lines = vec![line("jam", 0)], "QUANTITY_OUT_OF_RANGE").await;
    wrong(|request| request.lines = vec![line("jam", 1); 201], "LINES_INVALID").await;
}
