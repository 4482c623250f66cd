//! Stockroom.
pub mod api;
pub mod availability;
pub mod embedded;
pub mod ledger;
pub mod stock;
pub mod telemetry;
pub mod writer;
