//! What no log may hold. `scripts/test.sh` names a folder in which the logs of all servers are kept, and
//! searches them in the end for what was registered here (`scripts/secrets.sh`).
#![expect(clippy::disallowed_methods, reason = "the whole run says where its logs are kept")]

use std::{env, fs::OpenOptions, io::Write as _, path::PathBuf};

use tempfile::NamedTempFile;

/// Where logs are kept; none: nobody will look at them.
fn folder() -> Option<PathBuf> {
    env::var_os("STOCKROOM_TEST_LOGS").map(PathBuf::from)
}

/// A file for the log of a program that a test starts.
pub fn log_of(program: &str) -> NamedTempFile {
    let mut builder = tempfile::Builder::new();
    builder.prefix(program).suffix(".log");
    let kept = folder().map(|folder| builder.disable_cleanup(true).tempfile_in(folder));
    kept.unwrap_or_else(|| builder.disable_cleanup(false).tempfile()).unwrap()
}

/// From now on this is a secret of the run.
pub fn register(secret: &str) {
    assert!(secret.len() >= 12 && !secret.contains('\n'), "that would be found everywhere");
    let Some(folder) = folder() else { return };
    let file = OpenOptions::new().create(true).append(true).open(folder.join(".secrets"));
    // One write, so that lines of several processes do not mix.
    file.unwrap().write_all(format!("{secret}\n").as_bytes()).unwrap();
}

/// The password of an address, if it has one.
pub fn register_password_of(url: &str) {
    let authority = url.split_once("://").and_then(|(_, rest)| rest.split_once('@'));
    if let Some((_, password)) = authority.and_then(|(user, _)| user.split_once(':')) {
        register(password);
    }
}
