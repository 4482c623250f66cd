//! The services as their users see them.

mod closing;
mod entries;
mod exceptions;
mod expiry;
mod holds;
mod hours;
mod lists;
mod metrics;
mod network;
mod order;
mod overload;
mod pickup;
mod policies;
mod positions;
mod quotas;
mod rejected;
mod report;
mod reservations;
mod rolling;
mod surroundings;
mod sync;
mod traces;
mod watch;
mod watch_availability;
