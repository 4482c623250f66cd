//! The private PostgreSQL: made once, started or taken over, stopped.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    error::{EmbeddedError, io_error},
    files,
    home::{Home, printable},
    memory::shared_buffers_mib,
    port, process,
    programs::PostgresPrograms,
};

/// Accounts under which root starts it, in order of preference.
pub(super) const ACCOUNTS: [&str; 2] = ["postgres", "nobody"];

/// Name of the superuser and of the database.
const NAME: &str = "stockroom";
/// What the name of a cluster begins with until it is whole.
const UNFINISHED: &str = "unfinished-";
/// A slow disk syncs the 40 MB of a new cluster for a while.
const CREATE_LIMIT: Duration = Duration::from_secs(180);
/// After a crash, up to `max_wal_size` of log is replayed before the server is ready.
const START_LIMIT: Duration = Duration::from_secs(600);
/// The last checkpoint writes all of `shared_buffers`.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// How long children of a killed server may hold on to its memory before they notice.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(15);
/// How often a start is tried when somebody else takes the port first.
const PORT_TRIES_MAX: usize = 3;

/// Settings that do not depend on the place; the reasons stand beside them in the file.
const SETTINGS: &str = "\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
password_encryption = 'scram-sha-256'
ssl = off

# what was answered is on the disk
fsync = on
synchronous_commit = on
full_page_writes = on

wal_buffers = 16MB
min_wal_size = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
# the queries are short and prepared
jit = off

# a week of logs, each day overwriting the same day of the last week
logging_collector = on
log_filename = 'postgres-%a.log'
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_file_mode = 0600
log_timezone = 'UTC'
timezone = 'UTC'
log_line_prefix = '%m [%p] '
cluster_name = 'stockroom'
";

/// A running private PostgreSQL.
#[derive(Debug)]
pub(super) struct Postgres {
    home: Home,
    programs: PostgresPrograms,
    /// None: started by a process before us.
    child: Option<Child>,
    url: String,
}

impl Postgres {
    /// Starts the server of this folder, making it first if it is new; takes it over if it still
    /// runs.
    pub(super) fn start(home: Home) -> Result<Postgres, EmbeddedError> {
        let version = version(&home)?;
        let programs = PostgresPrograms::find(version.as_deref(), &home.data)?;
        if version.is_none() {
            create_cluster(&home, &programs)?;
        }
        let secret = password_file(&home);
        let password = fs::read_to_string(&secret)
            .map_err(io_error(format!("read '{}'", secret.display())))?;

        let unclean = PidFile::read(&home.data).is_some();
        let (port, child) = match running(&home)? {
            Some(port) => {
                tracing::info!(port, "took over the private PostgreSQL that was still running");
                (port, None)
            }
            None => start_on_free_port(&home, &programs, unclean)?,
        };
        let url = format!("postgres://{NAME}:{}@127.0.0.1:{port}/{NAME}", password.trim());
        Ok(Postgres { home, programs, child, url })
    }

    /// Address of the database; contains the password.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server: open transactions are rolled back, the rest is checkpointed.
    pub(super) fn stop(mut self) -> Result<(), EmbeddedError> {
        if !self.runs() {
            tracing::warn!("the private PostgreSQL had already ended");
            return Ok(());
        }
        let doing = "stop PostgreSQL";
        let limit = STOP_LIMIT + Duration::from_secs(5);
        if let Err(error) = process::run(self.stopping("fast"), doing, &log(&self.home), limit) {
            tracing::warn!(%error, "private PostgreSQL stops without a checkpoint");
            process::run(self.stopping("immediate"), doing, &log(&self.home), limit)?;
        }
        if let Some(child) = &mut self.child {
            process::wait(child, STOP_LIMIT).map_err(io_error("wait for PostgreSQL"))?;
        }
        Ok(())
    }

    /// Asks the server to stop, and does not wait.
    pub(super) fn ask_to_stop(&mut self) {
        if self.runs() {
            let mut command = self.stopping("fast");
            command.arg("--no-wait").stdout(Stdio::null()).stderr(Stdio::null());
            if let Err(error) = command.status() {
                tracing::warn!(%error, "private PostgreSQL was left running");
            }
        }
    }

