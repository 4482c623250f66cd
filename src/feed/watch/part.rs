//! One partition that is watched: who watches what, what holds there are, and how far it was followed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustc_hash::FxHashMap;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};

use super::{Joined, Watch, mail::Mail, scope::Scope};
use crate::{
    availability::Availability,
    feed::follow::{News, Stand},
    ledger::{
        Ledger,
        feed::{Balance, Change},
    },
    reads::Stock,
    stock::{
        ids::{LocationNo, Partition, PositionKey},
        quota::Fences,
    },
};

/// How often it is looked which holds there are: Redis tells nobody when one ends.
const HOLDS_EVERY: Duration = Duration::from_millis(250);
/// Looking at holds takes at most one part in so many of the time.
const HOLDS_SHARE: u32 = 20;
/// Positions that are read in one statement.
const KEYS_MAX: usize = 1_000;

type Mails = Vec<Arc<Mail>>;

/// A partition that somebody watches.
#[derive(Debug)]
pub(super) struct Part {
    pub partition: Partition,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stand: Stand,
    generation: u64,
    /// Units of live holds, where there are any.
    held: FxHashMap<PositionKey, i64>,
    holds_known: bool,
    /// Where what is held changed and nobody could be told yet.
    untold: Vec<PositionKey>,
    watchers: usize,
    by_position: FxHashMap<PositionKey, Mails>,
    by_location: FxHashMap<LocationNo, Mails>,
    of_all: Mails,
}

/// Follows a part for as long as somebody watches it.
pub(super) async fn run(watch: Watch, part: Arc<Part>, mut news: Receiver<Arc<News>>) {
    let mut next_look = Instant::now() + HOLDS_EVERY;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(next_look) => {
                let begun = Instant::now();
                part.look_at_holds(&watch.0.ledger, &watch.0.availability).await;
                next_look = Instant::now() + HOLDS_EVERY.max(begun.elapsed() * HOLDS_SHARE);
                if watch.forget(&part) {
                    return;
                }
            }
            next = news.recv() => match next {
                Ok(next) => part.apply(&next),
                Err(RecvError::Lagged(_) | RecvError::Closed) => {
                    news = part.follow_anew(&watch).await;
                }
            },
        }
    }
}

impl Part {
    pub(super) fn new(partition: Partition, stand: Stand) -> Part {
        let state = State {
            stand,
            generation: 0,
            held: FxHashMap::default(),
            holds_known: false,
            untold: Vec::new(),
            watchers: 0,
            by_position: FxHashMap::default(),
            by_location: FxHashMap::default(),
            of_all: Vec::new(),
        };
        Part { partition, state: Mutex::new(state) }
    }

    /// From here on what concerns the scope comes into the mail.
    pub(super) fn join(self: &Arc<Part>, scope: &Scope, mail: &Arc<Mail>) -> Joined {
        let mut state = self.state();
        state.watchers += 1;
        state.each_list(self.partition, scope, |mails| mails.push(Arc::clone(mail)));
        let (at, generation) = (state.stand, state.generation);
        Joined { part: Arc::clone(self), at, generation }
    }

    pub(super) fn leave(&self, scope: &Scope, mail: &Arc<Mail>) {
        let mut state = self.state();
        state.watchers -= 1;
        state.each_list(self.partition, scope, |mails| {
            mails.retain(|other| !Arc::ptr_eq(other, mail));
        });
        state.forget_empty_lists(self.partition, scope);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().watchers == 0
    }

    /// How far it was followed, and whether holds are known; none: of another generation.
    pub(super) fn stand(&self, generation: u64) -> Option<(Stand, bool)> {
        let state = self.state();
        (state.generation == generation).then_some((state.stand, state.holds_known))
    }

    /// Positions of which holds are known.
    pub(super) fn held_positions(&self) -> Vec<PositionKey> {
        self.state().held.keys().copied().collect()
    }

