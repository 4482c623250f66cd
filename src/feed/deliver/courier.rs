//! Brings the events of one partition to one receiver, for as long as this server holds the cursor.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

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
        entry::Entry,
        event::EventType,
        ids::{Partition, Seq},
        time::{Micros, SECOND, Timestamp},
    },
    telemetry,
};

/// Entries of one read. More than one step of a reservation can write, which is read as a whole.
const ENTRIES_MAX: i64 = 1_000;
/// How often the cursor moves where nothing else is written. What was delivered since is delivered again
/// after a crash.
const SETTLE_EVERY: Duration = Duration::from_millis(500);
/// What was recorded so shortly before it became overdue may not be seen at once, as it was not committed.
const OVERLAP: Micros = 10 * SECOND;
/// Overdue transfers of one look.
const OVERDUE_MAX: i64 = 100;
/// It looks for itself after this time, whatever it is told.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What the manager tells a courier.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    /// The last entry of its partition.
    pub head: watch::Receiver<Seq>,
    /// Grows when dead letters are to be sent again.
    pub replays: watch::Receiver<i64>,
    /// True once nothing new is to be begun.
    pub stop: watch::Receiver<bool>,
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
    overdue: Overdue,
}

/// Transfers that are overdue.
struct Overdue {
    looked_at: Option<Instant>,
    /// Up to here all were found.
    until: Timestamp,
    /// Where the search stands.
    place: (Timestamp, Seq),
    /// What this search found.
    found: BTreeSet<Order>,
    /// What the search before found, which this one overlaps, and what is still open of earlier ones.
    known: BTreeSet<Order>,
}

impl Orders {
    /// Also where nobody could say so any more.
    fn stops(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }
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
            overdue: Overdue {
                looked_at: None,
                until: cursor.told_until,
                place: (cursor.told_until.saturating_add(-OVERLAP), 0),
                found: BTreeSet::new(),
                known: BTreeSet::new(),
            },
        };
        self.load_waiting(&mut work).await?;
        loop {
            if self.orders.stops() {
                return self.end(&mut work).await;
            }
            if !self.read_more(&mut work).await? {
                return Ok(());
            }
            self.look_for_overdue(&mut work).await?;
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

    /// Takes what becomes of everything under way, so that nobody sends it again.
    async fn end(&self, work: &mut Work) -> Result<(), Fault> {
        while let Some(done) = work.attempts.join_next().await {
            if !self.ended(work, done).await? {
                return Ok(());
            }
        }
        let _ = self.settle(work).await?;
        Ok(())
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

    /// Transfers become overdue by themselves.
    async fn look_for_overdue(&self, work: &mut Work) -> Result<(), Fault> {
        let every = self.options.overdue_every;
        let due = work.overdue.looked_at.is_none_or(|at| at.elapsed() >= every);
        if !due || !self.subscription.wants(EventType::TransferOverdue) || !work.queue.has_room() {
            return Ok(());
        }
        let place = work.overdue.place;
        let mut found = self.ledger.overdue(self.partition, place, OVERDUE_MAX).await?;
        let order = |entry: &Entry<'_>| (entry.seq, EventType::TransferOverdue);
        work.overdue.found.extend(found.shipments.iter().map(|(entry, ..)| order(entry)));
        found.shipments.retain(|(entry, ..)| !work.overdue.known.contains(&order(entry)));
        let (ledger, source) = (&self.ledger, &*self.options.source);
        work.queue.remember(self.subscription.overdue(ledger, source, &found).await?);
        if let Some(behind) = found.more_behind {
            work.overdue.place = behind;
            return Ok(());
        }
        work.overdue.looked_at = Some(Instant::now());
        work.overdue.until = found.until;
        work.overdue.place = (found.until.saturating_add(-OVERLAP), 0);
        work.overdue.known.retain(|order| work.queue.is_open(order));
        work.overdue.known.append(&mut work.overdue.found);
        Ok(())
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
        let wait = due.into_iter().chain(settle).min().unwrap_or(LOOK_EVERY);
        let wait = wait.min(self.options.overdue_every);
        tokio::select! {
            biased;
            Some(done) = work.attempts.join_next() => return self.ended(work, done).await,
            _ = self.orders.replays.changed() => self.load_waiting(work).await?,
            _ = self.orders.stop.changed() => {}
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
                    if attempt.next_at.is_none() {
                        kept.push((seq, event_type));
                    }
                    settled.tried.push((seq, event_type, attempt));
                }
                Note::Delivered(order) => settled.delivered.push(order),
            }
        }
        // What is kept in the same transaction no longer holds the cursor up.
        work.queue.was_kept(&kept);
        settled.seq = work.queue.cursor();
        let overdue = work.overdue.known.iter().chain(&work.overdue.found);
        let told = !overdue.into_iter().any(|order| work.queue.is_open(order));
        settled.told_until = Some(work.overdue.until).filter(|_| told);
        let (owner, partition) = ((self.owner, work.epoch), self.partition);
        if !self.ledger.settle_events(partition, &work.cursor, owner, &settled).await? {
            return Ok(false);
        }
        work.cursor.seq = settled.seq;
        work.cursor.told_until = settled.told_until.unwrap_or(work.cursor.told_until);
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
pub(super) const LEASE: Micros = 6 * SECOND;
