//! Logs through tracing, and the one table of all metrics.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use crate::config::LogFormat;

/// Movements, by `status` (recorded, duplicate, rejected).
pub const MOVEMENTS: &str = "stockroom_movements_total";
/// Rejected movements, by `reason`.
pub const REJECTIONS: &str = "stockroom_rejections_total";
/// Commands in a batch.
pub const BATCH_COMMANDS: &str = "stockroom_batch_commands";
/// Seconds from the begin of a batch to its known outcome.
pub const BATCH_SECONDS: &str = "stockroom_batch_seconds";
/// Batches that were executed again.
pub const BATCH_RETRIES: &str = "stockroom_batch_retries_total";
/// Movements that the database would not take: each is a defect.
pub const POISONED: &str = "stockroom_poisoned_movements_total";
/// Seconds from the deadline of a promise to the moment in which its units were free.
pub const EXPIRY_LATENESS: &str = "stockroom_expiry_lateness_seconds";
/// Batches that PostgreSQL decided alone because Redis could not be asked.
pub const ADMISSIONS_SKIPPED: &str = "stockroom_admissions_skipped_total";
/// 1 while clocks disagree so much that nothing expires.
pub const CLOCK_IN_DOUBT: &str = "stockroom_clock_in_doubt";

/// Entries that are not projected into Redis yet, by `partition`.
pub const PROJECTION_BEHIND: &str = "stockroom_projection_behind_entries";
/// Seconds since the projection of a `partition` last stood at the head.
pub const PROJECTION_AGE: &str = "stockroom_projection_age_seconds";
/// 1 while Redis' clock and the database's disagree, by `partition`: nothing is promised from Redis.
pub const PROJECTION_IN_DOUBT: &str = "stockroom_projection_in_doubt";
/// Projections that were made anew.
pub const REBUILDS: &str = "stockroom_rebuilds_total";
/// What the scrubber put right, by `kind`: each is a defect, or somebody else's work.
pub const SCRUB_DIFFERENCES: &str = "stockroom_scrub_differences_total";
/// How often Redis knew more than the ledger.
pub const REDIS_AHEAD: &str = "stockroom_redis_ahead_total";

/// Attempts to send an event, by `sink` (webhook, nats) and `outcome` (delivered, failed, dead: given up).
pub const EVENT_ATTEMPTS: &str = "stockroom_event_attempts_total";
/// Who watches availability at the moment.
pub const WATCHERS: &str = "stockroom_watchers";
/// Watchers that were cut off, by `reason`.
pub const WATCHERS_CUT: &str = "stockroom_watchers_cut_total";

/// Entries that receivers were not told of yet, by `sink`.
pub const EVENTS_BEHIND: &str = "stockroom_events_behind_entries";
/// Seconds since the oldest of these was recorded, by `sink`.
pub const EVENTS_AGE: &str = "stockroom_events_behind_seconds";
/// Events that wait for another attempt, by `sink`.
pub const EVENTS_WAITING: &str = "stockroom_events_waiting";
/// Events that were given up and neither sent again nor dismissed, by `sink`.
pub const DEAD_LETTERS: &str = "stockroom_dead_letters";

/// Steps of reservations that this server recorded, by `channel` and `step`.
pub const RESERVATION_STEPS: &str = "stockroom_reservation_steps_total";
/// Promises that this server saw broken by no fault of the customer, by `channel`.
pub const BROKEN_PROMISES: &str = "stockroom_broken_promises_total";
/// Seconds from when a reservation was made until it was READY.
pub const TIME_TO_READY: &str = "stockroom_time_to_ready_seconds";
/// Units that were promised and not found, by `channel`.
pub const SHORT_PICKED_UNITS: &str = "stockroom_short_picked_units_total";
/// Requests that were refused for lack of stock, by `channel`.
pub const STOCK_REFUSALS: &str = "stockroom_stock_refusals_total";
/// Channels that have a label of their own, by who was counted first; the others share `other`.
const CHANNELS_MAX: usize = 100;
static CHANNELS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Bounds of the buckets of batch sizes and times.
const COMMANDS_BUCKETS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
const SECONDS_BUCKETS: [f64; 11] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// From a minute to three days.
const PICKING_BUCKETS: [f64; 11] = [
    60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0,
    259_200.0,
];
/// How often the recorder drops what it no longer needs.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Writes logs to standard error.
///
/// # Errors
/// The filter is malformed, or logs are written already.
pub fn log(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("cannot read the log filter")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Human => logs.finish().try_init(),
        LogFormat::Json => logs.json().finish().try_init(),
    };
    installed.context("cannot write logs")
}

