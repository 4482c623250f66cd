//! Stockroom.
pub mod api;
