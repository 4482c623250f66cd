//! The pure state machine against a naive oracle: what may be recorded, and what it adds up to; and
//! the rules around it.

mod calendar;
mod distance;
mod events;
mod examples;
mod figures;
pub mod invariants;
mod live;
pub mod memory;
pub mod network;
mod oracle;
mod pickup;
mod policies;
pub mod promises;
pub mod properties;
mod quotas;
mod reservations;
mod snapshots;
mod steps;
pub mod strategy;
