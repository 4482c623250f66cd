//! Events go out: to webhooks, and to a message stream.
//!
//! The entries of the ledger are the outbox. [`subscription`] reads them behind a cursor and makes the
//! events that somebody wants to be told; [`queue`] says which of them may be sent, in order per
//! position; [`webhook`] and [`stream`] send them; a courier for each receiver and partition does what these
//! say. Of several servers one holds each cursor, by a lease. Whatever dies where, everything behind the
//! cursor is sent again under the same ids.

pub mod address;
pub mod backoff;
mod courier;
pub mod envelope;
pub mod queue;
pub mod signature;
pub mod stream;
pub mod subscription;
pub mod webhook;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    ambient,
    feed::deliver::{
        backoff::Backoff,
        courier::{Courier, LEASE, Orders},
        stream::{Stream, StreamOptions},
        subscription::Subscription,
        webhook::{Answer, Post},
    },
    ledger::{
        Ledger,
        fault::Fault,
        outbox::{Cursor, Failure, Progress, STREAM, Undelivered},
        webhook::{WEBHOOKS_MAX, Webhook},
    },
    stock::ids::{Partition, Seq},
    telemetry,
};

/// How often webhooks are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often leases are renewed: twice at least before they end.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often it is said how far behind everybody is.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
/// How often the heads are looked at while somebody is to be told.
const HEADS_EVERY: Duration = Duration::from_millis(50);

/// What is under way when it ends is given this time.
const STOP_MAX: Duration = Duration::from_secs(5);

/// How events are sent.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `source` of every event.
    pub source: String,
    /// How often, and how long.
    pub backoff: Backoff,
    /// What an attempt may take.
    pub timeout: Duration,
    /// Events of one receiver and partition under way at once.
    pub sending_max: usize,
    /// Events of all of them under way at once.
    pub sending_all_max: usize,
    /// How often transfers that became overdue are looked for.
    pub overdue_every: Duration,
    /// Calls private addresses too, and over plain HTTP.
    pub allow_private: bool,
    /// Where events are published besides.
    pub stream: Option<StreamOptions>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            source: "/stockroom".to_owned(),
            backoff: Backoff::default(),
            timeout: Duration::from_secs(10),
            sending_max: 8,
            sending_all_max: 64,
            overdue_every: Duration::from_secs(5),
            allow_private: false,
            stream: None,
        }
    }
}

/// Sends events for as long as it lives.
#[derive(Debug)]
pub struct Delivery {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    ledger: Ledger,
    owner: u128,
}

/// Who is told.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    Webhook { post: Post, webhook: Arc<Webhook>, room: Arc<Semaphore> },
    Stream(Stream),
}

impl Delivery {
    /// Begins to send.
    ///
    /// # Errors
    /// There are no certificates to trust.
    pub fn start(ledger: Ledger, options: Options) -> Result<Delivery, reqwest::Error> {
        let post = Post::new(options.timeout, options.allow_private)?;
        let stream = options.stream.clone();
        let stream = stream.map(|stream| Stream::new(stream, options.timeout));
        let owner = ambient::random();
        let (stop, stopping) = watch::channel(false);
        let manager = Manager {
            ledger: ledger.clone(),
            room: Arc::new(Semaphore::new(options.sending_all_max)),
            options: Arc::new(options),
            post,
            stream,
            stream_begun: false,
            owner,
            stopping,
            measured: None,
            couriers: FxHashMap::default(),
            tasks: JoinSet::new(),
            heads: FxHashMap::default(),
        };
        Ok(Delivery { task: tokio::spawn(manager.run()), stop, ledger, owner })
    }

    /// Ends after what is under way, and lets other servers go on at once.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_MAX, &mut self.task).await.is_err() {
            self.task.abort();
        }
        let released = async {
            for &partition in self.ledger.partitions().await? {
                self.ledger.release_cursors(partition, self.owner, &[]).await?;
            }
            Ok::<_, Fault>(())
        };
        if let Err(fault) = released.await {
            tracing::debug!(fault = fault.chain(), "cursors were not released");
        }
    }
}

