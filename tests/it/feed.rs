//! The feed: Redis becomes what the ledger says, and stays it, whatever becomes of Redis.

mod decisions;
mod epochs;
mod projecting;
mod scene;
mod scrubbing;
mod verifying;
