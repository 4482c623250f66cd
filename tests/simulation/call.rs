//! One request of a client, sent until its answer is known or the client gives up; and what it heard.

use std::{sync::Arc, time::Duration};

use stockroom::{
    ledger::head::Head,
    stock::{
        draft::Draft,
        hold::HoldId,
        ids::EntryRef,
        refusal::Refusal,
        reservation::{Reservation, ReservationId},
        time::{Micros, Timestamp},
    },
    writer::{
        Barred, Failure, Report, Verdict, Writer,
        hold::Held,
        request::{Ask, Denial, NewPromise, Stepped, Wish},
    },
};
use tokio::time::Instant;

use crate::stage::Stage;

/// How often a client sends the same again.
const ATTEMPTS_MAX: usize = 6;

/// What is asked for.
#[derive(Clone, Debug)]
pub enum What {
    /// Facts, in one report.
    Record(Vec<Draft>),
    Hold(NewPromise),
    ReplaceHold(HoldId, NewPromise),
    ExtendHold(HoldId, Micros),
    ReleaseHold(HoldId),
    Reserve(NewPromise),
    ReserveAll(Vec<NewPromise>),
    Change(ReservationId, Wish),
}

/// What was heard.
#[derive(Clone, Debug)]
pub enum Heard {
    Recorded(Vec<Fate>),
    Held {
        id: HoldId,
        expires_at: Timestamp,
        in_ledger: bool,
    },
    Released,
    Stepped(Vec<Reservation>),
    Refused(Refusal),
    /// The same may be sent again.
    Nothing,
    /// What no client should ever hear.
    Broken,
}

/// What became of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Recorded(EntryRef),
    Refused(Refusal),
    Poisoned,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Call {
    pub caller: String,
    pub key: String,
    pub what: What,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub heard: Heard,
    /// Heads that cover what was acknowledged.
    pub heads: Vec<Head>,
}

impl Call {
    /// Whether it was told that all of it is in the ledger.
    pub fn has_effect(&self) -> bool {
        match &self.heard {
            Heard::Recorded(fates) => fates.iter().all(|fate| matches!(fate, Fate::Recorded(_))),
            Heard::Stepped(_) => true,
            _ => false,
        }
    }
}

/// Sends a request until it is answered. Every attempt is told.
pub async fn call(stage: &Arc<Stage>, caller: &str, key: &str, what: What) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let world = &stage.world;
    // Some are sent once more although they were answered.
    let mut repeats = world.happens(80);
    for attempt in 0..ATTEMPTS_MAX {
        let started = world.now();
        let patience = world.span(800_000..4_000_000);
        let writer = stage.writer();
        world.note(|| format!("{caller} {key} asks {what:?}"));
        let sent = send(&writer, caller, key, what.clone(), Instant::now() + patience);
        // A server that was killed never answers.
        let heard = tokio::time::timeout(patience + Duration::from_secs(1), sent).await;
        let (heard, heads) = heard.unwrap_or((Heard::Nothing, Vec::new()));
        world.note(|| format!("{caller} {key} hears {heard:?}"));
        let unanswered = matches!(heard, Heard::Nothing);
        calls.push(Call {
            caller: caller.to_owned(),
            key: key.to_owned(),
            what: what.clone(),
            started,
            ended: world.now(),
            heard,
            heads,
        });
        if attempt > 0 {
            world.reach("sent again");
        }
        if !unanswered && !std::mem::take(&mut repeats) {
            break;
        }
        tokio::time::sleep(world.span(1_000..200_000)).await;
    }
    calls
}

async fn send(
    writer: &Writer,
    caller: &str,
    key: &str,
    what: What,
    deadline: Instant,
) -> (Heard, Vec<Head>) {
    let ask = Ask {
        caller: caller.to_owned(),
        request_id: key.to_owned(),
        channel_id: "web".to_owned(),
        actor: String::new(),
        reason: String::new(),
        deadline,
    };
    match what {
        What::Record(drafts) => record(writer, caller, drafts, deadline).await,
        What::Hold(promise) => held(writer.hold(ask, promise).await),
        What::ReplaceHold(id, promise) => held(writer.replace_hold(ask, id, promise).await),
        What::ExtendHold(id, ttl) => held(writer.extend_hold(ask, id, ttl).await),
        What::ReleaseHold(id) => match writer.release_hold(ask, id).await {
            Ok(()) => (Heard::Released, Vec::new()),
            Err(denial) => denied(denial),
        },
        What::Reserve(promise) => stepped(writer.reserve(ask, promise).await),
        What::ReserveAll(promises) => stepped(writer.reserve_all(ask, promises).await),
        What::Change(id, wish) => stepped(writer.change(ask, id, wish).await),
    }
}

async fn record(
    writer: &Writer,
    source: &str,
    drafts: Vec<Draft>,
    deadline: Instant,
) -> (Heard, Vec<Head>) {
    let source = source.to_owned();
    let report = Report {
        source,
        sent_at: None,
        actor: String::new(),
        drafts,
        up_to: false,
        barred: Barred::default(),
        deadline,
    };
    match writer.record(report).await {
        Ok(recorded) => {
            let fate = |verdict| match verdict {
                Verdict::Recorded(posted) | Verdict::Duplicate(posted) => Fate::Recorded(posted.at),
                Verdict::Refused(refusal) => Fate::Refused(refusal),
                Verdict::Poisoned => Fate::Poisoned,
            };
            let fates = recorded.answers.into_iter().map(|answer| fate(answer.verdict));
            (Heard::Recorded(fates.collect()), recorded.heads)
        }
        Err(failure) => failed(failure),
    }
}

fn held(answer: Result<Held, Denial>) -> (Heard, Vec<Head>) {
    match answer {
        Ok(Held { id, expires_at, ledger, .. }) => {
            let in_ledger = ledger.is_some();
            (Heard::Held { id, expires_at, in_ledger }, Vec::new())
        }
        Err(denial) => denied(denial),
    }
}

fn stepped(answer: Result<Stepped, Denial>) -> (Heard, Vec<Head>) {
    match answer {
        Ok(stepped) => (Heard::Stepped(stepped.reservations), stepped.heads),
        Err(denial) => denied(denial),
    }
}

fn denied(denial: Denial) -> (Heard, Vec<Head>) {
    match denial {
        Denial::Refused(refusal) => (Heard::Refused(refusal), Vec::new()),
        Denial::Failed(failure) => failed(failure),
    }
}

fn failed(failure: Failure) -> (Heard, Vec<Head>) {
    let heard = match failure {
        Failure::Broken => Heard::Broken,
        _ => Heard::Nothing,
    };
    (heard, Vec::new())
}
