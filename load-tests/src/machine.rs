//! What everything was measured on, and with which versions.

use std::{fs, process::Command, time::Duration};

use serde::Serialize;

use crate::{
    baseline, raw_redis,
    server::{self, Server},
};

/// Starting a server takes most of it.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// A machine and what runs on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Day and minute, UTC.
    pub measured_at: String,
    /// Threads that run at once.
    pub cores: usize,
    /// What they call themselves.
    pub cpu: String,
    /// GiB of RAM.
    pub memory_gib: f64,
    /// Operating system.
    pub system: String,
    /// Kernel.
    pub kernel: String,
    /// Of the server that was loaded.
    pub postgres: String,
    /// Of the server that was loaded.
    pub redis: String,
    /// Of the compiler on the path.
    pub rustc: String,
    /// What was built: a commit, and whether anything differs from it.
    pub commit: String,
}

impl Machine {
    /// Looks around.
    ///
    /// # Errors
    /// A database is away.
    pub async fn look(server: &Server) -> anyhow::Result<Machine> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let kilobytes = after(&read("/proc/meminfo"), "MemTotal:");
        let kilobytes = kilobytes.trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
        let system = after(&read("/etc/os-release"), "PRETTY_NAME=");
        Ok(Machine {
            measured_at: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: after(&read("/proc/cpuinfo"), "model name").trim_start_matches([':', ' ']).into(),
            memory_gib: crate::stats::rounded(kilobytes / 1_048_576.0, 1),
            system: system.trim_matches('"').to_owned(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            postgres: baseline::version(&server.database_url).await?,
            redis: raw_redis::version(&server.redis_url).await?,
            rustc: said(Command::new("rustc").arg("--version")),
            commit: said(Command::new("git").args(["describe", "--always", "--dirty"])),
        })
    }
}

/// Looks around and prints.
///
/// # Errors
/// As [`Machine::look`].
pub fn run() -> anyhow::Result<()> {
    let machine = server::block_on(server::with(LOOK_MAX, Machine::look))?;
    println!("{}", serde_json::to_string(&machine)?);
    Ok(())
}

/// What follows `name` on the first line that begins with it.
fn after(text: &str, name: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or("unknown").trim().to_owned()
}

/// The first line of what a program says, if it is there at all.
fn said(command: &mut Command) -> String {
    let output = command.output().ok().filter(|output| output.status.success());
    let said = output.and_then(|output| String::from_utf8(output.stdout).ok());
    let line = said.and_then(|said| said.lines().next().map(str::to_owned));
    line.unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_unknown() {
        assert_eq!(after("MemTotal:       24 kB\n", "MemTotal:"), "24 kB");
        assert_eq!(after("MemFree: 1 kB\n", "MemTotal:"), "unknown");
        assert_eq!(said(&mut Command::new("no-such-program-anywhere")), "unknown");
        assert_eq!(said(&mut Command::new("false")), "unknown");
    }
}
