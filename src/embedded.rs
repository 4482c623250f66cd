//! The embedded default: a private PostgreSQL and a private Redis in a data folder, for whoever
//! starts Stockroom without servers of their own. Both are on the loopback only, with durable
//! settings; they are stopped with the server, and recover when everything was killed.
//!
//! What lies in a data folder:
//! - `lock`: held by the one server that started them;
//! - `connections.env`: how a second process joins ([`write_connections`]);
//! - `postgres/` and `redis/`: settings, port and logs of each, and its data in `data/`. Either is
//!   a link to a folder below `/var/lib/stockroom` when Stockroom runs as root and the data folder
//!   cannot be entered by the account under which the server then runs.

mod account;
mod connections;
mod error;
mod files;
mod home;
mod memory;
mod port;
mod postgres;
mod process;
mod programs;
mod redis;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use self::{error::io_error, home::Home, postgres::Postgres, redis::Redis};

pub use self::{
    connections::{Connections, read_connections, write_connections},
    error::EmbeddedError,
};

/// Which servers a process wants of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A private PostgreSQL.
    pub postgres: bool,
    /// A private Redis.
    pub redis: bool,
}

/// The private servers of one data folder, which belongs to this process until they are stopped.
///
/// When this is dropped without [`Embedded::stop`], the servers are asked to stop and not waited
/// for; when the process is killed they go on, and the next start takes them over.
#[derive(Debug)]
pub struct Embedded {
    data_dir: PathBuf,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    /// Held for life; last, so that it is let go last.
    _lock: File,
}

impl Embedded {
    /// Takes the data folder (made if it is not there) and starts what is wanted in it, both at
    /// once. Removes a `connections.env` of the last run: it is written when its addresses hold.
    ///
    /// # Errors
    /// The folder is in use by another process, programs are missing, or a server does not start.
    pub async fn start(data_dir: &Path, wanted: Wanted) -> Result<Embedded, EmbeddedError> {
        let data_dir = data_dir.to_owned();
        blocking(move || start(&data_dir, wanted)).await
    }

    /// Address of the private PostgreSQL, with the password; None if it was not wanted.
    #[must_use]
    pub fn database_url(&self) -> Option<&str> {
        self.postgres.as_ref().map(Postgres::url)
    }

    /// Address of the private Redis; None if it was not wanted.
    #[must_use]
    pub fn redis_url(&self) -> Option<&str> {
        self.redis.as_ref().map(Redis::url)
    }

    /// Removes `connections.env` and stops both servers at once, within about two minutes at
    /// worst. Close the connections first, or their statements fail.
    ///
    /// # Errors
    /// A server cannot be stopped; the other one is stopped all the same.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        blocking(move || stop(self)).await
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(postgres) = &mut self.postgres {
            postgres.ask_to_stop();
        }
        if let Some(redis) = &mut self.redis {
            redis.ask_to_stop();
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EmbeddedError> + Send + 'static,
) -> Result<T, EmbeddedError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|source| Err(EmbeddedError::CutShort { source }))
}

fn start(data_dir: &Path, wanted: Wanted) -> Result<Embedded, EmbeddedError> {
    let doing = format!("open data folder '{}'", data_dir.display());
    let data_dir = fs::create_dir_all(data_dir)
        .and_then(|()| fs::canonicalize(data_dir))
        .map_err(io_error(doing))?;
    let lock = lock(&data_dir)?;
    files::remove(&connections::path_in(&data_dir))?;

    let home = |wanted: bool, name, accounts| {
        wanted.then(|| Home::open(&data_dir, name, accounts)).transpose()
    };
    let postgres_home = home(wanted.postgres, "postgres", &postgres::ACCOUNTS)?;
    let redis_home = home(wanted.redis, "redis", &redis::ACCOUNTS)?;
    let (postgres, redis) = thread::scope(|scope| {
        let redis = scope.spawn(|| redis_home.map(Redis::start).transpose());
        let postgres = postgres_home.map(Postgres::start).transpose();
        (postgres, redis.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    // If one failed, dropping this asks the other one to stop.
    let mut embedded = Embedded { data_dir, postgres: None, redis: None, _lock: lock };
    let (postgres, redis) = match (postgres, redis) {
        (Ok(postgres), Ok(redis)) => (postgres, redis),
        (Err(error), redis) => {
            embedded.redis = redis.ok().flatten();
            return Err(error);
        }
        (postgres, Err(error)) => {
            embedded.postgres = postgres.ok().flatten();
            return Err(error);
        }
    };
    (embedded.postgres, embedded.redis) = (postgres, redis);
    Ok(embedded)
}

fn stop(mut embedded: Embedded) -> Result<(), EmbeddedError> {
    let removed = files::remove(&connections::path_in(&embedded.data_dir));
    let (postgres, redis) = (embedded.postgres.take(), embedded.redis.take());
    let (postgres, redis) = thread::scope(|scope| {
        let redis = scope.spawn(|| redis.map_or(Ok(()), Redis::stop));
        let postgres = postgres.map_or(Ok(()), Postgres::stop);
        (postgres, redis.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    removed.and(postgres).and(redis)
}

/// The kernel lets go of the lock when this process ends in any way.
fn lock(data_dir: &Path) -> Result<File, EmbeddedError> {
    let path = data_dir.join("lock");
    let doing = format!("lock '{}'", path.display());
    let mut options = OpenOptions::new();
    // Whoever can open it can hold it.
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(&path).map_err(io_error(&doing))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse {
            data_dir: data_dir.to_owned(),
            connections: connections::path_in(data_dir),
        }),
        Err(TryLockError::Error(error)) => Err(io_error(doing)(error)),
    }
}
