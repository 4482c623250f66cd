//! How much of what is there a channel may promise.

use serde::{Deserialize, Serialize};

use crate::stock::draft::QUANTITY_MAX;

/// What a channel keeps back from its own sales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Units. Not negative.
    pub units: i64,
    /// Of SELLABLE, 0 to 100, rounded up to whole units.
    pub percent: i64,
}

impl Buffer {
    /// The field that is out of its bounds, by its name in the contract: 0 to 1,000,000,000 units, 0 to
    /// 100 per cent, not both.
    pub fn flaw(self) -> Option<&'static str> {
        let Buffer { units, percent } = self;
        if !(0..=QUANTITY_MAX).contains(&units) {
            return Some("buffer_units");
        }
        let sound = (0..=100).contains(&percent) && (units == 0 || percent == 0);
        (!sound).then_some("buffer_percent")
    }

    /// Units kept back of this many.
    pub fn of(self, sellable: i64) -> i64 {
        let sellable = sellable.max(0);
        // In two parts, so that a double computes the same without leaving its exact range.
        let (hundreds, rest) = (sellable / 100, sellable % 100);
        let share = hundreds.saturating_mul(self.percent) + (rest * self.percent + 99) / 100;
        self.units.saturating_add(share)
    }
}

/// What is left to promise before it is cut off at zero: negative where more is promised or kept back
/// than there is.
pub fn headroom(sellable: i64, reserved: i64, held: i64, buffer: Buffer) -> i64 {
    let promised = reserved.saturating_add(held);
    sellable.saturating_sub(promised).saturating_sub(buffer.of(sellable))
}

/// Whom a shortfall hits, and how many units of it: the newest promise first, as far as it reaches.
pub fn unserved<T>(
    shortfall: i64,
    newest_first: impl IntoIterator<Item = (T, i64)>,
) -> Vec<(T, i64)> {
    let mut left = shortfall;
    let hit = newest_first.into_iter().map_while(|(promise, units)| {
        let lacking = units.min(left);
        left -= lacking;
        (lacking > 0).then_some((promise, lacking))
    });
    hit.collect()
}

/// What a channel may still promise. Every answer and every grant comes from here, or from the copy
/// in the reservation layer's scripts that a test holds against it.
pub fn available(sellable: i64, reserved: i64, held: i64, buffer: Buffer) -> i64 {
    headroom(sellable, reserved, held, buffer).max(0)
}
