//! Lines that cannot be promised.

use crate::stock::{
    channel_policy::{Band, Policy, Shown},
    ids::Seq,
    step::Wanted,
};

/// A line that cannot be promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// The item.
    pub sku: String,
    /// What was asked for.
    pub wanted: i64,
    /// What may be promised, as far as the channel is told: see [`Shown`].
    pub available: i64,
    /// The band, where that is all that the channel is told.
    pub band: Option<Band>,
    /// The entry that this rests on.
    pub version: Seq,
}

impl Short {
    /// A line of which so much is available under a policy.
    pub fn new(line: &Wanted, available: i64, version: Seq, policy: &Policy) -> Short {
        let Shown { available, band } = policy.shown(available);
        Short { sku: line.sku.clone(), wanted: line.quantity, available, band, version }
    }
}
