//! What goes wrong in shops: each case that the ledger answers for, by its number.

mod bad_input;
mod checkout;
mod closures;
mod counts;
mod customers;
mod deadlines;
mod keys;
mod marketplaces;
mod offline;
mod picking;
mod precedence;
mod privacy;
mod promises;
mod recalls;
mod refusals;
mod requests;
mod returns;
mod snapshots;
mod supply;
mod transfers;
