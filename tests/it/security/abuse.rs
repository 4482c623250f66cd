//! What no well-behaved client does: each gets a typed error or loses its connection, and others do not
//! notice.

mod bands;
mod callers;
mod connections;
mod headers;
mod hoarding;
mod limits;
mod slow;
