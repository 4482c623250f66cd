//! What goes wrong in shops: each case that the ledger answers for, by its number.

mod bad_input;
mod counts;
mod keys;
mod offline;
mod precedence;
mod privacy;
mod refusals;
mod returns;
mod supply;
mod transfers;
