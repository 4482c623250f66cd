//! What a channel and a location say about a promise: how much may be promised and until when.

use crate::stock::{
    pickup::PickupSecret,
    policy::Buffer,
    reservation::{ReservationId, Settlement},
    time::{Micros, SECOND, Timestamp},
};

/// The terms of promises of one channel at one location.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the channel keeps back.
    pub buffer: Buffer,
    /// Most units of one item in one promise; 0: no cap.
    pub units_per_order_max: i64,
    /// How long the store may take to begin.
    pub answer_timeout: Option<Micros>,
    /// What pickup codes are made with.
    pub secret: PickupSecret,
}

/// When things are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The store has it ready.
    pub ready_by: Timestamp,
    /// The promise ends by itself.
    pub expires_at: Timestamp,
    /// The store must have begun.
    pub answer_by: Option<Timestamp>,
}

impl Terms {
    /// What the pickup code of a reservation is found by.
    pub fn code_hash(&self, id: &ReservationId) -> i64 {
        self.secret.hash(id.place, &self.secret.code(id))
    }

    /// When a promise made now is due.
    pub fn times(&self, now: Timestamp, settlement: Settlement, ttl: Option<Micros>) -> Times {
        let _ = settlement;
        let ready_by = now.saturating_add(7_200 * SECOND);
        let rule = ready_by.saturating_add(86_400 * SECOND);
        Times {
            ready_by,
            expires_at: ttl.map_or(rule, |ttl| now.saturating_add(ttl)),
            answer_by: self.answer_timeout.map(|timeout| now.saturating_add(timeout)),
        }
    }
}
