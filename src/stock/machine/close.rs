//! How promises end before anybody comes for them.

use crate::mutants::{Mutant, on};
use crate::stock::{
    kind::Kind,
    machine::{Machine, Stop, posting::Posting, step::wrong_state},
    refusal::Refusal,
    reservation::{CancelledBy, Line, Reservation, State},
    step::{Elsewhere, Step},
};

impl<'a> Machine<'a> {
    pub(super) fn cancel(
        &mut self,
        step: &'a Step,
        before: Reservation,
        by: CancelledBy,
    ) -> Result<Reservation, Stop> {
        if !before.state.is_open() {
            return Err(wrong_state(&before));
        }
        let state = match (by, before.state) {
            (CancelledBy::Store, State::Reserved) => State::Rejected,
            _ => State::Cancelled,
        };
        let before_by = Reservation { cancelled_by: Some(by), ..before.clone() };
        self.close_as(step, before, before_by, state, "")
    }

    /// At its deadline and not a moment before, by the ledger's own clock.
    pub(super) fn expire(
        &mut self,
        step: &'a Step,
        before: Reservation,
    ) -> Result<Reservation, Stop> {
        if !before.state.is_open() {
            return Err(wrong_state(&before));
        }
        if self.book.now < before.expires_at && !on(Mutant::ExpiryByServersClock) {
            return Err(Refusal::NotDue.into());
        }
        self.close(step, before, State::Expired, "expired")
    }

    /// The store did not begin in time: it goes elsewhere, if it may and there is enough, or else is
    /// rejected.
    pub(super) fn unanswered(
        &mut self,
        step: &'a Step,
        before: Reservation,
        elsewhere: Option<&Elsewhere>,
    ) -> Result<Reservation, Stop> {
        if before.state != State::Reserved {
            return Err(wrong_state(&before));
        }
        if before.answer_by.is_none_or(|answer_by| self.book.now < answer_by) {
            return Err(Refusal::NotDue.into());
        }
        if let Some(elsewhere) = elsewhere {
            let postings = release_all(&before, "unanswered");
            match self.continue_at(step, before.clone(), before.clone(), postings, elsewhere) {
                Err(Stop::Refused(_)) => {}
                moved => return moved,
            }
        }
        self.close(step, before, State::Rejected, "unanswered")
    }

    /// Ends a promise: what was not picked is free again, what was picked stays aside.
    pub(super) fn close(
        &mut self,
        step: &'a Step,
        before: Reservation,
        state: State,
        reason: &'static str,
    ) -> Result<Reservation, Stop> {
        let after = before.clone();
        self.close_as(step, before, after, state, reason)
    }

    fn close_as(
        &mut self,
        step: &'a Step,
        before: Reservation,
        mut after: Reservation,
        state: State,
        reason: &'static str,
    ) -> Result<Reservation, Stop> {
        let told = if reason.is_empty() { &step.reason } else { reason };
        finish(&mut after, state, told);
        let postings = release_all(&before, reason);
        self.record(step, before, after, postings)
    }
}

/// Notes how and why a reservation ended.
pub(super) fn finish(reservation: &mut Reservation, state: State, reason: &str) {
    reservation.state = state;
    reservation.answer_by = None;
    reason.clone_into(&mut reservation.reason);
}

/// Entries that give back everything that was promised and not picked.
pub(super) fn release_all(reservation: &Reservation, reason: &'static str) -> Vec<Posting> {
    let promised = reservation.lines.iter().filter(|line| line.unpicked() > 0);
    let release =
        |line: &Line| Posting { reason, ..Posting::of(line.item, Kind::Release, line.unpicked()) };
    promised.map(release).collect()
}
