//! Stockroom.
pub mod api;
pub mod availability;
pub mod cli;
pub mod config;
pub mod embedded;
pub mod ledger;
pub mod stock;
pub mod telemetry;
pub mod writer;
