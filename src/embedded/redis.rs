//! The private Redis: started or taken over, stopped.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use super::{
    error::{EmbeddedError, io_error},
    files,
    home::{Home, printable},
    port, process, programs,
};

/// Accounts under which root starts it, in order of preference.
pub(super) const ACCOUNTS: [&str; 2] = ["redis", "nobody"];

/// Reading the append-only file back takes about a second for a million writes.
const START_LIMIT: Duration = Duration::from_secs(300);
/// The rest of the append-only file is synced before it ends.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// A server that is there answers on the loopback in microseconds, or is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// How long a process that holds our files may stay silent before we give up on it.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How often a start is tried when somebody else takes the port first.
const PORT_TRIES_MAX: usize = 3;
/// An answer to INFO has 5 to 10 KB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// The log is set aside at a start when it is larger than this.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

const SETTINGS: &str = "\
bind 127.0.0.1
protected-mode yes
daemonize no
appendonly yes
appendfsync everysec
# what a crash cut off in the middle of a write was not promised to anybody
aof-load-truncated yes
# the append-only file holds everything: no snapshots besides
save \"\"
maxmemory-policy noeviction
logfile \"\"
";

/// A running private Redis.
#[derive(Debug)]
pub(super) struct Redis {
    home: Home,
    /// None: started by a process before us.
    child: Option<Child>,
    port: u16,
    url: String,
}

impl Redis {
    /// Starts the server of this folder, or takes it over if it still runs.
    pub(super) fn start(home: Home) -> Result<Redis, EmbeddedError> {
        files::make_folder(&home.data, 0o700, home.account)?;
        let (port, child) = match running(&home)? {
            Some(port) => {
                tracing::info!(port, "took over the private Redis that was still running");
                (port, None)
            }
            None => start_on_free_port(&home)?,
        };
        Ok(Redis { home, child, port, url: format!("redis://127.0.0.1:{port}/") })
    }

    /// Address of the server.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server after it has synced its file.
    pub(super) fn stop(mut self) -> Result<(), EmbeddedError> {
        let doing = "stop Redis";
        self.ask_to_stop();
        match &mut self.child {
            Some(child) => {
                if process::wait(child, STOP_LIMIT).map_err(io_error(doing))?.is_none() {
                    tracing::warn!("private Redis does not stop: it is killed");
                    child.kill().and_then(|()| child.wait()).map_err(io_error(doing))?;
                }
                Ok(())
            }
            None => {
                let deadline = Instant::now() + STOP_LIMIT;
                while pid(&self.home).is_some_and(|pid| holds_files(pid, self.port)) {
                    if Instant::now() > deadline {
                        return Err(process::too_slow(doing, STOP_LIMIT, &log(&self.home)));
                    }
                    thread::sleep(process::POLL);
                }
                Ok(())
            }
        }
    }

    /// Asks the server to stop, and does not wait.
    pub(super) fn ask_to_stop(&mut self) {
        if about(&self.home, self.port).is_some()
            && let Err(error) = ask(self.port, "SHUTDOWN")
        {
            tracing::warn!(%error, "private Redis was not asked to stop");
        }
    }
}

/// What a Redis says about itself.
struct About {
    loading: bool,
}

/// The port of the server that already runs in this folder, once it has loaded its file.
fn running(home: &Home) -> Result<Option<u16>, EmbeddedError> {
    let Some(port) = port::remembered(&port_file(home)) else { return Ok(None) };
    let begin = Instant::now();
    loop {
        let limit = match about(home, port) {
            Some(About { loading: false }) => return Ok(Some(port)),
            Some(About { loading: true }) => START_LIMIT,
            // Two servers on the same file would destroy it.
            None if pid(home).is_some_and(|pid| holds_files(pid, port)) => SILENCE_LIMIT,
            None => return Ok(None),
        };
        if begin.elapsed() > limit {
            return Err(process::too_slow("take over Redis", limit, &log(home)));
        }
        thread::sleep(process::POLL);
    }
}

