//! The tailer: reads what was recorded behind each checkpoint, projects it, and moves the checkpoint
//! over it; and projects everything anew where there is none. Where it stands is in Redis alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::Instant,
};

use crate::{
    ambient,
    availability::{
        Availability, Checkpoint, POSITIONS_MAX, Row,
        project::{Advance, Consumed, Effects, HeadSeen},
        rebuild::{Cursor, Rebuild, State},
    },
    feed::decide::{Next, next},
    ledger::{
        Ledger,
        feed::{Balance, Change, Heads},
        head::Head,
    },
    mutants::{Mutant, on},
    stock::{
        hold::{HoldEffect, HoldId},
        ids::{ItemNo, LocationNo, Partition},
        time::{Micros, SECOND},
    },
    telemetry,
};

/// How often the heads are looked at when nothing is heard.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// They are looked at no more often than this, whatever is heard.
const PACE: Duration = Duration::from_millis(5);
/// Entries, or positions, of one step.
const ROWS_MAX: i64 = POSITIONS_MAX as i64;
/// A hold that the ledger kept is known for as long as a tombstone would be.
const LEDGER_HOLDS_KEPT: Micros = 3_600 * SECOND;

/// Something that ended a pass before its end; the next one begins anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Ledger(#[from] crate::ledger::fault::Fault),
    #[error(transparent)]
    Redis(#[from] crate::availability::fault::Fault),
}

/// Projects for ever.
pub(super) async fn run(ledger: Ledger, availability: Availability, wake: Arc<Notify>) {
    let projector = Projector { ledger, availability };
    let mut work: JoinSet<Partition> = JoinSet::new();
    let mut busy = BTreeSet::new();
    let mut away = false;
    loop {
        let begin = Instant::now();
        while let Some(done) = work.try_join_next() {
            over(&mut busy, done);
        }
        let passed = projector.pass(&mut work, &mut busy).await;
        if let Err(fault) = &passed
            && !away
        {
            tracing::warn!(fault = fault.chain(), "what is available is not projected");
        } else if passed.is_ok() && away {
            tracing::info!("what is available is projected again");
        }
        away = passed.is_err();
        tokio::time::sleep_until(begin + PACE).await;
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(begin + POLL_EVERY) => {}
            () = wake.notified() => {}
            Some(done) = work.join_next() => {
                over(&mut busy, done);
            }
        }
    }
}

fn over(busy: &mut BTreeSet<Partition>, done: Result<Partition, JoinError>) {
    match done {
        Ok(partition) => drop(busy.remove(&partition)),
        // One that panicked would stay busy for ever: begin anew with all of them.
        Err(_) => busy.clear(),
    }
}

#[derive(Clone)]
struct Projector {
    ledger: Ledger,
    availability: Availability,
}

impl Projector {
    /// Looks at every partition once, and begins what is to be done.
    async fn pass(
        &self,
        work: &mut JoinSet<Partition>,
        busy: &mut BTreeSet<Partition>,
    ) -> Result<(), Fault> {
        let partitions = self.ledger.partitions().await?;
        // The clock of Redis is read first, and the heads last: what they say was true at that time.
        let states = self.availability.states(partitions).await?;
        let heads = self.ledger.heads().await?;
        if heads.tail_may_be_lost {
            self.ledger.mend_epoch().await?;
            return Ok(());
        }
        let by_partition: BTreeMap<_, _> =
            heads.heads.iter().map(|head| (head.partition, head)).collect();
        let mut stamps = Vec::new();
        for (&partition, state) in partitions.iter().zip(&states) {
            let Some(&head) = by_partition.get(&partition) else { continue };
            measure(state, head);
            match next(state, head) {
                Next::Rest => {}
                Next::Stamp(at) => stamps.push(Advance {
                    partition,
                    expected: at,
                    to: at.seq,
                    head: Some(seen(state, &heads)),
                    effects: Effects::default(),
                }),
                next if busy.insert(partition) => {
                    let (projector, head, seen) = (self.clone(), *head, seen(state, &heads));
                    work.spawn(async move {
                        if let Err(fault) = projector.step(next, head, seen).await {
                            tracing::debug!(fault = fault.chain(), "a step was not projected");
                        }
                        partition
                    });
                }
                _ => {}
            }
        }
        if !stamps.is_empty() {
            self.availability.advance(&stamps).await?;
        }
        Ok(())
    }

    async fn step(&self, next: Next, head: Head, seen: HeadSeen) -> Result<(), Fault> {
        let partition = head.partition;
        match next {
            Next::Rest | Next::Stamp(_) => {}
            Next::Project(from, _) => self.catch_up(from, head, seen).await?,
            Next::Begin => {
                let id = ambient::random() as u64;
                let more = if on(Mutant::RebuildNotesTooMuch) { 5 } else { 0 };
                let (epoch, noted) = (head.epoch, head.seq + more);
                if self.availability.rebuild_begin(partition, epoch, id, noted).await? {
                    telemetry::rebuild_begun();
                    tracing::info!(partition = partition.0, epoch, "a projection is made anew");
                    self.rebuild(partition, Rebuild { epoch, id, noted, cursor: Cursor(None) })
                        .await?;
                }
            }
            Next::GoOn(rebuild) => self.rebuild(partition, rebuild).await?,
            Next::Forget(at) => {
                alarm(partition, at);
                self.availability.forget(partition, at).await?;
            }
            Next::ForgetRebuild(rebuild) => {
                alarm(partition, Checkpoint { epoch: rebuild.epoch, seq: rebuild.noted });
                self.availability.forget_rebuild(partition, &rebuild).await?;
            }
        }
        Ok(())
    }

