//! A Redis with a replica, which can be emptied, set back and replaced.

use std::{fs, net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::place::{Place, free_address};

/// It answers in microseconds, or is gone.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const READY_MAX: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(10);
/// What it kept, and what was kept of that.
const DATA: &str = "dump.rdb";
const KEPT: &str = "kept.rdb";

#[derive(Debug)]
struct Instance {
    root: PathBuf,
    address: SocketAddr,
    child: Child,
}

/// Primary and replica.
#[derive(Debug)]
pub(super) struct Redis {
    place: Arc<Place>,
    primary: Instance,
    replica: Option<Instance>,
    made: u32,
}

impl Redis {
    pub(super) async fn start(place: Arc<Place>) -> anyhow::Result<Redis> {
        let primary = Instance::start(&place, 0).await?;
        Ok(Redis { place, primary, replica: None, made: 0 })
    }

    /// Where the primary is.
    pub(super) fn address(&self) -> SocketAddr {
        self.primary.address
    }

    /// Loses everything.
    pub(super) async fn flush(&self) -> anyhow::Result<()> {
        self.primary.command("FLUSHALL").await.map(drop)
    }

    /// Keeps what there is now.
    pub(super) async fn keep(&self) -> anyhow::Result<()> {
        self.primary.command("SAVE").await?;
        let root = &self.primary.root;
        fs::copy(root.join(DATA), root.join(KEPT))?;
        Ok(())
    }

    /// Dies and comes back with what was kept, or with nothing.
    pub(super) async fn restart_from_kept(&mut self) -> anyhow::Result<()> {
        self.primary.child.kill().await?;
        let root = &self.primary.root;
        if root.join(KEPT).exists() {
            fs::copy(root.join(KEPT), root.join(DATA))?;
        }
        self.primary.child = run(&root.clone(), self.primary.address)?;
        self.primary.wait_until("PING", "+PONG").await
    }

    /// Makes a replica, and waits until it follows.
    pub(super) async fn add_replica(&mut self) -> anyhow::Result<()> {
        self.made += 1;
        let replica = Instance::start(&self.place, self.made).await?;
        let port = self.primary.address.port();
        replica.command(&format!("REPLICAOF 127.0.0.1 {port}")).await?;
        replica.wait_until("INFO replication", "master_link_status:up").await?;
        self.replica = Some(replica);
        Ok(())
    }

    /// The primary dies and the replica takes over, without what had not reached it; where it is
    /// now.
    pub(super) async fn fail_over(&mut self) -> anyhow::Result<SocketAddr> {
        let replica = self.replica.take().context("there is no replica")?;
        self.primary.child.kill().await?;
        replica.command("REPLICAOF NO ONE").await?;
        self.primary = replica;
        Ok(self.primary.address)
    }
}

impl Instance {
    async fn start(place: &Place, number: u32) -> anyhow::Result<Instance> {
        let root = place.folder.join(format!("redis-{number}"));
        fs::create_dir(&root)?;
        let address = free_address()?;
        let child = run(&root, address)?;
        let instance = Instance { root, address, child };
        instance.wait_until("PING", "+PONG").await?;
        Ok(instance)
    }

    async fn wait_until(&self, words: &str, told: &str) -> anyhow::Result<()> {
        let until = Instant::now() + READY_MAX;
        while !self.command(words).await.is_ok_and(|answer| answer.contains(told)) {
            ensure!(Instant::now() < until, "Redis does not tell {told} on {words}");
            sleep(POLL_EVERY).await;
        }
        Ok(())
    }

    /// The beginning of the answer to a command of plain words.
    async fn command(&self, words: &str) -> anyhow::Result<String> {
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await?;
            stream.write_all(format!("{words}\r\n").as_bytes()).await?;
            let mut answer = vec![0; 4_096];
            let length = stream.read(&mut answer).await?;
            answer.truncate(length);
            anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
        };
        let answer = timeout(ANSWER_MAX, asked).await.context("Redis does not answer")??;
        ensure!(!answer.starts_with('-'), "{words}: {answer}");
        Ok(answer)
    }
}

fn run(root: &PathBuf, address: SocketAddr) -> anyhow::Result<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.args(["--maxmemory-policy", "noeviction", "--dbfilename", DATA]);
    command.args(["--repl-diskless-sync-delay", "0"]).arg("--dir").arg(root);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.kill_on_drop(true).process_group(0);
    command.spawn().context("cannot start redis-server")
}
