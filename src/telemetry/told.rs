//! What the rest of the program tells, one function a fact. Where nobody records, nothing happens.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::metrics::{counter, gauge};

use crate::telemetry::metrics::{
    ANCHOR_EXPORTS, BROKEN_PROMISES, CALLS_LIMITED, CERTIFICATE_END, CLOCK_IN_DOUBT,
    CONNECTIONS_ENDED, CREDENTIALS_REFUSED, DATABASE_UP, DEAD_LETTERS, EVENT_ATTEMPTS, EVENTS_AGE,
    EVENTS_BEHIND, EVENTS_WAITING, HANDSHAKES_FAILED, LIVE_HOLDS, OLDEST_TRANSACTION, OLDEST_XMIN,
    POOL_CONNECTIONS, POOL_MAX, POOL_WAITING, PROJECTION_AGE, PROJECTION_BEHIND,
    PROJECTION_IN_DOUBT, RESERVATION_STEPS, SCRUB_DIFFERENCES, SHORT_PICKED_UNITS, SOURCES_HEARD,
    STOCK_REFUSALS, WATCHERS, WATCHERS_CUT, handles,
};

/// Channels that have a label of their own, by who was counted first; the others share `other`.
const CHANNELS_MAX: usize = 100;
static CHANNELS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Counts movements that were answered.
pub fn answered(recorded: u64, duplicate: u64, rejected: u64) {
    let Some(handles) = handles() else { return };
    handles.recorded.increment(recorded);
    handles.duplicate.increment(duplicate);
    handles.rejected.increment(rejected);
}

/// Counts a movement that was rejected.
pub fn rejected(reason: &'static str) {
    if let Some(handles) = handles() {
        handles.rejections.count(reason);
    }
}

/// Measures a batch whose outcome is known.
pub fn batch_done(commands: usize, took: Duration) {
    let Some(handles) = handles() else { return };
    handles.batch_commands.record(commands as f64);
    handles.batch_seconds.record(took.as_secs_f64());
}

/// Measures how late a promise ended.
pub fn expired(late: Duration) {
    if let Some(handles) = handles() {
        handles.expiry_lateness.record(late.as_secs_f64());
    }
}

/// Counts a batch that PostgreSQL decided alone.
pub fn admission_skipped() {
    if let Some(handles) = handles() {
        handles.admissions_skipped.increment(1);
    }
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
    if let Some(handles) = handles() {
        handles.rebuilds.increment(1);
    }
}

/// Counts something that the scrubber put right.
pub fn scrubbed(kind: &'static str) {
    counter!(SCRUB_DIFFERENCES, "kind" => kind).increment(1);
}

/// Counts that Redis knew more than the ledger.
pub fn redis_ahead() {
    if let Some(handles) = handles() {
        handles.redis_ahead.increment(1);
    }
}

/// Says whether clocks agree well enough to know what is due.
pub fn clock_in_doubt(doubtful: bool) {
    gauge!(CLOCK_IN_DOUBT).set(f64::from(u8::from(doubtful)));
}

/// Counts an attempt to send an event.
pub fn event_sent(sink: &'static str, outcome: &'static str) {
    counter!(EVENT_ATTEMPTS, "sink" => sink, "outcome" => outcome).increment(1);
}

/// Counts an export of anchors.
pub fn anchors_exported(done: bool) {
    let outcome = if done { "done" } else { "failed" };
    counter!(ANCHOR_EXPORTS, "outcome" => outcome).increment(1);
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
    if let Some(handles) = handles() {
        handles.batch_retries.increment(1);
    }
}

/// Counts a movement that the database would not take.
pub fn poisoned() {
    if let Some(handles) = handles() {
        handles.poisoned.increment(1);
    }
}

/// Says how many watch.
pub fn watchers(watchers: usize) {
    gauge!(WATCHERS).set(watchers as f64);
}

/// Counts a connection that ended before its handshake did.
pub fn handshake_failed(reason: &'static str) {
    counter!(HANDSHAKES_FAILED, "reason" => reason).increment(1);
}

/// Says when the certificate of the server ends, in seconds since 1970.
pub fn certificate_ends(at_seconds: i64) {
    gauge!(CERTIFICATE_END).set(at_seconds as f64);
}