fn start_on_free_port(home: &Home) -> Result<(u16, Option<Child>), EmbeddedError> {
    let program = programs::redis_server()?;
    set_log_aside(home)?;
    let mut tries = 1;
    loop {
        let port = port::choose(&port_file(home))?;
        write_settings(home, port)?;
        match start_on(home, &program, port) {
            Ok(child) => return Ok((port, Some(child))),
            Err(EmbeddedError::Failed { .. }) if !port::is_free(port) && tries < PORT_TRIES_MAX => {
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

fn start_on(home: &Home, program: &std::path::Path, port: u16) -> Result<Child, EmbeddedError> {
    let doing = "start Redis";
    let mut command = home.command(program);
    command.arg(settings_file(home));
    process::log_to(&mut command, &log(home))?;
    // Ctrl-C goes to the whole group of the terminal; this server ends only when it is stopped.
    let mut child = command.process_group(0).spawn().map_err(io_error(doing))?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if about(home, port).is_some_and(|about| !about.loading) {
            return Ok(child);
        }
        if let Some(status) = process::wait(&mut child, process::POLL).map_err(io_error(doing))? {
            return Err(process::failed(doing, status, &log(home)));
        }
        if Instant::now() > deadline {
            child.kill().and_then(|()| child.wait()).map_err(io_error(doing))?;
            return Err(process::too_slow(doing, START_LIMIT, &log(home)));
        }
    }
}

/// None: nobody answers there, or it is not the Redis of this folder.
fn about(home: &Home, port: u16) -> Option<About> {
    let answer = ask(port, "INFO").ok()?;
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name));
    let ours = value("config_file:")? == settings_file(home).to_str()?;
    ours.then(|| About { loading: value("loading:") == Some("1") })
}

/// Sends one command without arguments and returns the text of the answer; what SHUTDOWN answers
/// is the end of the connection.
fn ask(port: u16, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 16 * 1024];
    while !is_whole(&answer) && answer.len() < ANSWER_BYTES_MAX {
        match stream.read(&mut part)? {
            0 => break,
            bytes => answer.extend_from_slice(&part[..bytes]),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether an answer is complete: `$<bytes>` CRLF, that many bytes, CRLF; or one line.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(2).position(|window| window == b"\r\n") else { return false };
    let length = std::str::from_utf8(&answer[..end]).ok().and_then(|line| line.strip_prefix('$'));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => answer.len() >= end + 2 + length + 2,
        None => true,
    }
}

fn pid(home: &Home) -> Option<u32> {
    fs::read_to_string(home.data.join("redis.pid")).ok()?.trim().parse().ok()
}

/// Redis shows its address in place of its command line.
fn holds_files(pid: u32, port: u16) -> bool {
    process::runs(pid, &format!("127.0.0.1:{port}"))
}

fn write_settings(home: &Home, port: u16) -> Result<(), EmbeddedError> {
    let data = printable(&home.data)?.replace('\\', "\\\\").replace('"', "\\\"");
    let content = format!(
        "# Written anew at each start of stockroom.\n\
         port {port}\ndir \"{data}\"\npidfile \"{data}/redis.pid\"\n{SETTINGS}"
    );
    files::replace(&settings_file(home), &content, 0o644, None)
}

fn set_log_aside(home: &Home) -> Result<(), EmbeddedError> {
    let log = log(home);
    if fs::metadata(&log).is_ok_and(|file| file.len() > LOG_BYTES_MAX) {
        fs::rename(&log, log.with_extension("log.1")).map_err(io_error("set Redis' log aside"))?;
    }
    Ok(())
}

fn settings_file(home: &Home) -> PathBuf {
    home.root.join("redis.conf")
}

fn port_file(home: &Home) -> PathBuf {
    home.root.join("port")
}

fn log(home: &Home) -> PathBuf {
    home.root.join("redis.log")
}