    /// Projects entries up to the head, as long as nobody else moves the checkpoint.
    async fn catch_up(
        &self,
        mut from: Checkpoint,
        head: Head,
        seen: HeadSeen,
    ) -> Result<(), Fault> {
        let partition = head.partition;
        while from.seq < head.seq {
            let recorded = self.ledger.recorded(partition, from.seq, ROWS_MAX).await?;
            if !recorded.is_next {
                tracing::info!(partition = partition.0, after = from.seq, "entries are archived");
                return Ok(self.availability.forget(partition, from).await.map(|_| ())?);
            }
            let mut changes = recorded.changes;
            // What came after the head was read may belong to another epoch.
            changes.retain(|change| change.balance.seq <= head.seq);
            let Some(to) = changes.last().map(|change| change.balance.seq) else {
                tracing::error!(partition = partition.0, after = from.seq, "entries are missing");
                return Ok(());
            };
            let done = Done::of(&changes);
            let step = Advance {
                partition,
                expected: from,
                to,
                head: (to == head.seq).then_some(seen),
                effects: done.effects(),
            };
            if !self.availability.advance(&[step]).await?.contains(&true) {
                return Ok(());
            }
            from.seq = to;
        }
        Ok(())
    }

    /// Projects positions page by page, as long as nobody else moves the cursor.
    async fn rebuild(&self, partition: Partition, mut rebuild: Rebuild) -> Result<(), Fault> {
        loop {
            let from = rebuild.cursor.0.unwrap_or((LocationNo(i32::MIN), ItemNo(i32::MIN)));
            let page = self.ledger.balances_behind(partition, from, ROWS_MAX).await?;
            let Some(last) = page.last() else { break };
            let next = Cursor(Some((last.key.place.location, last.key.item)));
            let rows: Vec<_> = page.iter().map(row).collect();
            let ledger_holds = match rebuild.cursor.0 {
                None => self.ledger_holds(partition).await?,
                Some(_) => Vec::new(),
            };
            let page = Effects { rows: &rows, consumed: &[], ledger_holds: &ledger_holds };
            if !self.availability.rebuild_page(partition, &rebuild, next, page).await? {
                return Ok(());
            }
            rebuild.cursor = next;
        }
        self.availability.rebuild_finish(partition, &rebuild).await?;
        Ok(())
    }

    async fn ledger_holds(&self, partition: Partition) -> Result<Vec<HoldId>, Fault> {
        let now = self.ledger.heads().await?.now;
        let after = now.saturating_add(-LEDGER_HOLDS_KEPT);
        Ok(self.ledger.ledger_holds(partition, after).await?)
    }
}

/// What some entries did together.
#[derive(Default)]
struct Done {
    rows: Vec<Row>,
    consumed: Vec<Consumed>,
    ledger_holds: Vec<HoldId>,
}

impl Done {
    fn of(changes: &[Change]) -> Done {
        let mut done = Done::default();
        for Change { balance, hold, .. } in changes {
            done.rows.push(row(balance));
            match hold {
                Some(_) if on(Mutant::ConsumedHoldsProjectedNot) => {}
                Some((hold, HoldEffect::Consumed)) => {
                    done.consumed.push(Consumed { hold: *hold, item: None });
                }
                Some((hold, HoldEffect::Sold)) => {
                    let item = Some(balance.key.item);
                    done.consumed.push(Consumed { hold: *hold, item });
                }
                Some((hold, HoldEffect::InLedger)) => done.ledger_holds.push(*hold),
                None => {}
            }
        }
        done
    }

    fn effects(&self) -> Effects<'_> {
        let Done { rows, consumed, ledger_holds } = self;
        Effects { rows, consumed, ledger_holds }
    }
}

/// A position as Redis has it.
pub(super) fn row(balance: &Balance) -> Row {
    let Balance { key, seq, sellable, reserved } = *balance;
    Row { key, seq, sellable, reserved }
}

fn seen(state: &State, heads: &Heads) -> HeadSeen {
    HeadSeen { redis_at: state.at, database_at: heads.now }
}

fn measure(state: &State, head: &Head) {
    let current = state.view.checkpoint.filter(|at| at.epoch == head.epoch);
    let behind = current.map_or(head.seq, |at| head.seq - at.seq);
    let age_us = current.map(|_| state.view.age_us);
    telemetry::projected(head.partition.0, behind, age_us, state.view.doubtful);
}

/// An authority that is behind what rests on it has lost something, unless Redis lies.
fn alarm(partition: Partition, at: Checkpoint) {
    telemetry::redis_ahead();
    let Checkpoint { epoch, seq } = at;
    tracing::error!(partition = partition.0, epoch, seq, "Redis is ahead of the ledger");
}

impl Fault {
    /// The whole chain, for a log.
    pub(super) fn chain(&self) -> String {
        match self {
            Fault::Ledger(fault) => fault.chain(),
            Fault::Redis(fault) => fault.chain(),
        }
    }
}
