//! What the Redis of a server is like.
#![expect(clippy::disallowed_methods, reason = "the suite runs with each of them")]

use std::env;

use stockroom::availability::Availability;

use crate::harness::liar::Liar;

/// Nobody may listen there.
const NOWHERE: &str = "redis://127.0.0.1:1/";

/// A reservation layer that is away.
pub fn nowhere() -> Availability {
    Availability::new(NOWHERE, "test").unwrap()
}

/// Nothing in Redis may be needed for correctness: the suite passes with each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redis {
    /// As it should be.
    Real,
    /// There is none.
    Absent,
    /// It falsifies many of its answers.
    Lying,
}

/// A Redis that a server was given.
pub struct Reached {
    /// Where the server finds it.
    pub url: String,
    /// What lies to it.
    pub liar: Option<Liar>,
}

impl Reached {
    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.url != NOWHERE
    }
}

impl Redis {
    /// What STOCKROOM_TEST_REDIS chooses: `real`, `absent` or `lying`. Default: real.
    pub fn of_this_run() -> Redis {
        match env::var("STOCKROOM_TEST_REDIS").as_deref() {
            Ok("absent") => Redis::Absent,
            Ok("lying") => Redis::Lying,
            Ok("real") | Err(_) => Redis::Real,
            Ok(other) => panic!("STOCKROOM_TEST_REDIS is real, absent or lying, not '{other}'"),
        }
    }

    /// As [`Redis::of_this_run`], but none where it would lie: for tests in which every answer must be
    /// the right one, and not only every effect.
    pub fn honest() -> Redis {
        match Redis::of_this_run() {
            Redis::Lying => Redis::Absent,
            honest => honest,
        }
    }

    /// The way to the Redis at `url`.
    pub async fn reach(self, url: &str) -> Reached {
        match self {
            Redis::Real => Reached { url: url.to_owned(), liar: None },
            Redis::Absent => Reached { url: NOWHERE.to_owned(), liar: None },
            Redis::Lying => {
                let liar = Liar::start(url).await;
                Reached { url: liar.url(url), liar: Some(liar) }
            }
        }
    }
}
