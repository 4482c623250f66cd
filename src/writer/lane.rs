//! The queue of one partition. While one batch commits the next one gathers: nobody waits when the
//! lane is idle, and batches grow with load.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    ledger::head::Head,
    stock::{ids::Partition, machine::Outcome, movement::Command, refusal::Refusal},
    telemetry::{
        self,
        traces::{self, Traced},
    },
    writer::{
        Failure,
        admit::{self, Admitted, CONTENDED_PAUSE, Judgement, admit},
        execute::{Done, execute},
        pace::Pace,
        settle::{Effect, settle},
        stores::Stores,
    },
};

/// A batch stops gathering at this many movements and lines: more is no faster and takes longer.
const BATCH_ROWS_MAX: usize = 1_000;
/// Reports that may wait for a lane; the next one waits for room until its deadline.
const QUEUE_JOBS_MAX: usize = 1_024;
/// A batch runs at least this long before it is given up, however little its jobs have left.
const BATCH_TIME_MIN: Duration = Duration::from_millis(100);

/// The way into a lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    queue: mpsc::Sender<Queued>,
    pace: Arc<Pace>,
}

/// Commands of one report that wait for the lane.
#[derive(Debug)]
pub(super) struct Job {
    pub commands: Vec<Command>,
    /// The epoch in which their names were looked up.
    pub names: i64,
    pub deadline: Instant,
    pub reply: oneshot::Sender<Result<Decided, Failure>>,
}

/// A job in the queue.
#[derive(Debug)]
struct Queued {
    job: Job,
    since: Instant,
    /// The call that it is for, where that is traced.
    call: Option<Traced>,
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

/// The other end of a lane.
struct Serving {
    stores: Stores,
    pace: Arc<Pace>,
    partition: Partition,
    jobs: mpsc::Receiver<Queued>,
    /// Calls of the batch that is gathered, as far as they are traced.
    calls: Vec<Traced>,
    /// Jobs that only batches under way stand against: they are asked about again.
    contended: Vec<Job>,
    /// What is told of batches that nobody waits for.
    settling: Option<JoinHandle<()>>,
    /// The last batch that claimed anything, as long as Redis was not told of it.
    unsettled: Option<Unsettled>,
}

/// What a batch did, and what it holds in Redis.
type Unsettled = (Option<Effect>, Option<Admitted>);

impl Lane {
    pub(super) fn start(stores: Stores, partition: Partition) -> Lane {
        let (queue, jobs) = mpsc::channel(QUEUE_JOBS_MAX);
        let (contended, settling, unsettled) = (Vec::new(), None, None);
        let pace = Arc::new(Pace::default());
        let lane = Lane { queue, pace: Arc::clone(&pace) };
        let calls = Vec::new();
        let serving =
            Serving { stores, pace, partition, jobs, calls, contended, settling, unsettled };
        tokio::spawn(serving.run());
        lane
    }

    /// Whether a job asks for stock and would be answered late: it is refused at once, so that it takes
    /// no time from what can still be answered.
    pub(super) fn would_be_late_with(&self, job: &Job) -> bool {
        let left = job.deadline.saturating_duration_since(Instant::now());
        job.commands.iter().any(Command::asks_for_stock) && self.pace.is_hopeless(left)
    }

    /// Waits for room, until the job's deadline.
    pub(super) async fn enqueue(&self, job: Job) -> Result<(), Failure> {
        let room = tokio::time::timeout_at(job.deadline, self.queue.reserve()).await;
        let stopped = Failure::Unavailable { outcome_unknown: false };
        let room = room.map_err(|_| Failure::Overloaded)?.map_err(|_| stopped)?;
        self.pace.enter(job.rows());
        room.send(Queued { job, since: Instant::now(), call: traces::current() });
        Ok(())
    }

