//! A Redis of one test, which it may fill, stop, kill and start again from an old snapshot.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use tempfile::TempDir;

use crate::harness::{redis::Raw, server::eventually};

/// Starts a server ($@), says its process id, and kills it once its own standard input is closed, which
/// the kernel does even for a process that was killed.
const KEEPER: &str = r#"
"$@" </dev/null >/dev/null 2>&1 &
pid=$!
echo "$pid"
read -r _
kill -KILL "$pid"
wait
"#;
/// Below the ports that the system hands out to outgoing connections.
const PORT_MIN: u16 = 12_000;
const PORTS: u16 = 7_000;

static PORTS_TRIED: AtomicU16 = AtomicU16::new(0);

/// A Redis without persistence, but for the snapshots that it is told to take.
pub struct PrivateRedis {
    folder: TempDir,
    port: u16,
    keeper: Option<Child>,
}

impl PrivateRedis {
    /// Starts one.
    pub async fn start() -> PrivateRedis {
        let folder = tempfile::Builder::new().prefix("stockroom-redis-").tempdir().unwrap();
        let mut redis = PrivateRedis { folder, port: free_port(), keeper: None };
        redis.run().await;
        redis
    }

    /// Its address, whether it runs or not.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A connection past everything of ours.
    pub fn raw(&self) -> Raw {
        Raw::new(&self.url())
    }

    /// Runs it again, from the last snapshot if there is one.
    pub async fn run(&mut self) {
        assert!(self.keeper.is_none(), "it runs already");
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper", program()]);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"]);
        command.arg("--dir").arg(self.folder.path());
        let mut keeper =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell starts");
        let mut pid = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        self.keeper = Some(keeper);
        let raw = self.raw();
        eventually("the private Redis answers", || async {
            raw.try_command(&["PING"]).await.is_some().then_some(())
        })
        .await;
    }

    /// Kills it: what came after the last snapshot is lost.
    pub fn kill(&mut self) {
        let Some(mut keeper) = self.keeper.take() else { return };
        drop(keeper.stdin.take());
        keeper.wait().expect("it ends");
    }

    /// Takes a snapshot, from which it starts again.
    pub async fn save(&self) {
        self.raw().command(&["SAVE"]).await;
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> &'static str {
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    ["redis-server", "valkey-server"].into_iter().find(there).expect("Redis is installed")
}

fn free_port() -> u16 {
    let first = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap();
    loop {
        let tried = PORTS_TRIED.fetch_add(1, Ordering::Relaxed);
        let port = PORT_MIN + (first.wrapping_add(tried.wrapping_mul(7))) % PORTS;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
