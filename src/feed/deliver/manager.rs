//! Has a courier for every cursor that this server holds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rustc_hash::FxHashMap;
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
    time::Instant,
};

use crate::{
    feed::deliver::{
        Options, Sender,
        courier::{Courier, LEASE, Orders},
        stream::Stream,
        subscription::Subscription,
        webhook::Post,
    },
    ledger::{
        Ledger,
        fault::Fault,
        outbox::{Cursor, Progress, STREAM},
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

/// Starts and stops couriers.
pub(super) struct Manager {
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
    sinks: FxHashMap<i32, Sink>,
    /// Of the webhooks, when `sinks` was read.
    state: Option<(i64, i64)>,
    looked: Option<Instant>,
    renewed: Option<Instant>,
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
    /// One who holds cursors as `owner` until it is told to stop.
    pub(super) fn new(
        ledger: Ledger,
        options: Options,
        (post, stream): (Post, Option<Stream>),
        (owner, stopping): (u128, watch::Receiver<bool>),
    ) -> Manager {
        Manager {
            ledger,
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
            sinks: FxHashMap::default(),
            state: None,
            looked: None,
            renewed: None,
        }
    }

    /// Works until it is told to stop, and everything under way has ended.
    pub(super) async fn run(mut self) {
        let mut away = false;
        loop {
            let passed = self.pass().await;
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

    /// Looks whether there is anything to do.
    async fn pass(&mut self) -> Result<(), Fault> {
        let due = |last: Option<Instant>, every| last.is_none_or(|at| at.elapsed() >= every);
        if due(self.looked, LOOK_EVERY) {
            self.looked = Some(Instant::now());
            let state = self.ledger.webhooks_state().await?;
            let changed = self.state != Some(state);
            if changed {
                self.sinks = self.sinks().await?;
                self.state = Some(state);
            }
            if changed || due(self.renewed, RENEW_EVERY) {
                self.renewed = Some(Instant::now());
                let sinks = std::mem::take(&mut self.sinks);
                let renewed = self.renew(&sinks).await;
                let measured = self.measure(&sinks).await;
                self.sinks = sinks;
                renewed.and(measured)?;
            }
        }
        self.look_at_heads().await
    }

    async fn sinks(&mut self) -> Result<FxHashMap<i32, Sink>, Fault> {
        let webhooks = self.ledger.webhooks(None, "", WEBHOOKS_MAX).await?;
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