/// Installs the recorder of metrics and returns what renders them.
///
/// # Errors
/// There is a recorder already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(full(BATCH_COMMANDS), &COMMANDS_BUCKETS)?
        .set_buckets_for_metric(full(BATCH_SECONDS), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(full(EXPIRY_LATENESS), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(full(TIME_TO_READY), &PICKING_BUCKETS)?
        .install_recorder()?;
    describe();
    metrics_process::Collector::default().describe();
    let upkeep = handle.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(UPKEEP_EVERY);
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

fn describe() {
    describe_counter!(MOVEMENTS, "Movements answered, by status");
    describe_counter!(REJECTIONS, "Movements rejected, by reason");
    describe_histogram!(BATCH_COMMANDS, "Commands committed together");
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "Time until the outcome of a batch was known"
    );
    describe_histogram!(
        EXPIRY_LATENESS,
        Unit::Seconds,
        "Time from the deadline of a promise until its units were free"
    );
    describe_counter!(ADMISSIONS_SKIPPED, "Batches that PostgreSQL decided alone");
    describe_gauge!(PROJECTION_BEHIND, "Entries not projected yet");
    describe_gauge!(
        PROJECTION_AGE,
        Unit::Seconds,
        "Time since the projection last stood at the head of the ledger"
    );
    describe_gauge!(PROJECTION_IN_DOUBT, "1 while the clocks of the databases disagree");
    describe_counter!(REBUILDS, "Projections made anew");
    describe_counter!(SCRUB_DIFFERENCES, "Differences to the ledger put right in Redis");
    describe_counter!(REDIS_AHEAD, "Times that Redis knew more than the ledger");
    describe_counter!(EVENT_ATTEMPTS, "Attempts to send an event, by outcome");
    describe_gauge!(EVENTS_BEHIND, "Entries that receivers were not told of yet");
    describe_gauge!(EVENTS_AGE, Unit::Seconds, "Time since the oldest of these was recorded");
    describe_gauge!(EVENTS_WAITING, "Events that wait for another attempt");
    describe_gauge!(DEAD_LETTERS, "Events that were given up");
    describe_gauge!(CLOCK_IN_DOUBT, "1 while clocks disagree and nothing expires");
    describe_gauge!(WATCHERS, "Streams of availability that are open");
    describe_counter!(WATCHERS_CUT, "Streams of availability that were cut off, by reason");
    describe_counter!(RESERVATION_STEPS, "Steps of reservations, by channel and step");
    describe_counter!(BROKEN_PROMISES, "Promises not kept by no fault of the customer");
    describe_histogram!(
        TIME_TO_READY,
        Unit::Seconds,
        "Time from when a reservation was made until it was READY"
    );
    describe_counter!(SHORT_PICKED_UNITS, "Units that were promised and not found");
    describe_counter!(STOCK_REFUSALS, "Requests refused for lack of stock");
    describe_counter!(BATCH_RETRIES, "Batches executed again after a fault");
    describe_counter!(POISONED, "Movements that break a constraint of the database");
}

/// Counts movements that were answered alike.
pub fn answered(status: &'static str, movements: u64) {
    counter!(MOVEMENTS, "status" => status).increment(movements);
}

/// Counts a movement that was rejected.
pub fn rejected(reason: &'static str) {
    counter!(REJECTIONS, "reason" => reason).increment(1);
}

/// Measures a batch whose outcome is known.
pub fn batch_done(commands: usize, took: Duration) {
    histogram!(BATCH_COMMANDS).record(commands as f64);
    histogram!(BATCH_SECONDS).record(took.as_secs_f64());
}

/// Measures how late a promise ended.
pub fn expired(late: Duration) {
    histogram!(EXPIRY_LATENESS).record(late.as_secs_f64());
}

/// Counts a batch that PostgreSQL decided alone.
pub fn admission_skipped() {
    counter!(ADMISSIONS_SKIPPED).increment(1);
}

/// Says how far the projection of a partition is; no age: nothing is known of it.
pub fn projected(partition: i16, behind: i64, age_us: Option<i64>, doubtful: bool) {
    let partition = partition.to_string();
    gauge!(PROJECTION_BEHIND, "partition" => partition.clone()).set(behind as f64);
    let age = age_us.map_or(f64::INFINITY, |age_us| age_us as f64 / 1e6);
    gauge!(PROJECTION_AGE, "partition" => partition.clone()).set(age);
    gauge!(PROJECTION_IN_DOUBT, "partition" => partition).set(f64::from(u8::from(doubtful)));
}

/// Counts a projection that is made anew.
pub fn rebuild_begun() {
    counter!(REBUILDS).increment(1);
}

/// Counts something that the scrubber put right.
pub fn scrubbed(kind: &'static str) {
    counter!(SCRUB_DIFFERENCES, "kind" => kind).increment(1);
}

/// Counts that Redis knew more than the ledger.
pub fn redis_ahead() {
    counter!(REDIS_AHEAD).increment(1);
}

/// Says whether clocks agree well enough to know what is due.
pub fn clock_in_doubt(doubtful: bool) {
    gauge!(CLOCK_IN_DOUBT).set(f64::from(u8::from(doubtful)));
}

/// Counts an attempt to send an event.
pub fn event_sent(sink: &'static str, outcome: &'static str) {
    counter!(EVENT_ATTEMPTS, "sink" => sink, "outcome" => outcome).increment(1);
}

/// Says how far behind all receivers of a kind are.
pub fn events_behind(sink: &'static str, behind: i64, behind_us: i64, waiting: i64, dead: i64) {
    gauge!(EVENTS_BEHIND, "sink" => sink).set(behind as f64);
    gauge!(EVENTS_AGE, "sink" => sink).set(behind_us as f64 / 1e6);
    gauge!(EVENTS_WAITING, "sink" => sink).set(waiting as f64);
    gauge!(DEAD_LETTERS, "sink" => sink).set(dead as f64);
}

/// Counts a batch that must be executed again.
pub fn batch_retried() {
    counter!(BATCH_RETRIES).increment(1);
}

/// Counts a movement that the database would not take.
pub fn poisoned() {
    counter!(POISONED).increment(1);
}

/// Says how many watch.
pub fn watchers(watchers: usize) {
    gauge!(WATCHERS).set(watchers as f64);
}

/// Counts a watcher that was cut off.
pub fn watcher_cut(reason: &'static str) {
    counter!(WATCHERS_CUT, "reason" => reason).increment(1);
}

/// Counts steps of reservations; an empty channel is none.
pub fn reservations_stepped(channel: String, step: &'static str, times: u64) {
    counter!(RESERVATION_STEPS, "channel" => label(channel), "step" => step).increment(times);
}

/// Measures how long a reservation took until it was READY.
pub fn ready_after(time_us: i64) {
    histogram!(TIME_TO_READY).record(time_us as f64 / 1e6);
}

/// Counts promises that were not kept.
pub fn promises_broken(channel: String, times: u64) {
    counter!(BROKEN_PROMISES, "channel" => label(channel)).increment(times);
}

/// Counts units that were promised and not found.
pub fn units_short_picked(channel: String, units: u64) {
    counter!(SHORT_PICKED_UNITS, "channel" => label(channel)).increment(units);
}

/// Counts requests that were refused for lack of stock.
pub fn requests_refused(channel: String, times: u64) {
    counter!(STOCK_REFUSALS, "channel" => label(channel)).increment(times);
}

/// The label of a channel: there are never more than a hundred and one.
fn label(channel: String) -> String {
    let mut known = CHANNELS.lock().unwrap_or_else(PoisonError::into_inner);
    bounded(channel, &mut known)
}

fn bounded(label: String, known: &mut BTreeSet<String>) -> String {
    if !known.contains(&label) {
        if known.len() >= CHANNELS_MAX {
            return "other".to_owned();
        }
        known.insert(label.clone());
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_beyond_the_hundredth_share_a_label() {
        let mut known = BTreeSet::new();
        let mut labels = BTreeSet::new();
        for channel in 0..1_000 {
            labels.insert(bounded(format!("c{channel}"), &mut known));
        }
        assert_eq!(labels.len(), CHANNELS_MAX + 1);
        assert_eq!(bounded("c7".to_owned(), &mut known), "c7");
        assert_eq!(bounded("c700".to_owned(), &mut known), "other");
    }
}
