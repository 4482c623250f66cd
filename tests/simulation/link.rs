//! What a server reaches the rest of the world by. A server that was killed has no effect any more.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use stockroom::availability::{Answers, Commands, Server};
use tokio::time::Instant;

use crate::{redis::Redis, world::lock};

/// The link of one server.
#[derive(Debug)]
pub struct Link {
    pub server: u64,
    dead: AtomicBool,
    stopped_until: Mutex<Option<Instant>>,
}

impl Link {
    pub fn new(server: u64) -> Arc<Link> {
        let (dead, stopped_until) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Link { server, dead, stopped_until })
    }

    /// From now on nothing gets through, in either direction.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Nothing gets through for a while.
    pub fn stop(&self, span: Duration) {
        *lock(&self.stopped_until) = Some(Instant::now() + span);
    }

    /// Waits until something gets through.
    pub async fn pass(&self) {
        let until = *lock(&self.stopped_until);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}

/// Redis, as one server reaches it.
#[derive(Debug)]
pub struct RedisLink {
    pub redis: Arc<Redis>,
    pub link: Arc<Link>,
}

impl Server for RedisLink {
    fn answer(&self, commands: Commands, within: Duration) -> BoxFuture<'_, Answers> {
        let answer = async move {
            self.link.pass().await;
            let answers = self.redis.answer(commands, within).await;
            self.link.pass().await;
            answers
        };
        answer.boxed()
    }
}
