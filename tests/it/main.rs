//! The integration tests, one binary. What needs a server starts a real one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod commit;
mod documents;
mod embedded;
mod events;
mod failures;
mod feed;
mod fuzz;
mod harness;
mod oversell;
mod redis_layer;
mod replays;
mod services;
mod shard;
mod stock;
mod verify;
