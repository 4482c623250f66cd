//! One batch, executed until its outcome is known.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    ledger::{
        Ledger,
        directory::Directory,
        fault::{Fault, Kind},
        head::Head,
        transaction::{Batch, Committed},
    },
    stock::{
        book::Needs,
        ids::Partition,
        machine::{Outcome, apply},
        movement::Command,
    },
    telemetry,
    writer::{
        Failure,
        settle::{Effect, effects},
    },
};

/// Pause before a batch is executed again; doubled each time up to the maximum.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Beyond what it may wait for locks, an attempt takes milliseconds; one that is silent for this long
/// has lost its database.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// The machine asks for more at most this often: for originals, then for what undoing them touches,
/// then for histories; more is a defect.
const ROUNDS_MAX: usize = 8;

/// What a batch became.
#[derive(Debug)]
pub(super) struct Done {
    /// One per movement and step, in order; `None`: the database would not take it.
    pub answers: Vec<Option<Outcome>>,
    pub heads: Vec<Head>,
    pub replicated: bool,
    /// What it did, partition by partition.
    pub effects: Vec<Effect>,
}

impl Done {
    /// Of a batch without commands.
    pub(super) fn nothing() -> Done {
        Done { answers: Vec::new(), heads: Vec::new(), replicated: true, effects: Vec::new() }
    }
}

/// What one attempt came to.
enum Attempt {
    Done(Vec<Outcome>, Committed, Vec<Effect>),
    /// Something that it refers to is in a partition that was not locked.
    Widen(BTreeSet<Partition>),
    /// What it needed outside of its transaction was done: items that appear with it have their
    /// numbers, or a new epoch began.
    Again,
    /// Its names were looked up in an epoch that has ended: their numbers may belong to others by now.
    Stale,
}

