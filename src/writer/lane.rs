//! The queue of one partition. While one batch commits the next one gathers: nobody waits when the
//! lane is idle, and batches grow with load.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    ledger::{Ledger, epoch::Head},
    stock::{
        ids::Partition,
        machine::Outcome,
        movement::{Command, Movement},
    },
    telemetry,
    writer::{Answer, Failure, Recorded, execute::execute},
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
    commands: Vec<Command>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Recorded, Failure>>,
}

impl Lane {
    pub(super) fn start(ledger: Ledger, partition: Partition) -> Lane {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        tokio::spawn(serve(ledger, partition, jobs));
        Lane { queue }
    }

    /// Waits for the batch that these commands become part of.
    pub(super) async fn run(
        &self,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Recorded, Failure> {
        let (reply, answer) = oneshot::channel();
        let room = tokio::time::timeout_at(deadline, self.queue.reserve()).await;
        let room = room.map_err(|_| Failure::Overloaded)?;
        room.map_err(|_| Failure::Broken)?.send(Job { commands, deadline, reply });
        answer.await.map_err(|_| Failure::Broken)?
    }
}

impl Job {
    /// Gives the commands of a job their answers, and the heads that cover them.
    pub(super) fn settle(
        commands: Vec<Command>,
        answers: &mut impl Iterator<Item = Option<Outcome>>,
        heads: &[Head],
        replicated: bool,
    ) -> Recorded {
        let movements = commands.into_iter().flat_map(|command| match command {
            Command::One(movement) => vec![movement],
            Command::Group(movements) => movements,
        });
        let answers = movements.zip(answers).map(|(movement, outcome)| answer(movement, outcome));
        Recorded { answers: answers.collect(), heads: heads.to_vec(), replicated }
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
            run(&ledger, partition, batch).await;
        }
    }
}

async fn run(ledger: &Ledger, partition: Partition, jobs: Vec<Job>) {
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
    let done = execute(ledger, &[partition], &commands, deadline).await;
    telemetry::batch_done(commands.len(), started.elapsed());
    let mut commands = commands.into_iter();
    match done {
        Ok(done) => {
            let mut answers = done.answers.into_iter();
            for (length, reply) in waiting {
                let commands = commands.by_ref().take(length).collect();
                let settled = Job::settle(commands, &mut answers, &done.heads, done.replicated);
                let _ = reply.send(Ok(settled));
            }
        }
        Err(failure) => {
            for (_, reply) in waiting {
                let _ = reply.send(Err(failure));
            }
        }
    }
}

fn answer(movement: Movement, outcome: Option<Outcome>) -> Answer {
    match outcome {
        Some(Outcome::Recorded(posted)) => Answer::Recorded(posted),
        Some(Outcome::Duplicate(posted)) => Answer::Duplicate(posted),
        Some(Outcome::Refused(refusal)) => Answer::Refused(Box::new(movement.draft), refusal),
        None => Answer::Poisoned(Box::new(movement.draft)),
    }
}
