//! A client that wants one unit of something, again and again.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    CheckAvailabilityRequest, CreateReservationRequest, Durability, HoldStockRequest, Line,
    Position, ReleaseHoldRequest, availability_service_client::AvailabilityServiceClient,
    reservation_service_client::ReservationServiceClient,
};
use tonic::{Code, transport::Channel};

use super::Goods;
use crate::{
    bare::Sample,
    load::Client,
    sales::{self, CHANNEL},
    server::Server,
};

/// Longer than a run, so that what is held can be counted at its end.
const HOLD_SECONDS: i64 = 3_600;
const RESERVATION_SECONDS: i64 = 86_400;
/// How long the reservation layer may take until it is of use.
const READY_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What a refusal must name.
const REFUSED: &[u8] = b"INSUFFICIENT_STOCK";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// CreateReservation.
    Reservation,
    /// HoldStock.
    Hold,
}

/// A client with a connection of its own.
pub struct Shopper {
    client: ReservationServiceClient<Channel>,
    scenario: &'static str,
    goods: Goods,
    wish: Wish,
    rng: ChaCha8Rng,
    number: usize,
    calls: u64,
    /// Holds that were not taken in memory.
    pub in_ledger: u64,
}

impl Shopper {
    /// Client `number` of a scenario.
    pub fn new(
        channel: Channel,
        scenario: &'static str,
        goods: Goods,
        wish: Wish,
        number: usize,
    ) -> Shopper {
        let client = ReservationServiceClient::new(channel);
        let rng = goods.choices(number);
        Shopper { client, scenario, goods, wish, rng, number, calls: 0, in_ledger: 0 }
    }

    /// What the server answers to one wish.
    ///
    /// # Errors
    /// It answers what it must not.
    pub async fn sample(&mut self) -> anyhow::Result<Sample> {
        match self.wish {
            Wish::Reservation => {
                let request = self.reservation();
                let answer = self.client.create_reservation(request).await;
                let refused = answer.as_ref().err().map(|status| (status.code(), status.details()));
                self.check(refused)?;
                Ok(Sample::of(&answer))
            }
            Wish::Hold => {
                let request = self.hold();
                Ok(Sample::of(&self.client.hold_stock(request).await))
            }
        }
    }

    fn next(&mut self) -> (String, usize, Line) {
        self.calls += 1;
        let (location, item) = self.goods.choose(&mut self.rng);
        let key = format!("{}-{:03}-{:08}", self.scenario, self.number, self.calls);
        (key, location, Line { sku: sales::own_sku(location, item), quantity: 1 })
    }

    fn reservation(&mut self) -> CreateReservationRequest {
        let (request_id, location, line) = self.next();
        CreateReservationRequest {
            order_ref: format!("O{:03}-{:08}", self.number, self.calls),
            ..reservation(request_id, location, line)
        }
    }

    fn hold(&mut self) -> HoldStockRequest {
        let (request_id, location, line) = self.next();
        hold(request_id, location, line)
    }

    /// Whether there was to be a refusal, and the right one.
    fn check(&self, refused: Option<(Code, &[u8])>) -> anyhow::Result<()> {
        match refused {
            None => ensure!(self.goods.are_there(), "granted what was not there"),
            Some((code, details)) => {
                let named = details.windows(REFUSED.len()).any(|part| part == REFUSED);
                let right = code == Code::FailedPrecondition && named && !self.goods.are_there();
                let details = String::from_utf8_lossy(details);
                ensure!(right, "refused with {code:?}: {details}");
            }
        }
        Ok(())
    }
}

impl Client for Shopper {
    async fn call(&mut self) -> anyhow::Result<()> {
        match self.wish {
            Wish::Reservation => {
                let request = self.reservation();
                match self.client.create_reservation(request).await {
                    Ok(answer) => {
                        let reservation = answer.into_inner().reservation;
                        let reservation = reservation.context("no reservation was answered")?;
                        let units: i64 = reservation.lines.iter().map(|line| line.quantity).sum();
                        ensure!(units == 1, "{units} units were reserved");
                        self.check(None)
                    }
                    Err(status) => self.check(Some((status.code(), status.details()))),
                }
            }
            Wish::Hold => {
                let request = self.hold();
                let answer = self.client.hold_stock(request).await?.into_inner();
                self.in_ledger += u64::from(answer.durability() != Durability::Memory);
                let hold = answer.hold.context("no hold was answered")?;
                let units: i64 = hold.lines.iter().map(|line| line.quantity).sum();
                ensure!(units == 1, "{units} units are held");
                self.check(None)
            }
        }
    }
}

