//! The condition of Redis: how it is set, and how many holds are alive.

use std::{collections::BTreeMap, time::Duration};

use redis::{Value, cmd};
use tokio::time::Instant;

use crate::{
    ambient,
    availability::{
        Availability,
        fault::{Fault, Nonsense},
        keys::KeyName,
    },
    stock::{
        ids::Partition,
        time::{SECOND, Timestamp},
    },
};

/// How long a hold's tick lasts, in microseconds; `shared.lua` says the same.
const TICK_US: i64 = SECOND / 10;

/// A Redis as it is set.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Such as 7.0.15; empty: it does not say.
    pub version: String,
    /// Settings by name; those that this account may not read are missing.
    pub settings: BTreeMap<String, String>,
    /// Its clock.
    pub now: Timestamp,
    /// The shortest of some round trips.
    pub round_trip: Duration,
}

impl Availability {
    /// How many holds of some partitions are alive, about: by this machine's clock, and with what batches
    /// under way hold for a moment.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn live_holds(&self, partitions: &[Partition]) -> Result<u64, Fault> {
        let doing = "count holds";
        let tick = ambient::now().0 / TICK_US;
        let mut holds = 0;
        for &partition in partitions {
            let due = self.key(partition, KeyName::Due);
            let mut count = cmd("ZCOUNT");
            count.arg(due).arg(format!("({tick}")).arg("+inf");
            let alive = natural(&self.background.command(doing, &count).await?);
            holds += alive.map_err(Fault::nonsense(doing))?;
        }
        Ok(holds)
    }

    /// Looks at how Redis is set.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn condition(&self, settings: &[&str]) -> Result<Condition, Fault> {
        let mut round_trip = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            self.ping().await?;
            round_trip = round_trip.min(begun.elapsed());
        }
        let info = self.background.command("ask for its version", cmd("INFO").arg("server")).await;
        let info = info.map(|info| text(&info)).unwrap_or_default();
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let mut found = BTreeMap::new();
        for &name in settings {
            let mut get = cmd("CONFIG");
            get.arg("GET").arg(name);
            // An account of its own may not be allowed to.
            let Ok(answer) = self.background.command("read its settings", &get).await else {
                continue;
            };
            if let Some(value) = setting(&answer) {
                found.insert(name.to_owned(), value);
            }
        }
        let doing = "read its clock";
        let time = self.background.command(doing, &cmd("TIME")).await?;
        let now = clock(&time).map_err(Fault::nonsense(doing))?;
        let version = version.unwrap_or_default().trim().to_owned();
        Ok(Condition { version, settings: found, now, round_trip })
    }
}

fn natural(answer: &Value) -> Result<u64, Nonsense> {
    match answer {
        Value::Int(number) => u64::try_from(*number).map_err(|_| Nonsense("below zero")),
        _ => Err(Nonsense("a number was expected")),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => String::new(),
    }
}

/// The value of the one setting that was asked for.
fn setting(answer: &Value) -> Option<String> {
    match answer {
        Value::Array(pair) => pair.get(1).map(text),
        Value::Map(pairs) => pairs.first().map(|(_, value)| text(value)),
        _ => None,
    }
}

fn clock(answer: &Value) -> Result<Timestamp, Nonsense> {
    let Value::Array(parts) = answer else { return Err(Nonsense("an array was expected")) };
    let numbers: Vec<i64> = parts.iter().filter_map(|part| text(part).parse().ok()).collect();
    match *numbers {
        [seconds, micros] => Ok(Timestamp(seconds.saturating_mul(SECOND).saturating_add(micros))),
        _ => Err(Nonsense("seconds and microseconds were expected")),
    }
}
