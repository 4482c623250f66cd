//! What a channel may promise, how much at once, and for how long.

mod rules;
mod shown;

use rustc_hash::FxHashSet;

pub use self::{
    rules::{RULES_MAX, Rule, Rules},
    shown::{Band, Shown, Visibility},
};
use crate::stock::{
    draft::QUANTITY_MAX,
    ids::{ChannelNo, LocationNo, PositionKey},
    policy::{self, Buffer},
    reservation::Settlement,
    time::{Micros, SECOND},
};

/// Shortest hold and shortest reservation.
pub const TTL_MIN: Micros = SECOND;
/// Longest hold.
pub const HOLD_TTL_MAX: Micros = 60 * MINUTE;
/// Duration of a hold whose caller states none, through a channel whose policy states none.
pub const HOLD_TTL_DEFAULT: Micros = 15 * MINUTE;
/// Longest reservation, and longest time to answer one.
pub const RESERVATION_TTL_MAX: Micros = 31 * 24 * 60 * MINUTE;
/// Business days to collect in: what a reservation can last at most.
pub const COLLECT_DAYS_MAX: u32 = 31;
/// Business days to collect what is paid for, where the policy states none.
pub const COLLECT_DAYS_PAID_ONLINE: u32 = 7;
/// Business days to collect what is paid for when it is collected, where the policy states none.
pub const COLLECT_DAYS_PAY_IN_STORE: u32 = 2;
/// Locations that a policy may name.
pub const ELIGIBLE_MAX: usize = 10_000;

const MINUTE: Micros = 60 * SECOND;

/// The policy of a channel. The default is that of a channel without one: no buffer, no cap, and
/// the widest limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whose it is; none: it stands for no channel.
    pub channel: Option<ChannelNo>,
    /// What is kept back of each position of which no rule says anything else: ask
    /// [`Policy::buffer_at`].
    pub buffer: Buffer,
    /// Most units of one item in one hold or reservation, up to 1,000,000,000, where no rule says
    /// anything else: ask [`Policy::cap_at`]. 0: no cap.
    pub units_per_order_max: i64,
    /// Duration of a hold whose caller states none, [`TTL_MIN`] to `hold_ttl_max`.
    pub hold_ttl_default: Micros,
    /// Longest hold, [`TTL_MIN`] to [`HOLD_TTL_MAX`].
    pub hold_ttl_max: Micros,
    /// Longest reservation, [`TTL_MIN`] to [`RESERVATION_TTL_MAX`].
    pub reservation_ttl_max: Micros,
    /// Business days to collect what is paid for, 0 to [`COLLECT_DAYS_MAX`].
    pub collect_days_paid_online: u32,
    /// Business days to collect what is paid for when it is collected, 0 to [`COLLECT_DAYS_MAX`].
    pub collect_days_pay_in_store: u32,
    /// How long the store has to begin picking, in its opening time, [`TTL_MIN`] to
    /// [`RESERVATION_TTL_MAX`]; none: as long as the reservation stands.
    pub answer_timeout: Option<Micros>,
    /// What becomes of a reservation that the store did not answer in time.
    pub unanswered: Unanswered,
    /// What differs for items and locations.
    pub rules: Rules,
    /// Locations whose stock may be promised; none: all.
    pub eligible: FxHashSet<LocationNo>,
    /// What the channel is told of what is available.
    pub visibility: Visibility,
    /// Up to so many units are few left, up to 1,000,000,000.
    pub few_left_max: i64,
    /// How often a policy was put for the channel.
    pub version: i64,
}

/// What becomes of a reservation that the store did not answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum Unanswered {
    /// It is rejected.
    #[default]
    Reject = 1,
    /// It moves to the nearest location that can serve it; rejected where there is none.
    Move = 2,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            channel: None,
            buffer: Buffer::default(),
            units_per_order_max: 0,
            hold_ttl_default: HOLD_TTL_DEFAULT,
            hold_ttl_max: HOLD_TTL_MAX,
            reservation_ttl_max: RESERVATION_TTL_MAX,
            collect_days_paid_online: COLLECT_DAYS_PAID_ONLINE,
            collect_days_pay_in_store: COLLECT_DAYS_PAY_IN_STORE,
            answer_timeout: None,
            unanswered: Unanswered::Reject,
            rules: Rules::default(),
            eligible: FxHashSet::default(),
            visibility: Visibility::Exact,
            few_left_max: 0,
            version: 0,
        }
    }
}

impl Policy {
    /// Business days to collect what is settled like this.
    pub fn collect_days(&self, settlement: Settlement) -> u32 {
        match settlement {
            Settlement::PaidOnline => self.collect_days_paid_online,
            Settlement::PayInStore => self.collect_days_pay_in_store,
        }
    }

    /// What is kept back of a position: what is said of the item at the location goes before what is
    /// said of the item, that before the location, and that before what is said of all.
    pub fn buffer_at(&self, key: PositionKey) -> Buffer {
        self.rules.find(key, |rule| rule.buffer).unwrap_or(self.buffer)
    }

    /// Most units of the item in one hold or reservation at the location, likewise; 0: no cap.
    pub fn cap_at(&self, key: PositionKey) -> i64 {
        self.rules.find(key, |rule| rule.units_per_order_max).unwrap_or(self.units_per_order_max)
    }

    /// Whether stock of a location may be promised.
    pub fn is_eligible(&self, location: LocationNo) -> bool {
        self.eligible.is_empty() || self.eligible.contains(&location)
    }

    /// What may still be promised of a position, but for quotas.
    pub fn available(&self, key: PositionKey, sellable: i64, reserved: i64, held: i64) -> i64 {
        match self.is_eligible(key.place.location) {
            true => policy::available(sellable, reserved, held, self.buffer_at(key)),
            false => 0,
        }
    }

    /// What the channel is told of so many units.
    pub fn shown(&self, available: i64) -> Shown {
        Shown::of(available, self.visibility, self.few_left_max)
    }

    /// The first field that is out of its bounds, by its name in the contract; of rules see
    /// [`Rule::flaw`].
    pub fn flaw(&self) -> Option<&'static str> {
        let collect_days = 0..=COLLECT_DAYS_MAX;
        let reservation = TTL_MIN..=RESERVATION_TTL_MAX;
        let rules = [
            ("units_per_order_max", (0..=QUANTITY_MAX).contains(&self.units_per_order_max)),
            ("hold_ttl_max", (TTL_MIN..=HOLD_TTL_MAX).contains(&self.hold_ttl_max)),
            ("hold_ttl_default", (TTL_MIN..=self.hold_ttl_max).contains(&self.hold_ttl_default)),
            ("reservation_ttl_max", reservation.contains(&self.reservation_ttl_max)),
            ("collect_days_paid_online", collect_days.contains(&self.collect_days_paid_online)),
            ("collect_days_pay_in_store", collect_days.contains(&self.collect_days_pay_in_store)),
            (
                "answer_timeout",
                self.answer_timeout.is_none_or(|timeout| reservation.contains(&timeout)),
            ),
            ("few_left_max", (0..=QUANTITY_MAX).contains(&self.few_left_max)),
        ];
        let broken = || rules.into_iter().find(|(_, holds)| !holds).map(|(field, _)| field);
        self.buffer.flaw().or_else(broken)
    }
}
