//! The one table of all metrics. `docs/telemetry.md` shows it, and tests hold both to what a server
//! exports. Units are base units: seconds, bytes, pieces.

use std::{sync::OnceLock, time::Duration};

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::telemetry::handles::Handles;

/// What a metric says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A sum that only grows while the process lives.
    Counter,
    /// What something is at the moment.
    Gauge,
    /// How values are spread.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub kind: Kind,
    /// The names of its labels. All of them take few values.
    pub labels: &'static [&'static str],
    /// The bounds of its buckets; empty: it has none.
    pub buckets: &'static [f64],
    /// What it is, in one sentence.
    pub help: &'static str,
}

/// Bounds of the buckets of batch sizes and times.
const COMMANDS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
const SHORT: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Of calls, which often take less than a millisecond.
const CALL: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// From a second to a week.
const LATE: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0];
/// From a minute to three days.
const PICKING: &[f64] = &[
    60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0,
    259_200.0,
];

/// Makes a constant of every name, and the table.
macro_rules! table {
    ($($name:ident = $kind:ident $text:literal, $labels:tt, $buckets:expr, $help:literal;)*) => {
        $(#[doc = $help] pub const $name: &str = $text;)*

        /// Every metric.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $text,
            kind: Kind::$kind,
            labels: &$labels,
            buckets: $buckets,
            help: $help,
        },)*];
    };
}

