//! Does what the schedule says, one thing after the other, and mends it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context as _;
use tokio::time::{sleep, timeout};

use super::{
    postgres::Postgres,
    proxy::{Mode, Proxy, Sprung},
    redis::Redis,
    schedule::{Kind, Planned},
    server::Server,
};
use crate::history::{self, Effect, Record, Recorder};

/// How long a trap is waited for: something is written all the time.
const TRAP_MAX: Duration = Duration::from_secs(5);
/// How long a killed server stays away.
const AWAY: Duration = Duration::from_millis(300);
/// What a standby lacks when it takes over: what was written for this long.
const BEHIND: Duration = Duration::from_millis(400);
/// How late everything arrives over a slow wire.
const DELAY: Duration = Duration::from_millis(60);

/// Everything that can be broken.
pub(super) struct Supervisor {
    pub servers: Vec<Server>,
    pub postgres: Postgres,
    pub redis: Redis,
    pub recorder: Recorder,
    /// How often each kind happened.
    pub faults: BTreeMap<&'static str, u64>,
    /// Kinds that are still to come: the standby is kept in step for one of them.
    pub ahead: Vec<Kind>,
    /// Traps that nobody fell into.
    pub missed: BTreeSet<&'static str>,
}

impl Supervisor {
    /// Makes one thing happen, and waits until it is over.
    pub(super) async fn inject(&mut self, fault: Planned) -> anyhow::Result<()> {
        let at_us = self.recorder.now_us();
        let name = fault.kind.name();
        let happened = self.happen(fault).await.with_context(|| format!("during {name}"))?;
        if !happened {
            self.missed.insert(name);
            return Ok(());
        }
        *self.faults.entry(name).or_default() += 1;
        let until_us = self.recorder.now_us();
        let effect = fault.kind.effect();
        let kind = name.to_owned();
        self.recorder.write(&Record::Fault(history::Fault { kind, at_us, until_us, effect }));
        if effect == Effect::PromotedReplicated || effect == Effect::PromotedBehind {
            self.postgres.add_standby().await.context("no new standby")?;
            self.keep_in_step().await?;
        }
        Ok(())
    }

    /// Lets commits wait for the standby, if it is to take over with everything next.
    pub(super) async fn keep_in_step(&mut self) -> anyhow::Result<()> {
        let over = [Kind::FailOverReplicated, Kind::FailOverBehind];
        let next = self.ahead.iter().find(|kind| over.contains(kind));
        if next == Some(&Kind::FailOverReplicated) {
            self.postgres.wait_for_standby().await?;
        }
        Ok(())
    }

    /// False: nobody fell into the trap.
    async fn happen(&mut self, fault: Planned) -> anyhow::Result<bool> {
        let Planned { kind, lasting, .. } = fault;
        match kind {
            Kind::ServerKill => self.kill(fault.server, None).await?,
            Kind::ServerFreeze => {
                self.server(fault.server)?.freeze(true).await?;
                sleep(lasting).await;
                self.server(fault.server)?.freeze(false).await?;
            }
            Kind::KillAtBegin
            | Kind::KillAtWrite
            | Kind::KillBeforeCommit
            | Kind::KillAfterCommit
            | Kind::KillAtSettle => return self.kill_at(fault).await,
            Kind::RedisFlush => self.redis.flush().await?,
            Kind::RedisOldSnapshot => {
                self.redis.keep().await?;
                sleep(lasting).await;
                self.redis.restart_from_kept().await?;
            }
            Kind::RedisFailOver => {
                let address = self.redis.fail_over().await?;
                self.servers.iter().for_each(|server| server.redis.lead_to(address));
                self.redis.add_replica().await?;
            }
            Kind::RedisCut | Kind::PostgresCut => self.wires(fault, Mode::Cut).await?,
            Kind::RedisDelay | Kind::PostgresDelay => {
                self.wires(fault, Mode::Delay(DELAY)).await?;
            }
            Kind::RedisHalfOpen => self.server(fault.server)?.redis.leave_half_open(),
            Kind::PostgresHalfOpen => self.server(fault.server)?.postgres.leave_half_open(),
            Kind::PostgresCrash => self.postgres.crash().await?,
            Kind::FullVolume => self.postgres.fill_volume(lasting).await?,
            Kind::FailOverReplicated => self.fail_over().await?,
            Kind::FailOverBehind => {
                self.postgres.leave_standby_behind();
                sleep(BEHIND).await;
                self.fail_over().await?;
            }
        }
        Ok(true)
    }

    async fn fail_over(&mut self) -> anyhow::Result<()> {
        let address = self.postgres.fail_over().await?;
        self.servers.iter().for_each(|server| server.postgres.lead_to(address));
        Ok(())
    }

    async fn kill(&mut self, server: usize, sprung: Option<Sprung>) -> anyhow::Result<()> {
        let server = self.servers.get_mut(server).context("no such server")?;
        server.kill().await?;
        drop(sprung);
        sleep(AWAY).await;
        server.spawn()?;
        server.listens().await
    }

    /// Kills a server at the moment at which it sends what the kind says.
    async fn kill_at(&mut self, fault: Planned) -> anyhow::Result<bool> {
        let server = self.server(fault.server)?;
        let (wire, text, arrives) = match fault.kind {
            Kind::KillAtBegin => (&server.postgres, "begin; set local lock_timeout", true),
            Kind::KillAtWrite => (&server.postgres, "insert into ledger_entry", true),
            Kind::KillBeforeCommit => (&server.postgres, "COMMIT", false),
            Kind::KillAfterCommit => (&server.postgres, "COMMIT", true),
            // Only what a batch left behind is told with these keys.
            _ => (&server.redis, ":rebuild\r\n", false),
        };
        let wire: Proxy = wire.clone();
        let sprung = wire.trap(text, arrives);
        if fault.kind == Kind::KillAtWrite {
            // A statement is spelled out once a connection.
            wire.close_all();
        }
        let sprung: Option<Sprung> = match timeout(TRAP_MAX, sprung).await {
            Ok(sprung) => sprung.ok(),
            Err(_) => None,
        };
        wire.disarm();
        let Some(sprung) = sprung else { return Ok(false) };
        self.kill(fault.server, Some(sprung)).await.map(|()| true)
    }

    /// Breaks the wires of all servers, or of one.
    async fn wires(&mut self, fault: Planned, mode: Mode) -> anyhow::Result<()> {
        let redis = matches!(fault.kind, Kind::RedisCut | Kind::RedisDelay);
        let all = fault.lasting.as_millis().is_multiple_of(2);
        let broken = self.servers.iter().enumerate();
        let broken = broken.filter(|(number, _)| all || *number == fault.server);
        let broken = broken.map(|(_, server)| if redis { &server.redis } else { &server.postgres });
        let broken: Vec<Proxy> = broken.cloned().collect();
        broken.iter().for_each(|wire| wire.set(mode));
        sleep(fault.lasting).await;
        broken.iter().for_each(|wire| wire.set(Mode::Open));
        Ok(())
    }

    fn server(&self, number: usize) -> anyhow::Result<&Server> {
        self.servers.get(number).context("no such server")
    }
}
