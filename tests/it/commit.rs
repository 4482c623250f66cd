//! Group commit against faults.

mod database;
mod epoch;
mod processes;
mod reservations;
mod restore;
mod snapshots;
