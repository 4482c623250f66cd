//! The integration tests, one binary: every test runs against real servers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod embedded;
mod harness;
