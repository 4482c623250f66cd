//! Refusals and failures as statuses. Every status carries exactly one ErrorInfo.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tonic::{Code, Status, codegen::http::Extensions};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    api::proto::MovementError,
    ledger::{
        archive::PastError,
        fault::{Fault, Kind},
    },
    stock::refusal::{Refusal, Short},
    telemetry,
    writer::Failure,
};

/// The domain of every ErrorInfo.
pub(crate) const DOMAIN: &str = "stockroom";
/// When to try again what failed because something is away or full.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What the short lines of a refusal may take: clients refuse headers above 8 KiB, in which details
/// travel as base 64. Those that do not fit are counted, not named.
const VIOLATIONS_BYTES_MAX: usize = 4_096;

/// A status with its one ErrorInfo.
pub(crate) fn status(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: &[(&str, &str)],
) -> Status {
    let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) {
        details.set_retry_info(Some(RETRY_AFTER));
    }
    Status::with_error_details(code, message, details)
}

/// Marks what was refused for its caller's sake, and says nothing of how busy the server is.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a limit of the caller was reached")]
struct Limited;

/// A limit of the caller was reached; it may try again after so long.
pub(crate) fn limited(reason: &str, message: &str, wait: Duration) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::<String, String>::new());
    details.set_retry_info(Some(wait));
    let mut status = Status::with_error_details(Code::ResourceExhausted, message, details);
    status.set_source(Arc::new(Limited));
    status
}

/// Whether an answer, by its extensions, says that a limit of its caller was reached.
pub(crate) fn is_limited(extensions: &Extensions) -> bool {
    let source = extensions.get::<Status>().and_then(std::error::Error::source);
    source.is_some_and(|source| source.is::<Limited>())
}

/// Too many calls of its kind are under way.
pub(crate) fn overloaded() -> Status {
    telemetry::overloaded();
    status(Code::ResourceExhausted, "OVERLOADED", "too much is waiting", &[])
}

/// INVALID_ARGUMENT that names the field.
pub(crate) fn invalid(reason: &str, field: &str, description: &str) -> Status {
    invalid_with(reason, field, description, &[])
}

/// The same, with more to say.
pub(crate) fn invalid_with(
    reason: &str,
    field: &str,
    description: &str,
    metadata: &[(&str, &str)],
) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = [("field", field)].into_iter().chain(metadata.iter().copied());
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned()));
    details.set_error_info(reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
    details.add_bad_request_violation(field, description);
    let message = format!("{field} {description}");
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// NOT_FOUND that names the thing.
pub(crate) fn unknown(what: &str, field: &str, id: &str) -> Status {
    let reason = format!("{}_UNKNOWN", what.to_uppercase());
    status(Code::NotFound, &reason, format!("{what} {id:?} is unknown"), &[(field, id)])
}

/// Why a request was not granted.
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let metadata = refusal.metadata().into_iter();
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value));
    let mut details = ErrorDetails::new();
    details.set_error_info(refusal.reason(), DOMAIN, metadata.collect::<HashMap<_, _>>());
    if let Refusal::InsufficientStock { short } = refusal {
        let mut left = VIOLATIONS_BYTES_MAX;
        for line in short {
            let Short { sku, wanted, available, band, version } = line;
            let least = if band.is_some() { "at least " } else { "" };
            let description =
                format!("{least}{available} available of {wanted} at version {version}");
            let bytes = refusal.reason().len() + sku.len() + description.len() + 8;
            let Some(less) = left.checked_sub(bytes) else { break };
            left = less;
            details.add_precondition_failure_violation(refusal.reason(), sku, description);
        }
    }
    Status::with_error_details(Code::from_i32(refusal.class() as i32), refusal.to_string(), details)
}

/// Why one movement was rejected.
pub(crate) fn movement_error(refusal: &Refusal) -> MovementError {
    let metadata = refusal.metadata().into_iter();
    MovementError {
        code: refusal.class() as i32,
        reason: refusal.reason().to_owned(),
        message: refusal.to_string(),
        metadata: metadata.map(|(name, value)| (name.to_owned(), value)).collect(),
    }
}

/// A movement that the database would not take. The log says why; the caller need not know.
pub(crate) fn poisoned_error() -> MovementError {
    MovementError {
        code: Code::Internal as i32,
        reason: "INTERNAL".to_owned(),
        message: "the movement could not be recorded; it is kept and an operator is told"
            .to_owned(),
        metadata: HashMap::new(),
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        match failure {
            Failure::Unavailable { outcome_unknown: true } => {
                let message = "the outcome is unknown; retry with the same keys";
                status(Code::Unavailable, "OUTCOME_UNKNOWN", message, &[])
            }
            Failure::Unavailable { outcome_unknown: false } => {
                let message = "the ledger is unavailable; retry with the same keys";
                status(Code::Unavailable, "LEDGER_UNAVAILABLE", message, &[])
            }
            Failure::DeadlineExceeded => deadline_exceeded(),
            Failure::Overloaded => overloaded(),
            Failure::Broken => internal(),
        }
    }
}

/// The deadline passed before the answer was ready.
pub(crate) fn deadline_exceeded() -> Status {
    let message = "the deadline passed; a write may have taken effect, retry with the same keys";
    status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message, &[])
}

/// A read that failed. The chain is logged here, where it is handled, and goes no further.
impl From<PastError> for Status {
    fn from(error: PastError) -> Status {
        match error {
            PastError::Archived { until } => refused(&Refusal::Archived { until }),
            PastError::Fault(fault) => fault.into(),
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Status {
        tracing::error!(fault = fault.chain(), "a call failed");
        match fault.kind {
            Kind::Unavailable | Kind::Contended => {
                Failure::Unavailable { outcome_unknown: false }.into()
            }
            Kind::Poisoned | Kind::Broken => internal(),
        }
    }
}

fn internal() -> Status {
    status(Code::Internal, "INTERNAL", "a defect of the service; an operator is told", &[])
}

#[cfg(test)]
mod tests {
    use tonic::body::Body;

    use super::*;

    #[test]
    fn a_limit_of_the_caller_says_nothing_of_the_server() {
        let limit = limited("RATE_LIMITED", "too many", RETRY_AFTER).into_http::<Body>();
        assert!(is_limited(limit.extensions()));
        let busy = overloaded().into_http::<Body>();
        assert!(!is_limited(busy.extensions()));
    }
}
