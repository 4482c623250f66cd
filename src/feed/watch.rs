//! Who watches what is available: every change of what they watch, the newest state of a position once.
//!
//! A partition that somebody watches is followed by one part, which puts what changed into the
//! mail of those whom it concerns. Whoever begins to watch joins first and reads what there is
//! after that (`CatchUp`), so that nothing falls in between. A state of a position is handed over
//! only once the part has followed the ledger up to it: so versions never go back, and nothing that is
//! handed over comes again.

mod catch_up;
mod mail;
mod part;
mod scope;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustc_hash::FxHashMap;

pub use self::{
    catch_up::{CatchUp, Progress},
    scope::Scope,
};
use self::{mail::Mail, part::Part};
use crate::{
    availability::Availability,
    feed::follow::{Follow, Stand},
    ledger::{Ledger, fault::Fault},
    reads::Stock,
    stock::ids::{Partition, PositionKey},
    telemetry,
};

/// Watchers of one server: what their mail may grow to must fit into its memory.
const WATCHERS_MAX: usize = 20_000;

/// Everybody who watches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    availability: Availability,
    follow: Follow,
    parts: Mutex<FxHashMap<Partition, Arc<Part>>>,
    /// Many who begin at once must not each begin to follow.
    joining: tokio::sync::Mutex<()>,
    watchers: AtomicUsize,
}

/// One who watches, until dropped.
#[derive(Debug)]
pub struct Watcher {
    watch: Watch,
    scope: Scope,
    mail: Arc<Mail>,
    parts: BTreeMap<Partition, Joined>,
}

/// A part, and where it stood when somebody joined.
#[derive(Debug)]
struct Joined {
    part: Arc<Part>,
    at: Stand,
    /// Another one says that what was handed over since has gaps.
    generation: u64,
}

/// Why nobody can begin to watch.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There are too many.
    #[error("there are {WATCHERS_MAX} watchers already")]
    TooMany,
    /// The database is away.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What changed.
#[derive(Debug)]
pub struct Changes {
    /// The newest state of each position, in no order.
    pub rows: Vec<(PositionKey, Stock)>,
    /// Everything up to here is in these rows, or was handed over before.
    pub stands: BTreeMap<Partition, Stand>,
    /// Live holds cannot be seen at the moment.
    pub degraded: bool,
}

/// What was handed over has gaps, or may never have been: begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anew;

impl Watch {
    /// Follows nothing before somebody watches.
    pub fn new(ledger: Ledger, availability: Availability, follow: Follow) -> Watch {
        Watch(Arc::new(Inner {
            ledger,
            availability,
            follow,
            parts: Mutex::default(),
            joining: tokio::sync::Mutex::default(),
            watchers: AtomicUsize::new(0),
        }))
    }

    /// Begins to collect what changes. What there is already is read by [`Watcher::catch_up`].
    ///
    /// # Errors
    /// There are too many watchers, or the database is away.
    pub async fn join(&self, scope: Scope) -> Result<Watcher, Refused> {
        let mut watcher = Watcher::new(self.clone(), scope);
        if self.0.watchers.load(Ordering::Relaxed) > WATCHERS_MAX {
            return Err(Refused::TooMany);
        }
        let all = self.0.ledger.partitions().await?;
        for &partition in all.iter().filter(|&&partition| watcher.scope.is_in(partition)) {
            let joined = self.join_part(partition, &watcher.scope, &watcher.mail).await?;
            watcher.parts.insert(partition, joined);
        }
        Ok(watcher)
    }

    async fn join_part(
        &self,
        partition: Partition,
        scope: &Scope,
        mail: &Arc<Mail>,
    ) -> Result<Joined, Fault> {
        if let Some(joined) = self.join_known(partition, scope, mail) {
            return Ok(joined);
        }
        let _one_at_a_time = self.0.joining.lock().await;
        if let Some(joined) = self.join_known(partition, scope, mail) {
            return Ok(joined);
        }
        let following = self.0.follow.subscribe(partition).await?;
        let part = Arc::new(Part::new(partition, following.from));
        part.look_at_holds(&self.0.ledger, &self.0.availability).await;
        let joined = part.join(scope, mail);
        self.parts().insert(partition, Arc::clone(&part));
        tokio::spawn(part::run(self.clone(), part, following.news));
        Ok(joined)
    }

