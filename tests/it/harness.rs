//! What the tests share.

pub mod availability;
pub mod binary;
pub mod databases;
pub mod errors;
pub mod frames;
pub mod holds;
pub mod liar;
pub mod live;
pub mod mixture;
pub mod movements;
pub mod policies;
pub mod private_redis;
pub mod proxy;
pub mod raw;
pub mod raw_redis;
pub mod receiver;
pub mod redis;
pub mod reports;
pub mod reservations;
pub mod seed;
pub mod server;
pub mod snapshots;
pub mod steps;
pub mod web;
