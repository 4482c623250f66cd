//! Under whom a server runs. PostgreSQL refuses to run as root, and a Redis without a password
//! that runs as root would hand root to every local user.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use super::error::{EmbeddedError, io_error};

/// An account that is not root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// The first account of these that exists.
    pub(super) fn first_of(names: &[&str]) -> Result<Account, EmbeddedError> {
        for name in names {
            if let (Some(uid), Some(gid)) = (id(&["-u", name])?, id(&["-g", name])?) {
                return Ok(Account { uid, gid });
            }
        }
        Err(EmbeddedError::NoAccount { names: names.join(" or ") })
    }

    /// Whether the account can enter a folder; found by trying, so that access lists count too.
    pub(super) fn can_enter(self, folder: &Path) -> Result<bool, EmbeddedError> {
        let mut command = Command::new("/bin/sh");
        self.drop_to(command.args(["-c", ":"])).current_dir(folder);
        silence(&mut command);
        // The child changes its user before it changes its folder.
        match command.status() {
            Ok(status) => Ok(status.success()),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(io_error(format!("enter '{}'", folder.display()))(error)),
        }
    }

    /// Makes a command run under this account. The standard library gives up the supplementary
    /// groups of root together with the user.
    pub(super) fn drop_to(self, command: &mut Command) -> &mut Command {
        command.uid(self.uid).gid(self.gid)
    }
}

/// Whether this process is root.
pub(super) fn is_root() -> Result<bool, EmbeddedError> {
    Ok(id(&["-u"])? == Some(0))
}

/// Asks `id`, which knows every source of accounts that the system has.
fn id(arguments: &[&str]) -> Result<Option<u32>, EmbeddedError> {
    let output = Command::new("id")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(io_error("run 'id'"))?;
    let number = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
    Ok(number.filter(|_| output.status.success()))
}

fn silence(command: &mut Command) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
}
