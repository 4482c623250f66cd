//! API keys. All of them are known to every server, so that no call waits for the database; one that is
//! not known yet is looked up once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::time::{Instant, MissedTickBehavior};

use crate::{
    access::{Caller, KeyText, Reach},
    api::authenticate::refused::{Flaw, Refused},
    ledger::{Ledger, api_key::ApiKey, fault::Fault},
    stock::time::{SECOND, Timestamp},
};

/// How often it is looked whether keys were made or revoked: so long one that was revoked may go on.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// The time of the last use is written this seldom for each key.
const USE_NOTED_EVERY: i64 = 60 * SECOND;
/// Prefixes that are not known, and need not be looked up again for a while.
const ABSENT_MAX: usize = 1_024;
const ABSENT_FOR: Duration = Duration::from_secs(5);
/// Look-ups a second, whoever asks: a new key is found by the refresh anyway.
const LOOK_UPS_PER_SECOND: u32 = 20;
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(2);

type Table = HashMap<Box<str>, Arc<Key>>;

/// Every API key. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    known: ArcSwap<Table>,
    absent: Mutex<Absent>,
}

/// A key as a call needs it.
#[derive(Debug)]
struct Key {
    caller: Arc<Caller>,
    secret_sha256: Vec<u8>,
    expires_at: Option<Timestamp>,
    revoked: bool,
    /// When it was used last; 0: never.
    used_at: AtomicI64,
    /// The use that was written last.
    noted_at: AtomicI64,
}

/// What was looked up in vain.
#[derive(Debug)]
struct Absent {
    until: HashMap<Box<str>, Instant>,
    second: Instant,
    look_ups: u32,
}

impl Keys {
    /// Reads all keys, and follows changes until every handle is dropped.
    ///
    /// # Errors
    /// The database is away.
    pub async fn start(ledger: Ledger) -> Result<Keys, Fault> {
        let state = ledger.api_keys_state().await?;
        let known = table(ledger.api_keys().await?, &Table::new());
        let absent = Absent { until: HashMap::new(), second: Instant::now(), look_ups: 0 };
        let known = ArcSwap::from_pointee(known);
        let keys = Keys(Arc::new(Inner { ledger, known, absent: Mutex::new(absent) }));
        tokio::spawn(follow(keys.clone(), state));
        Ok(keys)
    }

    /// Who holds a key; `None`: it must be looked up.
    pub(super) fn known(
        &self,
        text: &KeyText,
        now: Timestamp,
    ) -> Option<Result<Arc<Caller>, Refused>> {
        let known = self.0.known.load();
        let Some(key) = known.get(text.prefix()) else {
            let absent = self.0.absent.lock().unwrap_or_else(PoisonError::into_inner);
            let still =
                absent.until.get(text.prefix()).is_some_and(|until| *until > Instant::now());
            return still.then_some(Err(Refused::Invalid(Flaw::UnknownKey)));
        };
        Some(key.caller(text, now))
    }

    /// Looks up a key that is not known, within bounds.
    pub(super) async fn look_up(
        &self,
        text: &KeyText,
        now: Timestamp,
    ) -> Result<Arc<Caller>, Refused> {
        let unknown = Refused::Invalid(Flaw::UnknownKey);
        if !self.may_look_up() {
            return Err(Refused::SourceAway);
        }
        let looked_up = self.0.ledger.api_key(text.prefix());
        match tokio::time::timeout(LOOK_UP_TIMEOUT, looked_up).await {
            Ok(Ok(Some(found))) => {
                let key = Arc::new(Key::new(found));
                self.0.known.rcu(|known| {
                    let mut known = Table::clone(known);
                    known.insert(text.prefix().into(), Arc::clone(&key));
                    known
                });
                key.caller(text, now)
            }
            Ok(Ok(None)) => {
                self.remember_absent(text.prefix());
                Err(unknown)
            }
            Ok(Err(fault)) => {
                tracing::warn!(fault = fault.chain(), "an API key was not looked up");
                Err(Refused::SourceAway)
            }
            Err(_) => Err(Refused::SourceAway),
        }
    }