/// Executes the same batch with the same keys until it is known to be in or out, or the deadline
/// passes. A look-up of the keys alone would be unsafe after a lost COMMIT: it may still happen. `names`
/// is the epoch in which the names of the batch were looked up.
pub(super) async fn execute(
    ledger: &Ledger,
    partitions: &[Partition],
    commands: &mut [Command],
    names: i64,
    deadline: Instant,
) -> Result<Done, Failure> {
    let mut partitions = partitions.to_vec();
    let mut planned = Vec::new();
    let mut outcome_unknown = false;
    let mut pause = PAUSE_MIN;
    loop {
        let limit = Ledger::lock_wait_until(deadline) + SILENCE_MAX;
        let attempt = attempt(ledger, &partitions, commands, names, deadline, &mut planned);
        let attempted = match tokio::time::timeout_at(limit, attempt).await {
            Ok(attempted) => attempted,
            Err(_) => Err(Fault::silence("execute a batch")),
        };
        let fault = match attempted {
            Ok(Attempt::Done(outcomes, Committed { heads, replicated }, effects)) => {
                let answers = outcomes.into_iter().map(Some).collect();
                return Ok(Done { answers, heads, replicated, effects });
            }
            Ok(Attempt::Widen(more)) => {
                partitions = more.into_iter().chain(partitions).collect();
                partitions.sort_unstable();
                partitions.dedup();
                continue;
            }
            Ok(Attempt::Again) if Instant::now() < deadline => continue,
            Ok(Attempt::Stale) => return Err(Failure::Unavailable { outcome_unknown }),
            Ok(Attempt::Again) if outcome_unknown => {
                return Err(Failure::Unavailable { outcome_unknown });
            }
            Ok(Attempt::Again) => return Err(Failure::DeadlineExceeded),
            Err(fault) => fault,
        };
        // Once a plan was made, a fault may have struck in COMMIT.
        outcome_unknown |= !planned.is_empty() && fault.kind == Kind::Unavailable;
        match fault.kind {
            Kind::Poisoned => {
                return bisect(ledger, &partitions, commands, names, deadline, &fault).await;
            }
            Kind::Broken => return Err(Failure::of(&fault, outcome_unknown)),
            Kind::Unavailable | Kind::Contended => {
                telemetry::batch_retried();
                tracing::warn!(fault = fault.chain(), "a batch is executed again");
            }
        }
        if Instant::now() + pause >= deadline {
            return Err(match fault.kind {
                // Nothing is wrong but that others were before it until its time was up.
                Kind::Contended if !outcome_unknown => Failure::DeadlineExceeded,
                _ => Failure::of(&fault, outcome_unknown),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn attempt(
    ledger: &Ledger,
    partitions: &[Partition],
    commands: &mut [Command],
    names: i64,
    deadline: Instant,
    planned: &mut Vec<Outcome>,
) -> Result<Attempt, Fault> {
    let mut batch = ledger.begin(partitions, deadline).await?;
    // Under the lock: what was recorded before of an item is only found by its number.
    number_items(&mut batch, ledger.directory(), commands).await?;
    let commands = &*commands;
    let Some(mut book) = batch.open(&Needs::of(commands)).await? else {
        batch.roll_back().await?;
        ledger.mend_epoch().await?;
        return Ok(Attempt::Again);
    };
    if !batch.is_of(ledger.directory(), names) {
        batch.roll_back().await?;
        return Ok(Attempt::Stale);
    }
    book.recalled = Arc::clone(ledger.directory().known().recalled());
    for _ in 0..ROUNDS_MAX {
        let plan = match apply(&book, commands) {
            Ok(plan) => plan,
            Err(more) if more.partitions.is_empty() => {
                batch.read(&more, &mut book).await?;
                continue;
            }
            Err(more) => {
                batch.roll_back().await?;
                return Ok(Attempt::Widen(more.partitions));
            }
        };
        if plan.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))) {
            batch.roll_back().await?;
            return Ok(Attempt::Done(plan.outcomes, Committed::nothing(), Vec::new()));
        }
        let new = new_items(commands, &plan.outcomes);
        if !new.is_empty() {
            batch.roll_back().await?;
            ledger.directory().add_items(&new.into_iter().collect::<Vec<_>>()).await?;
            return Ok(Attempt::Again);
        }
        *planned = first_answers(plan.outcomes.clone(), planned);
        batch.write(&plan, book.now).await?;
        // Only a COMMIT that is known makes the plan ours to take: after any other it is needed again.
        let committed = batch.commit().await?;
        let effects = effects(&plan, &committed.heads);
        return Ok(Attempt::Done(std::mem::take(planned), committed, effects));
    }
    Err(Fault::endless())
}

/// Gives their numbers to items that were unknown when their movements were resolved, as far as they
/// have one by now.
async fn number_items(
    batch: &mut Batch,
    directory: &Directory,
    commands: &mut [Command],
) -> Result<(), Fault> {
    let unnumbered: BTreeSet<&str> = commands
        .iter()
        .flat_map(Command::movements)
        .filter(|movement| movement.item.is_provisional())
        .map(|movement| &*movement.draft.sku)
        .collect();
    if unnumbered.is_empty() {
        return Ok(());
    }
    batch.find_items(directory, &unnumbered.into_iter().collect::<Vec<_>>()).await?;
    let known = directory.known();
    for movement in commands.iter_mut().flat_map(Command::movements_mut) {
        if let Some(item) = known.item(&movement.draft.sku) {
            (movement.item, movement.stock_item) = (item.item, item.stock_item);
        }
    }
    Ok(())
}

/// Items that appear with what a plan records: only these are given numbers, so that what is refused
/// leaves nothing behind.
fn new_items<'c>(commands: &'c [Command], outcomes: &[Outcome]) -> BTreeSet<&'c str> {
    let mut outcomes = outcomes.iter();
    let told = |command: &'c Command| {
        let own: Vec<_> = outcomes.by_ref().take(command.outcomes()).collect();
        command.movements().iter().zip(own)
    };
    let movements = commands.iter().flat_map(told);
    movements
        .filter(|(movement, outcome)| {
            movement.item.is_provisional() && matches!(outcome, Outcome::Recorded(_))
        })
        .map(|(movement, _)| &*movement.draft.sku)
        .collect()
}

/// What an earlier attempt of the same batch recorded is no duplicate of somebody else's.
fn first_answers(outcomes: Vec<Outcome>, planned: &[Outcome]) -> Vec<Outcome> {
    let ours = |(line, outcome): (usize, Outcome)| match outcome {
        Outcome::Duplicate(posted) if planned.get(line) == Some(&Outcome::Recorded(posted)) => {
            Outcome::Recorded(posted)
        }
        other => other,
    };
    outcomes.into_iter().enumerate().map(ours).collect()
}

/// Splits a batch that breaks a constraint until the poisonous command is alone; the rest goes on.
async fn bisect(
    ledger: &Ledger,
    partitions: &[Partition],
    commands: &mut [Command],
    names: i64,
    deadline: Instant,
    fault: &Fault,
) -> Result<Done, Failure> {
    if let [command] = &*commands {
        tracing::error!(fault = fault.chain(), "a movement breaks a constraint");
        telemetry::poisoned();
        let answers = (0..command.outcomes()).map(|_| None).collect();
        return Ok(Done { answers, ..Done::nothing() });
    }
    let (left, right) = commands.split_at_mut(commands.len() / 2);
    let mut done = Box::pin(execute(ledger, partitions, left, names, deadline)).await?;
    let rest = Box::pin(execute(ledger, partitions, right, names, deadline)).await?;
    done.answers.extend(rest.answers);
    done.heads.extend(rest.heads);
    done.replicated &= rest.replicated;
    done.effects.extend(rest.effects);
    Ok(done)
}
