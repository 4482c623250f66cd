//! Calls by method and code. The methods are those of the contract, so that labels stay few.

use std::{sync::OnceLock, time::Duration};

use ::metrics::{Counter, Histogram, counter, histogram};

use crate::telemetry::metrics::{CALL_SECONDS, CALLS, handles};

/// The canonical codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The metrics of one method; each is made when it is told of first.
pub struct Method {
    name: String,
    calls: [OnceLock<Counter>; 17],
    seconds: OnceLock<Histogram>,
}

impl Method {
    /// Of the method with this name.
    pub fn new(name: String) -> Method {
        let calls = [const { OnceLock::new() }; 17];
        Method { name, calls, seconds: OnceLock::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts a call that came to a code, by its number.
    pub fn answered(&self, code: i32, took: Duration) {
        if handles().is_none() {
            return;
        }
        let name = || self.name.clone();
        let at = usize::try_from(code).ok().and_then(|code| self.calls.get(code));
        if let Some(calls) = at {
            let new = || counter!(CALLS, "method" => name(), "code" => code_name(code));
            calls.get_or_init(new).increment(1);
        }
        let seconds = self.seconds.get_or_init(|| histogram!(CALL_SECONDS, "method" => name()));
        seconds.record(took.as_secs_f64());
    }
}

/// The name of a code.
pub fn code_name(code: i32) -> &'static str {
    let code = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    code.copied().unwrap_or("UNKNOWN")
}
