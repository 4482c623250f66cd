//! What went wrong with Redis, for the operator to read and the caller to go on without it.

use std::error::Error;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Redis cannot be used for something; nothing is known of what it did. `Display` says only its own
/// level; the source says the rest.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing}")]
pub struct Fault {
    /// What was being done.
    pub doing: &'static str,
    /// What this says about Redis.
    pub kind: Kind,
    #[source]
    source: Cause,
}

/// What a fault says about Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does not answer, or not in time, or not yet.
    Away,
    /// It has no memory left for this.
    Full,
    /// It answered what no script of ours answers.
    Nonsense,
    /// A defect of the program, or of Redis.
    Broken,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Redis(RedisError),
    #[error("it did not answer a moment ago")]
    Away,
    #[error("it answered nonsense: {0}")]
    Nonsense(&'static str),
    #[error("{0}")]
    Argument(&'static str),
}

/// An answer has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense(pub &'static str);

impl Fault {
    pub(super) fn redis(doing: &'static str, source: RedisError) -> Fault {
        Fault { doing, kind: Kind::of(&source), source: Cause::Redis(source) }
    }

    pub(super) fn away(doing: &'static str) -> Fault {
        Fault { doing, kind: Kind::Away, source: Cause::Away }
    }

    pub(super) fn nonsense(doing: &'static str) -> impl FnOnce(Nonsense) -> Fault {
        move |Nonsense(what)| Fault { doing, kind: Kind::Nonsense, source: Cause::Nonsense(what) }
    }

    pub(super) fn argument(doing: &'static str, what: &'static str) -> Fault {
        Fault { doing, kind: Kind::Broken, source: Cause::Argument(what) }
    }

    /// The whole chain, for a log.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        text
    }
}

impl Kind {
    fn of(error: &RedisError) -> Kind {
        match (error.kind(), error.code()) {
            (_, Some("OOM")) => Kind::Full,
            (
                ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::TryAgain,
                )
                | ErrorKind::Io
                // Nobody is let in: whoever asks next need not knock again.
                | ErrorKind::AuthenticationFailed,
                _,
            ) => Kind::Away,
            (ErrorKind::Parse | ErrorKind::UnexpectedReturnType, _) => Kind::Nonsense,
            _ => Kind::Broken,
        }
    }
}