    fn join_known(&self, partition: Partition, scope: &Scope, mail: &Arc<Mail>) -> Option<Joined> {
        self.parts().get(&partition).map(|part| part.join(scope, mail))
    }

    /// Forgets a part that nobody watches any more; false where somebody does.
    fn forget(&self, part: &Part) -> bool {
        let mut parts = self.parts();
        let idle = part.is_idle();
        if idle {
            parts.remove(&part.partition);
        }
        idle
    }

    fn parts(&self) -> MutexGuard<'_, FxHashMap<Partition, Arc<Part>>> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    fn new(watch: Watch, scope: Scope) -> Watcher {
        let watchers = watch.0.watchers.fetch_add(1, Ordering::Relaxed) + 1;
        telemetry::watchers(watchers);
        Watcher { watch, scope, mail: Arc::default(), parts: BTreeMap::new() }
    }

    /// Where the ledger stood when it began.
    pub fn joined_at(&self) -> BTreeMap<Partition, Stand> {
        self.parts.iter().map(|(&partition, joined)| (partition, joined.at)).collect()
    }

    /// What is to be read because it was not told yet: everything but what `told` covers, and of that
    /// what changed since `base`. `again` is told whatever it says.
    pub fn catch_up(
        &self,
        told: Progress,
        base: BTreeMap<Partition, Stand>,
        again: Vec<PositionKey>,
    ) -> CatchUp {
        CatchUp::new(&self.scope, &self.joined_at(), told, base, again)
    }

    /// Reads a page of it into the mail; false: there was none left.
    ///
    /// # Errors
    /// The database is away.
    pub async fn read_page(&self, catch_up: &mut CatchUp) -> Result<bool, Fault> {
        let Some(rows) = catch_up.next_page(&self.watch.0.ledger).await? else {
            return Ok(false);
        };
        rows.into_iter().for_each(|row| self.mail.put(row));
        Ok(true)
    }

    /// Positions that it watches and of which holds are known.
    pub fn held(&self) -> Vec<PositionKey> {
        let held = self.parts.values().flat_map(|joined| joined.part.held_positions());
        held.filter(|key| self.scope.covers(*key)).collect()
    }

    /// How many watch at this server.
    pub fn crowd(&self) -> usize {
        self.watch.0.watchers.load(Ordering::Relaxed)
    }

    /// Waits until something may have changed.
    pub async fn changed(&self) {
        self.mail.changed().await;
    }

    /// Takes what changed. Nothing of it comes again.
    ///
    /// # Errors
    /// Something was lost: begin anew, at what was handed over last.
    pub fn take(&self) -> Result<Changes, Anew> {
        let (mut stands, mut degraded) = (BTreeMap::new(), false);
        for (&partition, joined) in &self.parts {
            let (stand, holds_known) = joined.part.stand(joined.generation).ok_or(Anew)?;
            stands.insert(partition, stand);
            degraded |= !holds_known;
        }
        let due = |partition, seq| stands.get(&partition).is_some_and(|stand| seq <= stand.seq);
        let taken = self.mail.take(|row| due(row.key.place.partition, row.seq));
        let mut rows = Vec::with_capacity(taken.len());
        for (partition, joined) in &self.parts {
            let here = taken.iter().filter(|row| row.key.place.partition == *partition);
            joined.part.add_held(here, &mut rows);
        }
        Ok(Changes { rows, stands, degraded })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        for joined in self.parts.values() {
            joined.part.leave(&self.scope, &self.mail);
        }
        let before = self.watch.0.watchers.fetch_sub(1, Ordering::Relaxed);
        telemetry::watchers(before.saturating_sub(1));
    }
}
