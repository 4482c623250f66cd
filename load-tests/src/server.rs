//! A Stockroom to load: the release build beside this program, with private databases in a folder
//! that goes away with it.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use stockroom::embedded::{Connections, read_connections};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tonic::transport::{Channel, Endpoint};

use crate::baseline;

/// A first start makes a database cluster.
const START_MAX: Duration = Duration::from_secs(120);
/// A stop drains calls and writes a last checkpoint.
const STOP_MAX: Duration = Duration::from_secs(90);
/// Warnings of a server that are repeated: under overload there may be one for each call.
const WARNINGS_MAX: u64 = 20;
/// Where a server's folder is kept that the account of PostgreSQL could not enter otherwise.
const ELSEWHERE: &str = "/var/lib/stockroom";

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: PathBuf,
    /// Of its process.
    pub pid: u32,
    /// Of gRPC, such as http://127.0.0.1:7777.
    pub address: String,
    /// Of its PostgreSQL.
    pub database_url: String,
    /// Of its Redis.
    pub redis_url: String,
}

impl Server {
    /// One connection of its own.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        connect(&self.address).await
    }

    /// What `stockroom verify` finds, as it prints it.
    ///
    /// # Errors
    /// Something differs, more was promised than there was, or it takes longer than `most`.
    pub async fn verify(&self, most: Duration) -> anyhow::Result<Value> {
        let mut command = Command::new(program()?);
        command.args(["verify", "--json", "--data-dir"]).arg(&self.folder);
        command.env_remove("DATABASE_URL").env_remove("REDIS_URL").kill_on_drop(true);
        let ran = timeout(most, command.output()).await.context("verify takes too long")??;
        let found = String::from_utf8_lossy(&ran.stdout);
        let object: Value = serde_json::from_str(&found).unwrap_or_default();
        let fits = ran.status.success() && object["ok"] == true && object["oversold"] == 0;
        let said = String::from_utf8_lossy(&ran.stderr);
        anyhow::ensure!(fits, "verify: {} {}", found.trim(), said.trim());
        Ok(object)
    }

    async fn start(connections: Option<u32>) -> anyhow::Result<Server> {
        let folder = new_folder()?;
        let started = async {
            let mut server = Server::start_in(&folder).await?;
            if let Some(connections) = connections {
                baseline::allow_connections(&server.database_url, connections).await?;
                stop(&mut server.child).await?;
                server = Server::start_in(&folder).await?;
            }
            Ok(server)
        };
        let started = started.await;
        if started.is_err() {
            remove(&folder)?;
        }
        started
    }

    async fn start_in(folder: &Path) -> anyhow::Result<Server> {
        let program = program()?;
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--data-dir"]);
        command.arg(folder).env_remove("DATABASE_URL").env_remove("REDIS_URL");
        // How fast holds are taken is measured, and nothing becomes of them.
        command.args(["--holds-in-vain-max", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| {
            format!("cannot start {}; was all of the workspace built", program.display())
        })?;
        let pid = child.id().context("the server ended at once")?;
        let (told, listens) = oneshot::channel();
        let log = child.stderr.take().context("the server has no log")?;
        tokio::spawn(follow(log, told));
        let ready = match timeout(START_MAX, listens).await {
            Ok(Ok(address)) => read_connections(folder).map(|found| (address, found)),
            _ => {
                stop(&mut child).await?;
                bail!("the server did not start");
            }
        };
        let (address, Connections { database_url, redis_url }) = ready?;
        let address = format!("http://{address}");
        Ok(Server { child, folder: folder.to_owned(), pid, address, database_url, redis_url })
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        let stopped = stop(&mut self.child).await;
        remove(&self.folder)?;
        stopped
    }
}

/// Starts a server, does something with it for at most `lasting`, and stops it in any case.
///
/// # Errors
/// Whatever went wrong first, a signal to stop included.
pub async fn with<T>(
    lasting: Duration,
    work: impl AsyncFnOnce(&Server) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    with_connections(None, lasting, work).await
}

/// As [`with`]; its PostgreSQL takes `connections` connections.
///
/// # Errors
/// As [`with`].
pub async fn with_connections<T>(
    connections: Option<u32>,
    lasting: Duration,
    work: impl AsyncFnOnce(&Server) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let server = Server::start(connections).await?;
    let done = tokio::select! {
        done = timeout(lasting, work(&server)) => match done {
            Ok(done) => done,
            Err(_) => Err(anyhow::anyhow!("not done within {} s", lasting.as_secs())),
        },
        _ = interrupted.recv() => Err(anyhow::anyhow!("interrupted")),
        _ = terminated.recv() => Err(anyhow::anyhow!("terminated")),
    };
    let stopped = server.stop().await;
    let done = done?;
    stopped?;
    Ok(done)
}

/// A connection to what listens at `address`.
///
/// # Errors
/// Nobody does.
pub async fn connect(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true);
    endpoint.connect().await.context("cannot connect to the server")
}

/// Runs `work` on a runtime of its own.
///
/// # Errors
/// Those of the work.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Runtime::new().context("cannot start the runtime")?.block_on(work)
}

/// The program that is loaded: it was built beside this one.
fn program() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe().context("where is this program")?;
    Ok(this.with_file_name("stockroom"))
}

/// Tells where the server listens, and repeats its first warnings.
async fn follow(log: ChildStderr, told: oneshot::Sender<String>) {
    let mut told = Some(told);
    let (mut lines, mut warnings) = (BufReader::new(log).lines(), 0_u64);
    while let Ok(Some(line)) = lines.next_line().await {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        let field = |name: &str| entry["fields"][name].as_str().unwrap_or_default().to_owned();
        if field("message") == "listening" {
            // Nobody waits for it any longer if it took too long.
            let _ = told.take().map(|told| told.send(field("address")));
        } else if entry["level"] != "INFO" {
            warnings += 1;
            if warnings <= WARNINGS_MAX {
                eprintln!("{line}");
            }
        }
    }
    if warnings > WARNINGS_MAX {
        eprintln!("the server gave {warnings} warnings; {WARNINGS_MAX} were repeated");
    }
}

/// The standard library can only kill, which would leave the private databases running.
async fn stop(child: &mut Child) -> anyhow::Result<()> {
    if let Some(pid) = child.id() {
        let told = Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status().await;
        told.context("cannot tell the server to stop")?;
    }
    let status = timeout(STOP_MAX, child.wait()).await.context("the server does not stop")??;
    anyhow::ensure!(status.success(), "the server ended with {status}");
    Ok(())
}

fn new_folder() -> anyhow::Result<PathBuf> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let name = format!("stockroom-load-{}-{now}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Removes a data folder, and what it keeps elsewhere.
fn remove(folder: &Path) -> anyhow::Result<()> {
    for name in ["postgres", "redis"] {
        let Ok(home) = fs::canonicalize(folder.join(name)) else { continue };
        if home.starts_with(ELSEWHERE) {
            fs::remove_dir_all(&home)?;
        }
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}