impl Sender {
    /// Sends an event once.
    async fn send(&self, event: &Undelivered) -> Answer {
        match self {
            Sender::Webhook { post, webhook, room } => {
                let Ok(_permit) = room.acquire().await else {
                    return Answer::Failed(Failure::default(), None);
                };
                post.post(webhook, &event.event_id, &event.body).await
            }
            Sender::Stream(stream) => stream.publish(event).await,
        }
    }

    async fn disable(&self, ledger: &Ledger, reason: &str) -> Result<(), Fault> {
        match self {
            Sender::Webhook { webhook, .. } => ledger.disable_webhook(webhook, reason).await,
            // It never asks for that.
            Sender::Stream(_) => Ok(()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Sender::Webhook { .. } => "webhook",
            Sender::Stream(_) => "nats",
        }
    }
}

/// Starts and stops couriers.
struct Manager {
    ledger: Ledger,
    options: Arc<Options>,
    post: Post,
    stream: Option<Stream>,
    /// Whether it has its cursors.
    stream_begun: bool,
    room: Arc<Semaphore>,
    owner: u128,
    stopping: watch::Receiver<bool>,
    measured: Option<Instant>,
    couriers: FxHashMap<(i32, Partition), Hired>,
    tasks: JoinSet<()>,
    heads: FxHashMap<Partition, watch::Sender<Seq>>,
}

/// A courier at work.
struct Hired {
    revision: i64,
    replays: watch::Sender<i64>,
    handle: AbortHandle,
}

/// Somebody who is to be told.
struct Sink {
    revision: i64,
    sender: Sender,
    subscription: Arc<Subscription>,
}

impl Manager {
    async fn run(mut self) {
        let (mut looked, mut renewed) = (None::<Instant>, None::<Instant>);
        let mut sinks: FxHashMap<i32, Sink> = FxHashMap::default();
        let mut away = false;
        loop {
            let passed = async {
                let due =
                    |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
                if due(looked, LOOK_EVERY) {
                    looked = Some(Instant::now());
                    let now = self.sinks().await?;
                    let changed = now.len() != sinks.len()
                        || now.iter().any(|(no, sink)| {
                            sinks.get(no).is_none_or(|old| old.revision != sink.revision)
                        });
                    if changed || due(renewed, RENEW_EVERY) {
                        renewed = Some(Instant::now());
                        sinks = now;
                        self.renew(&sinks).await?;
                        self.measure(&sinks).await?;
                    }
                }
                self.look_at_heads().await
            };
            let passed: Result<(), Fault> = passed.await;
            if let Err(fault) = &passed
                && !away
            {
                tracing::warn!(fault = fault.chain(), "events wait for the database");
            }
            away = passed.is_err();
            while self.tasks.try_join_next().is_some() {}
            let idle = self.couriers.is_empty();
            let pause = if idle || away { LOOK_EVERY / 4 } else { HEADS_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // Also where nobody could say any more that it ends.
                _ = self.stopping.changed() => break,
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    async fn sinks(&mut self) -> Result<FxHashMap<i32, Sink>, Fault> {
        let webhooks = self.ledger.webhooks("", WEBHOOKS_MAX).await?;
        let enabled = webhooks.into_iter().filter(|webhook| webhook.enabled);
        let sink = |webhook: Webhook| {
            let (no, revision) = (webhook.no, webhook.revision);
            let subscription = Arc::new(Subscription::of(&webhook));
            let (post, room) = (self.post.clone(), Arc::clone(&self.room));
            let sender = Sender::Webhook { post, webhook: Arc::new(webhook), room };
            (no, Sink { revision, sender, subscription })
        };
        let mut sinks: FxHashMap<_, _> = enabled.map(sink).collect();
        if let Some(stream) = &self.stream {
            if !self.stream_begun {
                self.ledger.begin_stream().await?;
                self.stream_begun = true;
            }
            let subscription =
                Subscription { sink: STREAM, low_units: stream.low_units(), ..Default::default() };
            let (sender, subscription) = (Sender::Stream(stream.clone()), Arc::new(subscription));
            sinks.insert(STREAM, Sink { revision: 0, sender, subscription });
        }
        Ok(sinks)
    }

    /// Says how far behind those are who are told by this server.
    async fn measure(&mut self, sinks: &FxHashMap<i32, Sink>) -> Result<(), Fault> {
        if self.measured.is_some_and(|at| at.elapsed() < MEASURE_EVERY) {
            return Ok(());
        }
        self.measured = Some(Instant::now());
        let mut kinds: BTreeMap<&'static str, Progress> = BTreeMap::new();
        for (&no, sink) in sinks {
            if !self.couriers.keys().any(|(told, _)| *told == no) {
                continue;
            }
            let Some(one) = self.ledger.event_progress(no).await? else { continue };
            let all = kinds.entry(sink.sender.kind()).or_default();
            all.behind += one.behind;
            all.behind_for = all.behind_for.max(one.behind_for);
            all.waiting += one.waiting;
            all.dead += one.dead;
        }
        for (kind, all) in kinds {
            telemetry::events_behind(kind, all.behind, all.behind_for, all.waiting, all.dead);
        }
        Ok(())
    }

    /// Claims what nobody holds, and has a courier for each cursor that is ours and for no other.
    async fn renew(&mut self, sinks: &FxHashMap<i32, Sink>) -> Result<(), Fault> {
        let numbers: Vec<_> = sinks.keys().copied().collect();
        let gone = |couriers: &FxHashMap<(i32, Partition), Hired>| {
            couriers.keys().any(|(sink, _)| !sinks.contains_key(sink))
        };
        if sinks.is_empty() && self.couriers.is_empty() {
            return Ok(());
        }
        let release = gone(&self.couriers);
        let mut claimed: FxHashMap<(i32, Partition), Cursor> = FxHashMap::default();
        for &partition in self.ledger.partitions().await? {
            let owner = self.owner;
            let cursors = self.ledger.claim_cursors(partition, &numbers, owner, LEASE).await?;
            claimed.extend(cursors.into_iter().map(|cursor| ((cursor.sink, partition), cursor)));
            if release {
                self.ledger.release_cursors(partition, owner, &numbers).await?;
            }
        }
        self.couriers.retain(|at, hired| {
            let sink = sinks.get(&at.0).filter(|sink| sink.revision == hired.revision);
            let stays = sink.is_some() && claimed.contains_key(at) && !hired.handle.is_finished();
            if !stays {
                hired.handle.abort();
            }
            stays
        });
        for (at, cursor) in claimed {
            match (self.couriers.get(&at), sinks.get(&at.0)) {
                (Some(hired), _) => {
                    let news = |known: &mut i64| {
                        std::mem::replace(known, cursor.replays) != cursor.replays
                    };
                    hired.replays.send_if_modified(news);
                }
                (None, Some(sink)) => self.hire(at, cursor, sink),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn hire(&mut self, at: (i32, Partition), cursor: Cursor, sink: &Sink) {
        let (replays, replayed) = watch::channel(cursor.replays);
        let head = self.heads.entry(at.1).or_insert_with(|| watch::Sender::new(cursor.seq));
        let courier = Courier {
            ledger: self.ledger.clone(),
            options: Arc::clone(&self.options),
            sender: sink.sender.clone(),
            subscription: Arc::clone(&sink.subscription),
            partition: at.1,
            owner: self.owner,
            orders: Orders {
                head: head.subscribe(),
                replays: replayed,
                stop: self.stopping.clone(),
            },
        };
        let handle = self.tasks.spawn(courier.run());
        self.couriers.insert(at, Hired { revision: sink.revision, replays, handle });
    }

    async fn look_at_heads(&mut self) -> Result<(), Fault> {
        if self.couriers.is_empty() {
            return Ok(());
        }
        for head in self.ledger.heads().await?.heads {
            if let Some(told) = self.heads.get(&head.partition) {
                let seq = head.seq;
                told.send_if_modified(|known| std::mem::replace(known, seq) != seq);
            }
        }
        Ok(())
    }
}
