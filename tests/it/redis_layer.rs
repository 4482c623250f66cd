//! The Redis layer: what each script does, once and twice, at its limits and when it is lied to.

mod admission;
mod arithmetic;
mod expiry;
mod holds;
mod layer;
mod memory;
mod nonsense;
mod projection;
mod reads;
mod rebuilds;
mod replacing;
mod scrubbing;
