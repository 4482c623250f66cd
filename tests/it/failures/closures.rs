//! F27: a shop closes early, or has a bank holiday.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use jiff::{Timestamp, ToSpan as _, Zoned, civil::Date, tz::TimeZone};
use stockroom::api::proto::{
    CreateReservationRequest, FindPickupLocationsRequest, GetLocationRequest, Location,
    LocationStatus, MovementKind, OpeningException, OpeningHours, PutLocationRequest, Reservation,
    ReservationState, SetLocationStatusRequest, Settlement,
};
use tonic::{Code, Status};

use crate::harness::{
    errors::explained,
    holds::hold,
    movements::{Became as _, receipt, sale, seconds_from_now},
    reservations::{create, line, micros, seconds},
    server::{Server, eventually},
};

/// Open from 0 to 24 on every day, so that it is open whenever a test runs.
fn shop(location_id: &str, closed: &[Date]) -> Location {
    let hours =
        (1..=7).map(|weekday| OpeningHours { weekday, opens_minute: 0, closes_minute: 1_440 });
    let closed = closed
        .iter()
        .map(|date| OpeningException { date: date.to_string(), intervals: Vec::new() });
    Location {
        location_id: location_id.to_owned(),
        latitude: Some(52.0),
        longitude: Some(13.0),
        pickup_enabled: true,
        opening_hours: hours.collect(),
        opening_exceptions: closed.collect(),
        preparation_time: seconds(60),
        ..Location::default()
    }
}

async fn put(server: &Server, location: Location) -> Location {
    let request = PutLocationRequest { location: Some(location) };
    server.network().put_location(request).await.unwrap().into_inner().location.unwrap()
}

async fn set(
    server: &Server,
    location_id: &str,
    status: LocationStatus,
    until: Option<prost_types::Timestamp>,
) -> Result<Location, Status> {
    let status = status as i32;
    let request = SetLocationStatusRequest { location_id: location_id.to_owned(), status, until };
    let response = server.network().set_location_status(request).await?;
    Ok(response.into_inner().location.unwrap())
}

async fn chain() -> Server {
    let server = Server::start_honest().await;
    for id in ["shop", "other"] {
        put(&server, shop(id, &[])).await;
        server.record_one(receipt("r", id, "jam", 10)).await.recorded();
    }
    server.caught_up().await;
    server
}

/// Ordered now, two business days to collect.
async fn reserve(server: &Server, key: &str, location_id: &str) -> Reservation {
    let request = create(key, location_id, vec![line("jam", 1)]);
    let settlement = Settlement::PayInStore as i32;
    server.create(CreateReservationRequest { settlement, ..request }).await.unwrap()
}

fn shown(micros: i64) -> Zoned {
    Timestamp::from_microsecond(micros).unwrap().to_zoned(TimeZone::UTC)
}

/// The reservation once its deadline is another one.
async fn moved(server: &Server, before: &Reservation) -> Reservation {
    eventually("its deadline moves", || async {
        let now = server.get(&before.reservation_id).await;
        (now.expires_at != before.expires_at).then_some(now)
    })
    .await
}

fn not_accepting(status: &Status, location_status: &str) {
    let metadata = explained(status, Code::FailedPrecondition, "LOCATION_NOT_ACCEPTING");
    assert_eq!(metadata["status"], location_status);
}

