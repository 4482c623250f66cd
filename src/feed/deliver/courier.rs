//! Brings the events of one partition to one receiver, for as long as this server holds the cursor.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Instant,
};

use crate::{
    ambient,
    feed::deliver::{
        Options, Sender,
        queue::{Bounds, Note, Order, Outcome, Queue},
        subscription::Subscription,
        webhook::Answer,
    },
    ledger::{
        Ledger,
        fault::Fault,
        outbox::{Cursor, Failure, Settled, Undelivered},
    },
    stock::{
        ids::{Partition, Seq},
        time::{Micros, Timestamp},
    },
    telemetry,
};

/// Entries of one read. More than one step of a reservation can write, which is read as a whole.
const ENTRIES_MAX: i64 = 1_000;
/// How often the cursor moves where nothing else is written. What was delivered since is delivered again
/// after a crash.
const SETTLE_EVERY: Duration = Duration::from_millis(500);
/// It looks for itself after this time, whatever it is told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the manager tells a courier.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    /// The last entry of its partition.
    pub head: watch::Receiver<Seq>,
    /// Grows when dead letters are to be sent again.
    pub replays: watch::Receiver<i64>,
}

/// One receiver, one partition.
#[derive(Debug)]
pub(super) struct Courier {
    pub ledger: Ledger,
    pub options: Arc<Options>,
    pub sender: Sender,
    pub subscription: Arc<Subscription>,
    pub partition: Partition,
    pub owner: u128,
    pub orders: Orders,
}

/// Where it is.
struct Work {
    queue: Queue,
    cursor: Cursor,
    /// Of the ledger that is read.
    epoch: i64,
    /// The last entry that was read.
    read: Seq,
    notes: Vec<Note>,
    failed: Option<(Failure, Timestamp)>,
    settled_at: Instant,
    attempts: JoinSet<(Order, Answer)>,
}

impl Courier {
    /// Works until the cursor is somebody else's, or the receiver wants no more.
    pub(super) async fn run(mut self) {
        match self.deliver().await {
            Ok(()) => {}
            Err(fault) => tracing::debug!(fault = fault.chain(), "events wait for the database"),
        }
    }

    async fn deliver(&mut self) -> Result<(), Fault> {
        let (partition, sink) = (self.partition, self.subscription.sink);
        let Some(cursor) = self.ledger.own_cursor(partition, sink, self.owner).await? else {
            return Ok(());
        };
        let epoch = self.ledger.entries_behind(partition, cursor.seq, 0).await?.epoch;
        let bounds = Bounds { sending_max: self.options.sending_max, ..Bounds::default() };
        let mut work = Work {
            queue: Queue::new(bounds, cursor.seq),
            cursor,
            epoch,
            read: cursor.seq,
            notes: Vec::new(),
            failed: None,
            settled_at: Instant::now(),
            attempts: JoinSet::new(),
        };
        self.load_waiting(&mut work).await?;
        loop {
            if !self.read_more(&mut work).await? {
                return Ok(());
            }
            while let Some(event) = work.queue.next(ambient::now()) {
                work.attempts.spawn(attempt(self.sender.clone(), event));
            }
            let kept = work.queue.behind_kept().into_iter().map(Note::Keep);
            work.notes.extend(kept);
            if work.must_settle() && !self.settle(&mut work).await? {
                return Ok(());
            }
            if !self.wait(&mut work).await? {
                return Ok(());
            }
        }
    }

    /// What was kept; after dead letters are sent again, also these.
    async fn load_waiting(&self, work: &mut Work) -> Result<(), Fault> {
        let (sink, kept_max) = (self.subscription.sink, Bounds::default().kept_max as i64);
        work.queue.wait(self.ledger.waiting_events(self.partition, sink, kept_max).await?);
        Ok(())
    }

    /// Reads on, if there is room. False: the ledger is no longer the one that was read before.
    async fn read_more(&mut self, work: &mut Work) -> Result<bool, Fault> {
        let head = *self.orders.head.borrow_and_update();
        if !work.queue.has_room() || head <= work.read {
            return Ok(true);
        }
        let page = self.ledger.entries_behind(self.partition, work.read, ENTRIES_MAX).await?;
        if page.epoch != work.epoch || page.head < work.read {
            return Ok(false);
        }
        if page.last == work.read {
            return Ok(true);
        }
        let (ledger, source) = (&self.ledger, &*self.options.source);
        let runs = self.subscription.runs(ledger, source, self.partition, &page).await?;
        for (events, end) in runs {
            work.read = end;
            work.queue.read(events, end);
        }
        Ok(true)
    }

