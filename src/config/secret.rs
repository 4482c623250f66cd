//! Settings that no log may show, given by value or by file.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// A secret is an address with a password, or a key: more than this is some other file.
const SECRET_BYTES_MAX: u64 = 4_096;
/// Certificates of authorities: the whole store of a system has a quarter of this.
const CERTIFICATES_BYTES_MAX: u64 = 1024 * 1024;
/// Everybody on the machine may read it.
const READABLE_BY_ALL: u32 = 0o004;

/// A setting that no log shows: `Debug` says only that it is there, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for who uses it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A secret cannot be had. Says which setting it is, and never what it holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Two places may say different things.
    #[error("{flag} and {flag}-file are both given: say one of them")]
    Both {
        /// The setting by value.
        flag: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read '{path}' of {flag}")]
    Unreadable {
        /// The setting by file.
        flag: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("'{path}' of {flag} {what}")]
    NotOne {
        /// The setting by file.
        flag: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A secret that is given by value, or as the content of a file without the newline at its end.
///
/// # Errors
/// It is given twice, or the file is no secret.
pub fn resolve(
    flag: &'static str,
    value: Option<&Secret>,
    file: Option<&Path>,
) -> Result<Option<Secret>, SecretError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(SecretError::Both { flag }),
        (Some(value), None) => Ok(Some(value.clone())),
        (None, Some(path)) => read(format!("{flag}-file"), path).map(Some),
        (None, None) => Ok(None),
    }
}

/// The certificates, as PEM, in the file of a setting.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn certificates(flag: &'static str, path: &Path) -> Result<Vec<u8>, SecretError> {
    Ok(bounded(flag, path, CERTIFICATES_BYTES_MAX)?.0)
}

fn read(flag: String, path: &Path) -> Result<Secret, SecretError> {
    let (bytes, mode) = bounded(&flag, path, SECRET_BYTES_MAX)?;
    let not_one = |what| SecretError::NotOne { flag: flag.clone(), path: path.to_owned(), what };
    let text = String::from_utf8(bytes).map_err(|_| not_one("is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(not_one("is empty"));
    }
    if text.contains(char::is_control) {
        return Err(not_one("has more than one line, or control characters"));
    }
    if mode & READABLE_BY_ALL != 0 {
        warn(&format!(
            "'{}' of {flag} can be read by everybody on this machine: chmod 0400 or 0440",
            path.display(),
        ));
    }
    Ok(Secret::from(text))
}

/// The content of a file, and who may do what with it.
fn bounded(flag: &str, path: &Path, bytes_max: u64) -> Result<(Vec<u8>, u32), SecretError> {
    let read = || -> io::Result<(Vec<u8>, u32)> {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    let (flag, path) = (flag.to_owned(), path.to_owned());
    match read() {
        Ok((bytes, _)) if bytes.len() as u64 > bytes_max => {
            Err(SecretError::NotOne { flag, path, what: "is too large" })
        }
        Ok(content) => Ok(content),
        Err(source) => Err(SecretError::Unreadable { flag, path, source }),
    }
}

/// Servers log; the other commands have nothing but standard error.
fn warn(text: &str) {
    match tracing::dispatcher::has_been_set() {
        true => tracing::warn!("{text}"),
        false => eprintln!("stockroom: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as _, fs};

    use super::*;

    const CANARY: &str = "canary-7d1f";

    fn file(content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    fn of(content: &[u8]) -> Result<Option<Secret>, SecretError> {
        let (_folder, path) = file(content);
        resolve("--redis-url", None, Some(&path))
    }

    #[test]
    fn a_secret_is_the_file_without_its_last_newline() {
        for content in ["a b", "a b\n", "a b\r\n"] {
            assert_eq!(of(content.as_bytes()).unwrap().unwrap().reveal(), "a b");
        }
        assert_eq!(resolve("--redis-url", None, None).unwrap(), None);
        let value = Secret::from("x");
        assert_eq!(resolve("--redis-url", Some(&value), None).unwrap(), Some(value));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let long = CANARY.repeat(500);
        let refused = [
            &b""[..],
            b"\n",
            b"canary-7d1f\ncanary-7d1f\n",
            b"canary-7d1f\0",
            b"canary-7d1f\xff",
            long.as_bytes(),
        ];
        for content in refused {
            let error = of(content).unwrap_err();
            let shown = format!("{error} {error:?} {:?}", error.source());
            assert!(shown.contains("--redis-url-file") && !shown.contains(CANARY), "{shown}");
        }
        let (_folder, path) = file(CANARY.as_bytes());
        let both = resolve("--redis-url", Some(&Secret::from(CANARY)), Some(&path)).unwrap_err();
        assert_eq!(
            both.to_string(),
            "--redis-url and --redis-url-file are both given: say one of them"
        );
        let away = resolve("--redis-url", None, Some(Path::new("/nowhere"))).unwrap_err();
        assert_eq!(away.to_string(), "cannot read '/nowhere' of --redis-url-file");
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::from(CANARY)), "[secret]");
    }
}
