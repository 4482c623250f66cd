//! What the calls of a scenario are, and what they have had as effects.
#![expect(clippy::disallowed_types, reason = "calls carry deadlines, and answers codes")]

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    CheckAvailabilityRequest, CreateReservationRequest, Durability, HoldStockRequest, Line,
    Movement, MovementKind, MovementStatus, RecordMovementsRequest, StockState,
    availability_service_client::AvailabilityServiceClient,
    movement_service_client::MovementServiceClient,
    reservation_service_client::ReservationServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};

use super::file::{Choice, Does, FlowSpec, Scenario};
use crate::{
    open::{Answer, Work},
    sales::{self, CHANNEL, ITEMS, LOCATIONS, Sale},
};

/// What a refusal for lack of stock names.
const REFUSED: &[u8] = b"INSUFFICIENT_STOCK";
/// From the last call of a run until what it was granted is no longer looked at.
const END_SECONDS: f64 = 60.0;
/// Longer than any run.
const RESERVATION_SECONDS: i64 = 86_400;
/// Every sixteenth line of a warehouse is written off.
const WRITE_OFF_EVERY: u32 = 16;
/// Time between two lines of a till that was offline.
const MICROS_PER_HOUR: i64 = 3_600_000_000;

/// Calls of one kind.
#[derive(Debug)]
pub struct Caller {
    spec: FlowSpec,
    scarce_items: usize,
    channels: Vec<Channel>,
    seed: u64,
    /// Whether what is granted is still promised at the end of the run.
    outlasts: bool,
    /// What they have come to.
    pub effects: Effects,
}

/// What the answers said, the warm-up included.
#[derive(Debug, Default)]
pub struct Effects {
    /// Units held or reserved of each position, shop by shop, that are still promised at the end of
    /// the run.
    pub granted: Vec<AtomicI64>,
    /// Units reserved.
    pub reserved: AtomicI64,
    /// Holds taken in memory.
    pub held: AtomicI64,
    /// Holds taken in the ledger.
    pub held_in_ledger: AtomicI64,
    /// Movements recorded.
    pub recorded: AtomicI64,
    /// Movements that had been recorded before.
    pub duplicates: AtomicI64,
    /// Reservations of which nobody knows whether they were made.
    pub unknown_reserved: AtomicI64,
    /// The same for holds.
    pub unknown_held: AtomicI64,
    /// The same for movements.
    pub unknown_recorded: AtomicI64,
    /// Reads that did not come from Redis.
    pub degraded: AtomicI64,
    /// The first answer that nobody expects.
    pub surprise: OnceLock<String>,
}

fn add(counter: &AtomicI64, count: usize) {
    counter.fetch_add(count as i64, Ordering::Relaxed);
}

impl Caller {
    /// Calls of flow `number` of a scenario over these connections, in turns.
    pub fn new(scenario: &Scenario, spec: FlowSpec, number: u64, channels: Vec<Channel>) -> Caller {
        let (seed, scarce_items) = (number << 32, scenario.stock.scarce_items);
        let lasting = scenario.warm_up_seconds + scenario.seconds() + END_SECONDS;
        let outlasts = match spec.does {
            Does::Hold { seconds } => f64::from(seconds) > lasting,
            _ => true,
        };
        let granted = (0..LOCATIONS * ITEMS).map(|_| AtomicI64::new(0)).collect();
        let effects = Effects { granted, ..Effects::default() };
        Caller { spec, scarce_items, channels, seed, outlasts, effects }
    }

