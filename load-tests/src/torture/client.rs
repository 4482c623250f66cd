//! A client that does what shops do, one thing after the other, and tries again until it knows.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::MovementKind;
use tokio::time::{Instant, sleep_until};

use super::{
    tally::Tally,
    wire::{Wire, With},
};
use crate::history::{
    Micros, Record, Recorder,
    call::{Answered, Asked, Call, Line, Promise, Token},
};

/// Shops.
pub(super) const LOCATIONS: usize = 12;
/// Items that every shop sells.
const ITEMS: usize = 30;
/// What every position opens with: few enough that many are refused.
const OPENING_UNITS: i64 = 40;
/// How often the same thing is tried.
const ATTEMPTS_MAX: u32 = 8;
/// Before it is tried again; doubled each time.
const PAUSE: Duration = Duration::from_millis(20);
/// What a client remembers to go on with.
const OWNED_MAX: usize = 8;
/// Keys under which a newcomer reports before the next one comes.
const RENAMED_EVERY: u64 = 5;
/// How late something is reported at most.
const LATE_MAX: Micros = 20_000_000;
/// How long holds last, in seconds.
pub(super) const HOLD_SECONDS: std::ops::RangeInclusive<i64> = 1..=4;

/// One of many.
pub(super) struct Client {
    pub number: u32,
    wires: Vec<Wire>,
    recorder: Recorder,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    rng: ChaCha8Rng,
    asked: u64,
    server: usize,
    reservations: VecDeque<String>,
    token: (Token, String),
    pace: Pace,
    due: Instant,
    newcomers: bool,
}

/// What all clients share.
#[derive(Clone)]
pub(super) struct Common {
    pub seed: u64,
    /// To every server.
    pub wires: Vec<Wire>,
    pub recorder: Recorder,
    pub tally: Arc<Tally>,
    /// Set when it is enough.
    pub stop: Arc<AtomicBool>,
    /// How fast they go.
    pub pace: Pace,
    /// Whether new sources and items appear all the time.
    pub newcomers: bool,
}

/// Time between two calls of a client, retries aside; it may change while they run.
#[derive(Clone, Debug)]
pub(super) struct Pace(Arc<AtomicU64>);

impl Pace {
    /// So many calls a second of all clients together, while they are answered at once.
    pub(super) fn of(clients: u32, per_s: f64) -> Pace {
        let pace = Pace(Arc::default());
        pace.change(clients, per_s);
        pace
    }

