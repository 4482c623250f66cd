//! A PostgreSQL primary with a standby, which can crash, take over and be made anew.
#![expect(clippy::disallowed_types, reason = "the supervisor looks at the servers themselves")]

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, PgConnection};
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

use super::{
    place::{Place, free_address, run, signal},
    proxy::{Mode, Proxy},
};

/// How long a server may take to start, to recover or to take over.
const READY_MAX: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked whether one that was told to end has ended.
const END_POLLS_MAX: u32 = 250;
/// Also the name of the database.
const USER: &str = "stockroom";

/// As durable as the private PostgreSQL of the service.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 120
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 64MB
wal_keep_size = 64MB
max_wal_size = 256MB
wal_retrieve_retry_interval = 100ms
wal_receiver_timeout = 3s
wal_sender_timeout = 3s
timezone = 'UTC'
";

/// One server and its folder.
#[derive(Debug)]
struct Instance {
    root: PathBuf,
    /// Beside the volume, which may be full, and may go away.
    log: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

/// Primary and standby.
#[derive(Debug)]
pub(super) struct Postgres {
    place: std::sync::Arc<Place>,
    primary: Instance,
    standby: Option<Instance>,
    /// Between the primary and its standby.
    replication: Proxy,
    made: u32,
}

impl Postgres {
    /// Makes a cluster and starts it.
    pub(super) async fn start(place: std::sync::Arc<Place>) -> anyhow::Result<Postgres> {
        let root = place.make("postgres-0")?;
        let address = free_address()?;
        let mut initdb = place.command("initdb");
        initdb.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8"]);
        initdb.args(["--locale", "C", "--data-checksums", "--pgdata"]).arg(root.join("data"));
        run(initdb).await?;
        let log = place.folder.join("postgres-0.log");
        let mut primary = Instance { root, log, address, child: None };
        primary.configure(&place, None, false)?;
        primary.start(&place).await?;
        let mut postgres = PgConnection::connect(&url(address, "postgres")).await?;
        sqlx::query("create database stockroom").execute(&mut postgres).await?;
        let replication = Proxy::start(address).await?;
        Ok(Postgres { place, primary, standby: None, replication, made: 0 })
    }

    /// Where the primary is.
    pub(super) fn address(&self) -> SocketAddr {
        self.primary.address
    }

    /// The primary's database, past every proxy.
    pub(super) fn url(&self) -> String {
        url(self.primary.address, USER)
    }

    /// `kill`, and everything that its processes had not written is gone; then the recovery.
    pub(super) async fn crash(&mut self) -> anyhow::Result<()> {
        self.primary.kill().await?;
        self.primary.start(&self.place).await
    }

    /// No byte can be written any more for a while; then it comes back.
    pub(super) async fn fill_volume(&mut self, lasting: Duration) -> anyhow::Result<()> {
        let ballast = match &self.place.volume {
            Ok(volume) => volume.fill()?,
            Err(why) => anyhow::bail!("{why}"),
        };
        sleep(lasting).await;
        drop(ballast);
        for instance in [Some(&mut self.primary), self.standby.as_mut()].into_iter().flatten() {
            instance.start_again(&self.place).await?;
        }
        Ok(())
    }

    /// Makes a standby from a copy of the primary, and waits until it follows.
    pub(super) async fn add_standby(&mut self) -> anyhow::Result<()> {
        self.made += 1;
        self.replication.set(Mode::Open);
        self.replication.lead_to(self.primary.address);
        let root = self.place.make(&format!("postgres-{}", self.made))?;
        let mut backup = self.place.command("pg_basebackup");
        backup.args(["--checkpoint", "fast", "--wal-method", "stream", "--no-sync"]);
        backup.args(["--host", "127.0.0.1", "--username", USER]);
        backup.args(["--port", &self.primary.address.port().to_string()]);
        backup.arg("--pgdata").arg(root.join("data"));
        run(backup).await?;
        let log = self.place.folder.join(format!("postgres-{}.log", self.made));
        let mut standby = Instance { root, log, address: free_address()?, child: None };
        standby.configure(&self.place, Some(self.replication.address), false)?;
        let sign = standby.root.join("data/standby.signal");
        fs::write(&sign, "")?;
        self.place.give(&sign)?;
        standby.start(&self.place).await?;
        self.standby = Some(standby);
        self.wait_until_followed("streaming", "%").await
    }

    /// From now on a commit waits for the standby.
    pub(super) async fn wait_for_standby(&mut self) -> anyhow::Result<()> {
        self.primary.configure(&self.place, None, true)?;
        signal(self.primary.pid()?, "HUP").await?;
        self.wait_until_followed("streaming", "sync").await
    }