    fn may_look_up(&self) -> bool {
        let mut absent = self.0.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.second.elapsed() >= Duration::from_secs(1) {
            (absent.second, absent.look_ups) = (Instant::now(), 0);
        }
        absent.look_ups += 1;
        absent.look_ups <= LOOK_UPS_PER_SECOND
    }

    fn remember_absent(&self, prefix: &str) {
        let mut absent = self.0.absent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if absent.until.len() >= ABSENT_MAX {
            absent.until.retain(|_, until| *until > now);
        }
        if absent.until.len() < ABSENT_MAX {
            absent.until.insert(prefix.into(), now + ABSENT_FOR);
        }
    }

    async fn refresh(&self, seen: &mut (i64, i64)) -> Result<(), Fault> {
        let state = self.0.ledger.api_keys_state().await?;
        if state != *seen {
            let keys = self.0.ledger.api_keys().await?;
            self.0.known.store(Arc::new(table(keys, &self.0.known.load())));
            *seen = state;
        }
        self.note_used().await
    }

    async fn note_used(&self) -> Result<(), Fault> {
        let known = self.0.known.load_full();
        let due: Vec<_> = known.iter().filter_map(|(prefix, key)| key.due(prefix)).collect();
        if due.is_empty() {
            return Ok(());
        }
        self.0.ledger.note_api_keys_used(&due).await?;
        for (prefix, at) in due {
            if let Some(key) = known.get(&*prefix) {
                key.noted_at.store(at.0, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Key {
    fn new(row: ApiKey) -> Key {
        let reach = |ids: Option<Vec<String>>| ids.map_or(Reach::All, Reach::only);
        Key {
            caller: Arc::new(Caller {
                id: row.name,
                // A scope that only a newer server knows is that server's to grant.
                scopes: row.scopes.iter().filter_map(|scope| scope.parse().ok()).collect(),
                locations: reach(row.location_ids),
                channels: reach(row.channel_ids),
                terminal: None,
            }),
            secret_sha256: row.secret_sha256,
            expires_at: row.expires_at,
            revoked: row.revoked_at.is_some(),
            used_at: AtomicI64::new(0),
            noted_at: AtomicI64::new(row.last_used_at.map_or(0, |at| at.0)),
        }
    }

    /// Only who has the secret is told what became of the key.
    fn caller(&self, text: &KeyText, now: Timestamp) -> Result<Arc<Caller>, Refused> {
        if !text.fits(&self.secret_sha256) {
            return Err(Refused::Invalid(Flaw::UnknownKey));
        }
        if self.revoked {
            return Err(Refused::Revoked);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Refused::Expired);
        }
        // Seldom, so that calls on many cores do not fight for it.
        if now.0 - self.used_at.load(Ordering::Relaxed) >= SECOND {
            self.used_at.store(now.0, Ordering::Relaxed);
        }
        Ok(Arc::clone(&self.caller))
    }

    /// Its last use, if that is to be written.
    fn due(&self, prefix: &str) -> Option<(String, Timestamp)> {
        let used_at = self.used_at.load(Ordering::Relaxed);
        let due = used_at - self.noted_at.load(Ordering::Relaxed) >= USE_NOTED_EVERY;
        due.then(|| (prefix.to_owned(), Timestamp(used_at)))
    }
}

/// The same keys as they are stored now; what was noted of their use stays.
fn table(rows: Vec<ApiKey>, before: &Table) -> Table {
    let known = |row: ApiKey| {
        let prefix: Box<str> = row.prefix.as_str().into();
        let key = Key::new(row);
        if let Some(old) = before.get(&prefix) {
            key.used_at.store(old.used_at.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        (prefix, Arc::new(key))
    };
    rows.into_iter().map(known).collect()
}

async fn follow(keys: Keys, mut seen: (i64, i64)) {
    let inner = Arc::downgrade(&keys.0);
    drop(keys);
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(fault) = Keys(inner).refresh(&mut seen).await {
            tracing::debug!(fault = fault.chain(), "API keys were not refreshed");
        }
    }
}