    /// From now on so many.
    pub(super) fn change(&self, clients: u32, per_s: f64) {
        let apart = Duration::from_secs_f64(f64::from(clients) / per_s.max(1.0));
        self.0.store(u64::try_from(apart.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn apart(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Client {
    pub(super) fn new(number: u32, common: Common) -> Client {
        let Common { seed, wires, recorder, tally, stop, pace, newcomers } = common;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from(number) + 1);
        let server = number as usize % wires.len().max(1);
        let (reservations, token) = (VecDeque::new(), (Token::default(), String::new()));
        let asked = 0;
        Client {
            number,
            wires,
            recorder,
            tally,
            stop,
            rng,
            asked,
            server,
            reservations,
            token,
            pace,
            due: Instant::now(),
            newcomers,
        }
    }

    /// Goes on until it is told to stop.
    pub(super) async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.rng.random_range(0..100) {
                0..36 => self.read().await,
                36..54 => self.hold().await,
                54..69 => self.reserve().await,
                69 => self.basket().await,
                70..87 => self.step().await,
                87..99 => self.report().await,
                _ => self.transfer().await,
            }
        }
    }

    /// Receives the opening stock of a shop.
    pub(super) async fn receive(&mut self, location: usize) -> anyhow::Result<()> {
        let lines = (0..ITEMS).map(|item| Line {
            key: format!("opening-{location}-{item}"),
            kind: MovementKind::Receipt as i32,
            location: location_id(location),
            sku: sku(item),
            quantity: OPENING_UNITS,
            ..Line::default()
        });
        let answered = self.ask(Asked::Movements { lines: lines.collect() }).await;
        anyhow::ensure!(answered.is_given(), "the opening was not recorded: {answered:?}");
        Ok(())
    }

    async fn read(&mut self) {
        let token = (!self.token.1.is_empty()).then(|| self.token.0.clone());
        self.ask(Asked::Read { token }).await;
    }

    async fn hold(&mut self) {
        let promise = self.promise();
        let ttl_us = self.rng.random_range(HOLD_SECONDS) * 1_000_000;
        let asked = Asked::Hold { key: self.key(), promise: promise.clone(), ttl_us };
        let Answered::Held { hold, .. } = self.ask(asked).await else { return };
        match self.rng.random_range(0..10) {
            0..5 => {
                let asked = Asked::Reserve { key: self.key(), promise, hold };
                self.keep(asked).await;
            }
            5..8 => {
                let asked = Asked::Release { key: self.key(), hold };
                self.ask(asked).await;
            }
            // It expires.
            _ => {}
        }
    }

    async fn reserve(&mut self) {
        let (promise, hold) = (self.promise(), String::new());
        let asked = Asked::Reserve { key: self.key(), promise, hold };
        self.keep(asked).await;
    }

    async fn basket(&mut self) {
        let first = self.rng.random_range(0..LOCATIONS);
        let second = (first + self.rng.random_range(1..LOCATIONS)) % LOCATIONS;
        let at =
            |location, promise: Promise| Promise { location: location_id(location), ..promise };
        let promises = vec![at(first, self.promise()), at(second, self.promise())];
        let asked = Asked::Basket { key: self.key(), promises };
        self.keep(asked).await;
    }

    /// The next step of something that it reserved.
    async fn step(&mut self) {
        let Some(reservation) = self.reservations.pop_front() else {
            return self.reserve().await;
        };
        let steps = [
            "cancel", "cancel", "collect", "collect", "extend", "pay", "start", "ready", "shelve",
            "move",
        ];
        let step = (*steps.choose(&mut self.rng).unwrap_or(&"cancel")).to_owned();
        let to_location = match step.as_str() {
            "move" => location_id(self.rng.random_range(0..LOCATIONS)),
            _ => String::new(),
        };
        let goes_on = ["extend", "pay", "start", "ready"].contains(&step.as_str());
        let asked =
            Asked::Step { key: self.key(), step, reservation: reservation.clone(), to_location };
        let answered = self.keep(asked).await;
        if goes_on && !answered.is_given() {
            self.reservations.push_back(reservation);
        }
    }

    async fn report(&mut self) {
        let location = self.location();
        let kinds = [
            MovementKind::Sale,
            MovementKind::Sale,
            MovementKind::Sale,
            MovementKind::Receipt,
            MovementKind::Receipt,
            MovementKind::Return,
            MovementKind::Adjust,
            MovementKind::Count,
        ];
        let group = match self.rng.random_range(0..4) {
            0 => self.key(),
            _ => String::new(),
        };
        let lines = (0..self.rng.random_range(1..=4)).map(|_| {
            let kind = *kinds.choose(&mut self.rng).unwrap_or(&MovementKind::Receipt);
            Line {
                key: self.key(),
                kind: kind as i32,
                location: location.clone(),
                sku: match kind {
                    MovementKind::Receipt if self.newcomers => format!("new-{}", self.key()),
                    _ => self.sku(),
                },
                quantity: match kind {
                    MovementKind::Receipt => self.rng.random_range(1..=8),
                    MovementKind::Count => self.rng.random_range(20..=OPENING_UNITS),
                    _ => self.rng.random_range(1..=3),
                },
                group: group.clone(),
                // Some tills are offline for a while.
                occurred_us: self
                    .rng
                    .random_bool(0.2)
                    .then(|| self.recorder.now_us() - self.rng.random_range(0..LATE_MAX)),
                ..Line::default()
            }
        });
        let lines = lines.collect();
        self.ask(Asked::Movements { lines }).await;
    }

    async fn transfer(&mut self) {
        let from = self.rng.random_range(0..LOCATIONS);
        let to = (from + self.rng.random_range(1..LOCATIONS)) % LOCATIONS;
        let shipped = Line {
            key: self.key(),
            kind: MovementKind::TransferShip as i32,
            location: location_id(from),
            sku: self.sku(),
            quantity: self.rng.random_range(1..=3),
            to_location: location_id(to),
            ..Line::default()
        };
        let received = Line {
            key: self.key(),
            kind: MovementKind::TransferReceive as i32,
            location: shipped.to_location.clone(),
            to_location: String::new(),
            ..shipped.clone()
        };
        if self.ask(Asked::Movements { lines: vec![shipped] }).await.is_given() {
            self.ask(Asked::Movements { lines: vec![received] }).await;
        }
    }

    /// Asks, and remembers what it reserved.
    async fn keep(&mut self, asked: Asked) -> Answered {
        let answered = self.ask(asked).await;
        if let Answered::Reserved { reservations, .. } = &answered {
            for reservation in reservations.iter().filter(|one| (1..=3).contains(&one.state)) {
                self.reservations.push_back(reservation.id.clone());
            }
            while self.reservations.len() > OWNED_MAX {
                self.reservations.pop_front();
            }
        }
        answered
    }

    /// Asks until it knows the answer, at another server each time, or gives up.
    async fn ask(&mut self, asked: Asked) -> Answered {
        let with = With {
            source: self.source(),
            location: self.location(),
            skus: (0..3).map(|_| self.sku()).collect(),
            token: self.token.1.clone(),
        };
        let mut answered = Answered::Unknown { why: String::new() };
        sleep_until(self.due).await;
        // Who was kept waiting does not make up for it.
        self.due = self.due.max(Instant::now()) + self.pace.apart();
        for attempt in 0..ATTEMPTS_MAX {
            let Some(wire) = self.wires.get(self.server).cloned() else { return answered };
            let start_us = self.recorder.now_us();
            let (told, token) = wire.ask(&asked, &with).await;
            let end_us = self.recorder.now_us();
            answered = told;
            self.tally.count(&answered);
            self.recorder.write(&Record::Call(Box::new(Call {
                client: self.number,
                server: u32::try_from(self.server).unwrap_or(u32::MAX),
                start_us,
                end_us,
                asked: asked.clone(),
                answered: answered.clone(),
            })));
            if !matches!(answered, Answered::Unknown { .. }) {
                if let Some(decoded) = super::wire::decode(&token).filter(|_| !token.is_empty()) {
                    self.token = (decoded, token);
                }
                return answered;
            }
            self.server = (self.server + 1) % self.wires.len().max(1);
            tokio::time::sleep(PAUSE * 2_u32.pow(attempt.min(5))).await;
            if self.stop.load(Ordering::Relaxed) {
                return answered;
            }
        }
        answered
    }

    fn promise(&mut self) -> Promise {
        let lines = (0..self.rng.random_range(1..=3)).map(|_| {
            let sku = self.sku();
            (sku, self.rng.random_range(1..=2))
        });
        let lines = lines.collect();
        Promise { location: self.location(), lines }
    }

    fn source(&self) -> String {
        let renamed = if self.newcomers { self.asked / RENAMED_EVERY } else { 0 };
        format!("till-{}-{renamed}", self.number)
    }

    fn key(&mut self) -> String {
        self.asked += 1;
        format!("c{}-{}", self.number, self.asked)
    }

    fn location(&mut self) -> String {
        location_id(self.rng.random_range(0..LOCATIONS))
    }

    /// Half of all wishes are for three items.
    fn sku(&mut self) -> String {
        let items = if self.rng.random_bool(0.5) { 3 } else { ITEMS };
        sku(self.rng.random_range(0..items))
    }
}

/// The names of the shops.
pub(super) fn location_ids() -> Vec<String> {
    (0..LOCATIONS).map(location_id).collect()
}

fn location_id(location: usize) -> String {
    format!("shop-{location:02}")
}

fn sku(item: usize) -> String {
    format!("item-{item:02}")
}
