//! What a caller may do.

use std::num::NonZeroU32;

use crate::{
    api::{guard::AbuseLimits, rates::RateLimits},
    writer::hold::HoldCaps,
};

/// How much of everything a caller may have.
#[derive(Clone, Debug, clap::Args)]
pub struct CallerConfig {
    /// Calls a second that a caller may make, of those that read and of those that ask for stock; of
    /// those that say what has happened four times as many; 0: any number
    #[arg(long, env = "STOCKROOM_CALLER_RATE", default_value_t = 5_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub caller_rate: u32,
    /// Calls at once that a caller may make after a pause, counted in the same way
    #[arg(long, env = "STOCKROOM_CALLER_BURST", default_value_t = 10_000, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub caller_burst: u32,
    /// Units of all items that one customer may hold at once at one location; 0: any number
    #[arg(long, env = "STOCKROOM_HOLD_UNITS_PER_CUSTOMER", default_value_t = 0, value_name = "N")]
    pub hold_units_per_customer: u32,
    /// Units of all items that may be held at once through one channel at one location; 0: any number
    #[arg(long, env = "STOCKROOM_HOLD_UNITS_PER_CHANNEL", default_value_t = 0, value_name = "N")]
    pub hold_units_per_channel: u32,
    /// Units of one item that may be held at once at one location; 0: any number
    #[arg(long, env = "STOCKROOM_HOLD_UNITS_PER_ITEM", default_value_t = 0, value_name = "N")]
    pub hold_units_per_item: u32,
    /// Holds of a caller that come to nothing, within about 20 minutes, before one of which hardly any become
    /// reservations or sales may take few; 0: any number
    #[arg(long, env = "STOCKROOM_HOLDS_IN_VAIN_MAX", default_value_t = 200, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub holds_in_vain_max: u32,
    /// Amounts of an item at a location that a caller may try through channels that see bands, and one more
    /// every 10 minutes; 0: any number
    #[arg(long, env = "STOCKROOM_AMOUNTS_TRIED_MAX", default_value_t = 5, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub amounts_tried_max: u32,
}

impl CallerConfig {
    /// How much may be held at once.
    pub fn hold_caps(&self) -> HoldCaps {
        HoldCaps {
            customer_units_max: self.hold_units_per_customer.into(),
            channel_units_max: self.hold_units_per_channel.into(),
            item_units_max: self.hold_units_per_item.into(),
        }
    }

    /// How much of what does no good it may do.
    pub fn abuse_limits(&self) -> AbuseLimits {
        AbuseLimits {
            holds_in_vain_max: self.holds_in_vain_max,
            amounts_max: self.amounts_tried_max,
            ..AbuseLimits::default()
        }
    }

    /// How often a caller may call.
    pub fn rates(&self) -> RateLimits {
        let burst = NonZeroU32::new(self.caller_burst).unwrap_or(NonZeroU32::MIN);
        RateLimits { per_second: NonZeroU32::new(self.caller_rate), burst }
    }
}
