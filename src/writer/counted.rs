//! What this server counted and has not told yet: refusals for lack of stock, which no entry keeps, and
//! steps of reservations, for the metrics.
//!
//! Counting is an addition in memory. Every few seconds the sums of refusals are added to the database,
//! and everything to the metrics; a server that is killed loses what it counted since.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::{
    ledger::{Ledger, fault::Fault, figures::Refused},
    stock::{
        entry::Entry,
        figures::{Said, is_short_pick, said},
        ids::{ChannelNo, LocationNo},
        machine::Plan,
        refusal::Refusal,
        reservation::{CancelledBy, State},
    },
    telemetry,
    writer::{Writer, request::Denial, settle::Effect, sources::Sources},
};

/// How often what was counted is told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Pairs of channel and location that are counted apart until they are told: more than a large retailer
/// has. What comes after them is not counted.
const PAIRS_MAX: usize = 100_000;
/// Requests, and lines of them that were short.
type Sum = (u64, u64);

/// What was counted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted(Arc<Mutex<Sums>>);

#[derive(Debug, Default)]
struct Sums {
    refused: FxHashMap<(Option<ChannelNo>, LocationNo), Sum>,
    steps: FxHashMap<(Option<ChannelNo>, Step), u64>,
}

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Hold,
    Reservation,
}

/// What is counted of reservations in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Took(&'static str),
    Broke,
    ShortPickedUnit,
}

/// What the entries of a batch say of reservations.
#[derive(Debug, Default)]
pub(super) struct Steps(Vec<(Option<ChannelNo>, Step, u64)>);

/// Tells what was counted for as long as it lives.
#[derive(Debug)]
pub struct Counting {
    counted: Counted,
    ledger: Ledger,
    teller: JoinHandle<()>,
}

impl Counted {
    /// Counts a request that was denied: by which rule, and where it was for lack of stock.
    pub(super) fn denied(
        &self,
        asked: Asked,
        channel: Option<ChannelNo>,
        location: LocationNo,
        denial: &Denial,
    ) {
        let Denial::Refused(refusal) = denial else { return };
        match asked {
            Asked::Hold => telemetry::hold_refused(refusal.reason()),
            Asked::Reservation => telemetry::reservation_refused(refusal.reason()),
        }
        let Refusal::InsufficientStock { short } = refusal else { return };
        let mut sums = lock(&self.0);
        let full = sums.refused.len() >= PAIRS_MAX;
        if full && !sums.refused.contains_key(&(channel, location)) {
            return;
        }
        let (refusals, lines) = sums.refused.entry((channel, location)).or_default();
        *refusals += 1;
        *lines += short.len() as u64;
    }

    /// Counts what batches did.
    pub(super) fn did(&self, effects: &[Effect]) {
        if effects.iter().all(|effect| effect.steps.0.is_empty()) {
            return;
        }
        let mut sums = lock(&self.0);
        for (channel, step, times) in effects.iter().flat_map(|effect| &effect.steps.0) {
            *sums.steps.entry((*channel, *step)).or_default() += times;
        }
    }