    /// Waits for something to do. False: the receiver wants no more.
    async fn wait(&mut self, work: &mut Work) -> Result<bool, Fault> {
        let more = work.queue.has_room() && *self.orders.head.borrow() > work.read;
        if more && work.attempts.is_empty() {
            return Ok(true);
        }
        let due = work.queue.wakes_at().map(|at| at.0.saturating_sub(ambient::now().0));
        let due = due.map(|due| Duration::from_micros(due.max(0).unsigned_abs()));
        let unsettled = work.queue.cursor() > work.cursor.seq;
        let settle = unsettled.then_some(SETTLE_EVERY.saturating_sub(work.settled_at.elapsed()));
        let wait = due.into_iter().chain(settle).min().unwrap_or(LOOK_EVERY).min(LOOK_EVERY);
        tokio::select! {
            biased;
            Some(done) = work.attempts.join_next() => return self.ended(work, done).await,
            _ = self.orders.replays.changed() => self.load_waiting(work).await?,
            _ = self.orders.head.changed() => {}
            () = tokio::time::sleep(wait) => {
                if work.queue.kept() == 0 {
                    // More dead letters may be sent again than there was room for.
                    self.load_waiting(work).await?;
                }
            }
        }
        Ok(true)
    }

    /// Takes what became of an attempt, and of others that ended with it.
    async fn ended(
        &self,
        work: &mut Work,
        done: Result<(Order, Answer), JoinError>,
    ) -> Result<bool, Fault> {
        let mut next = Some(done);
        while let Some(done) = next {
            let Ok((order, answer)) = done else { return Err(Fault::silence("send an event")) };
            if answer == Answer::Gone {
                tracing::warn!(sink = self.subscription.sink, "a webhook is gone and is disabled");
                self.sender.disable(&self.ledger, "gone").await?;
                return Ok(false);
            }
            self.take(work, order, answer);
            next = work.attempts.try_join_next();
        }
        Ok(true)
    }

    fn take(&self, work: &mut Work, order: Order, answer: Answer) {
        let now = ambient::now();
        let attempts = work.queue.event(order).map_or(0, |event| event.attempt.attempts);
        let outcome = match answer {
            Answer::Failed(failure, asked) => {
                work.failed = Some((failure.clone(), now));
                let chance = ambient::random() as u32;
                Outcome::Failed(failure, self.options.backoff.wait(attempts + 1, chance, asked))
            }
            Answer::Delivered | Answer::Gone => Outcome::Delivered,
        };
        let told = match &outcome {
            Outcome::Delivered => "delivered",
            Outcome::Failed(_, Some(_)) => "failed",
            Outcome::Failed(_, None) => "dead",
        };
        telemetry::event_sent(self.sender.kind(), told);
        work.notes.extend(work.queue.ended(order, outcome, now));
    }

    /// Writes what became of events. False: the cursor is somebody else's.
    async fn settle(&self, work: &mut Work) -> Result<bool, Fault> {
        let mut settled = Settled { failed: work.failed.take(), ..Settled::default() };
        let mut kept = Vec::new();
        for note in work.notes.drain(..) {
            match note {
                Note::Keep(order) => {
                    settled.kept.extend(work.queue.event(order).cloned());
                    kept.push(order);
                }
                Note::Tried((seq, event_type), attempt) => {
                    settled.tried.push((seq, event_type, attempt));
                }
                Note::Delivered(order) => settled.delivered.push(order),
            }
        }
        // What is kept in the same transaction no longer holds the cursor up.
        work.queue.was_kept(&kept);
        settled.seq = work.queue.cursor();
        let (owner, partition) = ((self.owner, work.epoch), self.partition);
        if !self.ledger.settle_events(partition, &work.cursor, owner, &settled).await? {
            return Ok(false);
        }
        work.cursor.seq = settled.seq;
        work.settled_at = Instant::now();
        Ok(true)
    }
}

impl Work {
    fn must_settle(&mut self) -> bool {
        let moved = self.queue.cursor() > self.cursor.seq;
        !self.notes.is_empty() || moved && self.settled_at.elapsed() >= SETTLE_EVERY
    }
}

async fn attempt(sender: Sender, event: Undelivered) -> (Order, Answer) {
    let answer = sender.send(&event).await;
    ((event.seq, event.event_type), answer)
}

/// How long a lease lasts, and how often it is renewed.
pub(super) const LEASE: Micros = 6_000_000;
