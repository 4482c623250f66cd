//! Opening hours of locations: what may be put, what is stored, and what every server makes of it.

use prost_types::Duration;
use stockroom::{
    api::proto::{
        GetLocationRequest, Location, LocationStatus, OpeningException, OpeningHours,
        OpeningInterval, PutLocationRequest,
    },
    stock::time::{SECOND, Timestamp},
};
use tonic::Code;

use crate::harness::{databases::broken_by, errors::explained, server::Server};

const HOUR: i64 = 3_600 * SECOND;

fn hours(weekday: i32, opens_minute: u32, closes_minute: u32) -> OpeningHours {
    OpeningHours { weekday, opens_minute, closes_minute }
}

fn exception(date: &str, intervals: &[(u32, u32)]) -> OpeningException {
    let interval = |&(opens_minute, closes_minute)| OpeningInterval { opens_minute, closes_minute };
    OpeningException { date: date.into(), intervals: intervals.iter().map(interval).collect() }
}

/// Open on Tuesdays and Wednesdays.
fn berlin() -> Location {
    Location {
        location_id: "berlin".into(),
        time_zone: "Europe/Berlin".into(),
        latitude: Some(52.52),
        longitude: Some(13.4),
        opening_hours: vec![hours(3, 540, 1_440), hours(2, 780, 1_140), hours(2, 540, 720)],
        opening_exceptions: vec![
            exception("2026-12-29", &[(720, 780), (600, 660)]),
            exception("2026-12-23", &[]),
        ],
        preparation_time: Some(Duration { seconds: 5_400, nanos: 500_999 }),
        ..Location::default()
    }
}

