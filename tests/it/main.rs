//! The integration tests, one binary. What needs a server starts a real one.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit;
mod cases;
mod commit;
mod doctor;
mod documents;
mod embedded;
mod events;
mod failures;
mod feed;
mod fuzz;
mod guide;
mod harness;
mod oversell;
mod redis_layer;
mod replays;
mod secured;
mod security;
mod services;
mod shard;
mod stock;
mod verify;
