//! Somebody who does the same on a small ledger and on a large one: at any of its positions.

use anyhow::{Context as _, ensure};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    CheckAvailabilityRequest, CreateReservationRequest, Line, Movement, MovementKind,
    availability_service_client::AvailabilityServiceClient,
    movement_service_client::MovementServiceClient,
    reservation_service_client::ReservationServiceClient,
};
use tonic::transport::Channel;

use crate::{
    fill,
    load::Client,
    sales::{self, CHANNEL, LOCATIONS},
};

/// Lines of a basket, and of a read.
const LINES: u64 = 10;
const RESERVATION_SECONDS: i64 = 86_400;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// CreateReservation of one unit.
    Reserve,
    /// CheckAvailability of ten items in one shop.
    Read,
    /// RecordMovements of a basket of ten lines.
    Sell,
}

/// A client with a connection of its own.
#[derive(Debug)]
pub struct Visitor {
    channel: Channel,
    visit: Visit,
    positions: u64,
    /// What its keys begin with.
    key: String,
    rng: ChaCha8Rng,
    calls: u64,
}

impl Visitor {
    /// Who goes to any of the first `positions` positions; `key` is nobody else's.
    pub fn new(
        channel: Channel,
        visit: Visit,
        positions: u64,
        key: String,
        number: u64,
    ) -> Visitor {
        let rng = ChaCha8Rng::seed_from_u64(number);
        Visitor { channel, visit, positions, key, rng, calls: 0 }
    }

    /// Different items of one shop, of which each must be there.
    fn skus(&mut self, count: u64) -> (String, Vec<String>) {
        let shops = LOCATIONS as u64;
        let (location, items) = (self.rng.random_range(0..shops), self.positions / shops);
        let first = self.rng.random_range(0..items);
        // Far from each other, as what is bought together is in a catalogue.
        let item = |number| (first + number * (items / count).max(1)) % items;
        let skus = (0..count).map(|number| fill::place(item(number) * shops + location).1);
        (sales::location_id(location as usize), skus.collect())
    }
}

impl Client for Visitor {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.calls += 1;
        let key = format!("{}-{:07}", self.key, self.calls);
        let channel = self.channel.clone();
        match self.visit {
            Visit::Reserve => {
                let (location_id, skus) = self.skus(1);
                let lines = skus.into_iter().map(|sku| Line { sku, quantity: 1 });
                let request = CreateReservationRequest {
                    request_id: key,
                    channel_id: CHANNEL.to_owned(),
                    location_id,
                    lines: lines.collect(),
                    ttl: Some(prost_types::Duration { seconds: RESERVATION_SECONDS, nanos: 0 }),
                    ..CreateReservationRequest::default()
                };
                let mut client = ReservationServiceClient::new(channel);
                let answer = client.create_reservation(request).await?.into_inner();
                answer.reservation.context("no reservation was answered")?;
            }
            Visit::Read => {
                let (location_id, skus) = self.skus(LINES);
                let request = CheckAvailabilityRequest {
                    channel_id: CHANNEL.to_owned(),
                    location_ids: vec![location_id],
                    skus,
                    ..CheckAvailabilityRequest::default()
                };
                let mut client = AvailabilityServiceClient::new(channel);
                let answer = client.check_availability(request).await?.into_inner();
                let there = answer.availability.iter().filter(|one| one.available > 0).count();
                ensure!(there as u64 == LINES, "{there} of {LINES} items are there");
            }
            Visit::Sell => {
                let (location_id, skus) = self.skus(LINES);
                let line = |(number, sku): (u32, String)| Movement {
                    key: format!("{key}-{number}"),
                    kind: MovementKind::Sale as i32,
                    location_id: location_id.clone(),
                    sku,
                    quantity: 1,
                    channel_id: CHANNEL.to_owned(),
                    document: key.clone(),
                    document_line: number,
                    ..Movement::default()
                };
                let lines: Vec<_> = (1..).zip(skus).map(line).collect();
                let mut client = MovementServiceClient::new(channel);
                sales::record(&mut client, &self.key, lines).await?;
            }
        }
        Ok(())
    }
}
