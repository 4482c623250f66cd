//! How many orders a location has ready within a quarter of an hour.

use rustc_hash::FxHashMap;

use crate::stock::{
    ids::{EntryRef, Place},
    machine::{Machine, Stop},
    terms::Terms,
    time::{Micros, SECOND, Timestamp},
};

/// A quarter of an hour by any clock: the offsets of all time zones are whole quarters.
const QUARTER: Micros = 900 * SECOND;

impl Machine<'_> {
    /// The first moment from `ready_by` on in whose quarter of an hour the location can have another
    /// order ready; `own` is a reservation that does not count. Where it has no limit, `ready_by`.
    pub(super) fn slot(
        &mut self,
        terms: &Terms,
        place: Place,
        ready_by: Timestamp,
        own: Option<EntryRef>,
    ) -> Result<Timestamp, Stop> {
        let most = terms.pickups_per_quarter_hour;
        if most == 0 {
            return Ok(ready_by);
        }
        let taken = self.taken(place, own)?;
        let mut ready_by = ready_by;
        // Every quarter that is passed over is full of promises, so there is an end of them.
        while taken.get(&quarter(ready_by)).is_some_and(|taken| *taken >= most) {
            let next = Timestamp((quarter(ready_by) + 1).saturating_mul(QUARTER));
            ready_by = terms.calendar.next_opening(next);
        }
        Ok(ready_by)
    }

    /// Open reservations of a place by the quarter of an hour in which they are ready.
    fn taken(&mut self, place: Place, own: Option<EntryRef>) -> Result<FxHashMap<i64, u32>, Stop> {
        let Some(stored) = self.book.pickups.get(&place) else {
            self.needs.pickups.insert(place);
            return Err(Stop::Unread);
        };
        let changed = self.reservations.values().filter(|made| {
            made.id.place == place && made.state.is_open() && made.held_as.is_none()
        });
        let changed = changed.map(|made| (made.at(), made.ready_by));
        let stored = stored.iter().filter(|(at, _)| !self.reservations.contains_key(at));
        let mut taken = FxHashMap::default();
        for (at, ready_by) in stored.copied().chain(changed) {
            if Some(at) != own {
                *taken.entry(quarter(ready_by)).or_default() += 1;
            }
        }
        Ok(taken)
    }
}

/// Its number since 1970.
fn quarter(at: Timestamp) -> i64 {
    at.0.div_euclid(QUARTER)
}
