//! The queue of one partition. While one batch commits the next one gathers: nobody waits when the
//! lane is idle, and batches grow with load.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    ledger::{Ledger, epoch::Head},
    stock::{ids::Partition, machine::Outcome, movement::Command},
    telemetry,
    writer::{
        Failure,
        execute::{Done, execute},
    },
};

/// A batch stops gathering at this many movements: more is no faster and takes longer.
const BATCH_ROWS_MAX: usize = 1_000;
/// Reports that may wait for a lane; the next one waits for room until its deadline.
const QUEUE_JOBS_MAX: usize = 1_024;
/// A batch runs at least this long before it is given up, however little its jobs have left.
const BATCH_TIME_MIN: Duration = Duration::from_millis(100);

/// The way into a lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<Job>,
}

/// Commands of one report that wait for the lane.
#[derive(Debug)]
pub(super) struct Job {
    pub commands: Vec<Command>,
    pub deadline: Instant,
    pub reply: oneshot::Sender<Result<Decided, Failure>>,
}

/// What a batch made of the commands of a job.
#[derive(Debug)]
pub(super) struct Decided {
    /// The commands, given back.
    pub commands: Vec<Command>,
    /// One per movement and step, in order; `None`: the database would not take it.
    pub outcomes: Vec<Option<Outcome>>,
    /// Heads that cover all effects.
    pub heads: Vec<Head>,
    /// Whether all of it is on a standby too.
    pub replicated: bool,
}

impl Lane {
    pub(super) fn start(ledger: Ledger, partition: Partition) -> Lane {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        tokio::spawn(serve(ledger, partition, jobs));
        Lane { queue }
    }

    /// Waits for room, until the job's deadline.
    pub(super) async fn enqueue(&self, job: Job) -> Result<(), Failure> {
        let room = tokio::time::timeout_at(job.deadline, self.queue.reserve()).await;
        let stopped = Failure::Unavailable { outcome_unknown: false };
        room.map_err(|_| Failure::Overloaded)?.map_err(|_| stopped)?.send(job);
        Ok(())
    }

    /// Waits until everything is decided that is in the lane by now.
    pub(super) async fn drained(&self, deadline: Instant) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job { commands: Vec::new(), deadline, reply }).await?;
        // How the batch ended that it became part of does not matter.
        let _ = answer.await;
        Ok(())
    }
}

async fn serve(ledger: Ledger, partition: Partition, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.recv().await {
        let mut batch = vec![first];
        let mut rows: usize = batch.iter().map(|job| job.commands.len()).sum();
        while rows < BATCH_ROWS_MAX {
            let Ok(job) = jobs.try_recv() else { break };
            rows += job.commands.len();
            batch.push(job);
        }
        let now = Instant::now();
        let (batch, late): (Vec<_>, Vec<_>) = batch.into_iter().partition(|job| job.deadline > now);
        for job in late {
            // A caller that went away no longer wants the answer.
            let _ = job.reply.send(Err(Failure::DeadlineExceeded));
        }
        if !batch.is_empty() {
            run(&ledger, &[partition], batch).await;
        }
    }
}

/// Executes jobs as one batch and answers them.
pub(super) async fn run(ledger: &Ledger, partitions: &[Partition], jobs: Vec<Job>) {
    let started = Instant::now();
    // The last deadline counts: a batch that is re-executed must not cost a patient caller its answer.
    let deadline = jobs.iter().map(|job| job.deadline).max().unwrap_or(started);
    let deadline = deadline.max(started + BATCH_TIME_MIN);
    let mut commands = Vec::with_capacity(jobs.len());
    let mut waiting = Vec::with_capacity(jobs.len());
    for job in jobs {
        waiting.push((job.commands.len(), job.reply));
        commands.extend(job.commands);
    }
    let done = match commands.is_empty() {
        true => Ok(Done::nothing()),
        false => execute(ledger, partitions, &mut commands, deadline).await,
    };
    telemetry::batch_done(commands.len(), started.elapsed());
    let mut commands = commands.into_iter();
    let mut settled = done.map(|done| (done.answers.into_iter(), done.heads, done.replicated));
    for (length, reply) in waiting {
        let answer = match &mut settled {
            Ok((answers, heads, replicated)) => {
                let commands: Vec<_> = commands.by_ref().take(length).collect();
                let outcomes = commands.iter().map(Command::outcomes).sum();
                let outcomes = answers.by_ref().take(outcomes).collect();
                Ok(Decided { commands, outcomes, heads: heads.clone(), replicated: *replicated })
            }
            Err(failure) => Err(*failure),
        };
        // A caller that went away no longer wants its answer.
        let _ = reply.send(answer);
    }
}