#[tokio::test]
async fn f27_nothing_more_is_promised_where_the_status_forbids_it() {
    use LocationStatus::{Closed, NoNewReservations, Open, PickupOnly};
    let server = chain().await;
    let there = reserve(&server, "k0", "shop").await;
    let elsewhere = reserve(&server, "k1", "other").await;
    for status in [NoNewReservations, Closed] {
        let name = status.as_str_name().trim_start_matches("LOCATION_STATUS_");
        let stored = set(&server, "shop", status, None).await.unwrap();
        assert_eq!((stored.status(), stored.status_until), (status, None));
        not_accepting(&server.reserve(name, "shop", "jam", 1).await.unwrap_err(), name);
        not_accepting(
            &server.hold(hold(name, "shop", vec![line("jam", 1)])).await.unwrap_err(),
            name,
        );
        let id = &there.reservation_id;
        let more = server.amend(&format!("{name}+"), id, vec![line("jam", 2)]).await;
        not_accepting(&more.unwrap_err(), name);
        let here = server.move_to(name, &elsewhere.reservation_id, "shop").await;
        not_accepting(&here.unwrap_err(), name);
        let still = server.get(&elsewhere.reservation_id).await;
        assert_eq!(still.state(), ReservationState::Reserved, "the old promise stands");
        assert_eq!(server.available("shop", "jam").await, 0);
        assert_eq!(found(&server).await, ["other"]);
        let told = server.explain("shop", "jam").await;
        let last = told.terms.last().unwrap();
        assert_eq!((&*last.term, last.quantity, told.available), ("not_accepting", -9, 0));
    }
    // The same request that was granted before is answered as it was then.
    assert_eq!(reserve(&server, "k0", "shop").await, there);
    set(&server, "shop", PickupOnly, None).await.unwrap();
    reserve(&server, "k2", "shop").await;
    assert_eq!(found(&server).await, ["shop", "other"]);
    // A put says nothing of it.
    let put_again = put(&server, shop("shop", &[])).await;
    assert_eq!(put_again.status(), PickupOnly);
    set(&server, "shop", Open, None).await.unwrap();
    assert_eq!(server.available("shop", "jam").await, 8);
    server.stop().await;
}

async fn found(server: &Server) -> Vec<String> {
    let request = FindPickupLocationsRequest {
        lines: vec![line("jam", 1)],
        latitude: Some(52.0),
        longitude: Some(13.0),
        ..FindPickupLocationsRequest::default()
    };
    let response = server.availability().find_pickup_locations(request).await.unwrap();
    response.into_inner().locations.into_iter().map(|found| found.location_id).collect()
}

#[tokio::test]
async fn f27_what_was_promised_is_carried_out_and_facts_are_recorded_in_a_closed_shop() {
    let server = chain().await;
    let ids = ["a", "b", "c", "d"].map(|key| reserve(&server, key, "shop"));
    let ids = futures::future::join_all(ids).await.into_iter().map(|made| made.reservation_id);
    let ids: Vec<_> = ids.collect();
    set(&server, "shop", LocationStatus::Closed, None).await.unwrap();
    server.start_picking("1", &ids[0]).await.unwrap();
    server.mark_ready("2", &ids[0]).await.unwrap();
    server.collect("3", &ids[0]).await.unwrap();
    server.cancel("4", &ids[1]).await.unwrap();
    server.move_to("5", &ids[2], "other").await.unwrap();
    server.confirm_payment("6", &ids[3]).await.unwrap();
    server.record_one(sale("s", "shop", "jam", 1)).await.recorded();
    server.record_one(receipt("r2", "shop", "jam", 1)).await.recorded();
    assert_eq!(server.sellable("shop", "jam").await, 9);
}

#[tokio::test]
async fn f27_a_status_ends_by_itself_and_bad_ones_are_refused() {
    let server = chain().await;
    let until = Some(seconds_from_now(2));
    let stored = set(&server, "shop", LocationStatus::NoNewReservations, until).await.unwrap();
    assert_eq!(stored.status_until, until);
    server.reserve("k", "shop", "jam", 1).await.unwrap_err();
    eventually("it is open again", || async { server.reserve("k", "shop", "jam", 1).await.ok() })
        .await;
    let request = GetLocationRequest { location_id: "shop".to_owned() };
    let now = server.network().get_location(request).await.unwrap().into_inner();
    let now = now.location.unwrap();
    assert_eq!((now.status(), now.status_until), (LocationStatus::Open, None));
    for (status, until) in [
        (LocationStatus::Unspecified, None),
        (LocationStatus::Open, Some(seconds_from_now(60))),
        (LocationStatus::Closed, Some(seconds_from_now(-60))),
        (LocationStatus::Closed, Some(seconds_from_now(401 * 86_400))),
    ] {
        let status = set(&server, "shop", status, until).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "FIELD_INVALID");
    }
    let status = set(&server, "nowhere", LocationStatus::Open, None).await.unwrap_err();
    explained(&status, Code::NotFound, "LOCATION_UNKNOWN");
}

