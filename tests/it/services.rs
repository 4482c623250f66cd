//! The services as their users see them.

mod entries;
mod network;
mod order;
mod positions;
mod rejected;
mod surroundings;
mod sync;
