//! The integration tests, one binary. What needs a server starts a real one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod documents;
mod embedded;
mod harness;
mod shard;
mod replays;
mod stock;
mod verify;
