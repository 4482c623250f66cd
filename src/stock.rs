//! The domain, pure: what may be recorded and what it does to stock.
//!
//! No IO, no clock, no randomness, no async; imports nothing else of this crate but `mutants`. Read
//! [`kind`], [`draft`] and [`movement`] (what is reported), [`entry`] (what the ledger keeps), [`position`]
//! (what they add up to, and the fold that lets counts and late facts meet), [`refusal`] (every reason
//! for a no, in order of precedence), then [`machine`], which decides. [`calendar`], [`live`],
//! [`distance`], [`policy`] and [`channel_policy`] say when, where and how much may be promised;
//! [`snapshot`] is a count of a whole location, [`recall`] what must not be sold; [`event`] says what of it all is worth telling others.

pub mod book;
pub mod calendar;
pub mod channel_policy;
pub mod distance;
pub mod draft;
pub mod entry;
pub mod event;
pub mod figures;
pub mod hash;
pub mod hold;
pub mod ids;
pub mod kind;
pub mod live;
pub mod machine;
pub mod movement;
pub mod network;
pub mod pickup;
pub mod policy;
pub mod position;
pub mod quota;
pub mod recall;
pub mod refusal;
pub mod reservation;
pub mod snapshot;
pub mod step;
pub mod terms;
pub mod time;
