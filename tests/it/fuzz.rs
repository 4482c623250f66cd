//! Mutated input for everything that parses or decides on input from outside.
//!
//! Each target takes bytes, holds what comes of them against properties, and notes which behaviours
//! they showed: reasons, kinds, states, fields. [`runner`] feeds it the kept corpus, then mutations of
//! whatever showed something new; the corpus alone must show a floor of behaviours, so that a target
//! cannot quietly stop reaching anything. What fails is written to a file that says where to put it.

mod behaviours;
mod calendar;
pub mod fields;
mod filters;
mod machine;
mod mutate;
mod numbers;
mod pages;
mod requests;
mod runner;
pub mod server;
mod table;
mod texts;
