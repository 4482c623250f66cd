//! Events go out: to webhooks, and to a message stream.
//!
//! The entries of the ledger are the outbox. [`subscription`] reads them behind a cursor and makes the
//! events that somebody wants to be told; [`queue`] says which of them may be sent, in order per
//! position; [`webhook`] and [`stream`] send them; a courier for each receiver and partition does what these
//! say, and a manager hires them. Of several servers one holds each cursor, by a lease. Whatever dies where, everything behind the
//! cursor is sent again under the same ids.

pub mod address;
pub mod backoff;
mod courier;
pub mod envelope;
mod manager;
pub mod queue;
pub mod signature;
pub mod stream;
pub mod subscription;
pub mod webhook;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::{
    ambient,
    feed::deliver::{
        backoff::Backoff,
        manager::Manager,
        stream::{Stream, StreamOptions},
        webhook::{Answer, Post},
    },
    ledger::{
        Ledger,
        fault::Fault,
        outbox::{Failure, Undelivered},
        webhook::Webhook,
    },
};

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
        let manager = Manager::new(ledger.clone(), options, (post, stream), (owner, stopping));
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
