//! Hundreds of clients that all want the same at the same moment.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use stockroom::api::proto::{CreateReservationRequest, Hold, Reservation};
use tokio::{sync::Notify, task::JoinSet};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::scene::{SHOP, Scene, hold, lines, reservation, seconds};
use crate::harness::{errors::explained, redis::Redis};

/// How many want it.
pub const CLIENTS: usize = 500;
/// Channels through which they come, where it is more than one.
const CHANNELS: usize = 5;
/// How often one comes again who was told to.
const TRIES_MAX: usize = 20;

/// What they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// HoldStock.
    Holds,
    /// CreateReservation.
    Reservations,
    /// The one or the other by turns.
    Mixture,
}

/// What one of them got.
#[derive(Clone, Debug, PartialEq)]
pub enum Got {
    Hold(Hold),
    Reservation(Box<Reservation>),
    /// INSUFFICIENT_STOCK.
    TooLittle,
    /// Another refusal, which only a Redis that lies may bring about.
    Refused(String),
    /// UNAVAILABLE, every time.
    Nothing,
}

/// Counts answers, so that something can happen in their midst.
#[derive(Clone, Default)]
pub struct Answers {
    counted: Arc<AtomicUsize>,
    changed: Arc<Notify>,
}

impl Answers {
    fn count(&self) {
        self.counted.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until there are so many.
    pub async fn reach(&self, number: usize) {
        loop {
            let changed = self.changed.notified();
            if self.counted.load(Ordering::SeqCst) >= number {
                return;
            }
            changed.await;
        }
    }
}

/// A crowd of [`CLIENTS`] that comes at once.
#[derive(Clone, Copy)]
pub struct Crowd<'s> {
    pub scene: &'s Scene,
    /// What the keys of its requests begin with.
    pub name: &'s str,
    pub asking: Asking,
    /// Whether it comes through one channel or through several.
    pub channels: bool,
    /// What each of them wants.
    pub wanted: &'s [(&'s str, i64)],
}

impl Crowd<'_> {
    /// What each of them got, and how long the last one waited.
    pub async fn rush(self) -> (Vec<Got>, Duration) {
        self.rush_counted(&Answers::default()).await
    }

    /// As [`Crowd::rush`], and counts the answers.
    pub async fn rush_counted(self, answers: &Answers) -> (Vec<Got>, Duration) {
        if self.channels {
            for channel in 0..CHANNELS {
                self.scene.open_channel(&format!("channel-{channel}")).await;
            }
        }
        let mut running = JoinSet::new();
        for number in 0..CLIENTS {
            let answers = answers.clone();
            let got = self.one(number);
            running.spawn(async move {
                let started = Instant::now();
                let got = got.await;
                answers.count();
                (got, started.elapsed())
            });
        }
        let (mut all, mut longest) = (Vec::new(), Duration::ZERO);
        while let Some(done) = running.join_next().await {
            let (got, waited) = done.unwrap();
            all.push(got);
            longest = longest.max(waited);
        }
        (all, longest)
    }

    fn one(self, number: usize) -> impl Future<Output = Got> + Send + 'static {
        let Crowd { scene, name, asking, channels, wanted } = self;
        let redis = scene.redis;
        let mut client = scene.reservations(number);
        let channel_id = match channels {
            true => format!("channel-{}", number / 2 % CHANNELS),
            false => String::new(),
        };
        let holds = asking == Asking::Holds || asking == Asking::Mixture && number % 4 < 2;
        let key = format!("{name}-{number}");
        let mut to_hold = hold(&key, SHOP, wanted);
        let mut to_reserve = reservation(&key, SHOP, wanted);
        to_hold.channel_id.clone_from(&channel_id);
        to_reserve.channel_id = channel_id;
        async move {
            for _ in 0..TRIES_MAX {
                let answer = if holds {
                    let answer = client.hold_stock(to_hold.clone()).await;
                    answer.map(|answer| Got::Hold(answer.into_inner().hold.unwrap()))
                } else {
                    let answer = client.create_reservation(to_reserve.clone()).await;
                    answer.map(|answer| answer.into_inner().reservation.unwrap()).map(reserved)
                };
                match answer.unwrap_or_else(|status| refused(redis, &status)) {
                    Got::Nothing => {}
                    got => return got,
                }
            }
            Got::Nothing
        }
    }
}

fn reserved(reservation: Reservation) -> Got {
    Got::Reservation(Box::new(reservation))
}

/// What a status says; nobody may be told of an internal error or a time-out.
pub fn refused(redis: Redis, status: &Status) -> Got {
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    match (redis, status.code()) {
        (Redis::Lying, code @ (Code::FailedPrecondition | Code::Unavailable | Code::Aborted)) => {
            explained(status, code, &reason);
            match (code, &*reason) {
                (Code::Unavailable, _) => Got::Nothing,
                (_, "INSUFFICIENT_STOCK") => Got::TooLittle,
                _ => Got::Refused(reason),
            }
        }
        _ => {
            explained(status, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
            assert!(!short_lines(status).is_empty(), "no line is named: {status:?}");
            Got::TooLittle
        }
    }
}

/// The items that a refusal names.
pub fn short_lines(status: &Status) -> Vec<String> {
    let failure = status.get_details_precondition_failure();
    let lines = failure.map(|failure| failure.violations).unwrap_or_default();
    lines.into_iter().map(|line| line.subject).collect()
}

/// How many got what they wanted, and how many of these for good.
pub fn granted(got: &[Got]) -> (usize, usize) {
    let reserved = got.iter().filter(|got| matches!(got, Got::Reservation(_))).count();
    let held = got.iter().filter(|got| matches!(got, Got::Hold(_))).count();
    (held + reserved, reserved)
}

/// Makes reservations of all holds. Returns how many there are then. Where Redis lies or something
/// happened to it, a hold may be worth nothing.
pub async fn convert(
    scene: &Scene,
    got: &[Got],
    wanted: &[(&str, i64)],
    may_be_void: bool,
) -> usize {
    let mut reserved = 0;
    for (number, got) in got.iter().enumerate() {
        let hold = match got {
            Got::Hold(hold) => hold,
            Got::Reservation(_) => {
                reserved += 1;
                continue;
            }
            _ => continue,
        };
        let request = CreateReservationRequest {
            request_id: format!("convert-{number}"),
            location_id: hold.location_id.clone(),
            hold_id: hold.hold_id.clone(),
            lines: lines(wanted),
            ttl: seconds(3_600),
            ..CreateReservationRequest::default()
        };
        match scene.reservations(number).create_reservation(request).await {
            Ok(_) => reserved += 1,
            Err(status) => {
                let may_be_void = may_be_void || scene.redis == Redis::Lying;
                assert!(may_be_void, "a hold was worth nothing: {status:?}");
                refused(scene.redis, &status);
            }
        }
    }
    reserved
}
