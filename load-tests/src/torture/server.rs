//! The servers that are tortured: processes of their own, each behind wires of its own.

use std::{fs::File, net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    place::{Place, free_address, signal},
    proxy::Proxy,
};

/// How long a server may take until it listens, its databases being there.
const START_MAX: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub address: SocketAddr,
    /// Between it and PostgreSQL.
    pub postgres: Proxy,
    /// Between it and Redis.
    pub redis: Proxy,
    place: Arc<Place>,
    number: usize,
    program: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Server `number`; it is not started yet.
    pub(super) async fn new(
        place: &Arc<Place>,
        number: usize,
        postgres: SocketAddr,
        redis: SocketAddr,
    ) -> anyhow::Result<Server> {
        let program = std::env::current_exe().context("where is this program")?;
        Ok(Server {
            address: free_address()?,
            postgres: Proxy::start(postgres).await?,
            redis: Proxy::start(redis).await?,
            place: Arc::clone(place),
            number,
            program: program.with_file_name("stockroom"),
            child: None,
        })
    }

    /// Starts it, if it does not run, without waiting until it listens.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && child.try_wait()?.is_none()
        {
            return Ok(());
        }
        let log = self.place.folder.join(format!("server-{}.log", self.number));
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        command.args(["serve", "--log-format", "json", "--listen", &self.address.to_string()]);
        command.arg("--database-url");
        command.arg(format!("postgres://stockroom@{}/stockroom", self.postgres.address));
        command.arg("--redis-url").arg(format!("redis://{}/", self.redis.address));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command.spawn();
        let child = child.with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it listens.
    pub(super) async fn listens(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(self.address).await.is_err() {
            let child = self.child.as_mut().context("the server was not started")?;
            if let Some(status) = child.try_wait()? {
                anyhow::bail!("server {} ended with {status}: see its log", self.number);
            }
            ensure!(Instant::now() < until, "server {} does not listen", self.number);
            sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// Its process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// `kill -9`.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the server was not started")?;
        Ok(child.kill().await?)
    }

    /// Stops it where it stands, or lets it go on.
    pub(super) async fn freeze(&self, frozen: bool) -> anyhow::Result<()> {
        let pid = self.child.as_ref().and_then(Child::id).context("the server does not run")?;
        signal(pid, if frozen { "STOP" } else { "CONT" }).await
    }
}
