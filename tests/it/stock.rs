//! The pure state machine against a naive oracle: what may be recorded, and what it adds up to.

mod examples;
mod invariants;
mod memory;
mod network;
mod oracle;
mod properties;
mod strategy;
