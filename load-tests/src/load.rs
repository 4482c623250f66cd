//! The closed loop asks how much is possible: each client calls again as soon as it was answered,
//! so a slow server is asked less. [`crate::open`] asks how long callers wait.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::latency::Latency;

/// Calls of one client in one closed loop, so that no stretch outgrows the stock that it is laid
/// out for.
const CALLS_MAX: u64 = 200_000;

/// Somebody who calls again and again.
pub trait Client: Send + 'static {
    /// One call and its answer.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// What a load came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of every call.
    pub latency: Latency,
    /// From the first call to the last answer.
    pub elapsed: Duration,
}

impl Outcome {
    /// Answers a second.
    pub fn per_s(&self) -> f64 {
        self.latency.count() as f64 / self.elapsed.as_secs_f64()
    }
}

/// Lets every client call as fast as it is answered for `lasting`, or a bounded number of times.
/// Gives them back with the outcome.
///
/// # Errors
/// The first call that fails ends it.
pub async fn closed<C: Client>(
    clients: Vec<C>,
    lasting: Duration,
) -> anyhow::Result<(Outcome, Vec<C>)> {
    let started = Instant::now();
    let mut running = JoinSet::new();
    for mut client in clients {
        running.spawn(async move {
            let mut latency = Latency::new()?;
            while started.elapsed() < lasting && latency.count() < CALLS_MAX {
                let called = Instant::now();
                client.call().await?;
                latency.record(called.elapsed());
            }
            anyhow::Ok((client, latency))
        });
    }
    let mut all = Latency::new()?;
    let mut clients = Vec::with_capacity(running.len());
    while let Some(done) = running.join_next().await {
        let (client, latency) = done.context("a client panicked")??;
        all.add(&latency)?;
        clients.push(client);
    }
    Ok((Outcome { latency: all, elapsed: started.elapsed() }, clients))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(u64);

    impl Client for Counter {
        async fn call(&mut self) -> anyhow::Result<()> {
            self.0 += 1;
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_closed_loop_counts_every_call_of_every_client() {
        let clients = (0..4).map(|_| Counter(0)).collect();
        let (outcome, clients) = closed(clients, Duration::from_millis(50)).await.unwrap();
        let calls: u64 = clients.iter().map(|client| client.0).sum();
        assert_eq!(outcome.latency.count(), calls);
        assert!(clients.iter().all(|client| client.0 > 0));
    }
}
