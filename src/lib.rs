//! Stockroom.
pub mod api;
pub mod cli;
pub mod embedded;
pub mod ledger;
pub mod stock;
pub mod telemetry;
pub mod writer;
