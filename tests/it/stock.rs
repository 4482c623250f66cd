//! The pure state machine against a naive oracle: what may be recorded, and what it adds up to; and
//! the rules around it.

mod calendar;
mod distance;
mod examples;
mod invariants;
mod memory;
mod network;
mod oracle;
mod pickup;
mod policies;
mod promises;
mod properties;
mod reservations;
mod steps;
mod strategy;