async fn put(server: &Server, location: Location) -> Location {
    let request = PutLocationRequest { location: Some(location) };
    server.network().put_location(request).await.unwrap().into_inner().location.unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

#[tokio::test]
async fn hours_are_stored_in_order_and_replaced_as_a_whole() {
    let server = Server::start().await;
    let stored = put(&server, berlin()).await;
    let expected = Location {
        opening_hours: vec![hours(2, 540, 720), hours(2, 780, 1_140), hours(3, 540, 1_440)],
        opening_exceptions: vec![
            exception("2026-12-23", &[]),
            exception("2026-12-29", &[(600, 660), (720, 780)]),
        ],
        preparation_time: Some(Duration { seconds: 5_400, nanos: 500_000 }),
        partition: stored.partition,
        status: LocationStatus::Open as i32,
        ..berlin()
    };
    assert_eq!(stored, expected);
    let request = GetLocationRequest { location_id: "berlin".into() };
    let read = server.network().get_location(request).await.unwrap().into_inner();
    assert_eq!(read.location, Some(expected));
    let at_once = Some(Duration::default());
    let plain = Location { preparation_time: at_once, ..Location::default() };
    let replaced = put(&server, Location { location_id: "berlin".into(), ..plain }).await;
    assert_eq!((replaced.opening_hours.len(), replaced.opening_exceptions.len()), (0, 0));
    assert_eq!(replaced.preparation_time, at_once);
}

#[tokio::test]
async fn hours_out_of_bounds_are_refused_by_field() {
    let server = Server::start().await;
    let week = |hours: &[OpeningHours]| Location { opening_hours: hours.into(), ..berlin() };
    let dates = |exceptions: &[OpeningException]| Location {
        opening_exceptions: exceptions.into(),
        ..berlin()
    };
    let prepared = |seconds, nanos| {
        let preparation_time = Some(Duration { seconds, nanos });
        Location { preparation_time, ..berlin() }
    };
    let hour_each = |count: u32| (0..count).map(|hour| (hour * 60, hour * 60 + 60));
    let eleven: Vec<_> = hour_each(11).collect();
    let eleven_hours: Vec<_> =
        eleven.iter().map(|&(opens, closes)| hours(1, opens, closes)).collect();
    let many: Vec<_> = (0..367)
        .map(|day| exception(&format!("{}-01-{:02}", 2026 + day / 31, day % 31 + 1), &[]))
        .collect();
    let cases = [
        (week(&[hours(0, 540, 720)]), "location.opening_hours"),
        (week(&[hours(8, 540, 720)]), "location.opening_hours"),
        (week(&[hours(-1, 540, 720)]), "location.opening_hours"),
        (week(&[hours(1, 540, 540)]), "location.opening_hours"),
        (week(&[hours(1, 0, 1_441)]), "location.opening_hours"),
        (week(&[hours(1, 65_536, 65_596)]), "location.opening_hours"),
        (week(&[hours(1, 540, 720), hours(1, 660, 780)]), "location.opening_hours"),
        (week(&[hours(1, 540, 720), hours(1, 540, 720)]), "location.opening_hours"),
        (week(&eleven_hours), "location.opening_hours"),
        (dates(&[exception("", &[])]), "location.opening_exceptions"),
        (dates(&[exception("2026-02-29", &[])]), "location.opening_exceptions"),
        (dates(&[exception("20261225", &[])]), "location.opening_exceptions"),
        (dates(&[exception("2026-12-25T00:00:00", &[])]), "location.opening_exceptions"),
        (dates(&[exception("1999-12-31", &[])]), "location.opening_exceptions"),
        (dates(&[exception("9999-01-01", &[])]), "location.opening_exceptions"),
        (dates(&[exception("2026-12-25", &[(60, 0)])]), "location.opening_exceptions"),
        (dates(&[exception("2026-12-25", &eleven)]), "location.opening_exceptions"),
        (
            dates(&[exception("2026-12-25", &[]), exception("2026-12-25", &[])]),
            "location.opening_exceptions",
        ),
        (dates(&many), "location.opening_exceptions"),
        (prepared(-1, 0), "location.preparation_time"),
        (prepared(604_800, 1_000), "location.preparation_time"),
        (prepared(1, -1), "location.preparation_time"),
        (prepared(0, 1_000_000_000), "location.preparation_time"),
        (prepared(i64::MAX, 0), "location.preparation_time"),
    ];
    for (location, field) in cases {
        let reason = match field {
            "location.preparation_time" => "FIELD_INVALID",
            _ => "OPENING_HOURS_INVALID",
        };
        let request = PutLocationRequest { location: Some(location.clone()) };
        let status = server.network().put_location(request).await;
        let status = status.expect_err(&format!("{location:?}"));
        assert_eq!(explained(&status, Code::InvalidArgument, reason)["field"], field);
    }
    put(&server, dates(&many[..366])).await;
    put(&server, prepared(604_800, 0)).await;
    put(&server, week(&[hours(1, 0, 720), hours(1, 720, 1_440)])).await;
}

/// What a defect would write past the service.
#[tokio::test]
async fn the_database_refuses_hours_out_of_bounds_too() {
    let server = Server::start().await;
    put(&server, berlin()).await;
    for (column, value, constraint) in [
        ("opening_hours", "[]", "location_opening_hours"),
        ("opening_hours", "[[],[],[],[],[],[],[5]]", "location_opening_hours"),
        ("opening_hours", r#"[[],[],[],[],[],[],[{"opens": 60}]]"#, "location_opening_hours"),
        (
            "opening_hours",
            r#"[[],[],[],[],[],[],[{"opens": 60, "closes": 1441}]]"#,
            "location_opening_hours",
        ),
        (
            "opening_hours",
            r#"[[{"opens": 0, "closes": 60}, {"opens": 90, "closes": 90}],[],[],[],[],[],[]]"#,
            "location_opening_hours",
        ),
        ("opening_exceptions", "[]", "location_opening_exceptions"),
        ("opening_exceptions", r#"{"Christmas": []}"#, "location_opening_exceptions"),
        (
            "opening_exceptions",
            r#"{"2026-12-25": [{"opens": -1, "closes": 60}]}"#,
            "location_opening_exceptions",
        ),
        ("preparation_us", "-1", "location_preparation"),
        ("preparation_us", "604800000001", "location_preparation"),
    ] {
        let statement = format!("update location set {column} = '{value}'");
        assert_eq!(broken_by(&server.database_url, &statement).await, constraint, "{value}");
    }
}

#[tokio::test]
async fn f28_every_server_knows_when_a_location_is_open() {
    let first = Server::start().await;
    let second = Server::start_on(&first.database_url).await;
    put(&first, berlin()).await;
    let (own, other) = (first.ledger.directory(), second.ledger.directory());
    let known = own.known().location("berlin").cloned().unwrap();
    assert_eq!(&*known.location_id, "berlin");
    assert_eq!(
        (known.spot.map(|spot| spot.at), known.pickup_enabled),
        (Some((52.52, 13.4)), false)
    );
    assert_eq!(known.preparation, 5_400 * SECOND + 500);
    // Tuesday the 22nd; the 23rd is an exception and the other days are closed.
    let now = at("2026-12-22T18:00:00+01:00");
    let ready = known.calendar.ready_by(now, 2 * HOUR);
    assert_eq!(ready, at("2026-12-29T12:00:00+01:00"));
    assert_eq!(known.calendar.collect_by(ready, 1), at("2026-12-31T00:00:00+01:00"));
    assert!(other.known().location("berlin").is_none());
    other.find_numbered_locations(&[known.place.location]).await.unwrap();
    {
        let seen = other.known();
        assert_eq!(seen.place("berlin"), Some(known.place));
        assert_eq!(&*seen.location_of(known.place.location).unwrap().location_id, "berlin");
    }
    put(&first, Location { opening_hours: Vec::new(), ..berlin() }).await;
    put(&first, Location { location_id: "paris".into(), ..Location::default() }).await;
    let ready = |server: &Server| {
        let known = server.ledger.directory().known();
        known.location("berlin").unwrap().calendar.ready_by(now, 2 * HOUR)
    };
    let open = at("2026-12-22T20:00:00+01:00");
    assert_eq!(ready(&first), open, "known at once where it was put");
    assert_ne!(ready(&second), open);
    other.refresh().await.unwrap();
    assert_eq!(ready(&second), open);
    let mut all: Vec<_> =
        other.known().locations().map(|location| location.location_id.to_string()).collect();
    all.sort();
    assert_eq!(all, ["berlin", "paris"], "all of them are known after a refresh");
}
