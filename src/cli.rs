//! The commands of the program that are clients of the interface, one file per command.
pub mod import;
