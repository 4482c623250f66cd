//! The services as their users see them.

mod closing;
mod entries;
mod exceptions;
mod expiry;
mod holds;
mod hours;
mod lists;
mod network;
mod order;
mod overload;
mod pickup;
mod policies;
mod positions;
mod quotas;
mod rejected;
mod reservations;
mod surroundings;
mod sync;
mod watch;
mod watch_availability;