    /// Waits until everything is decided that is in the lane by now.
    pub(super) async fn drained(&self, deadline: Instant) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Job { commands: Vec::new(), names: 0, deadline, reply }).await?;
        // How the batch ended that it became part of does not matter.
        let _ = answer.await;
        Ok(())
    }
}

impl Serving {
    async fn run(mut self) {
        while let Some(batch) = self.gather().await {
            let gathered = rows_of(&batch);
            self.decide(batch).await;
            self.pace.leave(gathered - rows_of(&self.contended));
        }
    }

    async fn decide(&mut self, mut batch: Vec<Job>) {
        let calls = std::mem::take(&mut self.calls);
        drop_late(&mut batch);
        let begin = Instant::now();
        let admitted = self.admit(&mut batch).await;
        if batch.is_empty() && admitted.is_none() {
            return;
        }
        let rows = rows_of(&batch);
        let effects = match batch.is_empty() {
            true => Vec::new(),
            false => {
                let partitions = [self.partition];
                let batch = run(&self.stores, &partitions, batch);
                traces::of_batch(calls, self.partition.0, rows, batch).await
            }
        };
        self.pace.observe(rows, begin.elapsed());
        let effect = effects.into_iter().find(|effect| effect.partition == self.partition);
        match admitted {
            Some(_) => self.unsettled = Some((effect, admitted)),
            None => self.tell(effect),
        }
    }

    /// Everything that is waiting, up to a bound. `None`: nothing will ever come.
    async fn gather(&mut self) -> Option<Vec<Job>> {
        if !self.contended.is_empty() {
            // What they wait for may be what the last batch took.
            self.settle_last().await;
        }
        let mut batch = std::mem::take(&mut self.contended);
        if batch.is_empty() {
            let first = match self.jobs.try_recv() {
                Ok(first) => first,
                Err(_) => {
                    self.settle_last().await;
                    self.jobs.recv().await?
                }
            };
            batch.push(self.take(first, Instant::now()));
        } else if let Ok(first) = tokio::time::timeout(CONTENDED_PAUSE, self.jobs.recv()).await {
            batch.push(self.take(first?, Instant::now()));
        }
        let (mut rows, now) = (rows_of(&batch), Instant::now());
        while rows < BATCH_ROWS_MAX {
            let Ok(queued) = self.jobs.try_recv() else { break };
            let job = self.take(queued, now);
            rows += job.rows();
            batch.push(job);
        }
        Some(batch)
    }

    /// Takes a job off the queue.
    fn take(&mut self, queued: Queued, now: Instant) -> Job {
        let Queued { job, since, call } = queued;
        telemetry::waited_in_lane(now.saturating_duration_since(since));
        self.calls.extend(call);
        job
    }

    /// Takes out of a batch what Redis says cannot be granted, which is answered, or not yet, which
    /// waits. Tells of the batch before in the same round trip, and first.
    async fn admit(&mut self, batch: &mut Vec<Job>) -> Option<Admitted> {
        // Only requests claim anything, and each comes alone.
        let claiming = |job: &&mut Job| job.commands.len() == 1;
        let mut commands: Vec<_> = batch.iter_mut().filter(claiming).collect();
        let mut commands: Vec<_> =
            commands.iter_mut().flat_map(|job| job.commands.iter_mut()).collect();
        let last = settle_all(self.stores.clone(), self.partition, self.unsettled.take());
        let judged = admit(&self.stores, self.partition, &mut commands);
        let ((), (mut judgements, admitted)) = tokio::join!(biased; last, judged);
        let known = admit::known(&self.stores.ledger, self.partition, &commands, &judgements).await;
        for (command, judgement) in commands.iter().zip(&mut judgements) {
            if matches!(judgement, Judgement::Short(_)) && known.covers(command) {
                *judgement = Judgement::Go;
            }
        }
        if judgements.iter().all(|judgement| *judgement == Judgement::Go) {
            return admitted;
        }
        let mut judgements = judgements.into_iter();
        for job in std::mem::take(batch) {
            let judgement = match job.commands.len() {
                1 => judgements.next().unwrap_or(Judgement::Go),
                _ => Judgement::Go,
            };
            match judgement {
                Judgement::Go => batch.push(job),
                Judgement::Contended => self.contended.push(job),
                Judgement::Short(refusal) => job.refuse(&refusal),
            }
        }
        admitted
    }

