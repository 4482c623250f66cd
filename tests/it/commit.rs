//! Group commit against faults.

mod database;
mod processes;
