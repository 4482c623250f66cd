//! Who is calling, and what they may do.

mod abuse;
mod clients;
mod facts;
mod keys;
mod named;
mod own;
mod reach;
mod rules;
mod scene;
mod streams;
mod terminals;
mod tls;
mod tokens;