    /// Tells of the last batch that claimed anything, so that the next one does not wait for what it
    /// took.
    async fn settle_last(&mut self) {
        let last = self.unsettled.take();
        settle_all(self.stores.clone(), self.partition, last).await;
    }

    /// Tells of a batch that nobody waits for, beside the next one.
    fn tell(&mut self, effect: Option<Effect>) {
        if self.settling.as_ref().is_none_or(JoinHandle::is_finished) {
            let last = settle_all(self.stores.clone(), self.partition, Some((effect, None)));
            self.settling = Some(tokio::spawn(last));
        } else {
            self.stores.committed.notify_one();
        }
    }
}

/// Tells Redis of a batch; what it could not be told of the feed projects.
async fn settle_all(stores: Stores, partition: Partition, batch: Option<Unsettled>) {
    let Some((effect, admitted)) = batch else { return };
    if !settle(&stores.availability, partition, effect.as_ref(), admitted).await {
        stores.committed.notify_one();
    }
}

impl Job {
    /// Movements and lines.
    fn rows(&self) -> usize {
        self.commands.iter().map(Command::rows).sum()
    }

    /// Answers every step with a refusal.
    pub(super) fn refuse(self, refusal: &Refusal) {
        let refused = || Some(Outcome::Refused(refusal.clone()));
        let outcomes = self.commands.iter().map(Command::outcomes).sum();
        let decided = Decided {
            outcomes: (0..outcomes).map(|_| refused()).collect(),
            commands: self.commands,
            heads: Vec::new(),
            replicated: true,
        };
        // A caller that went away no longer wants the answer.
        let _ = self.reply.send(Ok(decided));
    }
}

fn rows_of(jobs: &[Job]) -> usize {
    jobs.iter().map(Job::rows).sum()
}

fn drop_late(batch: &mut Vec<Job>) {
    let now = Instant::now();
    let (in_time, late): (Vec<_>, Vec<_>) =
        std::mem::take(batch).into_iter().partition(|job| job.deadline > now);
    *batch = in_time;
    for job in late {
        // A caller that went away no longer wants the answer.
        let _ = job.reply.send(Err(Failure::DeadlineExceeded));
    }
}

/// Answers jobs whose names were looked up in another epoch than this: they must be looked up again.
fn leave_out_stale(jobs: Vec<Job>, names: i64) -> Vec<Job> {
    let (fresh, stale): (Vec<_>, Vec<_>) =
        jobs.into_iter().partition(|job| job.commands.is_empty() || job.names == names);
    for job in stale {
        // A caller that went away no longer wants the answer.
        let _ = job.reply.send(Err(Failure::Unavailable { outcome_unknown: false }));
    }
    fresh
}

/// Executes jobs as one batch and answers them. Returns what it did.
pub(super) async fn run(stores: &Stores, partitions: &[Partition], jobs: Vec<Job>) -> Vec<Effect> {
    let started = Instant::now();
    let names = stores.ledger.directory().epoch();
    let jobs = leave_out_stale(jobs, names);
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
        false => execute(&stores.ledger, partitions, &mut commands, names, deadline).await,
    };
    telemetry::batch_done(commands.len(), started.elapsed());
    let mut commands = commands.into_iter();
    let mut effects = Vec::new();
    let mut settled = done.map(|done| {
        effects = done.effects;
        effects.iter().for_each(|effect| stores.wrote(effect.epoch()));
        telemetry::entries_written(effects.iter().map(Effect::entries).sum());
        stores.counted.did(&effects);
        (done.answers.into_iter(), done.heads, done.replicated)
    });
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
    effects
}