    /// A request that the server is to give up at the deadline.
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_millis(self.spec.deadline_ms.into()));
        request
    }

    fn channel(&self, number: u64) -> Channel {
        self.channels[number as usize % self.channels.len()].clone()
    }

    fn item(&self, rng: &mut ChaCha8Rng) -> usize {
        match self.spec.choice {
            Choice::Even => rng.random_range(0..ITEMS),
            Choice::Skewed => {
                // The cube of an even number is below an eighth half of the time.
                let even: f64 = rng.random();
                ((ITEMS as f64 * even.powi(3)) as usize).min(ITEMS - 1)
            }
            Choice::Scarce => rng.random_range(0..self.scarce_items.max(1)),
        }
    }

    /// One unit of an item in a shop, and the index of that position.
    fn line(&self, rng: &mut ChaCha8Rng) -> (usize, String, Vec<Line>) {
        let (location, item) = (rng.random_range(0..LOCATIONS), self.item(rng));
        let line = Line { sku: sales::sku(item), quantity: 1 };
        (location * ITEMS + item, sales::location_id(location), vec![line])
    }

    fn grant(&self, position: usize, units: i64) {
        if let Some(granted) = self.effects.granted.get(position).filter(|_| self.outlasts) {
            granted.fetch_add(units, Ordering::Relaxed);
        }
    }

    fn key(&self, number: u64) -> String {
        format!("{}-{number:09}", self.spec.name)
    }

    async fn read(&self, number: u64, items: usize, locations: usize) -> Result<(), Status> {
        let mut rng = self.rng(number);
        let skus = match items {
            1 => vec![sales::sku(self.item(&mut rng))],
            _ => sample(&mut rng, ITEMS, items).iter().map(sales::sku).collect(),
        };
        let locations = sample(&mut rng, LOCATIONS, locations);
        let request = CheckAvailabilityRequest {
            channel_id: CHANNEL.to_owned(),
            location_ids: locations.iter().map(sales::location_id).collect(),
            skus,
            ..CheckAvailabilityRequest::default()
        };
        let asked = request.skus.len() * request.location_ids.len();
        let mut client = AvailabilityServiceClient::new(self.channel(number));
        let answer = client.check_availability(self.request(request)).await?.into_inner();
        add(&self.effects.degraded, usize::from(answer.degraded));
        let right = answer.availability.len() == asked
            && answer.availability.iter().all(|one| one.known && one.available >= 0);
        right.then_some(()).ok_or_else(|| Status::unknown("an answer is incomplete"))
    }

    async fn hold(&self, number: u64, seconds: u32) -> Result<(), Status> {
        let (position, location_id, lines) = self.line(&mut self.rng(number));
        let request = HoldStockRequest {
            request_id: self.key(number),
            channel_id: CHANNEL.to_owned(),
            location_id,
            lines,
            ttl: Some(prost_types::Duration { seconds: seconds.into(), nanos: 0 }),
            ..HoldStockRequest::default()
        };
        let mut client = ReservationServiceClient::new(self.channel(number));
        let answer = client.hold_stock(self.request(request)).await?.into_inner();
        self.grant(position, 1);
        match answer.durability() {
            Durability::Memory => add(&self.effects.held, 1),
            _ => add(&self.effects.held_in_ledger, 1),
        }
        Ok(())
    }

    async fn reserve(&self, number: u64) -> Result<(), Status> {
        let (position, location_id, lines) = self.line(&mut self.rng(number));
        let request = CreateReservationRequest {
            request_id: self.key(number),
            channel_id: CHANNEL.to_owned(),
            location_id,
            lines,
            ttl: Some(prost_types::Duration { seconds: RESERVATION_SECONDS, nanos: 0 }),
            ..CreateReservationRequest::default()
        };
        let mut client = ReservationServiceClient::new(self.channel(number));
        let answer = client.create_reservation(self.request(request)).await?.into_inner();
        let lines = answer.reservation.map(|reservation| reservation.lines).unwrap_or_default();
        let units: i64 = lines.iter().map(|line| line.quantity).sum();
        self.grant(position, units);
        self.effects.reserved.fetch_add(units, Ordering::Relaxed);
        (units == 1).then_some(()).ok_or_else(|| Status::unknown("not one unit was reserved"))
    }

    async fn record(&self, number: u64, movements: Vec<Movement>) -> Result<(), Status> {
        let lines = movements.len();
        let source = format!("{}-{:02}", self.spec.name, number % 64);
        let request = RecordMovementsRequest { source, sent_at: None, movements };
        let mut client = MovementServiceClient::new(self.channel(number));
        let answer = client.record_movements(self.request(request)).await?.into_inner();
        let count = |status: MovementStatus| {
            answer.results.iter().filter(|result| result.status() == status).count()
        };
        let recorded = count(MovementStatus::Recorded);
        let duplicates = count(MovementStatus::Duplicate);
        add(&self.effects.recorded, recorded);
        add(&self.effects.duplicates, duplicates);
        if recorded + duplicates == lines {
            return Ok(());
        }
        let error = answer.results.into_iter().find_map(|result| result.error).unwrap_or_default();
        Err(Status::unknown(format!("a movement was not recorded: {}", error.message)))
    }

    /// What a call of a movement flow sends.
    fn movements(&self, number: u64) -> Vec<Movement> {
        let mut rng = self.rng(number);
        let now = jiff::Timestamp::now().as_microsecond();
        let location = rng.random_range(0..LOCATIONS);
        let document = self.key(number);
        let line = |rng: &mut ChaCha8Rng, document_line, occurred_at| Sale {
            location,
            item: self.item(rng),
            quantity: rng.random_range(1..=3),
            key: format!("{document}-{document_line}"),
            document: document.clone(),
            document_line,
            occurred_at,
        };
        match self.spec.does {
            Does::Sell { lines_max } => {
                let lines = 1..=rng.random_range(1..=lines_max);
                lines.map(|number| line(&mut rng, number, now).into()).collect()
            }
            Does::Receive { lines } => {
                let received = |number: u32| {
                    let movement = Movement::from(line(&mut rng, number, now));
                    match number % WRITE_OFF_EVERY {
                        0 => written_off(movement),
                        _ => Movement { kind: MovementKind::Receipt as i32, ..movement },
                    }
                };
                (1..=lines).map(received).collect()
            }
            Does::CatchUp { lines, hours, .. } => {
                let offline = i64::from(hours) * MICROS_PER_HOUR;
                let ago = |rng: &mut ChaCha8Rng| now - rng.random_range(0..offline);
                let mut moments: Vec<_> = (0..lines).map(|_| ago(&mut rng)).collect();
                moments.sort_unstable_by_key(|&at| std::cmp::Reverse(at));
                let numbered = (1..).zip(moments);
                numbered.map(|(number, at)| line(&mut rng, number, at).into()).collect()
            }
            Does::Read { .. } | Does::Hold { .. } | Does::Reserve {} => Vec::new(),
        }
    }

    fn rng(&self, number: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed | number)
    }

    async fn send(&self, number: u64) -> Result<(), Status> {
        match self.spec.does {
            Does::Read { items, locations } => self.read(number, items, locations).await,
            Does::Hold { seconds } => self.hold(number, seconds).await,
            Does::Reserve {} => self.reserve(number).await,
            Does::Sell { .. } | Does::Receive { .. } => {
                self.record(number, self.movements(number)).await
            }
            Does::CatchUp { twice_percent, .. } => {
                let movements = self.movements(number);
                self.record(number, movements.clone()).await?;
                if self.rng(number).random_range(0..100) < twice_percent {
                    self.record(number, movements).await?;
                }
                Ok(())
            }
        }
    }

    /// Counts what a call of which nobody knows the outcome may have done.
    fn forget(&self, number: u64) {
        let effects = &self.effects;
        match self.spec.does {
            Does::Read { .. } => {}
            Does::Hold { .. } => add(&effects.unknown_held, 1),
            Does::Reserve {} => add(&effects.unknown_reserved, 1),
            Does::Sell { .. } | Does::Receive { .. } | Does::CatchUp { .. } => {
                add(&effects.unknown_recorded, self.movements(number).len());
            }
        }
    }
}

impl Work for Caller {
    async fn call(&self, number: u64) -> Answer {
        let Err(status) = self.send(number).await else { return Answer::Done };
        let answer = judge(&status);
        if matches!(answer, Answer::Late | Answer::Failed) {
            self.forget(number);
        }
        if answer == Answer::Failed {
            let said = || format!("{:?}: {}", status.code(), status.message());
            self.effects.surprise.get_or_init(said);
        }
        answer
    }
}

/// What a call came to that was not done.
pub fn judge(status: &Status) -> Answer {
    let named = status.details().windows(REFUSED.len()).any(|part| part == REFUSED);
    match status.code() {
        Code::FailedPrecondition if named => Answer::Refused,
        Code::ResourceExhausted => Answer::Overloaded,
        Code::DeadlineExceeded | Code::Cancelled => Answer::Late,
        _ => Answer::Failed,
    }
}

fn written_off(movement: Movement) -> Movement {
    Movement {
        kind: MovementKind::Adjust as i32,
        from_state: StockState::Sellable as i32,
        reason: "damage".to_owned(),
        channel_id: String::new(),
        ..movement
    }
}
