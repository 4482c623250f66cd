//! Databases as in production: encrypted, with users that may do no more than they have to.

mod canaries;
mod roles;
mod tls;
