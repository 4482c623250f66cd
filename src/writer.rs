//! The lanes: every write joins the queue of its partition and is committed together with what waits
//! beside it. The only code that writes.
//!
//! Read [`Writer::record`], which is the path of a movement, and [`request`], that of a reservation;
//! `resolve` (names to numbers), `lane` (the queue of a partition), `admit` and `settle` (Redis before
//! and after a batch) and `execute` (one batch, until its outcome is known).

mod admit;
pub mod counted;
mod execute;
pub mod hold;
mod lane;
mod pace;
mod patience;
pub mod recall;
pub mod request;
pub mod reschedule;
mod resolve;
pub mod resume;
mod settle;
pub mod snapshot;
mod sources;
mod split;
mod stores;
pub mod sweep;
mod wide;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;
use tokio::{
    sync::{Notify, Semaphore, oneshot},
    time::Instant,
};

use crate::{
    availability::Availability,
    ledger::{Ledger, fault::Fault, head::Head},
    reads::Reads,
    stock::{
        draft::Draft,
        ids::Partition,
        machine::{Outcome, Posted},
        movement::Command,
        pickup::PickupSecret,
        refusal::Refusal,
        time::Timestamp,
    },
    telemetry,
    writer::{
        counted::Counted,
        hold::HoldCaps,
        lane::{Decided, Job, Lane},
        resume::ResumePoints,
        sources::Sources,
        split::split,
        stores::Stores,
    },
};

/// Batches over several partitions that run at the same time: each occupies a connection.
const WIDE_BATCHES_MAX: usize = 4;
/// A write that states no deadline is given up after this time.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Writes to the ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    stores: Stores,
    reads: Reads,
    lanes: Arc<FxHashMap<Partition, Lane>>,
    wide: Arc<Semaphore>,
    resume_points: ResumePoints,
    pickup_secret: PickupSecret,
    counted: Counted,
    sources: Sources,
    hold_caps: HoldCaps,
}

/// What a source reports at once.
#[derive(Debug)]
pub struct Report {
    /// Who sends. An identifier.
    pub source: String,
    /// The source's clock when it sent this.
    pub sent_at: Option<Timestamp>,
    /// Who decided, where it was not the source itself; empty: nobody else.
    pub actor: String,
    /// What happened.
    pub drafts: Vec<Draft>,
    /// Whether they are about what is sellable, where that is less than their quantity.
    pub up_to: bool,
    /// What its sender may not do.
    pub barred: Barred,
    /// When to give up.
    pub deadline: Instant,
}

/// What the sender of a report may not do, by the index of the line. Nothing, where everybody may do
/// everything.
#[derive(Debug, Default)]
pub struct Barred {
    /// Lines that are refused, unless they are malformed.
    pub refused: Vec<(usize, Refusal)>,
    /// Lines whose hold or reservation does not exist for the sender, ascending.
    pub unseen: Vec<usize>,
}

/// What became of a report.
#[derive(Debug)]
pub struct Recorded {
    /// One per movement, in order.
    pub answers: Vec<Answer>,
    /// Heads that cover every movement that is in the ledger now.
    pub heads: Vec<Head>,
    /// Whether all of it is on a standby too.
    pub replicated: bool,
}

/// What became of one movement, with the movement as it was sent.
#[derive(Debug)]
pub struct Answer {
    /// What was sent.
    pub draft: Draft,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of one movement.
#[derive(Debug)]
pub enum Verdict {
    /// It is in the ledger, by this report.
    Recorded(Posted),
    /// It was in the ledger already.
    Duplicate(Posted),
    /// It changes nothing.
    Refused(Refusal),
    /// The database would not take it, alone out of its batch: a defect.
    Poisoned,
}

/// A report that is in its lanes; its place in the order of each is certain.
#[derive(Debug)]
pub struct Pending {
    answers: Vec<Option<Answer>>,
    parts: Vec<Part>,
}

/// The lines of a report that one batch decides.
#[derive(Debug)]
struct Part {
    lines: Vec<usize>,
    answer: oneshot::Receiver<Result<Decided, Failure>>,
}

/// Why a report was not answered line by line. All of it may be sent again with the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The database is away.
    #[error("the ledger is unavailable")]
    Unavailable {
        /// Whether a COMMIT was under way when it went.
        outcome_unknown: bool,
    },
    /// The deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// Too much is waiting.
    #[error("too many movements are waiting")]
    Overloaded,
    /// A defect.
    #[error("the ledger is broken")]
    Broken,
}