/// Counts a call whose credential was not taken.
pub fn credential_refused(reason: &'static str) {
    counter!(CREDENTIALS_REFUSED, "reason" => reason).increment(1);
}

/// Counts a watcher that was cut off.
pub fn watcher_cut(reason: &'static str) {
    counter!(WATCHERS_CUT, "reason" => reason).increment(1);
}

/// Counts a connection that the server ended or turned away.
pub fn connection_ended(reason: &'static str) {
    counter!(CONNECTIONS_ENDED, "reason" => reason).increment(1);
}

/// Counts a call that a limit of its caller refused.
pub fn call_limited(limit: &'static str) {
    counter!(CALLS_LIMITED, "limit" => limit).increment(1);
}

/// Counts steps of reservations; an empty channel is none.
pub fn reservations_stepped(channel: String, step: &'static str, times: u64) {
    counter!(RESERVATION_STEPS, "channel" => label(channel), "step" => step).increment(times);
}

/// Measures how long a reservation took until it was READY.
pub fn ready_after(time_us: i64) {
    if let Some(handles) = handles() {
        handles.time_to_ready.record(time_us as f64 / 1e6);
    }
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

/// Measures how long something waited in its lane.
pub fn waited_in_lane(time: Duration) {
    if let Some(handles) = handles() {
        handles.batch_wait.record(time.as_secs_f64());
    }
}

/// Measures how long a batch took to lock its heads.
pub fn locked_after(time: Duration) {
    if let Some(handles) = handles() {
        handles.lock_wait.record(time.as_secs_f64());
    }
}

/// Counts entries that were committed.
pub fn entries_written(entries: u64) {
    if let Some(handles) = handles() {
        handles.entries.increment(entries);
    }
}

/// Measures how long a reservation that was READY took until it was collected.
pub fn collected_after(time_us: i64) {
    if let Some(handles) = handles() {
        handles.time_to_collect.record(time_us as f64 / 1e6);
    }
}

/// Counts a hold that was refused by a rule.
pub fn hold_refused(reason: &'static str) {
    if let Some(handles) = handles() {
        handles.hold_refusals.count(reason);
    }
}

/// Counts a request about a reservation that was refused by a rule.
pub fn reservation_refused(reason: &'static str) {
    if let Some(handles) = handles() {
        handles.reservation_refusals.count(reason);
    }
}

/// Counts a call that was refused because too much is waiting.
pub fn overloaded() {
    if let Some(handles) = handles() {
        handles.overloaded.increment(1);
    }
}

/// Measures how late the facts of a source are.
pub fn source_lagged(lag_us: i64) {
    if let Some(handles) = handles() {
        handles.source_lag.record(lag_us as f64 / 1e6);
    }
}

/// Measures how long a source was not heard of.
pub fn source_returned(after: Duration) {
    if let Some(handles) = handles() {
        handles.source_gap.record(after.as_secs_f64());
    }
}

/// Says how many sources were heard of lately.
pub fn sources_heard(sources: usize) {
    gauge!(SOURCES_HEARD).set(sources as f64);
}

/// Says which databases answer.
pub fn databases_up(postgresql: bool, redis: bool) {
    gauge!(DATABASE_UP, "database" => "postgresql").set(f64::from(u8::from(postgresql)));
    gauge!(DATABASE_UP, "database" => "redis").set(f64::from(u8::from(redis)));
}

/// Says how many holds are alive.
pub fn live_holds(holds: u64) {
    gauge!(LIVE_HOLDS).set(holds as f64);
}

/// Says how a pool of connections is used.
pub fn pool_used(pool: &'static str, in_use: u32, idle: u32, max: u32, waiting: usize) {
    gauge!(POOL_CONNECTIONS, "pool" => pool, "state" => "in_use").set(f64::from(in_use));
    gauge!(POOL_CONNECTIONS, "pool" => pool, "state" => "idle").set(f64::from(idle));
    gauge!(POOL_MAX, "pool" => pool).set(f64::from(max));
    gauge!(POOL_WAITING, "pool" => pool).set(waiting as f64);
}

/// Says what keeps PostgreSQL from tidying up.
pub fn oldest_transaction(open_us: i64, transactions: i64) {
    gauge!(OLDEST_TRANSACTION).set(open_us as f64 / 1e6);
    gauge!(OLDEST_XMIN).set(transactions as f64);
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
