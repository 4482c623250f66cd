//! The clock of the file, compressed.
use std::time::Duration;

use tokio::time::Instant;

/// Within which a reservation is to be collected, in the time of the file.
pub(super) const COLLECT_WITHIN_S: i64 = 7 * 24 * 3_600;
/// The shortest life of a reservation that the contract allows.
const TTL_MIN: Duration = Duration::from_secs(1);

/// Says when it is what time in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    from: i64,
    compress: u32,
}

impl Clock {
    /// It is `from` now, in seconds since 1970.
    pub(super) fn start(from: i64, compress: u32) -> Self {
        Self { started: Instant::now(), from, compress }
    }

    /// Waits for a moment of the file, in seconds since 1970.
    pub(super) async fn wait(&self, at: i64) {
        tokio::time::sleep_until(self.moment(at)).await;
    }

    fn moment(&self, at: i64) -> Instant {
        let seconds = u64::try_from(at - self.from).unwrap_or(0);
        self.started + Duration::from_secs(seconds) / self.compress
    }

    /// Since it was started.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How many seconds of the file pass in one second.
    pub(super) fn compress(&self) -> u32 {
        self.compress
    }
}

/// The life of a reservation on such a clock.
pub(super) fn ttl(compress: u32) -> Duration {
    (Duration::from_secs(COLLECT_WITHIN_S.unsigned_abs()) / compress).max(TTL_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_lives_as_long_as_its_week_and_never_less_than_a_second() {
        assert_eq!(ttl(1), Duration::from_secs(604_800));
        assert_eq!(ttl(300_000), Duration::from_millis(2_016));
        assert_eq!(ttl(604_800), Duration::from_secs(1));
        assert_eq!(ttl(u32::MAX), Duration::from_secs(1));
    }

    #[test]
    fn an_hour_of_the_file_is_a_second_when_compressed_so() {
        let clock = Clock::start(1_000, 3_600);
        let moment = clock.moment(1_000 + 3 * 3_600);
        assert_eq!(moment - clock.started, Duration::from_secs(3));
        assert_eq!(clock.moment(0), clock.started, "what is over is not waited for");
    }
}
