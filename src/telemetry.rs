//! Logs through tracing, and the one table of all metrics.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::{
    ledger::fault::Fault,
    writer::{Answer, Verdict},
};

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

/// Describes every metric to the installed recorder.
pub fn describe() {
    describe_counter!(MOVEMENTS, "Movements answered, by status");
    describe_counter!(REJECTIONS, "Movements rejected, by reason");
    describe_histogram!(BATCH_COMMANDS, "Commands committed together");
    describe_histogram!(
        BATCH_SECONDS,
        Unit::Seconds,
        "Time until the outcome of a batch was known"
    );
    describe_counter!(BATCH_RETRIES, "Batches executed again after a fault");
    describe_counter!(POISONED, "Movements that break a constraint of the database");
}

/// Counts what became of movements.
pub fn answered(answers: &[Answer]) {
    let (mut recorded, mut duplicate, mut rejected) = (0, 0, 0);
    for answer in answers {
        match &answer.verdict {
            Verdict::Recorded(_) => recorded += 1,
            Verdict::Duplicate(_) => duplicate += 1,
            Verdict::Refused(refusal) => {
                rejected += 1;
                counter!(REJECTIONS, "reason" => refusal.reason()).increment(1);
            }
            Verdict::Poisoned => rejected += 1,
        }
    }
    counter!(MOVEMENTS, "status" => "recorded").increment(recorded);
    counter!(MOVEMENTS, "status" => "duplicate").increment(duplicate);
    counter!(MOVEMENTS, "status" => "rejected").increment(rejected);
}

/// Measures a batch whose outcome is known.
pub fn batch_done(commands: usize, took: Duration) {
    histogram!(BATCH_COMMANDS).record(commands as f64);
    histogram!(BATCH_SECONDS).record(took.as_secs_f64());
}

/// Counts a batch that must be executed again.
pub fn batch_retried(fault: &Fault) {
    counter!(BATCH_RETRIES).increment(1);
    tracing::warn!(fault = fault.chain(), "a batch is executed again");
}

/// Counts a movement that the database would not take.
pub fn poisoned() {
    counter!(POISONED).increment(1);
}
