//! Where a torture takes place: a folder that goes away, accounts, ports and programs.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicU16, Ordering},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail, ensure};
use tokio::{process::Command, time::timeout};

use super::volume::Volume;

/// Below the ports that the system gives to others, so that nobody takes one while its owner is
/// down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;
/// Where distributions keep the programs of PostgreSQL's server.
const POSTGRES_FOLDERS: &str = "/usr/lib/postgresql";
/// What is run and awaited is done by then.
const RUN_MAX: Duration = Duration::from_secs(60);

/// A folder of this run.
#[derive(Debug)]
pub(super) struct Place {
    pub folder: PathBuf,
    /// Under whom PostgreSQL runs; none: as we do.
    pub account: Option<(u32, u32)>,
    pub postgres: PathBuf,
    /// Where the data of PostgreSQL is, or why it has no volume of its own.
    pub volume: Result<Volume, String>,
    /// Set if everything is to stay when it is over.
    pub keep: AtomicBool,
}

impl Place {
    /// A place; `with_volume`: PostgreSQL has a volume of its own there, of limited size.
    pub(super) async fn new(with_volume: bool) -> anyhow::Result<Place> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
        let name = format!("stockroom-torture-{}-{now}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        let account = match id(&["-u"]).await? {
            0 => Some((id(&["-u", "postgres"]).await?, id(&["-g", "postgres"]).await?)),
            _ => None,
        };
        let volume = match with_volume {
            true => Volume::mount(&folder),
            false => Err(anyhow::anyhow!("none is wanted")),
        };
        let volume = volume.map_err(|error| format!("no volume could be mounted: {error}"));
        let keep = AtomicBool::new(false);
        Ok(Place { folder, account, postgres: postgres_programs()?, volume, keep })
    }

    /// A folder of PostgreSQL's own.
    pub(super) fn make(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.volume.as_ref().map_or(&self.folder, |volume| &volume.folder).join(name);
        fs::create_dir(&folder)?;
        self.give(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        Ok(folder)
    }

    /// Gives a file or folder to the account of PostgreSQL.
    pub(super) fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.account {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// A program of PostgreSQL under its account.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.postgres.join(program));
        command.current_dir(&self.folder).env("LC_ALL", "C").stdin(Stdio::null());
        command.kill_on_drop(true);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Place {
    /// Whatever ended it, a signal included.
    fn drop(&mut self) {
        self.volume = Err(String::new());
        if !self.keep.load(Ordering::Relaxed)
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            eprintln!("cannot remove '{}': {error}", self.folder.display());
        }
    }
}

/// Runs a command to its end.
pub(super) async fn run(mut command: Command) -> anyhow::Result<()> {
    let doing = format!("{:?}", command.as_std().get_program());
    let output = timeout(RUN_MAX, command.output()).await.with_context(|| doing.clone())?;
    let output = output.with_context(|| doing.clone())?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{doing} failed: {told}");
    Ok(())
}

/// Sends a signal to a process that we started.
pub(super) async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().await?;
    ensure!(status.success(), "cannot send {name} to {pid}");
    Ok(())
}

/// An address on the loopback where nobody listens, other than those before.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let ports = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id() % 10_000)?;
    for _ in 0..ports {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (first.wrapping_add(tried)) % ports;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free")
}

async fn id(arguments: &[&str]) -> anyhow::Result<u32> {
    let output = Command::new("id").args(arguments).stdin(Stdio::null()).output().await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.trim().parse().with_context(|| format!("there is no account for 'id {arguments:?}'"))
}

/// The newest that there is.
fn postgres_programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(POSTGRES_FOLDERS).into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let found = folders.filter(|folder| folder.join("pg_basebackup").exists()).max();
    found.context("the programs of PostgreSQL's server are not installed")
}
