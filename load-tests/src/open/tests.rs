use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A thousand calls a second, evenly.
fn every_millisecond(calls: u64) -> impl Iterator<Item = Duration> + Send + 'static {
    (0..calls).map(Duration::from_millis)
}

const WINDOW: Window = Window { warm_up: Duration::ZERO, measured: Duration::from_millis(200) };

/// A server that does one thing at a time and stands still for a while on the first call.
struct Stalling(Semaphore, Duration);

impl Work for Stalling {
    async fn call(&self, number: u64) -> Answer {
        let Ok(_turn) = self.0.acquire().await else { return Answer::Failed };
        if number == 0 {
            tokio::time::sleep(self.1).await;
        }
        Answer::Done
    }
}

#[tokio::test]
async fn what_queued_behind_a_stall_is_counted_as_slow() {
    let work = Arc::new(Stalling(Semaphore::new(1), Duration::from_millis(200)));
    let deadline = Duration::from_millis(100);
    let flow = Flow { work, schedule: every_millisecond(200), deadline };
    let records = run(vec![flow], WINDOW, Instant::now()).await.unwrap();
    let record = &records[0];
    assert_eq!(record.counts.done, 200);
    // The arrivals of the stall waited half of it on average, all but the first without work.
    let median = record.latency.percentile_ms(50.0);
    assert!((80.0..150.0).contains(&median), "{median} ms");
    let good = record.counts.good;
    assert!((50..=110).contains(&good), "{good} within 100 ms");
}

/// Answers by the number of the call.
struct Mixed(AtomicU64);

impl Work for Mixed {
    async fn call(&self, number: u64) -> Answer {
        self.0.fetch_add(1, Ordering::Relaxed);
        match number % 5 {
            0 => Answer::Done,
            1 => Answer::Refused,
            2 => Answer::Overloaded,
            3 => Answer::Late,
            _ => Answer::Failed,
        }
    }
}

#[tokio::test]
async fn calls_are_counted_by_what_became_of_them_after_the_warm_up() {
    let work = Arc::new(Mixed(AtomicU64::new(0)));
    let window =
        Window { warm_up: Duration::from_millis(50), measured: Duration::from_millis(100) };
    let deadline = Duration::from_secs(60);
    let flow = Flow { work: Arc::clone(&work), schedule: every_millisecond(150), deadline };
    let records = run(vec![flow], window, Instant::now()).await.unwrap();
    let counts = records[0].counts;
    let expected = Counts {
        due: 100,
        done: 20,
        refused: 20,
        good: 40,
        overloaded: 20,
        late: 20,
        failed: 20,
        unsent: 0,
    };
    assert_eq!(counts, expected);
    assert_eq!(counts.lost(), 60);
    assert_eq!(records[0].latency.count(), 40);
    assert_eq!(records[0].turned_away.count(), 20);
    assert_eq!(records[0].slots[0].counts, expected);
    assert_eq!(work.0.load(Ordering::Relaxed), 150);
}

/// Never answers before everybody was turned away who finds no room.
struct Full(Semaphore);

impl Work for Full {
    async fn call(&self, number: u64) -> Answer {
        if number + 1 == UNDER_WAY_MAX as u64 {
            self.0.add_permits(UNDER_WAY_MAX);
        }
        match self.0.acquire().await {
            Ok(_) => Answer::Done,
            Err(_) => Answer::Failed,
        }
    }
}

#[tokio::test]
async fn what_finds_no_room_is_counted_and_not_kept() {
    let work = Arc::new(Full(Semaphore::new(0)));
    let at_once = (0..UNDER_WAY_MAX + 100).map(|_| Duration::ZERO);
    let deadline = Duration::from_secs(60);
    let flow = Flow { work, schedule: at_once, deadline };
    let records = run(vec![flow], WINDOW, Instant::now()).await.unwrap();
    let counts = records[0].counts;
    assert_eq!(counts.due, UNDER_WAY_MAX as u64 + 100);
    assert_eq!(counts.done + counts.unsent, counts.due);
    assert!(counts.unsent > 0);
}

#[test]
fn a_run_is_drawn_in_at_most_120_slots() {
    let window = |seconds| Window { measured: Duration::from_secs(seconds), ..WINDOW };
    assert_eq!(window(30).slot(), Duration::from_secs(1));
    assert_eq!(window(121).slot(), Duration::from_secs(2));
    assert_eq!(window(86_400).slot(), Duration::from_secs(720));
    assert_eq!(Record::new(window(121)).unwrap().slots.len(), 61);
}
