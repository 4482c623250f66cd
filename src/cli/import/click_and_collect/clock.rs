//! The clock of the file, compressed.
//!
//! Shops that cannot keep up are waited for: an order is handed over two hours after it was made, and
//! must be so on a slow machine too, where its time to live is no longer than on a fast one.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

/// Within which a reservation is to be collected, in the time of the file.
pub(super) const COLLECT_WITHIN_S: i64 = 7 * 24 * 3_600;
/// The shortest life of a reservation that the contract allows.
const TTL_MIN: Duration = Duration::from_secs(1);
/// How far a shop may be ahead of another, in the time of the file: enough for many of them to be at
/// work at once, and little against the life of a reservation.
const AHEAD_MAX_S: i64 = 12 * 3_600;

/// Says when it is what time in the file.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    from: i64,
    compress: u32,
    shops: Mutex<Shops>,
}

/// Where the shops are.
#[derive(Debug, Default)]
struct Shops {
    /// What time it is in each shop that is still at work, and its number.
    times: BTreeSet<(i64, u32)>,
    /// Of each shop, its time.
    time_of: BTreeMap<u32, i64>,
    /// Those that are too far ahead.
    waiting: BTreeMap<(i64, u32), oneshot::Sender<()>>,
}

impl Clock {
    /// It is `from` now, in seconds since 1970, in so many shops.
    pub(super) fn start(from: i64, compress: u32, shops: u32) -> Self {
        let shops = Shops {
            times: (0..shops).map(|shop| (from, shop)).collect(),
            time_of: (0..shops).map(|shop| (shop, from)).collect(),
            waiting: BTreeMap::new(),
        };
        Self { started: Instant::now(), from, compress, shops: Mutex::new(shops) }
    }

    /// Waits until a shop may do what it does at a moment of the file, in seconds since 1970. Until
    /// it calls again it is at that moment.
    pub(super) async fn wait(&self, shop: u32, at: i64) {
        let turn = self.shops().arrive(shop, at);
        if let Some(turn) = turn {
            // Whoever is waited for either goes on or ends everything.
            let _ = turn.await;
        }
        tokio::time::sleep_until(self.moment(at)).await;
    }

    /// A shop is done and no longer waited for.
    pub(super) fn leave(&self, shop: u32) {
        self.shops().leave(shop);
    }

    /// Since it was started.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How many seconds of the file pass in one second.
    pub(super) fn compress(&self) -> u32 {
        self.compress
    }

    fn shops(&self) -> MutexGuard<'_, Shops> {
        self.shops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self, at: i64) -> Instant {
        let seconds = u64::try_from(at - self.from).unwrap_or(0);
        self.started + Duration::from_secs(seconds) / self.compress
    }
}

impl Shops {
    /// Absent: it need not wait.
    fn arrive(&mut self, shop: u32, at: i64) -> Option<oneshot::Receiver<()>> {
        self.leave(shop);
        self.times.insert((at, shop));
        self.time_of.insert(shop, at);
        self.wake();
        if at <= self.latest() {
            return None;
        }
        let (turn, waited) = oneshot::channel();
        self.waiting.insert((at, shop), turn);
        Some(waited)
    }

    fn leave(&mut self, shop: u32) {
        if let Some(at) = self.time_of.remove(&shop) {
            self.times.remove(&(at, shop));
        }
        self.wake();
    }

    fn wake(&mut self) {
        let latest = self.latest();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= latest) {
            // A shop that waits no more needs no turn.
            let _ = first.remove().send(());
        }
    }

    /// Up to when the shops may go.
    fn latest(&self) -> i64 {
        self.times.first().map_or(i64::MAX, |(at, _)| at.saturating_add(AHEAD_MAX_S))
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
        let clock = Clock::start(1_000, 3_600, 1);
        let moment = clock.moment(1_000 + 3 * 3_600);
        assert_eq!(moment - clock.started, Duration::from_secs(3));
        assert_eq!(clock.moment(0), clock.started, "what is over is not waited for");
    }

    #[test]
    fn nobody_gets_far_ahead_of_who_is_behind() {
        let clock = Clock::start(0, 1, 3);
        let arrive = |shop, at| clock.shops().arrive(shop, at);
        assert!(arrive(0, AHEAD_MAX_S).is_none());
        let mut second = arrive(1, AHEAD_MAX_S + 1).unwrap();
        assert!(second.try_recv().is_err(), "the third shop has not begun");
        assert!(arrive(2, 1).is_none());
        assert_eq!(second.try_recv(), Ok(()));
        let mut first = arrive(0, 3 * AHEAD_MAX_S).unwrap();
        clock.leave(2);
        assert!(first.try_recv().is_err(), "the second shop is at work");
        clock.leave(1);
        assert_eq!(first.try_recv(), Ok(()));
    }
}