    /// The standby lacks what is written from now on.
    pub(super) fn leave_standby_behind(&self) {
        self.replication.set(Mode::Cut);
    }

    /// The primary dies and the standby takes over; where it is now.
    pub(super) async fn fail_over(&mut self) -> anyhow::Result<SocketAddr> {
        let mut standby = self.standby.take().context("there is no standby")?;
        self.primary.kill().await?;
        standby.configure(&self.place, None, false)?;
        let mut connection = PgConnection::connect(&url(standby.address, USER)).await?;
        let promoted: bool =
            sqlx::query_scalar("select pg_promote(true, 30)").fetch_one(&mut connection).await?;
        ensure!(promoted, "the standby does not take over");
        std::mem::swap(&mut self.primary, &mut standby);
        fs::remove_dir_all(&standby.root)?;
        Ok(self.primary.address)
    }

    async fn wait_until_followed(&self, state: &str, sync_state: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY_MAX;
        let mut connection = PgConnection::connect(&self.url()).await?;
        loop {
            let followed: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_replication
                     where state = $1 and sync_state like $2 and replay_lsn is not null)",
            )
            .bind(state)
            .bind(sync_state)
            .fetch_one(&mut connection)
            .await?;
            if followed {
                return Ok(());
            }
            ensure!(Instant::now() < until, "the standby does not follow");
            sleep(POLL_EVERY).await;
        }
    }
}

impl Instance {
    /// Settings outside of the data folder: a copy of that has none of them.
    fn configure(
        &self,
        place: &Place,
        follows: Option<SocketAddr>,
        synchronous: bool,
    ) -> anyhow::Result<()> {
        let mut settings = format!("{SETTINGS}port = {}\n", self.address.port());
        if let Some(primary) = follows {
            let port = primary.port();
            settings += &format!(
                "primary_conninfo = 'host=127.0.0.1 port={port} user={USER} connect_timeout=2'\n"
            );
        }
        if synchronous {
            settings += "synchronous_standby_names = '*'\n";
        }
        let path = self.root.join("torture.conf");
        fs::write(&path, settings)?;
        place.give(&path)
    }

    /// Starts it if it has ended, and waits until it takes connections.
    async fn start_again(&mut self, place: &Place) -> anyhow::Result<()> {
        let child = self.child.as_mut().context("PostgreSQL was not started")?;
        match child.try_wait()? {
            Some(_) => self.start(place).await,
            None => self.wait_until_ready().await,
        }
    }

    async fn start(&mut self, place: &Place) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = place.command("postgres");
        command.arg("-D").arg(self.root.join("data"));
        command.arg("-c").arg(format!("config_file={}", self.root.join("torture.conf").display()));
        command.stdout(log.try_clone()?).stderr(log).process_group(0);
        self.child = Some(command.spawn()?);
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + READY_MAX;
        while PgConnection::connect(&url(self.address, "postgres")).await.is_err() {
            ensure!(Instant::now() < until, "PostgreSQL does not start: see its log");
            let child = self.child.as_mut().context("PostgreSQL was not started")?;
            if let Some(status) = child.try_wait()? {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                anyhow::bail!("PostgreSQL ended with {status}: {log}");
            }
            sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.as_ref().and_then(Child::id).context("PostgreSQL does not run")
    }

    /// At once, without a checkpoint. Its parent process passes it on, so that none of its
    /// processes is left.
    async fn kill(&mut self) -> anyhow::Result<()> {
        signal(self.pid()?, "QUIT").await?;
        let mut child = self.child.take().context("PostgreSQL does not run")?;
        timeout(READY_MAX, child.wait()).await.context("PostgreSQL does not end")??;
        Ok(())
    }
}

impl Drop for Postgres {
    /// Killing the parent process alone would leave the others a moment in the folder.
    fn drop(&mut self) {
        for instance in [Some(&mut self.primary), self.standby.as_mut()].into_iter().flatten() {
            let Some(pid) = instance.child.as_ref().and_then(Child::id) else { continue };
            let mut kill = std::process::Command::new("kill");
            let told = kill.args(["-s", "QUIT", &pid.to_string()]).status();
            for _ in 0..END_POLLS_MAX {
                let ended = instance.child.as_mut().map(Child::try_wait);
                if told.is_err() || !matches!(ended, Some(Ok(None))) {
                    break;
                }
                std::thread::sleep(POLL_EVERY);
            }
        }
    }
}

fn url(address: SocketAddr, database: &str) -> String {
    format!("postgres://{USER}@{address}/{database}")
}