/// Reserves `quantity` of one item at once.
///
/// # Errors
/// It is refused.
pub async fn reserve(
    server: &Server,
    (location, item): (usize, usize),
    quantity: i64,
) -> anyhow::Result<()> {
    let mut client = ReservationServiceClient::new(server.connect().await?);
    let line = Line { sku: sales::own_sku(location, item), quantity };
    client.create_reservation(reservation("all".to_owned(), location, line)).await?;
    Ok(())
}

/// Waits until a hold is taken in memory in every shop.
///
/// # Errors
/// That takes too long.
pub async fn wait_until_held_in_memory(server: &Server) -> anyhow::Result<()> {
    wait_until_held(server, |shop| {
        let shop = shop as usize;
        (sales::location_id(shop), sales::own_sku(shop, 0))
    })
    .await
}

/// Waits until a hold is taken in memory in every shop, of an item that `place` names for it.
///
/// # Errors
/// That takes too long.
pub async fn wait_until_held(
    server: &Server,
    place: impl Fn(u64) -> (String, String),
) -> anyhow::Result<()> {
    let mut client = ReservationServiceClient::new(server.connect().await?);
    // A key answers for what was asked under it before.
    let asked = jiff::Timestamp::now().as_millisecond();
    let trying = async {
        for shop in 0..sales::LOCATIONS as u64 {
            for number in 0_u64.. {
                let (location_id, sku) = place(shop);
                let key = format!("ready-{asked}-{number}");
                let request =
                    HoldStockRequest { location_id, ..hold(key, 0, Line { sku, quantity: 1 }) };
                let answer = client.hold_stock(request).await?.into_inner();
                let in_memory = answer.durability() == Durability::Memory;
                let hold_id = answer.hold.context("no hold was answered")?.hold_id;
                let request_id = format!("released-{asked}-{number}");
                client.release_hold(ReleaseHoldRequest { request_id, hold_id }).await?;
                if in_memory {
                    break;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        anyhow::Ok(())
    };
    let tried = tokio::time::timeout(READY_MAX, trying).await;
    tried.context("holds are not taken in memory")?
}

/// Waits until a read says that `held` units of a position are promised besides what was at the
/// opening, as it does soon after the last one was granted.
///
/// # Errors
/// It says something else for too long.
pub async fn expect_held(server: &Server, opening: &Position, held: i64) -> anyhow::Result<()> {
    let mut client = AvailabilityServiceClient::new(server.connect().await?);
    let left = opening.sellable - opening.reserved - held;
    let mut seen = None;
    let looking = async {
        loop {
            let request = CheckAvailabilityRequest {
                skus: vec![opening.sku.clone()],
                location_ids: vec![opening.location_id.clone()],
                ..CheckAvailabilityRequest::default()
            };
            let answer = client.check_availability(request).await?.into_inner();
            let available = answer.availability.first().map(|one| one.available);
            if !answer.degraded && available == Some(left) {
                return anyhow::Ok(());
            }
            seen = available;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let looked = tokio::time::timeout(READY_MAX, looking).await;
    looked.unwrap_or_else(|_| Err(anyhow::anyhow!("{seen:?} are available instead of {left}")))
}

fn reservation(request_id: String, location: usize, line: Line) -> CreateReservationRequest {
    CreateReservationRequest {
        request_id,
        channel_id: CHANNEL.to_owned(),
        location_id: sales::location_id(location),
        lines: vec![line],
        ttl: Some(seconds(RESERVATION_SECONDS)),
        ..CreateReservationRequest::default()
    }
}

fn hold(request_id: String, location: usize, line: Line) -> HoldStockRequest {
    HoldStockRequest {
        request_id,
        channel_id: CHANNEL.to_owned(),
        location_id: sales::location_id(location),
        lines: vec![line],
        ttl: Some(seconds(HOLD_SECONDS)),
        ..HoldStockRequest::default()
    }
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}
