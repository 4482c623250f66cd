//! The two kinds of load.
//!
//! A closed loop asks how much is possible: each client calls again as soon as it was answered, so a
//! slow server is asked less. An open loop asks how long callers wait: calls arrive at their own rate
//! whatever the server does, and are timed from the moment at which they were due, so that what queues
//! behind a stall is counted as slow (no coordinated omission).

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::latency::Latency;

/// Calls of an open loop under way at once; what is due beyond that waits, and its clock runs.
const UNDER_WAY_MAX: usize = 10_000;
/// Calls of one client in one closed loop, so that no stretch outgrows the stock that it is laid out
/// for.
const CALLS_MAX: u64 = 200_000;
/// How often arrivals that are due are let go.
const TICK: Duration = Duration::from_millis(1);

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

/// Lets every client call as fast as it is answered for `lasting`, or a bounded number of times. Gives them back with the outcome.
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

/// Makes `per_s` calls a second, evenly spread, for `lasting`; `call` is given the number of the call.
///
/// # Errors
/// The first call that fails ends it.
pub async fn open<F>(
    per_s: f64,
    lasting: Duration,
    call: impl Fn(u64) -> F,
) -> anyhow::Result<Outcome>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = JoinSet::new();
    let mut latency = Latency::new()?;
    let calls = (per_s * lasting.as_secs_f64()) as u64;
    let started = Instant::now();
    for number in 0..calls {
        let due = started + Duration::from_secs_f64(number as f64 / per_s);
        while Instant::now() < due {
            ticks.tick().await;
        }
        let place = Arc::clone(&room).acquire_owned().await?;
        let answer = call(number);
        running.spawn(async move {
            answer.await?;
            drop(place);
            anyhow::Ok(due.elapsed())
        });
        while let Some(done) = running.try_join_next() {
            latency.record(done.context("a call panicked")??);
        }
    }
    while let Some(done) = running.join_next().await {
        latency.record(done.context("a call panicked")??);
    }
    Ok(Outcome { latency, elapsed: started.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that does one thing at a time and stands still for a while on the first call.
    #[tokio::test]
    async fn an_open_loop_counts_what_queued_behind_a_stall() {
        const STALL: Duration = Duration::from_millis(200);
        let server = Arc::new(Semaphore::new(1));
        let call = |number| {
            let server = Arc::clone(&server);
            async move {
                let _turn = server.acquire().await?;
                if number == 0 {
                    tokio::time::sleep(STALL).await;
                }
                Ok(())
            }
        };
        let outcome = open(1_000.0, STALL, call).await.unwrap();
        assert_eq!(outcome.latency.count(), 200);
        // The arrivals of the stall waited half of it on average, all but the first without work.
        let median = outcome.latency.percentile_ms(50.0);
        assert!((80.0..150.0).contains(&median), "{median} ms");
    }

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
