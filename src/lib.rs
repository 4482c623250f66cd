//! Stockroom.
pub mod api;
pub mod stock;
