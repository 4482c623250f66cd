//! A moment, as the ledger stores it.

use serde::{Deserialize, Serialize};

/// Microseconds since 1970-01-01 00:00:00 UTC, leap seconds ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

/// A span of time, in microseconds.
pub type Micros = i64;

/// One second.
pub const SECOND: Micros = 1_000_000;

impl Timestamp {
    /// Before everything that can be recorded.
    pub const MIN: Timestamp = Timestamp(i64::MIN);

    /// 2000-01-01: nothing may have occurred earlier.
    pub const Y2000: Timestamp = Timestamp(946_684_800 * SECOND);

    /// 10000-01-01: what a database column and a calendar can hold ends here.
    pub const Y10000: Timestamp = Timestamp(253_402_300_800 * SECOND);

    /// Whether it lies from 2000 to 9999.
    pub fn is_storable(self) -> bool {
        (Timestamp::Y2000..Timestamp::Y10000).contains(&self)
    }

    /// This moment moved by `span`, stopping at the ends of the range.
    pub fn saturating_add(self, span: Micros) -> Timestamp {
        Timestamp(self.0.saturating_add(span))
    }
}
