//! What everything in a run shares: chance, the clock, what goes wrong how often, and what was seen.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher as _},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::{ambient::simulated::Ambient, stock::time::Timestamp};
use tokio::time::Instant;

/// The moment at which every run begins: a Monday morning.
const BEGIN: Timestamp = Timestamp(1_767_600_000_000_000);

/// How often something goes wrong, of a thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// A statement loses its connection.
    pub statement: u32,
    /// A COMMIT is lost, or late, or its answer is.
    pub commit: u32,
    /// A call of Redis, or its answer, is lost.
    pub redis: u32,
    /// A call takes long.
    pub slow: u32,
}

/// One run.
#[derive(Debug)]
pub struct World {
    begin: Instant,
    rng: Mutex<ChaCha8Rng>,
    trouble: Mutex<Trouble>,
    seen: Mutex<BTreeMap<&'static str, u64>>,
    trace: Mutex<Trace>,
    violations: Mutex<Vec<String>>,
    /// Microseconds by which Redis' clock is ahead.
    pub redis_ahead: AtomicI64,
    /// Microseconds by which the servers' clock is ahead.
    pub servers_ahead: AtomicI64,
}

/// Everything that happened, as one number; and as text where somebody wants to read it.
#[derive(Debug, Default)]
struct Trace {
    events: u64,
    hasher: DefaultHasher,
    prints: bool,
}

impl World {
    pub fn new(seed: u64, prints: bool) -> Arc<World> {
        Arc::new(World {
            begin: Instant::now(),
            rng: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
            trouble: Mutex::default(),
            seen: Mutex::default(),
            trace: Mutex::new(Trace { prints, ..Trace::default() }),
            violations: Mutex::default(),
            redis_ahead: AtomicI64::new(0),
            servers_ahead: AtomicI64::new(0),
        })
    }

    /// The true time, which the ledger's clock shows.
    pub fn now(&self) -> Timestamp {
        let since = i64::try_from(self.begin.elapsed().as_micros()).unwrap_or(i64::MAX);
        BEGIN.saturating_add(since)
    }

    /// Redis' clock.
    pub fn redis_now(&self) -> Timestamp {
        self.now().saturating_add(self.redis_ahead.load(Ordering::Relaxed))
    }

    /// Whether something happens that does so `of_thousand` times of a thousand.
    pub fn happens(&self, of_thousand: u32) -> bool {
        of_thousand > 0 && self.below(1_000) < u64::from(of_thousand)
    }

    pub fn below(&self, end: u64) -> u64 {
        lock(&self.rng).random_range(0..end)
    }

    pub fn between(&self, range: Range<i64>) -> i64 {
        lock(&self.rng).random_range(range)
    }

    /// One of these.
    pub fn one_of<'c, T>(&self, choices: &'c [T]) -> &'c T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// A span of some microseconds.
    pub fn span(&self, us: Range<u64>) -> Duration {
        Duration::from_micros(lock(&self.rng).random_range(us))
    }

    pub fn trouble(&self) -> Trouble {
        *lock(&self.trouble)
    }

    pub fn set_trouble(&self, trouble: Trouble) {
        *lock(&self.trouble) = trouble;
    }

    /// Counts that something was reached.
    pub fn reach(&self, what: &'static str) {
        *lock(&self.seen).entry(what).or_default() += 1;
        self.note(|| what.to_owned());
    }

    pub fn seen(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.seen).clone()
    }

    /// Adds to the trace.
    pub fn note(&self, event: impl FnOnce() -> String) {
        let at = self.now().0 - BEGIN.0;
        let event = event();
        let mut trace = lock(&self.trace);
        trace.events += 1;
        trace.hasher.write_i64(at);
        trace.hasher.write(event.as_bytes());
        if trace.prints {
            eprintln!("{at:>10} {event}");
        }
    }

    /// Adds an answer of many bytes to the trace.
    pub fn note_answer(&self, of: &str, answer: &[u8]) {
        if lock(&self.trace).prints {
            return self.note(|| format!("{of} {}", answer.escape_ascii()));
        }
        let at = self.now().0 - BEGIN.0;
        let mut trace = lock(&self.trace);
        trace.events += 1;
        trace.hasher.write_i64(at);
        trace.hasher.write(answer);
    }

    /// How much happened, and what, as one number.
    pub fn digest(&self) -> (u64, u64) {
        let trace = lock(&self.trace);
        (trace.events, trace.hasher.finish())
    }

    /// Something that must never be.
    pub fn violated(&self, what: String) {
        self.note(|| format!("VIOLATION {what}"));
        lock(&self.violations).push(what);
    }

    pub fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }
}

/// The world, as the production code sees it.
pub struct Surroundings(pub Arc<World>);

impl Ambient for Surroundings {
    fn now(&self) -> Timestamp {
        self.0.now().saturating_add(self.0.servers_ahead.load(Ordering::Relaxed))
    }

    fn random(&self) -> u128 {
        lock(&self.0.rng).random()
    }
}

/// The data of a mutex; everything runs on one thread.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
