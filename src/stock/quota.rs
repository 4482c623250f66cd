//! Quotas: units of a position that are ring-fenced for a channel until it has used them.
//!
//! A quota is a guarantee and no cap. What its channel has not used yet is not available to any other
//! one; what it wants beyond that it takes from what nobody has fenced.

use crate::stock::{
    entry::Entry,
    ids::{ChannelNo, Seq},
    kind::{Kind, StockState},
    time::{Micros, SECOND, Timestamp},
};

/// After so long without use a soft quota may be borrowed from, where nothing else is said.
pub const BORROW_AFTER_DEFAULT: Micros = 3_600 * SECOND;
/// The shortest such time.
pub const BORROW_AFTER_MIN: Micros = SECOND;
/// The longest.
pub const BORROW_AFTER_MAX: Micros = 31 * 24 * 3_600 * SECOND;

/// What is set aside for a channel of one position, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// For whom.
    pub channel: ChannelNo,
    /// How much, 1 to 1,000,000,000.
    pub units: i64,
    /// Whether others may have what was not used for a while.
    pub soft: bool,
    /// For how long, [`BORROW_AFTER_MIN`] to [`BORROW_AFTER_MAX`].
    pub borrow_after: Micros,
    /// Entries behind this one count.
    pub since: Seq,
    /// What the channel has used; never negative.
    pub used: i64,
    /// When it used any of it last, or else when the quota was put.
    pub used_at: Timestamp,
}

impl Quota {
    /// What it keeps from others at this moment.
    pub fn fenced(&self, now: Timestamp) -> i64 {
        let idle = now.0.saturating_sub(self.used_at.0);
        match self.soft && idle >= self.borrow_after {
            true => 0,
            false => (self.units - self.used).max(0),
        }
    }

    /// Counts an entry of its position, if it is of its channel. Returns whether it was.
    pub fn count(&mut self, entry: &Entry<'_>) -> bool {
        let change = use_of(entry);
        if change == 0 || entry.channel != Some(self.channel) || entry.seq <= self.since {
            return false;
        }
        self.used = self.used.saturating_add(change).max(0);
        if change > 0 {
            self.used_at = entry.recorded_at;
        }
        true
    }
}

/// What quotas do to one channel at a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    /// What other channels have fenced.
    pub others: i64,
    /// What it has fenced itself, unless that may be borrowed.
    pub own: i64,
}

impl Fences {
    /// Those of a channel; no channel has nothing of its own.
    pub fn of(channel: Option<ChannelNo>, quotas: &[Quota], now: Timestamp) -> Fences {
        let mut fences = Fences::default();
        for quota in quotas {
            if Some(quota.channel) != channel {
                fences.others = fences.others.saturating_add(quota.fenced(now));
            } else if !quota.soft {
                fences.own = quota.fenced(now);
            }
        }
        fences
    }

    /// What they leave to the channel of so many units, of which `mine` are promised to the asker already:
    /// nothing stands against those. As long as there is enough for every hard quota,
    /// no other one stands against what is left of its own: neither a soft one that fences again what was
    /// borrowed meanwhile nor, where facts left too little for all, another hard one. There who comes
    /// first is served first, as what nobody may have would help nobody.
    pub fn leave(self, free: i64, mine: i64) -> i64 {
        let own = self.own.saturating_add(mine).min(free);
        free.saturating_sub(self.others).max(own).max(0)
    }
}

/// What an entry takes from what may be promised, for its channel: promising takes, releasing gives
/// back, a sale takes what was not promised. Picking and handing over what was promised changes nothing.
fn use_of(entry: &Entry<'_>) -> i64 {
    let sells = matches!(entry.kind, Kind::Sale | Kind::ShipOut | Kind::Pick | Kind::Unpick);
    match sells || entry.kind.is_request() {
        true => entry.reserved_change - entry.leg(StockState::Sellable),
        false => 0,
    }
}
