//! The sweeper: ends promises whose time is over, through the same path as every other write. What it
//! finds is a hint; the machine judges again by the ledger's clock, so nothing ends early and one wins.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::{
    ambient,
    ledger::reservation::Due,
    mutants::{Mutant, on},
    stock::{
        hash::{Digest, StableHash},
        ids::{Partition, SourceNo},
        machine::Outcome,
        movement::Command,
        reservation::{ReservationId, State},
        step::{Action, Change, Step, Target},
        time::{Micros, SECOND, Timestamp},
    },
    telemetry,
    writer::{DEADLINE_DEFAULT, Failure, Writer, decided, lane::Job, request::Denial},
};

/// Who ends promises.
pub(super) const SWEEPER: &str = "stockroom";
/// How often a partition is looked at; what is due sooner is waited for to the moment.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Promises of one look.
const DUE_MAX: i64 = 500;
/// Clocks that differ by more cannot say what is due: holding on longer is the safe side.
const CLOCK_DIFFERENCE_MAX: Micros = 2 * SECOND;
/// Pause after the database was away.
const PAUSE: Duration = Duration::from_millis(500);

/// Ends with the last of its owners.
#[derive(Debug)]
pub struct Sweeper {
    tasks: JoinSet<()>,
}

impl Sweeper {
    /// Begins to look after every partition.
    pub fn start(writer: &Writer) -> Sweeper {
        let mut tasks = JoinSet::new();
        for &partition in writer.lanes.keys() {
            let _: AbortHandle = tasks.spawn(sweep_for_ever(writer.clone(), partition));
        }
        Sweeper { tasks }
    }

    /// Ends at once; what it has under way is decided all the same.
    pub fn stop(mut self) {
        self.tasks.abort_all();
    }
}

async fn sweep_for_ever(writer: Writer, partition: Partition) {
    let mut in_doubt = false;
    loop {
        let (now, due) =
            match writer.stores.ledger.due(partition, micros(POLL_EVERY), DUE_MAX).await {
                Ok(found) => found,
                Err(fault) => {
                    tracing::debug!(fault = fault.chain(), "what is due could not be read");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
        let difference = now.0 - ambient::now().0;
        let by_servers_clock = on(Mutant::ExpiryByServersClock);
        let now = if by_servers_clock { ambient::now() } else { now };
        let doubtful = difference.abs() > CLOCK_DIFFERENCE_MAX && !by_servers_clock;
        telemetry::clock_in_doubt(doubtful);
        if doubtful {
            if !in_doubt {
                tracing::error!(difference_us = difference, "clocks disagree; nothing expires");
            }
            in_doubt = true;
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        in_doubt = false;
        let (over, ahead): (Vec<_>, Vec<_>) = due.into_iter().partition(|due| due.at <= now);
        if over.is_empty() {
            tokio::time::sleep(wait(now, &ahead)).await;
            continue;
        }
        if let Err(denial) = writer.end(&over).await {
            tracing::debug!(?denial, "what is due was not ended");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Until the next promise is due, or the next look.
fn wait(now: Timestamp, ahead: &[Due]) -> Duration {
    let next = ahead.iter().map(|due| due.at.0 - now.0).min();
    let next = next.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs()));
    next.map_or(POLL_EVERY, |next| next.min(POLL_EVERY))
}

fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

impl Writer {
    /// Ends everything that is due, as far as possible in one batch.
    async fn end(&self, due: &[Due]) -> Result<(), Denial> {
        let names = self.names();
        let caller = self.stores.ledger.directory().source(SWEEPER).await?;
        let mut commands = Vec::with_capacity(due.len());
        let mut ends = Vec::with_capacity(due.len());
        for due in due {
            if due.ends {
                let step = ending(caller, due, "expire", Change::Expire);
                commands.push(Command::Step(Box::new(step)));
                ends.push(due);
                continue;
            }
            let elsewhere = match self.elsewhere(&due.id).await {
                Err(Denial::Refused(_)) => None,
                found => found?,
            };
            let change = Change::Unanswered { elsewhere };
            let step = ending(caller, due, "unanswered", change);
            let command = Command::Step(Box::new(step));
            match self.take(command, names, Instant::now() + DEADLINE_DEFAULT).await {
                // Somebody else was quicker.
                Ok(_) | Err(Denial::Refused(_)) => {}
                Err(denial) => return Err(denial),
            }
        }
        self.expire(commands, names, &ends).await?;
        Ok(())
    }

    async fn expire(
        &self,
        commands: Vec<Command>,
        names: i64,
        due: &[&Due],
    ) -> Result<(), Failure> {
        let partitions: BTreeSet<_> = due.iter().map(|due| due.id.place.partition).collect();
        if partitions.is_empty() {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + DEADLINE_DEFAULT;
        self.enqueue(partitions, Job { commands, names, deadline, reply }).await?;
        let outcomes = decided(answer).await?.outcomes;
        for (due, outcome) in due.iter().zip(outcomes) {
            if let Some(Outcome::Stepped(ended)) = outcome
                && ended.state == State::Expired
            {
                let late_us = (ended.changed_at.0 - due.at.0).max(0).unsigned_abs();
                telemetry::expired(Duration::from_micros(late_us));
            }
        }
        Ok(())
    }
}

/// A step whose key is derived from what it ends and when: however many servers try, one has an effect.
fn ending(caller: SourceNo, due: &Due, what: &str, change: Change) -> Step {
    let Due { id, at, .. } = due;
    let request_id = format!("{what}.{:x}.{:x}.{:x}", id.epoch, id.no, at.0);
    derived(caller, *id, what, request_id, change)
}

/// A step that nobody asked for, under a key of its own.
pub(super) fn derived(
    caller: SourceNo,
    id: ReservationId,
    what: &str,
    request_id: String,
    change: Change,
) -> Step {
    let mut hash = StableHash::new(what);
    hash.text(&id.to_string());
    Step {
        digest: Digest::of_request(SWEEPER, &request_id),
        request_id,
        caller,
        fingerprint: hash.finish_i64(),
        actor: String::new(),
        channel: None,
        place: id.place,
        reason: String::new(),
        action: Action::Change(Target::Reservation(id), change),
    }
}