    fn stopping(&self, mode: &str) -> Command {
        let mut command = self.home.command(&self.programs.pg_ctl);
        command.args(["stop", "--mode", mode, "--timeout", &STOP_LIMIT.as_secs().to_string()]);
        command.arg("--pgdata").arg(&self.home.data);
        command
    }

    /// Also reaps the child, without which it would seem to run for ever.
    fn runs(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => PidFile::read(&self.home.data).is_some_and(|file| file.is_alive(&self.home)),
        }
    }
}

/// What PostgreSQL writes about itself into `postmaster.pid`.
struct PidFile {
    pid: u32,
    port: u16,
    ready: bool,
}

impl PidFile {
    /// None: absent, or not yet complete.
    fn read(data: &Path) -> Option<PidFile> {
        let content = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let line = |number: usize| content.lines().nth(number).map(str::trim);
        Some(PidFile {
            pid: line(0)?.parse().ok()?,
            port: line(3).and_then(|port| port.parse().ok()).unwrap_or_default(),
            ready: line(7) == Some("ready"),
        })
    }

    fn is_alive(&self, home: &Home) -> bool {
        home.data.to_str().is_some_and(|data| process::runs(self.pid, data))
    }
}

/// The major version that made the cluster; None if there is no cluster yet.
fn version(home: &Home) -> Result<Option<String>, EmbeddedError> {
    if fs::symlink_metadata(&home.data).is_err() {
        return Ok(None);
    }
    let file = home.data.join("PG_VERSION");
    let version =
        fs::read_to_string(&file).map_err(io_error(format!("read '{}'", file.display())))?;
    Ok(Some(version.trim().to_owned()))
}

/// Makes the cluster under another name, so that one that was interrupted is never taken for whole.
fn create_cluster(home: &Home, programs: &PostgresPrograms) -> Result<(), EmbeddedError> {
    tracing::info!("making a private PostgreSQL in '{}'", home.root.display());
    let doing = "make a PostgreSQL cluster";
    remove_unfinished(home);
    // A name of its own: the initdb of a server that was killed may still be writing.
    let unfinished = home.root.join(format!("{UNFINISHED}{}", files::random_hex::<4>()?));
    let password = files::random_hex::<24>()?;
    files::replace(&password_file(home), &format!("{password}\n"), 0o600, home.account)?;
    files::make_folder(&unfinished, 0o700, home.account)?;

    let mut initdb = home.command(&programs.initdb);
    initdb.args(["--username", NAME, "--auth", "scram-sha-256", "--data-checksums"]);
    initdb.args(["--encoding", "UTF8", "--locale", "C"]);
    initdb.arg("--pgdata").arg(&unfinished).arg("--pwfile").arg(password_file(home));
    process::run(initdb, doing, &log(home), CREATE_LIMIT)?;

    create_database(home, programs, &unfinished)?;
    fs::rename(&unfinished, &home.data)
        .and_then(|()| File::open(&home.root)?.sync_all())
        .map_err(io_error(doing))
}

/// What cannot be removed now is removed by a later start.
fn remove_unfinished(home: &Home) {
    for entry in fs::read_dir(&home.root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, "left '{}' where it is", entry.path().display());
        }
    }
}

/// Single-user mode needs neither a port nor a client program.
fn create_database(
    home: &Home,
    programs: &PostgresPrograms,
    data: &Path,
) -> Result<(), EmbeddedError> {
    let doing = "create the database";
    let mut command = home.command(&programs.postgres);
    // Without exit_on_error a failed statement would end in success.
    command.args(["--single", "-c", "exit_on_error=on", "-D"]).arg(data).arg("postgres");
    process::log_to(&mut command, &log(home))?;
    let mut child = command.stdin(Stdio::piped()).spawn().map_err(io_error(doing))?;
    if let Some(mut input) = child.stdin.take() {
        // If it has ended already, its status says more than the broken pipe.
        let _ = writeln!(input, "create database {NAME};");
    }
    match process::wait(&mut child, CREATE_LIMIT).map_err(io_error(doing))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(process::failed(doing, status, &log(home))),
        None => {
            child.kill().and_then(|()| child.wait()).map_err(io_error(doing))?;
            Err(process::too_slow(doing, CREATE_LIMIT, &log(home)))
        }
    }
}

