//! What a channel and a location say about a promise: how much may be promised and until when.

use std::sync::Arc;

use crate::stock::{
    calendar::Calendar,
    channel_policy::Policy,
    ids::{Place, PositionKey},
    live::Live,
    pickup::PickupSecret,
    refusal::Refusal,
    reservation::{Reservation, ReservationId, Settlement, State},
    step::Wanted,
    time::{Micros, Timestamp},
};

/// The terms of promises of one channel at one location.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What the channel may promise.
    pub policy: Arc<Policy>,
    /// When the location is open.
    pub calendar: Arc<Calendar>,
    /// How long the location takes to have an order ready, in opening time.
    pub preparation: Micros,
    /// What the location's status says.
    pub live: Live,
    /// Orders that the location has ready within one quarter of an hour; 0: any number.
    pub pickups_per_quarter_hour: u32,
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
    /// When a promise made now is due: after `ttl`, or by the pickup rule at the end of a business day
    /// of the location.
    pub fn times(&self, now: Timestamp, settlement: Settlement, ttl: Option<Micros>) -> Times {
        self.times_from(now, self.ready_by(now), settlement, ttl)
    }

    /// When the location would have an order of this moment ready, if it had no other.
    pub fn ready_by(&self, now: Timestamp) -> Timestamp {
        self.calendar.ready_by(now, self.preparation)
    }

    /// The same for what is ready at another moment.
    pub fn times_from(
        &self,
        now: Timestamp,
        ready_by: Timestamp,
        settlement: Settlement,
        ttl: Option<Micros>,
    ) -> Times {
        let days = self.policy.collect_days(settlement);
        let expires_at = match ttl {
            Some(ttl) => now.saturating_add(ttl),
            None => self.calendar.collect_by(ready_by, days),
        };
        let timeout = self.policy.answer_timeout;
        let answer_by = timeout.map(|timeout| self.calendar.ready_by(now, timeout));
        Times { ready_by, expires_at, answer_by }
    }

    /// When what is not ready yet is ready after the location's hours changed, if it has no other order.
    pub fn ready_by_anew(&self, made: &Reservation) -> Timestamp {
        match made.state {
            State::Ready => made.ready_by,
            _ => self.calendar.next_opening(self.ready_by(made.created_at).max(made.ready_by)),
        }
    }

    /// When a promise that is ready then is due after the location's hours changed, by the same rule as
    /// when it was made. No customer loses time: nothing is due earlier than before, and who would find
    /// the location closed at the last moment has until it closes next.
    pub fn times_anew(&self, made: &Reservation, ready_by: Timestamp) -> Times {
        let Terms { calendar, policy, .. } = self;
        let days = policy.collect_days(made.settlement);
        let paid = made.paid_at.map(|at| calendar.collect_by(self.ready_by(at), days));
        let collect_by = paid.into_iter().fold(calendar.collect_by(ready_by, days), Ord::max);
        let expires_at = match made.expires_at {
            given if made.ttl_given => given,
            before if collect_by < before => calendar.closing_from(before),
            _ => collect_by,
        };
        let anew = policy.answer_timeout.map(|time| calendar.ready_by(made.created_at, time));
        let answer_by = made.answer_by.map(|before| anew.map_or(before, |anew| anew.max(before)));
        Times { ready_by, expires_at, answer_by }
    }

    /// Whether the channel allows a promise, or a hold, of this length.
    ///
    /// # Errors
    /// It is too long.
    pub fn check_ttl(&self, ttl: Option<Micros>, held: bool) -> Result<(), Refusal> {
        let Policy { hold_ttl_max, reservation_ttl_max, .. } = *self.policy;
        let longest = if held { hold_ttl_max } else { reservation_ttl_max };
        match ttl {
            Some(ttl) if ttl > longest => Err(Refusal::TtlExceeded { ttl_max_ms: longest / 1_000 }),
            _ => Ok(()),
        }
    }

    /// Whether the channel may promise stock of a place, and the place promises any now.
    ///
    /// # Errors
    /// It may not, or it does not.
    pub fn check_place(&self, place: Place, now: Timestamp) -> Result<(), Refusal> {
        match self.policy.is_eligible(place.location) {
            true => self.live.check_accepts(now),
            false => Err(Refusal::LocationNotEligible),
        }
    }

    /// Whether the channel allows this many of each item in one order at a place.
    ///
    /// # Errors
    /// It does not.
    pub fn check_cap(&self, place: Place, lines: &[Wanted]) -> Result<(), Refusal> {
        for line in lines {
            let units_max = self.policy.cap_at(PositionKey { place, item: line.item });
            if units_max > 0 && line.quantity > units_max {
                return Err(Refusal::UnitsPerOrderExceeded { sku: line.sku.clone(), units_max });
            }
        }
        Ok(())
    }

    /// What the pickup code of a reservation is found by.
    pub fn code_hash(&self, id: &ReservationId) -> i64 {
        self.secret.hash(id.place, &self.secret.code(id))
    }
}
