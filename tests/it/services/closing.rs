//! Locations that are closed for good, and those that can have so many orders ready at a time.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use std::collections::BTreeMap;

use futures::future::join_all;
use stockroom::api::proto::{
    CloseLocationRequest, ListLocationsRequest, Location, LocationStatus, PutLocationRequest,
    SetLocationStatusRequest,
};
use tonic::{Code, Status};

use crate::harness::{
    errors::explained,
    movements::{Became as _, adjust, count, receipt, sale},
    reservations::{micros, seconds},
    server::Server,
};

const QUARTER_US: i64 = 900_000_000;

async fn close(server: &Server, location_id: &str) -> Result<Location, Status> {
    let request = CloseLocationRequest { location_id: location_id.to_owned() };
    let response = server.network().close_location(request).await?;
    Ok(response.into_inner().location.unwrap())
}

fn not_empty(refused: Result<Location, Status>, positions: &str, promises: &str) {
    let status = refused.unwrap_err();
    let metadata = explained(&status, Code::FailedPrecondition, "LOCATION_NOT_EMPTY");
    assert_eq!((&*metadata["positions"], &*metadata["promises"]), (positions, promises));
}

#[tokio::test]
async fn a_location_is_closed_for_good_once_its_stock_and_its_promises_are_gone() {
    let server = Server::start_honest().await;
    server.put_locations(&["shop", "other"]).await;
    server.record(vec![receipt("r", "shop", "jam", 3), receipt("t", "shop", "tea", 1)]).await;
    server.record_one(receipt("o", "other", "jam", 3)).await.recorded();
    server.caught_up().await;
    let made = server.reserve("k", "shop", "jam", 2).await.unwrap();
    not_empty(close(&server, "shop").await, "2", "1");
    server.record_one(adjust("a", "shop", "tea", 2, "own_use")).await;
    let written_off =
        stockroom::api::proto::Movement { from_state: 1, ..adjust("b", "shop", "tea", 1, "scrap") };
    server.record_one(written_off).await.recorded();
    server.start_picking("1", &made.reservation_id).await.unwrap();
    server.mark_ready("2", &made.reservation_id).await.unwrap();
    server.record_one(count("c", "shop", "tea", 0)).await.recorded();
    server.record_one(sale("s", "shop", "jam", 1)).await.recorded();
    not_empty(close(&server, "shop").await, "1", "1");
    server.cancel("3", &made.reservation_id).await.unwrap();
    not_empty(close(&server, "shop").await, "1", "0");
    server.return_to_shelf("4", &made.reservation_id).await.unwrap();
    server.record_one(sale("s2", "shop", "jam", 2)).await.recorded();

    let closed = close(&server, "shop").await.unwrap();
    assert_eq!(closed.status(), LocationStatus::Closed);
    assert!(closed.closed_at.is_some());
    assert_eq!(close(&server, "shop").await.unwrap(), closed, "again changes nothing");
    let listed = server.network().list_locations(ListLocationsRequest::default()).await.unwrap();
    let listed = listed.into_inner().locations;
    assert_eq!(listed.iter().find(|listed| listed.location_id == "shop"), Some(&closed));

    // Facts that come late are recorded, and nothing is promised of them.
    server.record_one(receipt("late", "shop", "jam", 5)).await.recorded();
    server.caught_up().await;
    let refused = server.reserve("k2", "shop", "jam", 1).await.unwrap_err();
    let metadata = explained(&refused, Code::FailedPrecondition, "LOCATION_NOT_ACCEPTING");
    assert_eq!(metadata["status"], "CLOSED");
    assert_eq!(server.available("shop", "jam").await, 0);
    let elsewhere = server.reserve("k3", "other", "jam", 1).await.unwrap();
    let moved = server.move_to("k4", &elsewhere.reservation_id, "shop").await.unwrap_err();
    explained(&moved, Code::FailedPrecondition, "LOCATION_NOT_ACCEPTING");
    let request = SetLocationStatusRequest {
        location_id: "shop".to_owned(),
        status: LocationStatus::Open as i32,
        until: None,
    };
    let status = server.network().set_location_status(request).await.unwrap_err();
    explained(&status, Code::FailedPrecondition, "LOCATION_CLOSED");
    let put = Location { location_id: "shop".to_owned(), ..Location::default() };
    let request = PutLocationRequest { location: Some(put) };
    let put = server.network().put_location(request).await.unwrap().into_inner().location.unwrap();
    assert_eq!(put.closed_at, closed.closed_at, "a put does not open it again");
    explained(&close(&server, "nowhere").await.unwrap_err(), Code::NotFound, "LOCATION_UNKNOWN");
}

