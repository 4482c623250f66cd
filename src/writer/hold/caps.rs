//! How much may be held at once.

use crate::{
    availability::hold::{Capped, Caps},
    stock::{
        hash::{Digest, StableHash},
        ids::ChannelNo,
        refusal::Refusal,
    },
};

/// Units that may be held at once at one location; 0: any number. Of holds that Redis keeps: those that the
/// ledger keeps in its place are bounded by the cap per order alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldCaps {
    /// By one customer, of all items. Who names no customer is nobody, and not capped.
    pub customer_units_max: i64,
    /// Through one channel, of all items.
    pub channel_units_max: i64,
    /// Of one item, by everybody.
    pub item_units_max: i64,
}

impl HoldCaps {
    /// The caps of a hold through a channel for a customer.
    pub(super) fn of(&self, channel: Option<ChannelNo>, customer_ref: &str) -> Caps {
        let customer = || {
            let mut hash = StableHash::new("customer");
            hash.text(customer_ref);
            Digest(hash.finish_u128())
        };
        let capped = |most: i64| (most > 0).then_some(most);
        let of_customer = capped(self.customer_units_max).filter(|_| !customer_ref.is_empty());
        Caps {
            item_max: self.item_units_max,
            customer: of_customer.map(|most| (customer(), most)),
            channel: channel.zip(capped(self.channel_units_max)),
        }
    }

    /// The caps of other lines for a hold, whoever it was taken for.
    pub(super) fn of_change(&self) -> Caps {
        let customer =
            (self.customer_units_max > 0).then_some((Digest(0), self.customer_units_max));
        let channel =
            (self.channel_units_max > 0).then_some((ChannelNo(0), self.channel_units_max));
        Caps { item_max: self.item_units_max, customer, channel }
    }
}

/// The refusal of a hold that goes beyond a cap.
pub(super) fn refusal(by: Capped, units_max: i64) -> Refusal {
    let of = match by {
        Capped::Item => "item",
        Capped::Customer => "customer",
        Capped::Channel => "channel",
    };
    Refusal::HoldsExceeded { of, units_max }
}