    async fn tell(&self, ledger: &Ledger) -> Result<(), Fault> {
        let Sums { refused, steps } = std::mem::take(&mut *lock(&self.0));
        let name = |channel: Option<ChannelNo>| {
            let known = ledger.directory().known();
            let channel = channel.and_then(|channel| known.channel_of(channel));
            channel.map_or_else(String::new, |channel| channel.channel_id.to_string())
        };
        for ((channel, step), times) in steps {
            match step {
                Step::Took(step) => telemetry::reservations_stepped(name(channel), step, times),
                Step::Broke => telemetry::promises_broken(name(channel), times),
                Step::ShortPickedUnit => telemetry::units_short_picked(name(channel), times),
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let rows = refused.iter().map(|(&(channel, location), &(refusals, lines))| Refused {
            channel,
            location,
            refusals,
            lines,
        });
        let rows: Vec<_> = rows.collect();
        if let Err(fault) = ledger.add_refusals(&rows).await {
            // If they were added after all they count twice: a figure of demand, not of stock.
            let mut sums = lock(&self.0);
            for (pair, (refusals, lines)) in refused {
                let sum = sums.refused.entry(pair).or_default();
                *sum = (sum.0 + refusals, sum.1 + lines);
            }
            return Err(fault);
        }
        for row in rows {
            telemetry::requests_refused(name(row.channel), row.refusals);
        }
        Ok(())
    }
}

impl Steps {
    /// What a plan says of the reservations of one partition, entry by entry.
    pub(super) fn of(plan: &Plan<'_>, entries: &[Entry<'_>]) -> Steps {
        let mut steps = Vec::new();
        let mut broken = None;
        for entry in entries.iter().filter(|entry| entry.reservation_state.is_some()) {
            if let Some((id, said)) = said(entry) {
                let at = id.at();
                let before = plan.superseded.iter().rfind(|before| before.at() == at);
                let was_ready = before.is_some_and(|before| before.state == State::Ready);
                let after = plan.reservations.get(&at);
                if after.is_some_and(|after| after.held_as.is_some()) {
                    continue;
                }
                let by = after.and_then(|after| after.cancelled_by);
                let becomes_ready = said == Said::Ready && !was_ready;
                if let Some(after) = after.filter(|_| becomes_ready) {
                    telemetry::ready_after(entry.recorded_at.0 - after.created_at.0);
                }
                if let Some(before) = before.filter(|_| was_ready && said == Said::Collected) {
                    telemetry::collected_after(entry.recorded_at.0 - before.changed_at.0);
                }
                if let Some(step) = name_of(said, was_ready) {
                    steps.push((entry.channel, Step::Took(step), 1));
                }
                broken = None;
                if said.broken(by == Some(CancelledBy::Store), was_ready, &entry.reason) {
                    steps.push((entry.channel, Step::Broke, 1));
                    broken = Some(entry.reservation_id.clone());
                }
            }
            if is_short_pick(entry) {
                let units = u64::try_from(entry.quantity).unwrap_or(0);
                steps.push((entry.channel, Step::ShortPickedUnit, units));
                if broken.as_ref() != Some(&entry.reservation_id) {
                    steps.push((entry.channel, Step::Broke, 1));
                    broken = Some(entry.reservation_id.clone());
                }
            }
        }
        Steps(steps)
    }
}

fn name_of(said: Said, was_ready: bool) -> Option<&'static str> {
    Some(match said {
        Said::Made => "made",
        Said::MovedIn => "moved_in",
        Said::Ready if !was_ready => "ready",
        Said::Collected => "collected",
        Said::CollectedInPart => "collected_in_part",
        Said::Ended(State::Cancelled) => "cancelled",
        Said::Ended(State::Rejected) => "rejected",
        Said::Ended(State::Expired) => "expired",
        Said::Ended(_) => "moved",
        Said::Ready | Said::Stepped => return None,
    })
}

impl Counting {
    /// Begins to tell what a writer counts.
    pub fn start(writer: &Writer) -> Counting {
        let (counted, ledger) = (writer.counted.clone(), writer.stores.ledger.clone());
        let sources = writer.sources.clone();
        let teller = tokio::spawn(tell_for_ever(counted.clone(), ledger.clone(), sources));
        Counting { counted, ledger, teller }
    }

    /// Tells what was counted so far.
    ///
    /// # Errors
    /// The database is away; refusals are kept for the next time.
    pub async fn tell(&self) -> Result<(), Fault> {
        self.counted.tell(&self.ledger).await
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.teller.abort();
    }
}

async fn tell_for_ever(counted: Counted, ledger: Ledger, sources: Sources) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sources.tell();
        if let Err(fault) = counted.tell(&ledger).await {
            tracing::warn!(fault = fault.chain(), "refusals were not added up");
        }
    }
}

fn lock(mutex: &Mutex<Sums>) -> MutexGuard<'_, Sums> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