    /// These rows with what is held of them.
    pub(super) fn add_held<'r>(
        &self,
        rows: impl Iterator<Item = &'r Balance>,
        to: &mut Vec<(PositionKey, Stock)>,
    ) {
        let state = self.state();
        to.extend(rows.map(|row| {
            let &Balance { key, seq, sellable, reserved } = row;
            let held = state.held.get(&key).copied().unwrap_or(0);
            (key, Stock { sellable, reserved, held, fences: Fences::default(), seq })
        }));
    }

    fn apply(&self, news: &News) {
        match news {
            News::Recorded(changes, stand) => {
                let mut state = self.state();
                state.tell(changes.iter().map(|Change { balance, .. }| *balance));
                state.stand = *stand;
                state.ring_all_of(changes.iter().map(|change| change.balance.key));
            }
            News::Reset(stand) => self.begin_anew(*stand),
        }
    }

    /// Goes on where the ledger stands now, after something was missed.
    async fn follow_anew(&self, watch: &Watch) -> Receiver<Arc<News>> {
        loop {
            match watch.0.follow.subscribe(self.partition).await {
                Ok(following) => {
                    self.begin_anew(following.from);
                    return following.news;
                }
                Err(fault) => {
                    tracing::debug!(fault = fault.chain(), "the ledger could not be followed");
                    tokio::time::sleep(HOLDS_EVERY).await;
                }
            }
        }
    }

    /// What was handed over so far has gaps, or may never have been.
    fn begin_anew(&self, stand: Stand) {
        let mut state = self.state();
        state.generation += 1;
        state.stand = stand;
        let mails = state.by_position.values().chain(state.by_location.values()).flatten();
        mails.chain(&state.of_all).for_each(|mail| mail.ring());
    }

    /// Finds out which holds there are, and tells of those that changed. Nothing is followed meanwhile,
    /// so that a state that is read is never older than what was handed over.
    pub(super) async fn look_at_holds(&self, ledger: &Ledger, availability: &Availability) {
        let Ok(held) = availability.held(self.partition).await else {
            self.state().holds_known = false;
            return;
        };
        let changed: Vec<_> = self.state().change_held(held.into_iter().collect());
        for keys in changed.chunks(KEYS_MAX) {
            let positions = match ledger.positions(keys).await {
                Ok(positions) => positions,
                Err(fault) => {
                    tracing::debug!(fault = fault.chain(), "changed holds were not told of");
                    self.state().untold.extend(keys);
                    continue;
                }
            };
            let rows = keys.iter().map(|key| match positions.get(key) {
                Some(position) => Balance {
                    key: *key,
                    seq: position.seq,
                    sellable: position.sellable,
                    reserved: position.reserved,
                },
                None => Balance { key: *key, seq: 0, sellable: 0, reserved: 0 },
            });
            let state = self.state();
            state.tell(rows);
            state.ring_all_of(keys.iter().copied());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn each_list(
        &mut self,
        partition: Partition,
        scope: &Scope,
        mut change: impl FnMut(&mut Mails),
    ) {
        match scope {
            Scope::Positions(keys) => {
                let here = keys.iter().filter(|key| key.place.partition == partition);
                here.for_each(|key| change(self.by_position.entry(*key).or_default()));
            }
            Scope::Places(places) => {
                let here = places.iter().filter(|place| place.partition == partition);
                here.for_each(|at| change(self.by_location.entry(at.location).or_default()));
            }
            Scope::All => change(&mut self.of_all),
        }
    }

    fn forget_empty_lists(&mut self, partition: Partition, scope: &Scope) {
        match scope {
            Scope::Positions(keys) => {
                for key in keys.iter().filter(|key| key.place.partition == partition) {
                    if self.by_position.get(key).is_some_and(Vec::is_empty) {
                        self.by_position.remove(key);
                    }
                }
            }
            Scope::Places(_) => self.by_location.retain(|_, mails| !mails.is_empty()),
            Scope::All => {}
        }
    }

    /// Whom a position concerns.
    fn concerned(&self, key: PositionKey) -> impl Iterator<Item = &Arc<Mail>> {
        let some = [self.by_position.get(&key), self.by_location.get(&key.place.location)];
        some.into_iter().flatten().flatten().chain(&self.of_all)
    }

    fn tell(&self, rows: impl Iterator<Item = Balance>) {
        for row in rows {
            self.concerned(row.key).for_each(|mail| mail.put(row));
        }
    }

    fn ring_all_of(&self, keys: impl Iterator<Item = PositionKey>) {
        for key in keys.collect::<BTreeSet<_>>() {
            self.concerned(key).for_each(|mail| mail.ring());
        }
    }

    /// Takes over what is held; returns the watched positions of which something else was held before.
    fn change_held(&mut self, held: FxHashMap<PositionKey, i64>) -> Vec<PositionKey> {
        self.holds_known = true;
        let before = std::mem::replace(&mut self.held, held);
        let ended = before.keys().filter(|key| !self.held.contains_key(key));
        let other = self.held.iter().filter(|(key, units)| before.get(key) != Some(units));
        let changed = ended.chain(other.map(|(key, _)| key)).copied();
        let untold = std::mem::take(&mut self.untold);
        let all: BTreeSet<_> = changed.chain(untold).collect();
        all.into_iter().filter(|key| self.concerned(*key).next().is_some()).collect()
    }
}
