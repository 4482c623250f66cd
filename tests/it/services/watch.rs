//! WatchReservations: the work list of a shop, and how it changes.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use std::{collections::BTreeMap, time::Duration};

use stockroom::api::proto::{
    CreateReservationRequest, Location, PutLocationRequest, ReservationTask,
    WatchReservationsRequest, WatchReservationsResponse,
};
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::harness::{
    errors::explained,
    movements::{Became as _, receipt},
    reservations::{create, line, seconds},
    server::Server,
};

/// A change arrives in milliseconds, or never.
const PATIENCE: Duration = Duration::from_secs(20);

async fn shop(preparation: i64) -> Server {
    let server = Server::start_honest().await;
    let location = Location {
        location_id: "shop".to_owned(),
        preparation_time: seconds(preparation),
        ..Location::default()
    };
    server.network().put_location(PutLocationRequest { location: Some(location) }).await.unwrap();
    server.put_locations(&["other"]).await;
    for location in ["shop", "other"] {
        server.record_one(receipt("r", location, "jam", 100)).await.recorded();
    }
    server
}

/// A listener that keeps the list.
struct List {
    stream: Streaming<WatchReservationsResponse>,
    tasks: BTreeMap<String, ReservationTask>,
}

impl List {
    /// Its present state.
    async fn of(server: &Server) -> List {
        let request = WatchReservationsRequest { location_id: "shop".to_owned() };
        let stream = server.reservations().watch_reservations(request).await.unwrap().into_inner();
        let mut list = List { stream, tasks: BTreeMap::new() };
        while !list.next().await.complete {}
        list
    }

    async fn next(&mut self) -> WatchReservationsResponse {
        let message = timeout(PATIENCE, self.stream.message()).await.expect("something comes");
        let message = message.unwrap().expect("the stream goes on");
        for item in &message.items {
            let id = item.reservation.clone().unwrap().reservation_id;
            match item.task() {
                ReservationTask::Unspecified => self.tasks.remove(&id),
                task => self.tasks.insert(id, task),
            };
        }
        message
    }

    /// Waits until the list says this of a reservation; `None`: it is not on it.
    async fn says(&mut self, id: &str, task: Option<ReservationTask>) {
        while self.tasks.get(id).copied() != task {
            let message = self.next().await;
            assert!(!message.complete, "the present state is told once");
        }
    }
}

#[tokio::test]
async fn the_list_begins_with_what_there_is_and_follows_every_step() {
    let server = shop(7_200).await;
    let first = server.reserve("k1", "shop", "jam", 1).await.unwrap().reservation_id;
    let gone = server.reserve("k2", "shop", "jam", 1).await.unwrap().reservation_id;
    server.cancel("k3", &gone).await.unwrap();
    let elsewhere = server.reserve("k4", "other", "jam", 1).await.unwrap().reservation_id;
    let mut list = List::of(&server).await;
    assert_eq!(list.tasks, BTreeMap::from([(first.clone(), ReservationTask::ToPick)]));

    let second = server.reserve("k5", "shop", "jam", 2).await.unwrap().reservation_id;
    list.says(&second, Some(ReservationTask::ToPick)).await;
    server.start_picking("k6", &first).await.unwrap();
    server.mark_ready("k7", &first).await.unwrap();
    list.says(&first, Some(ReservationTask::Ready)).await;
    server.collect("k8", &first).await.unwrap();
    list.says(&first, None).await;
    server.report_pick("k9", &second, &[("jam", 2, "")]).await.unwrap();
    server.cancel("k10", &second).await.unwrap();
    list.says(&second, Some(ReservationTask::ToShelve)).await;
    // Whoever begins to watch now sees the same.
    let other = List::of(&server).await;
    assert_eq!(other.tasks, list.tasks);
    server.return_to_shelf("k11", &second).await.unwrap();
    list.says(&second, None).await;
    let moved = server.move_to("k12", &elsewhere, "shop").await.unwrap();
    list.says(&moved.reservation_id, Some(ReservationTask::ToPick)).await;
    assert_eq!(list.tasks.len(), 1, "{:?}", list.tasks);
    // A hold is no work.
    server.hold_one("h1", "shop", "jam", 1).await.unwrap();
    server.move_to("k13", &moved.reservation_id, "other").await.unwrap();
    list.says(&moved.reservation_id, None).await;
    assert_eq!(list.tasks.len(), 0, "{:?}", list.tasks);
}

#[tokio::test]
async fn what_is_late_is_overdue_and_what_expires_leaves_the_list() {
    let server = shop(1).await;
    let late = server.reserve("k1", "shop", "jam", 1).await.unwrap().reservation_id;
    let request = create("k2", "shop", vec![line("jam", 1)]);
    let short = CreateReservationRequest { ttl: seconds(3), ..request };
    let short = server.create(short).await.unwrap().reservation_id;
    let mut list = List::of(&server).await;
    list.says(&late, Some(ReservationTask::Overdue)).await;
    list.says(&short, None).await;
    server.start_picking("k3", &late).await.unwrap();
    server.mark_ready("k4", &late).await.unwrap();
    list.says(&late, Some(ReservationTask::Ready)).await;
}

#[tokio::test]
async fn a_list_of_nowhere_is_refused() {
    let server = shop(7_200).await;
    let watch = async |location_id: &str| {
        let request = WatchReservationsRequest { location_id: location_id.to_owned() };
        server.reservations().watch_reservations(request).await.unwrap_err()
    };
    explained(&watch("nowhere").await, Code::NotFound, "LOCATION_UNKNOWN");
    explained(&watch("a b").await, Code::InvalidArgument, "LOCATION_ID_INVALID");
}