/// The port of the server that already runs in this folder, once it is ready; None when none
/// runs, or when the one that ran has come to its end.
fn running(home: &Home) -> Result<Option<u16>, EmbeddedError> {
    let deadline = Instant::now() + START_LIMIT;
    while let Some(file) = PidFile::read(&home.data) {
        if !file.is_alive(home) {
            // Where the id now belongs to another process, PostgreSQL would refuse to start.
            if Path::new("/proc").join(file.pid.to_string()).exists() {
                files::remove(&home.data.join("postmaster.pid"))?;
            }
            return Ok(None);
        }
        if file.ready {
            return Ok(Some(file.port));
        }
        if Instant::now() > deadline {
            let doing = "take over PostgreSQL";
            return Err(process::too_slow(doing, START_LIMIT, &log(home)));
        }
        thread::sleep(process::POLL);
    }
    Ok(None)
}

/// `unclean`: the last server was killed, and some of its processes may still be about to notice.
fn start_on_free_port(
    home: &Home,
    programs: &PostgresPrograms,
    unclean: bool,
) -> Result<(u16, Option<Child>), EmbeddedError> {
    let begin = Instant::now();
    let mut tries = 1;
    loop {
        let port = port::choose(&home.root.join("port"))?;
        write_settings(home, port)?;
        match start_on(home, programs) {
            Ok(child) => return Ok((port, Some(child))),
            Err(EmbeddedError::Failed { .. }) if !port::is_free(port) && tries < PORT_TRIES_MAX => {
                tries += 1;
            }
            Err(EmbeddedError::Failed { .. }) if unclean && begin.elapsed() < LEFTOVER_LIMIT => {
                thread::sleep(process::POLL);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Starts the server, which writes to a log of its own as soon as it can, and waits until it takes
/// connections.
fn start_on(home: &Home, programs: &PostgresPrograms) -> Result<Child, EmbeddedError> {
    use std::os::unix::process::CommandExt as _;

    let doing = "start PostgreSQL";
    files::remove(&log(home))?;
    let mut command = home.command(&programs.postgres);
    command.arg("-D").arg(&home.data);
    command.arg("-c").arg(format!("config_file={}", printable(&settings_file(home))?));
    process::log_to(&mut command, &log(home))?;
    // Ctrl-C goes to the whole group of the terminal; this server ends only when it is stopped.
    let mut child = command.process_group(0).spawn().map_err(io_error(doing))?;
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let file = PidFile::read(&home.data);
        if file.is_some_and(|file| file.ready && file.pid == child.id()) {
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

fn write_settings(home: &Home, port: u16) -> Result<(), EmbeddedError> {
    let quoted = |path: &Path| -> Result<String, EmbeddedError> {
        Ok(printable(path)?.replace('\\', "\\\\").replace('\'', "''"))
    };
    let logs = home.root.join("log");
    files::make_folder(&logs, 0o700, home.account)?;
    let content = format!(
        "# Written anew at each start of stockroom.\n\
         include_if_exists = '{}'\nport = {port}\nlog_directory = '{}'\n\
         shared_buffers = {}MB\n{SETTINGS}",
        quoted(&home.data.join("postgresql.conf"))?,
        quoted(&logs)?,
        shared_buffers_mib(),
    );
    files::replace(&settings_file(home), &content, 0o644, None)
}

fn settings_file(home: &Home) -> PathBuf {
    home.root.join("stockroom.conf")
}

fn password_file(home: &Home) -> PathBuf {
    home.root.join("password")
}

/// What is said before the server's own log begins.
fn log(home: &Home) -> PathBuf {
    home.root.join("start.log")
}