table! {
    BUILD_INFO = Gauge "stockroom_build_info", ["version", "commit"], &[],
        "Always 1; says which version runs, built from which commit";
    DATABASE_UP = Gauge "stockroom_database_up", ["database"], &[],
        "1 while postgresql (for writes) or redis answers this server";

    CALLS = Counter "stockroom_calls_total", ["method", "code"], &[],
        "Calls answered; of a stream, whether it began";
    CALL_SECONDS = Histogram "stockroom_call_duration_seconds", ["method"], CALL,
        "Time until a call was answered, or a stream began";
    CALLS_OVERLOADED = Counter "stockroom_overloaded_calls_total", [], &[],
        "Calls refused because too much was waiting";

    MOVEMENTS = Counter "stockroom_movements_total", ["status"], &[],
        "Movements answered: recorded, duplicate, rejected";
    REJECTIONS = Counter "stockroom_rejections_total", ["reason"], &[],
        "Movements rejected";
    POISONED = Counter "stockroom_poisoned_movements_total", [], &[],
        "Movements that break a constraint of the database: each is a defect";
    ENTRIES = Counter "stockroom_entries_written_total", [], &[],
        "Entries that this server added to the ledger";
    BATCH_COMMANDS = Histogram "stockroom_batch_commands", [], COMMANDS,
        "Commands committed together";
    BATCH_SECONDS = Histogram "stockroom_batch_seconds", [], SHORT,
        "Time until the outcome of a batch was known";
    BATCH_WAIT = Histogram "stockroom_batch_wait_seconds", [], SHORT,
        "Time that a command waited in its lane before its batch began";
    LOCK_WAIT = Histogram "stockroom_lock_wait_seconds", [], SHORT,
        "Time until a batch had the heads of its partitions locked, one round trip included";
    BATCH_RETRIES = Counter "stockroom_batch_retries_total", [], &[],
        "Batches executed again after a fault";
    ADMISSIONS_SKIPPED = Counter "stockroom_admissions_skipped_total", [], &[],
        "Batches that PostgreSQL decided alone because Redis could not be asked";
    EXPIRY_LATENESS = Histogram "stockroom_expiry_lateness_seconds", [], SHORT,
        "Time from the deadline of a promise until its units were free";
    CLOCK_IN_DOUBT = Gauge "stockroom_clock_in_doubt", [], &[],
        "1 while clocks disagree by more than 2 s and nothing expires";

    RESERVATION_STEPS = Counter "stockroom_reservation_steps_total", ["channel", "step"], &[],
        "Steps of reservations through this server: made, moved_in, ready, collected, \
         collected_in_part, cancelled, rejected, expired, moved";
    BROKEN_PROMISES = Counter "stockroom_broken_promises_total", ["channel"], &[],
        "Promises not kept by no fault of the customer";
    TIME_TO_READY = Histogram "stockroom_time_to_ready_seconds", [], PICKING,
        "Time from when a reservation was made until it was READY";
    TIME_TO_COLLECT = Histogram "stockroom_time_to_collect_seconds", [], PICKING,
        "Time from the last step of a reservation that was READY until all of it was collected";
    SHORT_PICKED_UNITS = Counter "stockroom_short_picked_units_total", ["channel"], &[],
        "Units that were promised and not found";
    STOCK_REFUSALS = Counter "stockroom_stock_refusals_total", ["channel"], &[],
        "Requests refused for lack of stock";
    REFUSALS = Counter "stockroom_refusals_total", ["request", "reason"], &[],
        "Requests refused by a rule: of a hold, or of a reservation";
    LIVE_HOLDS = Gauge "stockroom_live_holds", [], &[],
        "Holds in Redis that have not ended, those of other servers too";

    SOURCE_LAG = Histogram "stockroom_source_lag_seconds", [], LATE,
        "Time from when the oldest movement of a report occurred, by the clock of its source, until \
         it was answered";
    SOURCE_GAP = Histogram "stockroom_source_gap_seconds", [], LATE,
        "How long a source that reports again was not heard of, where that was more than 5 minutes";
    SOURCES_HEARD = Gauge "stockroom_sources_heard", [], &[],
        "Sources that reported to this server within the last 15 minutes";

    PROJECTION_BEHIND = Gauge "stockroom_projection_behind_entries", ["partition"], &[],
        "Entries that Redis does not show yet";
    PROJECTION_AGE = Gauge "stockroom_projection_age_seconds", ["partition"], &[],
        "Time since Redis was known to show everything; infinite: it knows nothing";
    PROJECTION_IN_DOUBT = Gauge "stockroom_projection_in_doubt", ["partition"], &[],
        "1 while the clocks of Redis and PostgreSQL disagree by more than 2 s and nothing is \
         promised from Redis";
    REBUILDS = Counter "stockroom_rebuilds_total", [], &[],
        "Partitions that were projected into Redis anew";
    SCRUB_DIFFERENCES = Counter "stockroom_scrub_differences_total", ["kind"], &[],
        "What was put right in Redis: each is a defect, or somebody else's work";
    REDIS_AHEAD = Counter "stockroom_redis_ahead_total", [], &[],
        "Times that Redis knew more than PostgreSQL: one of them is wrong";

    ANCHOR_EXPORTS = Counter "stockroom_anchor_exports_total", ["outcome"], &[],
        "Exports of where the hash chains end: done, failed (to be tried again)";
    EVENT_ATTEMPTS = Counter "stockroom_event_attempts_total", ["sink", "outcome"], &[],
        "Attempts to send an event to webhooks or nats: delivered, failed (to be tried again), \
         dead (given up)";
    EVENTS_BEHIND = Gauge "stockroom_events_behind_entries", ["sink"], &[],
        "Entries that receivers were not told of yet";
    EVENTS_AGE = Gauge "stockroom_events_behind_seconds", ["sink"], &[],
        "Time since the oldest of these was recorded";
    EVENTS_WAITING = Gauge "stockroom_events_waiting", ["sink"], &[],
        "Events that wait for another attempt";
    DEAD_LETTERS = Gauge "stockroom_dead_letters", ["sink"], &[],
        "Events that were given up and neither sent again nor dismissed";
    WATCHERS = Gauge "stockroom_watchers", [], &[],
        "Streams of availability that are open";
    WATCHERS_CUT = Counter "stockroom_watchers_cut_total", ["reason"], &[],
        "Streams of availability that were cut off";
    CREDENTIALS_REFUSED = Counter "stockroom_credentials_refused_total", ["reason"], &[],
        "Calls whose credential was not taken";
    HANDSHAKES_FAILED = Counter "stockroom_tls_handshakes_failed_total", ["reason"], &[],
        "Connections that ended before their handshake did: refused, late";
    CERTIFICATE_END = Gauge "stockroom_tls_certificate_end_timestamp_seconds", [], &[],
        "When the certificate of the server ends, in seconds since 1970";
    CONNECTIONS_ENDED = Counter "stockroom_connections_ended_total", ["reason"], &[],
        "Connections that the server ended: old, stopped, stalled (an answer lay), cut (its calls \
         outlived their grace), silent; or turned away: too_many";
    CALLS_LIMITED = Counter "stockroom_calls_limited_total", ["limit"], &[],
        "Calls that a limit of their caller refused";

    POOL_CONNECTIONS = Gauge "stockroom_pool_connections", ["pool", "state"], &[],
        "Connections to PostgreSQL that are in_use or idle";
    POOL_MAX = Gauge "stockroom_pool_connections_max", ["pool"], &[],
        "Connections that the pool may have";
    POOL_WAITING = Gauge "stockroom_pool_waiting", ["pool"], &[],
        "Who waits for a connection of the pool";
    OLDEST_TRANSACTION = Gauge "stockroom_oldest_transaction_seconds", [], &[],
        "How long the oldest transaction of the database has been open, whoever began it";
    OLDEST_XMIN = Gauge "stockroom_oldest_xmin_transactions", [], &[],
        "Transactions since the oldest snapshot that keeps PostgreSQL from removing dead rows";

    PROCESS_CPU = Counter "process_cpu_seconds_total", [], &[],
        "CPU time of the process";
    PROCESS_OPEN_FDS = Gauge "process_open_fds", [], &[],
        "File descriptors that are open";
    PROCESS_MAX_FDS = Gauge "process_max_fds", [], &[],
        "File descriptors that may be open";
    PROCESS_VIRTUAL_MEMORY = Gauge "process_virtual_memory_bytes", [], &[],
        "Address space of the process";
    PROCESS_VIRTUAL_MEMORY_MAX = Gauge "process_virtual_memory_max_bytes", [], &[],
        "Address space that the process may have";
    PROCESS_RESIDENT_MEMORY = Gauge "process_resident_memory_bytes", [], &[],
        "Memory of the process";
    PROCESS_START_TIME = Gauge "process_start_time_seconds", [], &[],
        "When the process started, in seconds since 1970";
    PROCESS_THREADS = Gauge "process_threads", [], &[],
        "Threads of the process";
}

