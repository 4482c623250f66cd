//! The folder of one server: files of ours beside the folder that belongs to the server.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    account::{self, Account},
    error::{EmbeddedError, io_error},
    files,
};

/// Where a server's folder goes when its account cannot enter the data folder.
const ELSEWHERE: &str = "/var/lib/stockroom";

/// Variables that would change what PostgreSQL's programs do.
const MEDDLING: [&str; 6] =
    ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGOPTIONS", "PGCLIENTENCODING"];

/// The folder of one server. `root` belongs to us, so that what we write there as root cannot be
/// turned against other files; `data` belongs to the account of the server.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) root: PathBuf,
    pub(super) data: PathBuf,
    /// None: the server runs as we do.
    pub(super) account: Option<Account>,
}

impl Home {
    /// Opens or makes `data_dir/name` (`data_dir` absolute, without links). As root, where the
    /// account cannot get there, makes it elsewhere and leaves a link.
    pub(super) fn open(
        data_dir: &Path,
        name: &str,
        accounts: &[&str],
    ) -> Result<Home, EmbeddedError> {
        let place = data_dir.join(name);
        let account = match account::is_root()? {
            true => Some(
                owner_of(&place.join("data")).map_or_else(|| Account::first_of(accounts), Ok)?,
            ),
            false => None,
        };
        if fs::symlink_metadata(&place).is_err() {
            make(data_dir, &place, account)?;
        }
        let root =
            fs::canonicalize(&place).map_err(io_error(format!("follow '{}'", place.display())))?;
        if let Some(account) = account
            && !account.can_enter(&root)?
        {
            return Err(EmbeddedError::Unreachable { folder: root, uid: account.uid });
        }
        Ok(Home { data: root.join("data"), root, account })
    }

    /// A command under the server's account, in our folder, with nothing on its standard input.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null()).env("LC_ALL", "C");
        for variable in MEDDLING {
            command.env_remove(variable);
        }
        if let Some(account) = self.account {
            account.drop_to(&mut command);
        }
        command
    }
}

/// A path as it goes into a configuration file: text without control characters.
pub(super) fn printable(path: &Path) -> Result<&str, EmbeddedError> {
    path.to_str()
        .filter(|text| !text.chars().any(char::is_control))
        .ok_or_else(|| EmbeddedError::UnusablePath { path: path.to_owned() })
}

fn make(data_dir: &Path, place: &Path, account: Option<Account>) -> Result<(), EmbeddedError> {
    match account {
        Some(account) if !account.can_enter(data_dir)? => {
            let elsewhere = Path::new(ELSEWHERE).join(files::random_hex::<8>()?);
            files::make_folder(Path::new(ELSEWHERE), 0o755, None)?;
            files::make_folder(&elsewhere, 0o755, None)?;
            symlink(&elsewhere, place).map_err(io_error(format!("link '{}'", place.display())))?;
            tracing::info!(
                uid = account.uid,
                "user cannot enter '{}': its server is kept in '{}'",
                data_dir.display(),
                elsewhere.display(),
            );
            Ok(())
        }
        _ => files::make_folder(place, 0o755, None),
    }
}

/// The account that made the server's files must go on owning them.
fn owner_of(data: &Path) -> Option<Account> {
    let metadata: io::Result<_> = fs::metadata(data);
    let owner = metadata.ok().map(|data| Account { uid: data.uid(), gid: data.gid() });
    owner.filter(|account| account.uid != 0)
}
