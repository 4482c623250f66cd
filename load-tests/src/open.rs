//! The open loop: calls arrive on a schedule of their own, whatever the server does, and are timed
//! from the moment at which they were due, so that what queues behind a stall is counted as slow
//! (no coordinated omission). Arrivals are let go in ticks of a millisecond; that counts, too.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::latency::Latency;

/// Calls under way at once, of all flows; what is due beyond that is not sent and counts as failed.
const UNDER_WAY_MAX: usize = 10_000;
/// Calls that are let go one after the other where they are overdue.
const AT_ONCE_MAX: u64 = 64;
/// Slots in which a run is drawn.
const SLOTS_MAX: f64 = 120.0;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was refused for a reason of the trade: the stock is not there.
    Refused,
    /// It was turned away because too much is under way; it had no effect.
    Overloaded,
    /// It was given up at its deadline; its effect is not known.
    Late,
    /// Anything else; its effect is not known.
    Failed,
}

/// Somebody who can be called at any time.
pub trait Work: Send + Sync + 'static {
    /// Call `number`, and what became of it.
    fn call(&self, number: u64) -> impl Future<Output = Answer> + Send;
}

/// One kind of call and its arrivals.
#[derive(Debug)]
pub struct Flow<W, S> {
    /// Who is called.
    pub work: Arc<W>,
    /// When each call is due, in order.
    pub schedule: S,
    /// An answer that takes longer is of no use.
    pub deadline: Duration,
}

/// What of a run is measured.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// What was due before that is not.
    pub warm_up: Duration,
    /// How long the rest is.
    pub measured: Duration,
}

impl Window {
    /// Of equal length, at least a second each; there are at most 120.
    pub fn slot(self) -> Duration {
        Duration::from_secs_f64((self.measured.as_secs_f64() / SLOTS_MAX).ceil().max(1.0))
    }

    fn slot_of(self, due: Duration) -> Option<usize> {
        let measured = due.checked_sub(self.warm_up)?;
        Some((measured.as_secs_f64() / self.slot().as_secs_f64()) as usize)
    }
}

/// Calls that were measured, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All that were due.
    pub due: u64,
    /// Done.
    pub done: u64,
    /// Refused for a reason of the trade.
    pub refused: u64,
    /// Done or refused, and within the deadline.
    pub good: u64,
    /// Turned away.
    pub overloaded: u64,
    /// Given up at the deadline.
    pub late: u64,
    /// Anything else.
    pub failed: u64,
    /// Not sent, as too many were under way.
    pub unsent: u64,
}

impl Counts {
    fn add(&mut self, answer: Option<Answer>, good: bool) {
        self.due += 1;
        self.good += u64::from(good);
        *match answer {
            Some(Answer::Done) => &mut self.done,
            Some(Answer::Refused) => &mut self.refused,
            Some(Answer::Overloaded) => &mut self.overloaded,
            Some(Answer::Late) => &mut self.late,
            Some(Answer::Failed) => &mut self.failed,
            None => &mut self.unsent,
        } += 1;
    }

    /// Calls that were not answered in full.
    pub fn lost(&self) -> u64 {
        self.overloaded + self.late + self.failed + self.unsent
    }
}

/// What was due within a slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// By what became of it.
    pub counts: Counts,
    /// Of what was done or refused, to two digits.
    pub latency: Latency,
}

/// What a flow came to.
#[derive(Clone, Debug)]
pub struct Record {
    /// All that was measured.
    pub counts: Counts,
    /// Of what was done or refused, from the moment at which it was due.
    pub latency: Latency,
    /// Of what was turned away, from the moment at which it was sent.
    pub turned_away: Latency,
    /// One after the other.
    pub slots: Vec<Slot>,
}

/// A call that ended.
struct Ended {
    due: Duration,
    answer: Option<Answer>,
    /// Since it was due.
    waited: Duration,
    /// Since it was sent.
    served: Duration,
}

impl Record {
    fn new(window: Window) -> anyhow::Result<Record> {
        let slot = || Ok(Slot { counts: Counts::default(), latency: Latency::coarse()? });
        let count = (window.measured.as_secs_f64() / window.slot().as_secs_f64()).ceil() as usize;
        Ok(Record {
            counts: Counts::default(),
            latency: Latency::new()?,
            turned_away: Latency::new()?,
            slots: (0..count.max(1)).map(|_| slot()).collect::<anyhow::Result<_>>()?,
        })
    }

    fn add(&mut self, window: Window, deadline: Duration, ended: &Ended) {
        let Some(number) = window.slot_of(ended.due) else { return };
        let answered = matches!(ended.answer, Some(Answer::Done | Answer::Refused));
        let good = answered && ended.waited <= deadline;
        let last = self.slots.len().saturating_sub(1);
        self.counts.add(ended.answer, good);
        if let Some(slot) = self.slots.get_mut(number.min(last)) {
            slot.counts.add(ended.answer, good);
            if answered {
                slot.latency.record(ended.waited);
            }
        }
        if answered {
            self.latency.record(ended.waited);
        }
        if ended.answer == Some(Answer::Overloaded) {
            self.turned_away.record(ended.served);
        }
    }
}

/// Runs all flows from `started` on, until every call has ended. Returns a record of each.
///
/// # Errors
/// A call panics.
pub async fn run<W, S>(
    flows: Vec<Flow<W, S>>,
    window: Window,
    started: Instant,
) -> anyhow::Result<Vec<Record>>
where
    W: Work,
    S: Iterator<Item = Duration> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut running = JoinSet::new();
    let count = flows.len();
    for (number, flow) in flows.into_iter().enumerate() {
        let room = Arc::clone(&room);
        running.spawn(async move { (number, one(flow, window, started, room).await) });
    }
    let mut records: Vec<Option<Record>> = vec![None; count];
    while let Some(done) = running.join_next().await {
        let (number, record) = done.context("a flow panicked")?;
        records[number] = Some(record?);
    }
    Ok(records.into_iter().flatten().collect())
}

async fn one<W, S>(
    flow: Flow<W, S>,
    window: Window,
    started: Instant,
    room: Arc<Semaphore>,
) -> anyhow::Result<Record>
where
    W: Work,
    S: Iterator<Item = Duration>,
{
    let Flow { work, schedule, deadline } = flow;
    let mut record = Record::new(window)?;
    let mut running = JoinSet::new();
    for (number, due) in (0..).zip(schedule) {
        let at = started + due;
        if Instant::now() < at {
            sleep_until(at).await;
        } else if number % AT_ONCE_MAX == 0 {
            // Who is behind must not keep those from running that were let go.
            tokio::task::yield_now().await;
        }
        while let Some(ended) = running.try_join_next() {
            record.add(window, deadline, &ended.context("a call panicked")?);
        }
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            let (waited, served) = (at.elapsed(), Duration::ZERO);
            record.add(window, deadline, &Ended { due, answer: None, waited, served });
            // Whoever has the room needs the time to make some.
            tokio::task::yield_now().await;
            continue;
        };
        let work = Arc::clone(&work);
        running.spawn(async move {
            let sent = Instant::now();
            let answer = Some(work.call(number).await);
            drop(place);
            Ended { due, answer, waited: at.elapsed(), served: sent.elapsed() }
        });
    }
    while let Some(ended) = running.join_next().await {
        record.add(window, deadline, &ended.context("a call panicked")?);
    }
    Ok(record)
}

#[cfg(test)]
mod tests;
