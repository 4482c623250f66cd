//! Deadlines follow the hours of their location. What is to be done is stored with the location, so that
//! whoever comes next carries on where a server died; what it finds is a hint, as for the sweeper, and the
//! machine works it out again under the lock.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::{
    ledger::{network::Pending, reservation::Filter},
    stock::{
        ids::{Partition, SourceNo},
        movement::Command,
        reservation::{Reservation, State},
        step::{Change, Step},
    },
    writer::{
        DEADLINE_DEFAULT, Failure, Writer, decided,
        lane::Job,
        request::Denial,
        sweep::{SWEEPER, derived},
    },
};

/// How often changed hours are looked for.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// Until every server goes by the new hours: what is promised by the old ones is promised before.
const SETTLE: Duration = Duration::from_secs(1);
/// Locations of one look.
const LOCATIONS_MAX: i64 = 100;
/// Reservations of one batch.
const PAGE: i64 = 500;

/// Ends with its owner.
#[derive(Debug)]
pub struct Rescheduler {
    _task: JoinSet<()>,
}

impl Rescheduler {
    /// Begins to look after every location.
    pub fn start(writer: &Writer) -> Rescheduler {
        let mut task = JoinSet::new();
        let _: AbortHandle = task.spawn(move_for_ever(writer.clone()));
        Rescheduler { _task: task }
    }
}

async fn move_for_ever(writer: Writer) {
    loop {
        tokio::time::sleep(POLL_EVERY).await;
        if let Err(denial) = writer.move_deadlines().await {
            tracing::debug!(?denial, "deadlines were not moved");
        }
    }
}

impl Writer {
    /// Moves everything that is due at the locations whose hours changed.
    async fn move_deadlines(&self) -> Result<(), Denial> {
        let ledger = &self.stores.ledger;
        if ledger.pending_deadlines(1).await?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(SETTLE).await;
        let pending = ledger.pending_deadlines(LOCATIONS_MAX).await?;
        let names = self.names();
        // What is known afterwards is at least as new as what is pending.
        ledger.directory().refresh().await?;
        let caller = ledger.directory().source(SWEEPER).await?;
        for pending in &pending {
            self.move_deadlines_at(caller, names, pending).await?;
        }
        Ok(ledger.moved_deadlines(&pending).await?)
    }

    async fn move_deadlines_at(
        &self,
        caller: SourceNo,
        names: i64,
        pending: &Pending,
    ) -> Result<(), Denial> {
        let place = pending.place;
        let states = vec![State::Reserved, State::Picking, State::Ready];
        let filter = Filter { location: Some(place.location), states, ..Filter::default() };
        let mut after = 0;
        loop {
            let ledger = &self.stores.ledger;
            let page = ledger.reservations(place.partition, &filter, after, PAGE).await?;
            let Some(last) = page.last().map(|last| last.id.no) else { return Ok(()) };
            let mut commands = Vec::new();
            for made in &page {
                let terms = self.terms(place, made.channel).await?;
                let change = Change::Reschedule { terms };
                let step = moving(caller, made, pending.revision, change);
                commands.push(Command::Step(Box::new(step)));
            }
            self.take_all(commands, names, place.partition).await?;
            after = last;
        }
    }

    /// Takes steps in one batch. Those that are refused have nothing to move any more.
    async fn take_all(
        &self,
        commands: Vec<Command>,
        names: i64,
        partition: Partition,
    ) -> Result<(), Failure> {
        let (reply, answer) = oneshot::channel();
        let deadline = Instant::now() + DEADLINE_DEFAULT;
        let job = Job { commands, names, deadline, reply };
        self.enqueue(BTreeSet::from([partition]), job).await?;
        let outcomes = decided(answer).await?.outcomes;
        if outcomes.iter().any(Option::is_none) {
            return Err(Failure::Broken);
        }
        Ok(())
    }
}

/// A step whose key is derived from what it moves and why: however many servers try, one has an effect.
fn moving(caller: SourceNo, made: &Reservation, revision: i64, change: Change) -> Step {
    let id = made.id;
    let request_id = format!("reschedule.{revision:x}.{:x}.{:x}", id.epoch, id.no);
    derived(caller, id, "reschedule", request_id, change)
}
