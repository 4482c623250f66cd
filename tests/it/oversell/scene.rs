//! Two servers on the same databases, and what their ledger must look like afterwards.

use std::{collections::BTreeSet, time::Instant};

use prost_types::Duration;
use stockroom::{
    api::proto::{
        CheckAvailabilityRequest, CreateReservationRequest, Durability, HoldStockRequest, Line,
        ReleaseHoldRequest, Reservation, availability_service_client::AvailabilityServiceClient,
        reservation_service_client::ReservationServiceClient,
    },
    availability::Availability,
    feed::verify::compare,
};
use tonic::transport::Channel as Connection;

use crate::harness::{
    databases,
    movements::{Became as _, receipt},
    redis::Redis,
    server::{Server, connect, eventually, migrated_database, prefix_of},
};

/// The shop of most tests.
pub const SHOP: &str = "berlin";
/// Connections of the clients to each server.
const CONNECTIONS: usize = 10;
/// An item that only shows whether the reservation layer is of use.
const PROBE: &str = "probe";
/// Longer than any test.
const HOLD_SECONDS: i64 = 600;
const RESERVATION_SECONDS: i64 = 86_400;
/// Of fewer answers it may by chance be less than one in ten.
const FEW: u64 = 300;
/// How long after its return Redis equals the ledger again.
const WHOLE_AGAIN_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// Positions that have promised more than they have, or something else than their open reservations.
const WRONG: &str = "
    select count(*) from position p
    where p.reserved > p.sellable or p.reserved <> (
        select coalesce(sum(l.quantity - l.picked), 0)
        from reservation r join reservation_line l using (partition, no)
        where r.partition = p.partition and r.location = p.location and l.item = p.item
            and r.state in (1, 2, 3, 9))";

/// Two servers, and connections to them.
pub struct Scene {
    /// What their Redis is like.
    pub redis: Redis,
    pub servers: [Server; 2],
    connections: Vec<Connection>,
}

impl Scene {
    /// Opens shops with so many units of each item.
    pub async fn open(redis: Redis, stock: &[(&str, &str, i64)]) -> Scene {
        Scene::open_on(redis, &databases::redis_url().await, stock).await
    }

    /// As [`Scene::open`], with the Redis at `redis_url`.
    pub async fn open_on(redis: Redis, redis_url: &str, stock: &[(&str, &str, i64)]) -> Scene {
        let database = migrated_database().await;
        let start =
            async || Server::start_with(&database, &database, redis.reach(redis_url).await).await;
        let servers = [start().await, start().await];
        let addresses = servers.iter().map(|server| server.address);
        let connections = addresses.cycle().take(CONNECTIONS * 2).map(connect).collect();
        let scene = Scene { redis, servers, connections };
        let [server, _] = &scene.servers;
        for &(location, sku, units) in stock {
            server.put_locations(&[location]).await;
            let opened = receipt(&format!("{location}/{sku}"), location, sku, units);
            server.record_one(opened).await.recorded();
        }
        if redis == Redis::Real {
            let locations = stock.iter().map(|&(location, ..)| location);
            for location in locations.collect::<BTreeSet<_>>() {
                scene.until_held_in_memory(location).await;
            }
        }
        scene
    }

    /// Makes a channel that both servers have heard of: not all of a crowd shall look it up at once.
    pub async fn open_channel(&self, channel_id: &str) {
        self.servers[0].put_channel(channel_id).await;
        for number in 0..self.servers.len() {
            let request = CheckAvailabilityRequest {
                channel_id: channel_id.to_owned(),
                skus: vec![PROBE.to_owned()],
                location_ids: vec![SHOP.to_owned()],
                ..CheckAvailabilityRequest::default()
            };
            let mut client = AvailabilityServiceClient::new(self.connections[number].clone());
            client.check_availability(request).await.unwrap();
        }
    }

    /// The service as client `number` sees it.
    pub fn reservations(&self, number: usize) -> ReservationServiceClient<Connection> {
        let connection = &self.connections[number % self.connections.len()];
        ReservationServiceClient::new(connection.clone())
    }

