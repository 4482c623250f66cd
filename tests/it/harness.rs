//! What the tests share.

pub mod binary;
pub mod databases;
pub mod errors;
pub mod mixture;
pub mod movements;
pub mod proxy;
pub mod raw;
pub mod reservations;
pub mod server;
pub mod web;
