//! A transaction of the simulated PostgreSQL: locks until its end, and every way in which a COMMIT can
//! go wrong.

use std::time::Duration;

use futures::FutureExt as _;
use stockroom::{
    ledger::{
        chain::Chained,
        directory::KnownItem,
        fault::{Fault, Kind},
        head::{Head, Locked},
        simulated::{Answer, Transaction},
    },
    mutants::{Mutant, on},
    stock::{
        book::{Book, Needs},
        ids::{Partition, Seq},
        machine::{Log, Plan},
    },
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    database::{DatabaseLink, fault, tables::Delta, unavailable},
    memory::Memory,
    world::lock,
};

/// An open transaction, as its client has it.
#[derive(Debug)]
pub struct OpenTransaction {
    database: DatabaseLink,
    id: u64,
    lock_wait: Duration,
    delta: Delta,
    /// What was committed before the locks were granted, where a defect makes it read that.
    before: Option<Memory>,
    ended: bool,
}

impl OpenTransaction {
    pub async fn begin(
        database: DatabaseLink,
        locks: Vec<Partition>,
        lock_wait: Duration,
    ) -> Result<OpenTransaction, Fault> {
        database.statement().await?;
        let id = database.server.open(database.link.server);
        let before = on(Mutant::LockJoinedWithRead)
            .then(|| lock(&database.server.state).tables.rows.clone());
        let delta = Delta::default();
        let begun = OpenTransaction { database, id, lock_wait, delta, before, ended: false };
        if locks.len() > 1 {
            begun.database.server.world.reach("several heads");
        }
        for partition in locks {
            begun.lock(partition).await?;
        }
        begun.database.link.pass().await;
        Ok(begun)
    }

    async fn lock(&self, partition: Partition) -> Result<(), Fault> {
        let until = Instant::now() + self.lock_wait;
        loop {
            let released = self.database.server.released.notified();
            let mut released = std::pin::pin!(released);
            released.as_mut().enable();
            {
                let state = &mut *lock(&self.database.server.state);
                if !state.open.contains_key(&self.id) {
                    return Err(unavailable("lock a head"));
                }
                if *state.locks.entry(partition).or_insert(self.id) == self.id {
                    state.waits.remove(&self.id);
                    return Ok(());
                }
                if state.wait(self.id, partition) {
                    let world = &self.database.server.world;
                    world.violated("two transactions wait for each other".to_owned());
                }
            }
            self.database.server.world.reach("lock wait");
            if tokio::time::timeout_at(until, released).await.is_err() {
                self.database.server.world.reach("lock timeout");
                return Err(fault("lock a head", Kind::Contended, "lock timeout"));
            }
        }
    }

    async fn statement(&self) -> Result<(), Fault> {
        self.database.statement().await?;
        self.check_open()
    }

    fn check_open(&self) -> Result<(), Fault> {
        let open = lock(&self.database.server.state).open.contains_key(&self.id);
        if open { Ok(()) } else { Err(unavailable("use a transaction that is gone")) }
    }

    /// Whatever becomes of it; a client that hears nothing knows nothing.
    async fn commit(mut self, told: oneshot::Sender<Result<(), Fault>>) {
        self.ended = true;
        let (server, world) = (self.database.server.clone(), self.database.server.world.clone());
        tokio::time::sleep(world.span(100..800)).await;
        let delta = std::mem::take(&mut self.delta);
        if !world.happens(world.trouble().commit) {
            let done = server.commit(self.id, delta);
            tokio::time::sleep(world.span(100..400)).await;
            // Who waits no longer is not told.
            let _ = told.send(done);
            return;
        }
        match world.below(5) {
            0 => {
                world.reach("commit lost");
                server.close(self.id);
            }
            1 => {
                world.reach("commit unknown");
                drop(server.commit(self.id, delta));
            }
            2 => {
                drop(told);
                tokio::time::sleep(world.span(5_000..1_500_000)).await;
                if server.commit(self.id, delta).is_ok() {
                    world.reach("commit late");
                }
            }
            3 => {
                drop(told);
                tokio::time::sleep(world.span(5_000..1_500_000)).await;
                world.reach("rollback late");
                server.close(self.id);
            }
            _ => {
                tokio::time::sleep(world.span(50_000..3_000_000)).await;
                world.reach("commit slow");
                let _ = told.send(server.commit(self.id, delta));
            }
        }
    }

    async fn write_rows(
        &mut self,
        head: &Head,
        before: Seq,
        chained: &Chained,
        log: &Log<'_>,
        plan: &Plan<'_>,
    ) -> Result<u64, Fault> {
        self.statement().await?;
        self.lock(head.partition).await?;
        let state = lock(&self.database.server.state);
        if let Some(why) = state.tables.broken(log, plan, head.partition) {
            drop(state);
            self.database.server.world.note(|| why.clone());
            return Err(fault("write a batch", Kind::Poisoned, &why));
        }
        if state.tables.heads.get(&head.partition).map(|head| head.seq) != Some(before) {
            return Ok(0);
        }
        drop(state);
        self.delta.include(head, chained, log, plan);
        Ok(1)
    }
}

impl Transaction for OpenTransaction {
    fn load<'t>(
        &'t mut self,
        partitions: &'t [Partition],
        needs: &'t Needs,
        book: &'t mut Book,
    ) -> Answer<'t, Vec<Locked>> {
        let load = async move {
            self.statement().await?;
            let state = lock(&self.database.server.state);
            self.before.as_ref().unwrap_or(&state.tables.rows).load(needs, book);
            let now = self.database.server.world.now();
            let locked = partitions.iter().map(|&partition| state.tables.locked(partition, now));
            Ok(locked.flatten().collect())
        };
        load.boxed()
    }

    fn write<'t>(
        &'t mut self,
        head: &'t Head,
        before: Seq,
        chained: &'t Chained,
        log: &'t Log<'t>,
        plan: &'t Plan<'t>,
    ) -> Answer<'t, u64> {
        self.write_rows(head, before, chained, log, plan).boxed()
    }

    fn move_epoch<'t>(&'t mut self, head: &'t Head) -> Answer<'t, ()> {
        let write = async move {
            self.statement().await?;
            self.delta.heads.push(*head);
            Ok(())
        };
        write.boxed()
    }

    fn items(&mut self, skus: Vec<String>) -> Answer<'_, Vec<(String, KnownItem)>> {
        let read = async move {
            self.statement().await?;
            Ok(self.database.server.items(&skus))
        };
        read.boxed()
    }

    fn end(self: Box<Self>, commits: bool) -> Answer<'static, ()> {
        let end = async move {
            self.database.link.pass().await;
            if !commits {
                return Ok(());
            }
            let (told, answer) = oneshot::channel();
            let link = self.database.link.clone();
            tokio::spawn(self.commit(told));
            let answer = answer.await.unwrap_or_else(|_| Err(unavailable("commit")));
            link.pass().await;
            answer
        };
        end.boxed()
    }
}

impl Drop for OpenTransaction {
    /// A connection that is closed gives its locks back; the server may notice it late.
    fn drop(&mut self) {
        let (server, id) = (self.database.server.clone(), self.id);
        if self.ended {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if server.world.happens(server.world.trouble().commit / 4) => {
                let span = server.world.span(10_000..1_000_000);
                runtime.spawn(async move {
                    tokio::time::sleep(span).await;
                    server.close(id);
                });
            }
            _ => server.close(id),
        }
    }
}
