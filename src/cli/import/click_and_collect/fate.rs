//! What becomes of a basket, by its number.

/// What its customer and the shop will do about a basket that was ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Collected in time.
    Collect,
    /// Made ready and never collected.
    NoShow,
    /// Cancelled by the customer, at the time of the basket or before it was picked.
    Cancel {
        /// Before it was picked.
        early: bool,
    },
    /// One unit of its first line is not found.
    ShortPick,
    /// Moved to another shop before it is picked.
    Move,
    /// Sold at the till, and returned in another shop.
    Return,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Became {
    /// Refused for lack of stock: a sale that was lost.
    Refused,
    /// Collected where it was reserved.
    Collected,
    /// Collected but for the unit that was not found.
    CollectedShort,
    /// Rejected, as its only unit was not found.
    NothingFound,
    /// Collected in the shop that it was moved to.
    CollectedMoved,
    /// Collected where it was reserved, as the other shop had too little.
    CollectedUnmoved,
    /// Sold at the till.
    Sold,
    /// Sold at the till and returned in another shop.
    Returned,
    /// Not collected in time, and returned to the shelf.
    NoShow,
    /// Cancelled before it was picked.
    CancelledEarly,
    /// Cancelled when it was ready, and returned to the shelf.
    CancelledLate,
    /// Expired before the shop did its part: the server was away or too slow.
    Lapsed,
    /// The same, after one unit was not found.
    LapsedShort,
}

impl Fate {
    /// One basket of ten is ordered; absent: it is bought at the till like any other.
    pub(super) fn of(basket: u64) -> Option<Self> {
        let fate = match basket % 100 {
            10 => Self::NoShow,
            20 => Self::Cancel { early: (basket / 100).is_multiple_of(2) },
            30 => Self::ShortPick,
            40 => Self::Move,
            50 => Self::Return,
            _ => Self::Collect,
        };
        basket.is_multiple_of(10).then_some(fate)
    }
}

impl Became {
    /// All, in the order of the table.
    pub(super) const ALL: [Self; 13] = [
        Self::Refused,
        Self::Collected,
        Self::CollectedShort,
        Self::CollectedMoved,
        Self::CollectedUnmoved,
        Self::Sold,
        Self::Returned,
        Self::NoShow,
        Self::CancelledEarly,
        Self::CancelledLate,
        Self::NothingFound,
        Self::Lapsed,
        Self::LapsedShort,
    ];

    /// For programs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Collected => "collected",
            Self::CollectedShort => "collected_short",
            Self::NothingFound => "nothing_found",
            Self::CollectedMoved => "collected_moved",
            Self::CollectedUnmoved => "collected_unmoved",
            Self::Sold => "sold",
            Self::Returned => "returned_elsewhere",
            Self::NoShow => "no_show",
            Self::CancelledEarly => "cancelled_early",
            Self::CancelledLate => "cancelled_late",
            Self::Lapsed => "lapsed",
            Self::LapsedShort => "lapsed_short",
        }
    }

    /// For people.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Refused => "refused for lack of stock",
            Self::Collected => "collected",
            Self::CollectedShort => "collected, one unit short",
            Self::NothingFound => "rejected, its only unit not found",
            Self::CollectedMoved => "moved, and collected in the other shop",
            Self::CollectedUnmoved => "collected, the other shop having too little",
            Self::Sold => "sold at the till, not returned yet",
            Self::Returned => "sold at the till, returned in another shop",
            Self::NoShow => "expired (no-show), back on the shelf",
            Self::CancelledEarly => "cancelled before it was picked",
            Self::CancelledLate => "cancelled when ready, back on the shelf",
            Self::Lapsed => "expired before it was ready",
            Self::LapsedShort => "expired before it was ready, one unit short",
        }
    }

    /// Of so many orders with so many units, the units that customers took away and those that nobody
    /// found.
    pub(super) fn gone(self, orders: i64, units: i64) -> (i64, i64) {
        match self {
            Self::Collected
            | Self::CollectedMoved
            | Self::CollectedUnmoved
            | Self::Sold
            | Self::Returned => (units, 0),
            Self::CollectedShort | Self::NothingFound => (units - orders, orders),
            Self::LapsedShort => (0, orders),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_basket_of_ten_is_ordered_and_its_number_is_its_fate() {
        assert_eq!((0..100).filter(|&basket| Fate::of(basket).is_some()).count(), 10);
        for (basket, fate) in [
            (31_198_570_010, Fate::NoShow),
            (31_198_570_020, Fate::Cancel { early: false }),
            (31_198_570_120, Fate::Cancel { early: false }),
            (31_198_570_030, Fate::ShortPick),
            (31_198_570_040, Fate::Move),
            (31_198_570_050, Fate::Return),
            (31_198_570_000, Fate::Collect),
            (31_198_570_090, Fate::Collect),
        ] {
            let fate = match fate {
                Fate::Cancel { .. } => Fate::Cancel { early: (basket / 100) % 2 == 0 },
                fate => fate,
            };
            assert_eq!(Fate::of(basket), Some(fate), "{basket}");
        }
        assert_eq!(Fate::of(31_198_570_047), None);
    }
}
