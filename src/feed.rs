//! The ledger's entries in order, to whoever follows them.

pub mod steps;