impl Writer {
    /// Starts a lane for every partition. The lanes end when the last writer is dropped.
    ///
    /// # Errors
    /// The database is away, or was not prepared.
    pub async fn start(ledger: Ledger, availability: Availability) -> Result<Writer, Fault> {
        let partitions = ledger.partitions().await?.iter().copied();
        // So that it is known in which epoch names are looked up from now on.
        if ledger.heads().await?.tail_may_be_lost {
            ledger.mend_epoch().await?;
        }
        // So that what is recalled is known before anything is handed over.
        ledger.directory().refresh().await?;
        let stores = Stores::new(ledger.clone(), availability.clone());
        let lane = |partition| (partition, Lane::start(stores.clone(), partition));
        Ok(Writer {
            lanes: Arc::new(partitions.map(lane).collect()),
            wide: Arc::new(Semaphore::new(WIDE_BATCHES_MAX)),
            resume_points: ResumePoints::start(ledger.clone()),
            pickup_secret: PickupSecret::new(&ledger.pickup_secret().await?),
            reads: Reads::new(ledger, availability),
            counted: stores.counted.clone(),
            sources: Sources::default(),
            hold_caps: HoldCaps::default(),
            stores,
        })
    }

    /// The same with caps of what may be held at once.
    #[must_use]
    pub fn with_hold_caps(self, hold_caps: HoldCaps) -> Writer {
        Writer { hold_caps, ..self }
    }

    /// Records what a source reports and says what became of each line. A line that is refused costs
    /// no other one, unless they share a group.
    ///
    /// # Errors
    /// Nothing can be said of some lines; sending all of them again with the same keys is safe.
    pub async fn record(&self, report: Report) -> Result<Recorded, Failure> {
        self.submit(report).await?.settled().await
    }

    /// Gives a report its place in the lanes. What is submitted after this returned is decided after
    /// it, partition by partition.
    ///
    /// # Errors
    /// As [`Writer::record`].
    pub async fn submit(&self, report: Report) -> Result<Pending, Failure> {
        let deadline = report.deadline;
        self.sources.heard(&report);
        let names = self.names();
        let resolved = self.resolve(report).await.map_err(|fault| Failure::of(&fault, false))?;
        let parts = split(resolved.commands);
        let mut pending =
            Pending { answers: resolved.answers, parts: Vec::with_capacity(parts.len()) };
        for split::Part { partitions, commands } in parts {
            let (lines, commands): (Vec<_>, _) = commands.into_iter().unzip();
            let (reply, answer) = oneshot::channel();
            self.enqueue(partitions, Job { commands, names, deadline, reply }).await?;
            pending.parts.push(Part { lines: lines.concat(), answer });
        }
        Ok(pending)
    }

    /// The epoch in which names are looked up now; to be asked for before any is.
    fn names(&self) -> i64 {
        self.stores.ledger.directory().epoch()
    }

    /// What pickup codes are made with.
    pub fn pickup_secret(&self) -> &PickupSecret {
        &self.pickup_secret
    }

