//! How the service comes back after the last fault.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::Value;
use stockroom::{
    availability::{Availability, PREFIX},
    feed::verify::{NotCompared, compare},
    ledger::{Ledger, Options},
};
use tokio::process::Command;

use super::client::HOLD_SECONDS;

/// How long is waited for what should take ten seconds at most.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Until an expired hold is no longer counted.
const PURGE_MAX: Duration = Duration::from_secs(3);
const POLL_EVERY: Duration = Duration::from_millis(100);

/// Both stores, past every proxy.
pub(super) struct Stores {
    ledger: Ledger,
    availability: Availability,
}

impl Stores {
    pub(super) fn new(database_url: &str, redis_url: &str) -> anyhow::Result<Stores> {
        let options = Options {
            url: database_url.to_owned(),
            writers_max: 1,
            readers_max: 4,
            acquire_timeout: WAIT_MAX,
        };
        let (ledger, availability) =
            (Ledger::new(&options)?, Availability::new(redis_url, PREFIX)?);
        Ok(Stores { ledger, availability })
    }

    /// How long it takes from now until Redis is what the ledger says; `None`: it does not get
    /// there.
    pub(super) async fn equal_after(&self) -> anyhow::Result<(Option<Duration>, String)> {
        let began = Instant::now();
        loop {
            let left = WAIT_MAX.saturating_sub(began.elapsed());
            let difference = match compare(&self.ledger, &self.availability, left).await {
                Ok(compared) => compared.difference,
                // It may be about to come back.
                Err(NotCompared::Redis(fault)) => Some(fault.to_string()),
                Err(NotCompared::Ledger(fault)) => Some(fault.to_string()),
            };
            let Some(difference) = difference else {
                return Ok((Some(began.elapsed()), String::new()));
            };
            if began.elapsed() >= WAIT_MAX {
                return Ok((None, difference));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Holds that are left once all have ended.
    pub(super) async fn stale_holds(&self) -> anyhow::Result<u64> {
        let ends = Duration::from_secs(HOLD_SECONDS.end().unsigned_abs());
        let until = Instant::now() + ends + PURGE_MAX;
        loop {
            let compared = compare(&self.ledger, &self.availability, Duration::ZERO).await?;
            if compared.holds == 0 || Instant::now() > until {
                return Ok(compared.holds);
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// What the service's own verification finds wrong; empty: nothing.
pub(super) async fn verify(database_url: &str, redis_url: &str) -> anyhow::Result<String> {
    let program = std::env::current_exe().context("where is this program")?;
    let mut command = Command::new(program.with_file_name("stockroom"));
    command.args(["verify", "--json", "--database-url", database_url, "--redis-url", redis_url]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.context("cannot verify")?;
    let told: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("verify said: {}", String::from_utf8_lossy(&output.stderr)))?;
    if told["ok"] == true {
        return Ok(String::new());
    }
    let difference = told["difference"].as_str().or(told["redis"]["difference"].as_str());
    Ok(difference.unwrap_or("something that it does not tell").to_owned())
}
