//! Events that go out: what is told, to whom, how it is signed, and that nothing is lost on the way.

mod delivery;
mod library;
mod order;
mod queue;
mod secrets;
mod stream;
mod survival;
mod told;
