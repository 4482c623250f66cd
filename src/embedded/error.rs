//! What can go wrong with the private servers.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error;

/// Why the private PostgreSQL and Redis could not be started, stopped or found.
#[derive(Debug, Error)]
pub enum EmbeddedError {
    /// The programs are neither on PATH nor in a folder where distributions put them.
    #[error("{product} is not installed: {advice}, or set {variable} to use a server of your own")]
    NotInstalled {
        /// The product that is missing.
        product: &'static str,
        /// What installs it on this system.
        advice: String,
        /// The setting that makes the private server unnecessary.
        variable: &'static str,
    },
    /// The cluster was made by another major version than any that is installed.
    #[error("'{}' was made by PostgreSQL {version}, which is not installed", .data.display())]
    WrongVersion {
        /// The cluster's folder.
        data: PathBuf,
        /// The major version that made it.
        version: String,
    },
    /// Another process holds the data folder.
    #[error(
        "data folder '{}' is in use by another server: to join it, start with the DATABASE_URL and \
         REDIS_URL of '{}'",
        .data_dir.display(), .connections.display()
    )]
    InUse {
        /// The data folder.
        data_dir: PathBuf,
        /// The file in it that holds the addresses of both databases.
        connections: PathBuf,
    },
    /// Started as root, and no account was found under which a server may run.
    #[error(
        "databases must not run as root, and there is no account {names}: create one, or start as \
         an ordinary user"
    )]
    NoAccount {
        /// The accounts that were looked for.
        names: String,
    },
    /// The account under which a server must run cannot enter its folder.
    #[error(
        "user {uid} cannot enter '{}': make its parent folders searchable, or use another data \
         folder", .folder.display()
    )]
    Unreachable {
        /// The folder of the server.
        folder: PathBuf,
        /// The user id under which the server runs.
        uid: u32,
    },
    /// Every port that was tried is in use.
    #[error("found no free port on 127.0.0.1 from {min} to {max}")]
    NoFreePort {
        /// Lowest port that was tried.
        min: u16,
        /// Highest port that was tried.
        max: u16,
    },
    /// A path that cannot be written into a configuration file.
    #[error("'{}' has characters that cannot stand in a configuration file", .path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// A program ended with a failure.
    #[error("cannot {doing}: {status}, see '{}': {last_words}", .log.display())]
    Failed {
        /// What the program was to do.
        doing: String,
        /// How it ended.
        status: ExitStatus,
        /// Where it writes its messages.
        log: PathBuf,
        /// The end of what it wrote.
        last_words: String,
    },
    /// A program did not come to an end, or did not answer, in time.
    #[error("cannot {doing} within {limit_s} s, see '{}'", .log.display())]
    TooSlow {
        /// What took too long.
        doing: String,
        /// The limit, seconds.
        limit_s: u64,
        /// Where the program writes its messages.
        log: PathBuf,
    },
    /// There is no file of connections, or it cannot be read.
    #[error(
        "cannot read '{}': is a server running with this --data-dir?", .path.display()
    )]
    NoConnections {
        /// The file.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The file of connections lacks a line.
    #[error(
        "'{}' has no line {name}=...: restart the server of this --data-dir, which writes it anew",
        .path.display()
    )]
    IncompleteConnections {
        /// The file.
        path: PathBuf,
        /// The line that is missing.
        name: &'static str,
    },
    /// The operating system refused something.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The thread that did the work was lost (the runtime is shutting down).
    #[error("the work on the private servers was cut short")]
    CutShort {
        /// How the thread ended.
        source: tokio::task::JoinError,
    },
}

/// Turns an I/O error into ours, with what was being done.
pub(super) fn io_error(doing: impl Into<String>) -> impl FnOnce(io::Error) -> EmbeddedError {
    let doing = doing.into();
    move |source| EmbeddedError::Io { doing, source }
}