#[tokio::test]
async fn f27_a_bank_holiday_that_is_put_later_moves_deadlines() {
    let server = chain().await;
    let before = reserve(&server, "k", "shop").await;
    let given = create("given", "shop", vec![line("jam", 1)]);
    let given = CreateReservationRequest { ttl: seconds(2 * 86_400), ..given };
    let given = server.create(given).await.unwrap();
    let elsewhere = reserve(&server, "k", "other").await;
    let last = shown(micros(before.collect_by) - 1).date();
    put(&server, shop("shop", &[last])).await;
    let now = moved(&server, &before).await;
    let next = last.tomorrow().unwrap();
    assert_eq!(shown(micros(now.collect_by) - 1).date(), next, "the next business day");
    assert_eq!(now.ready_by, before.ready_by);
    assert_eq!(now.state(), ReservationState::Reserved);
    for other in [given, elsewhere] {
        assert_eq!(server.get(&other.reservation_id).await, other);
    }
    let entries = server.entries_of("shop", "jam").await;
    let steps: Vec<_> = entries.iter().filter(|entry| entry.kind() == MovementKind::Step).collect();
    let [step] = &steps[..] else { panic!("{steps:?}") };
    assert_eq!((&*step.source, &*step.reservation_id), ("stockroom", &*before.reservation_id));
    // No customer loses what was told to them.
    put(&server, shop("shop", &[])).await;
    let settled = || async { server.ledger.pending_deadlines(1).await.unwrap().is_empty() };
    eventually("it was looked at", || async { settled().await.then_some(()) }).await;
    assert_eq!(server.get(&before.reservation_id).await, now);
    assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}

#[tokio::test]
async fn f27_a_shop_that_closes_until_a_known_time_moves_what_is_not_ready() {
    let server = chain().await;
    let before = reserve(&server, "k", "shop").await;
    let three_days = 3 * 86_400;
    let until = seconds_from_now(three_days);
    set(&server, "shop", LocationStatus::Closed, Some(until)).await.unwrap();
    let now = moved(&server, &before).await;
    let late = micros(now.ready_by) - micros(Some(until));
    assert!((0..=60_000_000).contains(&late), "ready within a minute of work: {late}");
    let due = shown(micros(now.ready_by)).date().checked_add(2.days()).unwrap();
    assert_eq!(shown(micros(now.collect_by) - 1).date(), due, "two business days after it");
}

#[tokio::test]
async fn f27_nothing_expires_while_nobody_can_come_and_deadlines_move_afterwards() {
    let server = chain().await;
    let short = create("k", "shop", vec![line("jam", 1)]);
    let short = CreateReservationRequest { ttl: seconds(3), ..short };
    let elsewhere = CreateReservationRequest { location_id: "other".to_owned(), ..short.clone() };
    let kept = reserve(&server, "kept", "shop").await;
    set(&server, "shop", LocationStatus::PickupOnly, None).await.unwrap();
    let made = server.create(short).await.unwrap();
    set(&server, "shop", LocationStatus::Closed, None).await.unwrap();
    // It is due later than the other one.
    let other = server.create(elsewhere).await.unwrap();
    eventually("the other one expires", || async {
        let other = server.get(&other.reservation_id).await;
        (other.state() == ReservationState::Expired).then_some(())
    })
    .await;
    let still = server.get(&made.reservation_id).await;
    assert_eq!(still.state(), ReservationState::Reserved, "its deadline has passed");
    set(&server, "shop", LocationStatus::Open, None).await.unwrap();
    eventually("it expires once customers can come", || async {
        let made = server.get(&made.reservation_id).await;
        (made.state() == ReservationState::Expired).then_some(())
    })
    .await;
    let kept_now = server.get(&kept.reservation_id).await;
    assert!(micros(kept_now.expires_at) >= micros(kept.expires_at));
}

#[tokio::test]
async fn f27_deadlines_move_once_whoever_dies_and_however_many_servers_there_are() {
    let server = chain().await;
    let mut before = Vec::new();
    for key in 0..5 {
        before.push(reserve(&server, &format!("k{key}"), "shop").await);
    }
    let last = shown(micros(before[0].collect_by) - 1).date();
    put(&server, shop("shop", &[last])).await;
    // Before anything was moved.
    let url = server.database_url.clone();
    server.stop().await;
    let (one, other) = (Server::start_on(&url).await, Server::start_on(&url).await);
    for made in &before {
        moved(&one, made).await;
    }
    let settled = || async { other.ledger.pending_deadlines(1).await.unwrap().is_empty() };
    eventually("both are done", || async { settled().await.then_some(()) }).await;
    let entries = one.entries_of("shop", "jam").await;
    let steps = entries.iter().filter(|entry| entry.kind() == MovementKind::Step);
    assert_eq!(steps.count(), before.len(), "each once");
}