    /// What client `number` may have of an item.
    pub async fn available(&self, number: usize, location: &str, sku: &str) -> i64 {
        let connection = &self.connections[number % self.connections.len()];
        let request = CheckAvailabilityRequest {
            skus: vec![sku.to_owned()],
            location_ids: vec![location.to_owned()],
            ..CheckAvailabilityRequest::default()
        };
        let mut client = AvailabilityServiceClient::new(connection.clone());
        let answer = client.check_availability(request).await.unwrap().into_inner();
        answer.availability.iter().map(|one| one.available).sum()
    }

    /// Waits until both servers take holds of this location in Redis.
    pub async fn until_held_in_memory(&self, location: &str) {
        let key = format!("{location}/{PROBE}");
        self.servers[0].record_one(receipt(&key, location, PROBE, 2)).await.recorded();
        for number in 0..self.servers.len() {
            let (client, mut tries) = (self.reservations(number), 0);
            eventually("a hold in Redis", || {
                tries += 1;
                let mut client = client.clone();
                let request = hold(&format!("probe-{number}-{tries}"), location, &[(PROBE, 1)]);
                async move {
                    let request_id = format!("release-{}", request.request_id);
                    let taken = client.hold_stock(request).await.unwrap().into_inner();
                    let in_memory = taken.durability() == Durability::Memory;
                    let hold_id = taken.hold.unwrap().hold_id;
                    let release = ReleaseHoldRequest { request_id, hold_id };
                    client.release_hold(release).await.unwrap();
                    in_memory.then_some(())
                }
            })
            .await;
        }
    }

    /// What is reserved of an item, by the ledger.
    pub async fn reserved(&self, location: &str, sku: &str) -> i64 {
        self.servers[0].position(location, sku).await.reserved
    }

    /// Checks the whole ledger, and that Redis lied if it was to.
    pub async fn check(&self) {
        let [server, _] = &self.servers;
        assert_eq!(databases::number(&server.database_url, WRONG).await, 0);
        assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
        if self.redis == Redis::Lying {
            let lied = || async { Some(self.lies()).filter(|&(lies, _)| lies > 0) };
            let (lies, answers) = eventually("a lie", lied).await;
            println!("{lies} lies in {answers} answers");
            assert!(lies * 10 >= answers || answers < FEW, "{lies} lies in {answers} answers");
        }
    }

    /// Checks that Redis equals the ledger soon after it came `back`; of one that lies nobody can tell.
    pub async fn check_redis(&self, back: Instant) {
        if self.redis == Redis::Real {
            let [server, _] = &self.servers;
            let prefix = prefix_of(&server.database_url);
            let availability = Availability::new(&server.redis.url, prefix).unwrap();
            let patience = WHOLE_AGAIN_MAX.saturating_sub(back.elapsed());
            let compared = compare(&server.ledger, &availability, patience).await.unwrap();
            println!("after {:?}: {compared:?}", back.elapsed());
            assert_eq!(compared.difference, None);
        }
    }

    /// How often Redis lied, and of how many answers.
    fn lies(&self) -> (u64, u64) {
        let liars = self.servers.iter().filter_map(|server| server.redis.liar.as_ref());
        liars.fold((0, 0), |(lies, answers), liar| (lies + liar.lies(), answers + liar.answers()))
    }
}

/// So many units of these items.
pub fn lines(lines: &[(&str, i64)]) -> Vec<Line> {
    lines.iter().map(|&(sku, quantity)| Line { sku: sku.to_owned(), quantity }).collect()
}

/// What is reserved, as lines.
pub fn lines_of(reservation: &Reservation) -> Vec<(&str, i64)> {
    reservation.lines.iter().map(|line| (&*line.sku, line.quantity)).collect()
}

/// A request to hold.
pub fn hold(request_id: &str, location_id: &str, wanted: &[(&str, i64)]) -> HoldStockRequest {
    HoldStockRequest {
        request_id: request_id.to_owned(),
        location_id: location_id.to_owned(),
        lines: lines(wanted),
        ttl: seconds(HOLD_SECONDS),
        ..HoldStockRequest::default()
    }
}

/// A request to reserve.
pub fn reservation(
    request_id: &str,
    location_id: &str,
    wanted: &[(&str, i64)],
) -> CreateReservationRequest {
    CreateReservationRequest {
        request_id: request_id.to_owned(),
        location_id: location_id.to_owned(),
        lines: lines(wanted),
        ttl: seconds(RESERVATION_SECONDS),
        ..CreateReservationRequest::default()
    }
}

/// A time-out in a request.
pub fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}
