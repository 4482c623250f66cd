//! What went wrong with the database, for the operator to read and the writer to act on.

use std::{error::Error, time::Duration};

/// A statement that is not answered within this time never will be: the connection is open, and nobody
/// is at its other end.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Something that no caller can mend. `Display` says only its own level; the source says the rest.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct Fault {
    /// What was being done.
    pub doing: &'static str,
    /// What to do about it.
    pub kind: Kind,
    /// Why it failed.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The database is away, or will not write: try again. Nothing is known of a COMMIT under way.
    Unavailable,
    /// Another transaction was in the way: try again.
    Contended,
    /// One of the rows breaks a constraint: the batch must be split until it stands alone.
    Poisoned,
    /// A defect of the program or of the database: trying again does not help.
    Broken,
}

/// A defect that was noticed by the program itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Defect {
    /// The head row moved although it was locked.
    #[error("the head of partition {0} moved under its lock")]
    HeadMoved(i16),
    /// A partition has no head row.
    #[error("partition {0} has no head row")]
    HeadMissing(i16),
    /// A row that was written is not there.
    #[error("a row that was just written is not there")]
    RowMissing,
    /// A stored number has no meaning.
    #[error("column {column} holds {value}, which has no meaning")]
    Meaningless {
        /// The column.
        column: &'static str,
        /// The value.
        value: i64,
    },
    /// A text that was not stated is null.
    #[error("column {column} is empty instead of null")]
    EmptyText {
        /// The column.
        column: &'static str,
    },
    /// The address of the database says something that is not known. Not shown: it may be the end of a
    /// password with a question mark.
    #[error("a parameter after its question mark is not known; sslmode and sslrootcert are")]
    ParameterUnknown,
    /// The machine was given what it asked for and asked again.
    #[error("the machine keeps asking for more")]
    Endless,
    /// Somebody else has archived in between, or a fail-over has exchanged what was to be archived.
    #[error("entries were archived meanwhile; run it again")]
    ArchivedMeanwhile,
    /// What is asked for needs archived entries.
    #[error("entries are archived; say where with --archive")]
    ArchiveNeeded,
    /// There are no partitions.
    #[error("the database was not prepared; run `stockroom migrate`")]
    Unprepared,
    /// A migration took away what this program needs.
    #[error(
        "the database has migration {version}, which this program cannot work with; upgrade it"
    )]
    TooNew {
        /// The migration.
        version: i64,
    },
    /// Nobody is at the other end of a connection.
    #[error("there was no answer in time")]
    Silence,
}

/// Waiting for the database, but not for ever.
pub(crate) trait Answered<T>: Future<Output = Result<T, sqlx::Error>> + Send {
    /// What came of it, or a fault of doing this.
    fn answered(self, doing: &'static str) -> impl Future<Output = Result<T, Fault>> + Send;
}

impl<T, F: Future<Output = Result<T, sqlx::Error>> + Send> Answered<T> for F {
    async fn answered(self, doing: &'static str) -> Result<T, Fault> {
        match tokio::time::timeout(ANSWER_MAX, self).await {
            Ok(answer) => answer.map_err(Fault::doing(doing)),
            Err(_) => Err(Fault::silence(doing)),
        }
    }
}

impl Fault {
    /// Turns a database error into the fault of doing something.
    pub(crate) fn doing(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Fault {
        move |source| Fault { doing, kind: Kind::of(&source), source: source.into() }
    }

    pub(crate) fn defect(doing: &'static str, defect: Defect) -> Fault {
        Fault { doing, kind: Kind::Broken, source: defect.into() }
    }

    pub(crate) fn unprepared() -> Fault {
        Fault::defect("use the database", Defect::Unprepared)
    }

    /// Nothing is known of what was asked for.
    pub(crate) fn silence(doing: &'static str) -> Fault {
        Fault { doing, kind: Kind::Unavailable, source: Defect::Silence.into() }
    }

    /// The machine asked for more again and again.
    pub(crate) fn endless() -> Fault {
        Fault::defect("decide a batch", Defect::Endless)
    }

    /// The whole chain, for a log.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and why it came to be, for a log.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl Kind {
    /// By SQLSTATE class: https://www.postgresql.org/docs/15/errcodes-appendix.html
    fn of(error: &sqlx::Error) -> Kind {
        let sqlx::Error::Database(database) = error else {
            return match error {
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed => Kind::Unavailable,
                _ => Kind::Broken,
            };
        };
        let code = database.code().unwrap_or_default();
        match &*code {
            "40001" | "40P01" | "55P03" => Kind::Contended,
            // Read-only, not in the required state (a standby), idle in transaction, shutting down.
            "25006" | "55000" | "25P03" => Kind::Unavailable,
            code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57") => {
                Kind::Unavailable
            }
            code if code.starts_with("22") || code.starts_with("23") => Kind::Poisoned,
            _ => Kind::Broken,
        }
    }
}
