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

/// Item, available and wanted of the first line that is short.
pub(super) fn first(short: &[Short]) -> (&str, i64, i64) {
    short.first().map_or(("", 0, 0), |line| (&line.sku, line.available, line.wanted))
}

/// What is told of it by name.
pub(super) fn metadata(short: &[Short]) -> Vec<(&'static str, String)> {
    let (sku, available, wanted) = first(short);
    let mut metadata = vec![
        ("sku", sku.to_owned()),
        ("available", available.to_string()),
        ("wanted", wanted.to_string()),
        ("short_lines", short.len().to_string()),
    ];
    let band = short.first().and_then(|line| line.band);
    metadata.extend(band.map(|band| ("band", band.name().to_owned())));
    metadata
}
