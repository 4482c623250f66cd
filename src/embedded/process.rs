//! Programs that are run to their end, and processes of which only the id is known.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    error::{EmbeddedError, io_error},
    files,
};

/// How often something is looked at that cannot be waited for.
pub(super) const POLL: Duration = Duration::from_millis(20);

/// Runs a program to its end, its messages going to `log` (a file, not a pipe: a pipe would be
/// held open by what the program leaves behind). Kills it at the limit.
pub(super) fn run(
    mut command: Command,
    doing: &str,
    log: &Path,
    limit: Duration,
) -> Result<(), EmbeddedError> {
    log_to(&mut command, log)?;
    let mut child = command.spawn().map_err(io_error(doing))?;
    match wait(&mut child, limit).map_err(io_error(doing))? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(failed(doing, status, log)),
        None => {
            child.kill().and_then(|()| child.wait()).map_err(io_error(doing))?;
            Err(too_slow(doing, limit, log))
        }
    }
}

/// Waits for a child; None when it still runs at the limit.
pub(super) fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        thread::sleep(POLL);
    }
}

/// Sends the standard output and error of a command to the end of a file.
pub(super) fn log_to(command: &mut Command, log: &Path) -> Result<(), EmbeddedError> {
    let open = || -> std::io::Result<(File, File)> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        Ok((file.try_clone()?, file))
    };
    let (output, errors) = open().map_err(io_error(format!("open '{}'", log.display())))?;
    command.stdout(Stdio::from(output)).stderr(Stdio::from(errors));
    Ok(())
}

/// Whether the process `pid` runs a command line with `words` in it. The id alone says nothing:
/// after a crash it may belong to somebody else. A dead child that nobody waited for does not run.
pub(super) fn runs(pid: u32, words: &str) -> bool {
    let line = if Path::new("/proc/self/cmdline").exists() {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
    } else {
        let pid = pid.to_string();
        let ps = Command::new("ps").args(["-o", "command=", "-p", &pid]).output();
        ps.map(|output| output.stdout).unwrap_or_default()
    };
    line.windows(words.len()).any(|window| window == words.as_bytes())
}

pub(super) fn failed(doing: &str, status: ExitStatus, log: &Path) -> EmbeddedError {
    EmbeddedError::Failed {
        doing: doing.to_owned(),
        status,
        log: log.to_owned(),
        last_words: files::last_words(log),
    }
}

pub(super) fn too_slow(doing: &str, limit: Duration, log: &Path) -> EmbeddedError {
    let (doing, limit_s, log) = (doing.to_owned(), limit.as_secs(), log.to_owned());
    EmbeddedError::TooSlow { doing, limit_s, log }
}
