//! Metrics that are told on every call or batch, looked up once.

use std::sync::{PoisonError, RwLock};

use ::metrics::{Counter, Histogram, counter, histogram};
use rustc_hash::FxHashMap;

use crate::telemetry::metrics::{
    ADMISSIONS_SKIPPED, ANCHOR_EXPORTS, BATCH_COMMANDS, BATCH_RETRIES, BATCH_SECONDS, BATCH_WAIT,
    CALLS_OVERLOADED, ENTRIES, EXPIRY_LATENESS, LOCK_WAIT, MOVEMENTS, POISONED, REBUILDS,
    REDIS_AHEAD, REFUSALS, REJECTIONS, SCRUB_DIFFERENCES, SOURCE_GAP, SOURCE_LAG, TIME_TO_COLLECT,
    TIME_TO_READY,
};

/// What the scrubber may find.
const DIFFERENCES: [&str; 7] =
    ["missing", "stale", "wrong", "ahead", "stray", "unreadable", "hold"];

/// The handles. Telling one of them allocates nothing.
pub(super) struct Handles {
    pub recorded: Counter,
    pub duplicate: Counter,
    pub rejected: Counter,
    pub rejections: Family,
    pub poisoned: Counter,
    pub batch_commands: Histogram,
    pub entries: Counter,
    pub batch_seconds: Histogram,
    pub batch_wait: Histogram,
    pub lock_wait: Histogram,
    pub hold_refusals: Family,
    pub reservation_refusals: Family,
    pub overloaded: Counter,
    pub source_lag: Histogram,
    pub source_gap: Histogram,
    pub time_to_collect: Histogram,
    pub batch_retries: Counter,
    pub admissions_skipped: Counter,
    pub expiry_lateness: Histogram,
    pub time_to_ready: Histogram,
    pub rebuilds: Counter,
    pub redis_ahead: Counter,
}

/// Counters that differ in one label, whose values are names in the program.
pub(super) struct Family {
    make: fn(&'static str) -> Counter,
    known: RwLock<FxHashMap<&'static str, Counter>>,
}

impl Handles {
    pub(super) fn register() -> Handles {
        // A counter that begins with its first event shows no increase.
        for kind in DIFFERENCES {
            counter!(SCRUB_DIFFERENCES, "kind" => kind).increment(0);
        }
        for outcome in ["done", "failed"] {
            counter!(ANCHOR_EXPORTS, "outcome" => outcome).increment(0);
        }
        let movements = |status: &'static str| counter!(MOVEMENTS, "status" => status);
        Handles {
            recorded: movements("recorded"),
            duplicate: movements("duplicate"),
            rejected: movements("rejected"),
            rejections: Family::new(|reason| counter!(REJECTIONS, "reason" => reason)),
            poisoned: counter!(POISONED),
            batch_commands: histogram!(BATCH_COMMANDS),
            entries: counter!(ENTRIES),
            batch_seconds: histogram!(BATCH_SECONDS),
            batch_wait: histogram!(BATCH_WAIT),
            lock_wait: histogram!(LOCK_WAIT),
            hold_refusals: Family::new(|reason| refusals("hold", reason)),
            reservation_refusals: Family::new(|reason| refusals("reservation", reason)),
            overloaded: counter!(CALLS_OVERLOADED),
            source_lag: histogram!(SOURCE_LAG),
            source_gap: histogram!(SOURCE_GAP),
            time_to_collect: histogram!(TIME_TO_COLLECT),
            batch_retries: counter!(BATCH_RETRIES),
            admissions_skipped: counter!(ADMISSIONS_SKIPPED),
            expiry_lateness: histogram!(EXPIRY_LATENESS),
            time_to_ready: histogram!(TIME_TO_READY),
            rebuilds: counter!(REBUILDS),
            redis_ahead: counter!(REDIS_AHEAD),
        }
    }
}

fn refusals(request: &'static str, reason: &'static str) -> Counter {
    counter!(REFUSALS, "request" => request, "reason" => reason)
}

impl Family {
    fn new(make: fn(&'static str) -> Counter) -> Family {
        Family { make, known: RwLock::default() }
    }

    pub(super) fn count(&self, label: &'static str) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = known.get(label) {
            return counter.increment(1);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(label).or_insert_with(|| (self.make)(label)).increment(1);
    }
}
