//! Caps of what may be held at once.

use crate::{
    availability::{fault::Nonsense, pack::Packer},
    stock::{hash::Digest, hold::HoldId, ids::ChannelNo},
};

/// How many units may be held at once at the location, and by whom; 0 or nobody: any number. Redis counts
/// those of a customer or a channel only while they are capped, and only those that it keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Of one item, whoever holds them.
    pub item_max: i64,
    /// By a customer, as a digest.
    pub customer: Option<(Digest, i64)>,
    /// Through a channel.
    pub channel: Option<(ChannelNo, i64)>,
}

/// What of it a hold would go beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capped {
    /// The cap of an item.
    Item,
    /// Of a customer.
    Customer,
    /// Of a channel.
    Channel,
}

impl Caps {
    /// As the scripts take them: nothing where nothing is capped.
    pub(in crate::availability) fn packed(&self, id: HoldId) -> Vec<u8> {
        if *self == Caps::default() {
            return Vec::new();
        }
        let location = id.place.location.0;
        let customer = self.customer.map(|(customer, _)| format!("{location}c{:032x}", customer.0));
        let channel = self.channel.map(|(channel, _)| format!("{location}n{}", channel.0));
        let mut packer = Packer::default();
        packer.int(self.item_max);
        packer.int(self.customer.map_or(0, |(_, most)| most));
        packer.int(self.channel.map_or(0, |(_, most)| most));
        packer.text(&customer.unwrap_or_default()).text(&channel.unwrap_or_default());
        packer.finish()
    }
}

impl Capped {
    pub(super) fn parse(text: &str) -> Result<Capped, Nonsense> {
        match text {
            "item" => Ok(Capped::Item),
            "customer" => Ok(Capped::Customer),
            "channel" => Ok(Capped::Channel),
            _ => Err(Nonsense("what is capped was expected")),
        }
    }
}