#[tokio::test]
async fn no_promise_slips_past_a_location_that_is_being_closed() {
    let server = Server::start_honest().await;
    let other = Server::start_on(&server.database_url).await;
    let mut closed = 0;
    for round in 0..15 {
        let shop = format!("shop-{round}");
        server.put_locations(&[&shop]).await;
        server.record_one(receipt("r", &shop, "jam", 1)).await.recorded();
        let sold = async {
            server.record_one(sale("s", &shop, "jam", 1)).await.recorded();
            close(&server, &shop).await.is_ok()
        };
        let (done, reserved) = tokio::join!(sold, other.reserve("k", &shop, "jam", 1));
        assert!(!(done && reserved.is_ok()), "closed with an open promise");
        closed += usize::from(done);
        if let Ok(made) = reserved {
            not_empty(close(&server, &shop).await, "1", "1");
            other.cancel("c", &made.reservation_id).await.unwrap();
            close(&server, &shop).await.unwrap();
        }
    }
    println!("closed at once: {closed} of 15");
    assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}

#[tokio::test]
async fn two_servers_never_have_too_many_orders_ready_in_a_quarter_of_an_hour() {
    let server = Server::start_honest().await;
    for (location_id, pickups_per_quarter_hour) in [("shop", 3), ("depot", 0)] {
        let location = Location {
            location_id: location_id.to_owned(),
            preparation_time: seconds(60),
            pickups_per_quarter_hour,
            ..Location::default()
        };
        let request = PutLocationRequest { location: Some(location) };
        server.network().put_location(request).await.unwrap();
        server.record_one(receipt("r", location_id, "jam", 100)).await.recorded();
    }
    let other = Server::start_on(&server.database_url).await;
    server.caught_up().await;
    let keys: Vec<_> = (0..20).map(|key| format!("k{key}")).collect();
    let made = keys.iter().enumerate().map(|(number, key)| {
        let server = if number % 2 == 0 { &server } else { &other };
        server.reserve(key, "shop", "jam", 1)
    });
    let mut quarters: BTreeMap<i64, usize> = BTreeMap::new();
    for made in join_all(made).await {
        let ready_by = micros(made.unwrap().ready_by);
        *quarters.entry(ready_by / QUARTER_US).or_default() += 1;
    }
    let taken: Vec<_> = quarters.values().copied().collect();
    assert!(taken.iter().all(|taken| *taken <= 3), "{quarters:?}");
    // All of one minute: but for the first and the last none has room left.
    assert!(taken[1..taken.len() - 1].iter().all(|taken| *taken == 3), "{quarters:?}");
    let (first, last) = (quarters.keys().next().unwrap(), quarters.keys().last().unwrap());
    assert_eq!(usize::try_from(last - first).unwrap() + 1, quarters.len(), "none was passed over");
    let plain = keys.iter().map(|key| server.reserve(key, "depot", "jam", 1));
    for made in join_all(plain).await {
        let made = made.unwrap();
        assert_eq!(micros(made.ready_by) - micros(made.created_at), 60_000_000);
    }
    let mut location = Location { location_id: "shop".to_owned(), ..Location::default() };
    location.pickups_per_quarter_hour = 10_001;
    let request = PutLocationRequest { location: Some(location) };
    let status = server.network().put_location(request).await.unwrap_err();
    let metadata = explained(&status, Code::InvalidArgument, "FIELD_INVALID");
    assert_eq!(metadata["field"], "location.pickups_per_quarter_hour");
}
