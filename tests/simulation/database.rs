//! A simulated PostgreSQL: rows in memory, locks on heads, statements that see what is committed when
//! they begin, and everything that can happen to its connections, to it and to its last commits.

mod reads;
pub mod tables;
mod transaction;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use stockroom::{
    ledger::{
        directory::KnownItem,
        fault::{Fault, Kind},
    },
    stock::ids::{ItemNo, Partition, Place, PositionKey},
};
use tokio::{sync::Notify, time::Instant};

use self::tables::{Delta, Tables};
use crate::{
    link::Link,
    world::{World, lock},
};

/// One server.
#[derive(Debug)]
pub struct Postgres {
    world: Arc<World>,
    state: Mutex<State>,
    /// Told when locks may be free.
    released: Notify,
}

#[derive(Debug)]
struct State {
    tables: Tables,
    items: Vec<String>,
    /// Transactions, and the server whose they are.
    open: BTreeMap<u64, u64>,
    locks: BTreeMap<Partition, u64>,
    /// What transactions wait for.
    waits: BTreeMap<u64, Partition>,
    last: u64,
    away_until: Option<Instant>,
}

/// The server, as one of ours reaches it.
#[derive(Clone, Debug)]
pub struct DatabaseLink {
    pub server: Arc<Postgres>,
    pub link: Arc<Link>,
}

impl Postgres {
    pub fn new(world: Arc<World>, partitions: &[Partition]) -> Arc<Postgres> {
        let state = State {
            tables: Tables::new(partitions, world.now()),
            items: Vec::new(),
            open: BTreeMap::new(),
            locks: BTreeMap::new(),
            waits: BTreeMap::new(),
            last: 0,
            away_until: None,
        };
        Arc::new(Postgres { world, state: Mutex::new(state), released: Notify::new() })
    }

    /// Looks at everything that is committed.
    pub fn look<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&lock(&self.state).tables)
    }

    /// All connections are cut, and there are none for a while.
    pub fn crash(&self, away: Duration) {
        let state = &mut *lock(&self.state);
        state.open.clear();
        state.locks.clear();
        state.waits.clear();
        state.away_until = Some(Instant::now() + away);
        self.released.notify_waiters();
    }

    /// A standby takes over that has not heard of the last commits.
    pub fn fail_over(&self, commits: usize, away: Duration) {
        self.crash(away);
        lock(&self.state).tables.fail_over(commits, self.world.now());
    }

    /// A server was killed, and its connections are closed.
    pub fn abandon(&self, server: u64) {
        let open: Vec<_> = lock(&self.state).open.iter().map(|(id, of)| (*id, *of)).collect();
        open.into_iter().filter(|(_, of)| *of == server).for_each(|(id, _)| self.close(id));
    }

    /// A position by the code of its item.
    pub fn key(&self, place: Place, sku: &str) -> Option<PositionKey> {
        let (_, known) = self.items(&[sku.to_owned()]).into_iter().next()?;
        Some(PositionKey { place, item: known.item })
    }

    fn sku_of(&self, item: ItemNo) -> Option<String> {
        let index = usize::try_from(item.0 - 1).ok()?;
        lock(&self.state).items.get(index).cloned()
    }

    fn open(&self, server: u64) -> u64 {
        let state = &mut *lock(&self.state);
        state.last += 1;
        state.open.insert(state.last, server);
        state.last
    }

    fn close(&self, id: u64) {
        let state = &mut *lock(&self.state);
        state.open.remove(&id);
        state.waits.remove(&id);
        state.locks.retain(|_, of| *of != id);
        self.released.notify_waiters();
    }

    fn commit(&self, id: u64, delta: Delta) -> Result<(), Fault> {
        let state = &mut *lock(&self.state);
        if !state.open.contains_key(&id) {
            return Err(unavailable("commit"));
        }
        self.world.note(|| format!("commit {:?}", delta.heads));
        state.tables.apply(delta, self.world.now());
        state.open.remove(&id);
        state.locks.retain(|_, of| *of != id);
        self.released.notify_waiters();
        Ok(())
    }

    fn items(&self, skus: &[String]) -> Vec<(String, KnownItem)> {
        let state = lock(&self.state);
        let known = skus.iter().filter_map(|sku| {
            let index = state.items.iter().position(|item| item == sku)?;
            let item = ItemNo(i32::try_from(index).ok()? + 1);
            Some((sku.clone(), KnownItem { item, stock_item: true, recalled: false, revision: 0 }))
        });
        known.collect()
    }

    fn add_items(&self, skus: &[String]) {
        let items = &mut lock(&self.state).items;
        for sku in skus {
            if !items.contains(sku) {
                items.push(sku.clone());
            }
        }
    }
}

impl State {
    /// Waits for a lock; true: for ever, as its owner waits for this transaction.
    fn wait(&mut self, id: u64, partition: Partition) -> bool {
        self.waits.insert(id, partition);
        let mut next = partition;
        for _ in 0..self.waits.len() {
            let Some(owner) = self.locks.get(&next) else { return false };
            let Some(behind) = self.waits.get(owner) else { return false };
            if *owner == id {
                return true;
            }
            next = *behind;
        }
        false
    }
}

impl DatabaseLink {
    /// What every statement goes through.
    async fn statement(&self) -> Result<(), Fault> {
        let (world, trouble) = (&self.server.world, self.server.world.trouble());
        self.link.pass().await;
        tokio::time::sleep(world.span(50..600)).await;
        if world.happens(trouble.slow) {
            world.reach("statement slow");
            tokio::time::sleep(world.span(5_000..2_500_000)).await;
        }
        self.link.pass().await;
        let away = lock(&self.server.state).away_until;
        if away.is_some_and(|until| Instant::now() < until) {
            world.reach("database away");
            return Err(unavailable("reach the database"));
        }
        if world.happens(trouble.statement) {
            world.reach("statement lost");
            return Err(unavailable("hear of a statement"));
        }
        Ok(())
    }
}

fn fault(doing: &'static str, kind: Kind, why: &str) -> Fault {
    Fault { doing, kind, source: why.into() }
}

fn unavailable(doing: &'static str) -> Fault {
    fault(doing, Kind::Unavailable, "connection lost")
}
