//! What the processes of a server use while it is loaded.

use std::time::Duration;

use serde::Serialize;

use crate::{baseline, cpu, raw_redis, server::Server};

/// The processes that take part.
#[derive(Clone, Copy, Debug)]
pub struct Processes {
    server: u32,
    postmaster: u32,
    redis: u32,
}

/// What they used so far, and the memory that the server has now.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time of the server.
    pub server: Duration,
    /// Of PostgreSQL, all of its processes.
    pub postgres: Duration,
    /// Of Redis.
    pub redis: Duration,
    /// Of this program.
    pub load: Duration,
    /// Bytes of the server in RAM.
    pub memory: u64,
}

/// CPU time, in microseconds an operation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuPerOperation {
    /// Of the server.
    pub server_us: f64,
    /// Of PostgreSQL.
    pub postgres_us: f64,
    /// Of Redis.
    pub redis_us: f64,
    /// Of the load itself.
    pub load_us: f64,
}

impl Processes {
    /// Those of a server.
    ///
    /// # Errors
    /// A database is away.
    pub async fn of(server: &Server) -> anyhow::Result<Processes> {
        Ok(Processes {
            server: server.pid,
            postmaster: baseline::postmaster(&server.database_url).await?,
            redis: raw_redis::pid(&server.redis_url).await?,
        })
    }

    /// What they used so far.
    ///
    /// # Errors
    /// One has ended.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Ok(Usage {
            server: cpu::of_process(self.server)?,
            postgres: cpu::of_family(self.postmaster)?,
            redis: cpu::of_process(self.redis)?,
            load: cpu::of_process(std::process::id())?,
            memory: cpu::memory_of(self.server)?,
        })
    }
}

impl Usage {
    /// CPU time of both databases.
    pub fn databases(&self) -> Duration {
        self.postgres + self.redis
    }

    /// CPU time of the server and both databases.
    pub fn service(&self) -> Duration {
        self.server + self.databases()
    }

    /// What was used since `before`, of each of `operations`.
    pub fn since(&self, before: &Usage, operations: u64) -> CpuPerOperation {
        let us = |now: Duration, then: Duration| {
            let used = now.saturating_sub(then).as_secs_f64() * 1e6;
            crate::stats::rounded(used / operations.max(1) as f64, 2)
        };
        CpuPerOperation {
            server_us: us(self.server, before.server),
            postgres_us: us(self.postgres, before.postgres),
            redis_us: us(self.redis, before.redis),
            load_us: us(self.load, before.load),
        }
    }
}
