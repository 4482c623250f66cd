//! The lanes: every write joins the queue of its partition and is committed together with what waits
//! beside it. The only code that writes.
//!
//! Read [`Writer::record`], which is the path of a movement; `resolve` (names to numbers), `lane` (the
//! queue of a partition) and `execute` (one batch, until its outcome is known).

mod execute;
mod lane;
mod resolve;
pub mod resume;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    ledger::{Ledger, epoch::Head, fault::Fault},
    stock::{
        ids::Partition,
        machine::Posted,
        movement::{Command, Draft},
        refusal::Refusal,
        time::Timestamp,
    },
    telemetry,
    writer::{
        execute::execute,
        lane::{Job, Lane},
        resolve::Resolved,
        resume::ResumePoints,
    },
};

/// Batches over several partitions that run at the same time: each occupies a connection.
const WIDE_BATCHES_MAX: usize = 4;
/// A write that states no deadline is given up after this time.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);

/// Writes to the ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    ledger: Ledger,
    lanes: Arc<FxHashMap<Partition, Lane>>,
    wide: Arc<Semaphore>,
    resume_points: ResumePoints,
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
    /// When to give up.
    pub deadline: Instant,
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

/// What became of one movement.
#[derive(Debug)]
pub enum Answer {
    /// It is in the ledger, by this report.
    Recorded(Posted),
    /// It was in the ledger already.
    Duplicate(Posted),
    /// It changes nothing; here it is again, to be kept.
    Refused(Box<Draft>, Refusal),
    /// The database would not take it, alone out of its batch: a defect. Kept as well.
    Poisoned(Box<Draft>),
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
    pub async fn start(ledger: Ledger) -> Result<Writer, Fault> {
        let partitions = ledger.partitions().await?;
        let lane = |partition| (partition, Lane::start(ledger.clone(), partition));
        Ok(Writer {
            lanes: Arc::new(partitions.into_iter().map(lane).collect()),
            wide: Arc::new(Semaphore::new(WIDE_BATCHES_MAX)),
            resume_points: ResumePoints::start(ledger.clone()),
            ledger,
        })
    }

    /// Records what a source reports and says what became of each line. A line that is refused costs
    /// no other one, unless they share a group.
    ///
    /// # Errors
    /// Nothing can be said of some lines; sending all of them again with the same keys is safe.
    pub async fn record(&self, report: Report) -> Result<Recorded, Failure> {
        let deadline = report.deadline;
        let resolved = self.resolve(report).await.map_err(|fault| Failure::of(&fault, false))?;
        let Resolved { mut answers, commands } = resolved;
        let mut parts: FxHashMap<BTreeSet<Partition>, Vec<(Vec<usize>, Command)>> =
            FxHashMap::default();
        for (lines, command) in commands {
            let places = command.movements().iter().flat_map(|movement| movement.places());
            let partitions = places.map(|place| place.partition).collect();
            parts.entry(partitions).or_default().push((lines, command));
        }
        let parts = parts.into_iter().map(|(partitions, part)| {
            let (lines, commands): (Vec<_>, Vec<_>) = part.into_iter().unzip();
            async move {
                let done = self.write(partitions, commands, deadline).await?;
                Ok((lines.into_iter().flatten(), done))
            }
        });
        let mut recorded = Recorded { answers: Vec::new(), heads: Vec::new(), replicated: true };
        for (lines, done) in futures::future::try_join_all(parts).await? {
            for (line, answer) in lines.zip(done.answers) {
                answers.insert(line, answer);
            }
            recorded.heads.extend(done.heads);
            recorded.replicated &= done.replicated;
        }
        recorded.answers = answers.into_values().collect();
        telemetry::answered(&recorded.answers);
        Ok(recorded)
    }

    /// The key up to which everything that a source sent is settled.
    pub fn resume_points(&self) -> &ResumePoints {
        &self.resume_points
    }

    /// One partition: its lane. Several: a batch of their own.
    async fn write(
        &self,
        partitions: BTreeSet<Partition>,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Recorded, Failure> {
        let lane = partitions.first().and_then(|partition| self.lanes.get(partition));
        if let Some(lane) = lane.filter(|_| partitions.len() == 1) {
            return lane.run(commands, deadline).await;
        }
        let permit = tokio::time::timeout_at(deadline, self.wide.acquire());
        let _permit = permit.await.map_err(|_| Failure::DeadlineExceeded)?;
        let partitions: Vec<_> = partitions.into_iter().collect();
        let done = execute(&self.ledger, &partitions, &commands, deadline).await?;
        let mut answers = done.answers.into_iter();
        Ok(Job::settle(commands, &mut answers, &done.heads, done.replicated))
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
