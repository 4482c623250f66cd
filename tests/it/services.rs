//! The services as their users see them.

mod entries;
mod hours;
mod network;
mod order;
mod policies;
mod positions;
mod rejected;
mod reservations;
mod surroundings;
mod sync;
