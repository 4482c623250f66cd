//! How long and how often a server that is gone is asked again.
use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// A server that restarts is back within seconds; asking more often than this does not help it.
const PAUSE_MAX: Duration = Duration::from_secs(2);
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The patience of a whole import, counted from the last answer that brought it forward.
pub(crate) struct Patience {
    budget: Duration,
    last_progress: Mutex<Instant>,
}

impl Patience {
    /// Starts counting.
    pub(crate) fn new(budget: Duration) -> Self {
        Self { budget, last_progress: Mutex::new(Instant::now()) }
    }

    /// Something was answered.
    pub(crate) fn progressed(&self) {
        *self.last_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Instant::now();
    }

    /// How long to wait before attempt number `attempt` (from 0) after `status`; absent: the
    /// failure is final, or patience is at its end.
    pub(crate) fn pause(&self, attempt: u32, status: &Status) -> Option<Duration> {
        if !is_retryable(status) {
            return None;
        }
        let since = *self.last_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let left = self.budget.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        let doubled = PAUSE_MIN.saturating_mul(1 << attempt.min(10)).min(PAUSE_MAX);
        let asked =
            status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        // Between half and all of it, so that the streams of one import do not return as one.
        let jittered = doubled.mul_f64(rand::random_range(0.5..=1.0));
        Some(jittered.max(asked).min(left))
    }
}

/// Whether the same request may succeed later. A status with a cause was made on this side of the
/// connection, because the connection broke.
fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Aborted => true,
        Code::ResourceExhausted => status.get_details_retry_info().is_some(),
        _ => std::error::Error::source(status).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn patience_ends_with_the_budget_and_begins_anew_with_progress() {
        let gone = Status::unavailable("");
        let patience = Patience::new(Duration::from_secs(3600));
        let pause = patience.pause(0, &gone).unwrap();
        assert!(pause <= PAUSE_MIN && pause >= PAUSE_MIN / 2, "{pause:?}");
        assert!(patience.pause(30, &gone).unwrap() <= PAUSE_MAX);
        let spent = Patience::new(Duration::ZERO);
        assert_eq!(spent.pause(0, &gone), None);
        let earlier = Instant::now().checked_sub(Duration::from_secs(7200)).unwrap();
        *patience.last_progress.lock().unwrap() = earlier;
        assert_eq!(patience.pause(0, &gone), None);
        patience.progressed();
        assert!(patience.pause(0, &gone).is_some());
    }

    #[test]
    fn only_what_may_pass_later_is_asked_again() {
        let busy = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
        let busy = Status::with_error_details(Code::ResourceExhausted, "", busy);
        let patience = Patience::new(Duration::from_secs(3600));
        assert!(patience.pause(0, &busy).unwrap() >= Duration::from_secs(1));
        let broken = Status::from_error(Box::new(std::io::Error::other("broken")));
        assert!(is_retryable(&broken), "{broken:?}");
        for status in [
            Status::resource_exhausted("too large"),
            Status::invalid_argument(""),
            Status::internal(""),
            Status::unauthenticated(""),
            Status::unimplemented(""),
        ] {
            assert!(!is_retryable(&status), "{status:?}");
        }
    }
}