/// How often the recorder drops what it no longer needs.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// The commit that this was built from, where the build was told.
const COMMIT: Option<&str> = option_env!("STOCKROOM_COMMIT");

static HANDLES: OnceLock<Handles> = OnceLock::new();

impl Metric {
    /// The unit that its name ends with; empty: pieces, or none.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let units = ["seconds", "bytes"];
        units.into_iter().find(|unit| name.ends_with(unit)).unwrap_or("")
    }
}

impl Kind {
    /// As Prometheus calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Installs the recorder of metrics and returns what renders them.
///
/// # Errors
/// There is a recorder already.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    let mut builder = PrometheusBuilder::new();
    for metric in METRICS.iter().filter(|metric| !metric.buckets.is_empty()) {
        let name = Matcher::Full(metric.name.to_owned());
        builder = builder.set_buckets_for_metric(name, metric.buckets)?;
    }
    let handle = builder.install_recorder()?;
    METRICS.iter().for_each(describe);
    let commit = COMMIT.unwrap_or("unknown");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "commit" => commit).set(1.0);
    HANDLES.get_or_init(Handles::register);
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

/// The metrics that are told often; `None`: nobody records any.
pub(super) fn handles() -> Option<&'static Handles> {
    HANDLES.get()
}

fn describe(metric: &Metric) {
    let unit = match metric.unit() {
        "seconds" => Unit::Seconds,
        "bytes" => Unit::Bytes,
        _ => Unit::Count,
    };
    match metric.kind {
        Kind::Counter => describe_counter!(metric.name, unit, metric.help),
        Kind::Gauge => describe_gauge!(metric.name, unit, metric.help),
        Kind::Histogram => describe_histogram!(metric.name, unit, metric.help),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        for metric in METRICS {
            let Metric { name, kind, .. } = metric;
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(*kind == Kind::Histogram, !metric.buckets.is_empty(), "{name}");
            assert!(name.starts_with("stockroom_") || name.starts_with("process_"), "{name}");
            assert!(!metric.help.ends_with('.') && metric.help.len() > 10, "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }
}
