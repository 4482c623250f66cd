//! The live status of a location: what may be promised there at this moment, and when it was closed.

use crate::stock::{
    refusal::Refusal,
    time::{Micros, SECOND, Timestamp},
};

/// Orders of one quarter of an hour.
pub const PICKUPS_MAX: u32 = 10_000;
/// How far ahead a status may end: as far as a calendar is looked through.
pub const UNTIL_MAX: Micros = 400 * 86_400 * SECOND;

/// What may be done at a location. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i16)]
pub enum LocationStatus {
    /// Everything.
    #[default]
    Open = 1,
    /// Customers collect and do not browse: promises as usual.
    PickupOnly = 2,
    /// What is promised is carried out, and nothing more is promised.
    NoNewReservations = 3,
    /// The same, and customers cannot come: no promise ends meanwhile.
    Closed = 4,
}

/// A time at which a location was closed by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closure {
    /// From when.
    pub from: Timestamp,
    /// Until when; `None`: nobody knows yet.
    pub until: Option<Timestamp>,
}

/// What changes about a location while it is in business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Its status, as long as `until` has not passed.
    pub status: LocationStatus,
    /// When it is open again by itself.
    pub until: Option<Timestamp>,
    /// The last time that it was closed.
    pub closure: Option<Closure>,
    /// When it was closed for good.
    pub closed_at: Option<Timestamp>,
}

impl LocationStatus {
    /// The status with this number.
    pub fn of(number: i32) -> Option<LocationStatus> {
        use LocationStatus::{Closed, NoNewReservations, Open, PickupOnly};
        let all = [Open, PickupOnly, NoNewReservations, Closed];
        all.into_iter().find(|status| *status as i32 == number)
    }

    /// The name, as in the contract but for its prefix.
    pub fn name(self) -> &'static str {
        match self {
            LocationStatus::Open => "OPEN",
            LocationStatus::PickupOnly => "PICKUP_ONLY",
            LocationStatus::NoNewReservations => "NO_NEW_RESERVATIONS",
            LocationStatus::Closed => "CLOSED",
        }
    }
}

impl Live {
    /// Its status at a moment.
    pub fn status_at(&self, now: Timestamp) -> LocationStatus {
        match self.until {
            _ if self.closed_at.is_some() => LocationStatus::Closed,
            Some(until) if until <= now => LocationStatus::Open,
            _ => self.status,
        }
    }

    /// Whether anything may be promised there that is not promised yet.
    ///
    /// # Errors
    /// Its status forbids it.
    pub fn check_accepts(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.status_at(now) {
            LocationStatus::Open | LocationStatus::PickupOnly => Ok(()),
            status => Err(Refusal::LocationNotAccepting { status: status.name() }),
        }
    }

    /// The same with another status from `now` on. A closure that goes on keeps its beginning, one that
    /// is over is remembered with its end.
    #[must_use]
    pub fn set(self, status: LocationStatus, until: Option<Timestamp>, now: Timestamp) -> Live {
        let before = self.closure.filter(|_| self.status_at(now) == LocationStatus::Closed);
        let closure = match (status, before) {
            (LocationStatus::Closed, before) => {
                let from = before.map_or(now, |before| before.from);
                Some(Closure { from, until })
            }
            (_, Some(before)) => Some(Closure { until: Some(now), ..before }),
            (_, None) => self.closure,
        };
        Live { status, until, closure, ..self }
    }
}