    /// Told whenever something was committed that Redis was not told of.
    pub fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.stores.committed)
    }

    /// Told whenever something was recorded by this server: a hint that saves who follows the ledger a
    /// moment.
    pub fn recorded(&self) -> tokio::sync::watch::Receiver<()> {
        self.stores.recorded()
    }

    /// The key up to which everything that a source sent is settled.
    pub fn resume_points(&self) -> &ResumePoints {
        &self.resume_points
    }

    /// One partition: its lane. Several: a batch of their own, after everything that is in their lanes
    /// already, and done before anything else is submitted.
    async fn enqueue(&self, partitions: BTreeSet<Partition>, job: Job) -> Result<(), Failure> {
        let lanes = partitions.iter().filter_map(|partition| self.lanes.get(partition));
        let lanes: Vec<_> = lanes.collect();
        if lanes.iter().any(|lane| lane.would_be_late_with(&job)) {
            return Err(Failure::Overloaded);
        }
        if let ([lane], 1) = (&*lanes, partitions.len()) {
            return lane.enqueue(job).await;
        }
        for lane in lanes {
            lane.drained(job.deadline).await?;
        }
        let permit = tokio::time::timeout_at(job.deadline, Arc::clone(&self.wide).acquire_owned());
        let permit = permit.await.map_err(|_| Failure::Overloaded)?;
        let stores = self.stores.clone();
        // A task of its own: a caller that goes away must not cut a batch off in its COMMIT.
        let batch = tokio::spawn(async move {
            let partitions: Vec<_> = partitions.into_iter().collect();
            wide::run(&stores, &partitions, job).await;
            drop(permit);
        });
        batch.await.map_err(|_| Failure::Broken)
    }
}

impl Pending {
    /// Waits until the outcome of every line is known.
    ///
    /// # Errors
    /// As [`Writer::record`].
    pub async fn settled(self) -> Result<Recorded, Failure> {
        let Pending { mut answers, parts } = self;
        let mut recorded = Recorded { answers: Vec::new(), heads: Vec::new(), replicated: true };
        for Part { lines, answer } in parts {
            let Decided { commands, outcomes, heads, replicated } = decided(answer).await?;
            let movements = commands.into_iter().flat_map(Command::into_movements);
            let decided = movements.zip(outcomes).map(|(movement, outcome)| Answer {
                draft: movement.draft,
                verdict: outcome.into(),
            });
            for (line, answer) in lines.into_iter().zip(decided) {
                if let Some(slot) = answers.get_mut(line) {
                    *slot = Some(answer);
                }
            }
            recorded.heads.extend(heads);
            recorded.replicated &= replicated;
        }
        recorded.answers = answers.into_iter().flatten().collect();
        count(&recorded.answers);
        Ok(recorded)
    }
}

impl Failure {
    pub(crate) fn of(fault: &Fault, outcome_unknown: bool) -> Failure {
        use crate::ledger::fault::Kind;
        tracing::error!(fault = fault.chain(), outcome_unknown, "a batch failed");
        match fault.kind {
            Kind::Unavailable | Kind::Contended => Failure::Unavailable { outcome_unknown },
            Kind::Poisoned | Kind::Broken => Failure::Broken,
        }
    }
}

async fn decided(answer: oneshot::Receiver<Result<Decided, Failure>>) -> Result<Decided, Failure> {
    // A lane that went away without an answer was stopped with the server.
    answer.await.map_err(|_| Failure::Unavailable { outcome_unknown: true })?
}

impl From<Option<Outcome>> for Verdict {
    fn from(outcome: Option<Outcome>) -> Verdict {
        match outcome {
            Some(Outcome::Recorded(posted)) => Verdict::Recorded(posted),
            Some(Outcome::Duplicate(posted)) => Verdict::Duplicate(posted),
            Some(Outcome::Refused(refusal)) => Verdict::Refused(refusal),
            // A movement is no step.
            Some(Outcome::Stepped(_)) | None => Verdict::Poisoned,
        }
    }
}

fn count(answers: &[Answer]) {
    let (mut recorded, mut duplicate, mut rejected) = (0, 0, 0);
    for answer in answers {
        match &answer.verdict {
            Verdict::Recorded(_) => recorded += 1,
            Verdict::Duplicate(_) => duplicate += 1,
            Verdict::Refused(refusal) => {
                rejected += 1;
                telemetry::rejected(refusal.reason());
            }
            Verdict::Poisoned => rejected += 1,
        }
    }
    telemetry::answered(recorded, duplicate, rejected);
}
