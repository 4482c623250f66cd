//! Files that are whole or absent, and folders of ours.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
    },
    path::{Path, PathBuf},
};

use super::{
    account::Account,
    error::{EmbeddedError, io_error},
};

/// The most of a log that an error repeats, bytes.
const LAST_WORDS_BYTES_MAX: u64 = 1500;

/// Writes a file under another name and renames it: a reader sees the old or the new file, never
/// a part, and the mode holds from the first moment. A link in its place is replaced, not followed.
pub(super) fn replace(
    path: &Path,
    content: &str,
    mode: u32,
    owner: Option<Account>,
) -> Result<(), EmbeddedError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    write_and_rename(path, &unfinished, content, mode, owner)
        .map_err(io_error(format!("write '{}'", path.display())))
}

/// Creates a folder of ours if it is not there, or not yet the owner's, with exactly this mode
/// whatever the umask says.
pub(super) fn make_folder(
    path: &Path,
    mode: u32,
    owner: Option<Account>,
) -> Result<(), EmbeddedError> {
    let make = || -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let uid = fs::metadata(path)?.uid();
                if owner.is_none_or(|account| account.uid == uid) {
                    return Ok(());
                }
            }
            Err(error) => return Err(error),
        }
        if let Some(account) = owner {
            chown(path, Some(account.uid), Some(account.gid))?;
        }
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    make().map_err(io_error(format!("create folder '{}'", path.display())))
}

/// Removes a file; it is no error if there is none.
pub(super) fn remove(path: &Path) -> Result<(), EmbeddedError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(format!("remove '{}'", path.display()))(error))
        }
        _ => Ok(()),
    }
}

/// The end of a log, for an error message; empty if it cannot be read.
pub(super) fn last_words(log: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let bytes = file.metadata()?.len();
        file.seek(SeekFrom::Start(bytes.saturating_sub(LAST_WORDS_BYTES_MAX)))?;
        let mut end = Vec::new();
        file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut end)?;
        Ok(end)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).trim().to_owned()
}

/// Random bytes as hexadecimal digits: names and passwords that need no quoting anywhere.
pub(super) fn random_hex<const BYTES: usize>() -> Result<String, EmbeddedError> {
    Ok(random::<BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Random bytes of the operating system.
pub(super) fn random<const BYTES: usize>() -> Result<[u8; BYTES], EmbeddedError> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(io_error("read '/dev/urandom'"))?;
    Ok(bytes)
}

fn write_and_rename(
    path: &Path,
    unfinished: &Path,
    content: &str,
    mode: u32,
    owner: Option<Account>,
) -> io::Result<()> {
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Nobody else may read it before it has its final mode.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
    file.write_all(content.as_bytes())?;
    if let Some(account) = owner {
        chown(unfinished, Some(account.uid), Some(account.gid))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(unfinished, path)
}
