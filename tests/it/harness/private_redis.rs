//! A Redis of a test's own, which may be killed, stopped, emptied and set back.
//!
//! It keeps what it had at an orderly stop and nothing younger at a kill; what [`PrivateRedis::keep_snapshot`]
//! kept can be put in the place of everything later.

mod tests;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::server::eventually;

/// Below the ports that the system gives to others, so that nobody takes it while it is down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// It answers in microseconds, or is gone.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Its data, and what was kept of them.
const DATA: &str = "dump.rdb";
const KEPT: &str = "kept.rdb";
/// Kills the server on the port $1 of the folder $2 once its standard input is closed, which the
/// kernel does even for a test that was killed.
const REAPER: &str = r#"
line() { tr '\0' ' ' <"/proc/$1/cmdline" || ps -o args= -p "$1"; } 2>/dev/null
read -r _
pid=$(cat "$2/pid" 2>/dev/null) || exit 0
case $(line "$pid") in *:"$1"*) kill -KILL "$pid" ;; esac
rm -rf "$2"
"#;

/// `redis-server`; killed when dropped.
pub struct PrivateRedis {
    folder: TempDir,
    address: SocketAddr,
    child: Option<Child>,
    _reaper: Child,
}

impl PrivateRedis {
    /// Starts one, and waits until it answers.
    pub async fn start() -> PrivateRedis {
        let folder = tempfile::Builder::new().prefix("stockroom-redis-").tempdir().unwrap();
        let address = free_address();
        let reaper = reaper(address, &folder);
        let mut redis = PrivateRedis { folder, address, child: None, _reaper: reaper };
        redis.start_again().await;
        redis
    }

    /// Where it is, or will be again.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address)
    }

    /// Starts it with what it has, after a stop or a kill.
    pub async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut command = Command::new(program());
        command.args(["--bind", "127.0.0.1", "--port", &self.address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--maxmemory-policy", "noeviction", "--dbfilename", DATA]);
        command.arg("--dir").arg(self.folder.path());
        command.arg("--pidfile").arg(self.folder.path().join("pid"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("there is a redis-server"));
        let answers = || async { self.try_command("PING").await.filter(|told| told == "+PONG") };
        eventually("Redis answers", answers).await;
    }

    /// `kill -9`: everything that was not saved is lost.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it in good order: everything is kept.
    pub async fn stop(&mut self) {
        self.command("SAVE").await;
        self.kill();
    }

    /// Keeps what it has now for [`PrivateRedis::restart_from_snapshot`].
    pub async fn keep_snapshot(&self) {
        self.command("SAVE").await;
        let folder = self.folder.path();
        fs::copy(folder.join(DATA), folder.join(KEPT)).unwrap();
    }

    /// Kills it, and starts it with what was kept.
    pub async fn restart_from_snapshot(&mut self) {
        self.kill();
        let folder = self.folder.path();
        fs::copy(folder.join(KEPT), folder.join(DATA)).expect("something was kept");
        self.start_again().await;
    }

    /// Empties it.
    pub async fn flush(&self) {
        self.command("FLUSHALL").await;
    }

    /// Freezes it where it stands, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The first line of the answer to a command of plain words; it must be no error.
    pub async fn command(&self, words: &str) -> String {
        let answer = self.try_command(words).await.expect("Redis answers");
        assert!(!answer.starts_with('-'), "{words}: {answer}");
        answer
    }

    async fn try_command(&self, words: &str) -> Option<String> {
        let asked = async {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            stream.write_all(format!("{words}\r\n").as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n") {
                answer.push(stream.read_u8().await.ok()?);
            }
            Some(String::from_utf8(answer).ok()?.trim_end().to_owned())
        };
        timeout(ANSWER_MAX, asked).await.ok()?
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(super) fn reaper(address: SocketAddr, folder: &TempDir) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", REAPER, "reaper", &address.port().to_string()]).arg(folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().expect("a shell starts")
}

/// Its name: Valkey is the same thing for our purposes.
pub(super) fn program() -> &'static str {
    let there = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["redis-server", "valkey-server"].into_iter().find(there).expect("Redis is installed")
}

/// Where nobody listens, and nobody will before a test does.
pub fn free_address() -> SocketAddr {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let ports = PORTS.end - PORTS.start;
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + ((now.subsec_nanos() >> 8) as u16).wrapping_add(tried) % ports;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
