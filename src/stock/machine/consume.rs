//! Sales that name a hold or a reservation consume it. A sale is a fact: it is recorded whatever
//! became of the promise.

use std::borrow::Cow;

use crate::stock::{
    book::HoldKey,
    entry::{Entry, Flags, Legs},
    hold::HoldId,
    kind::{Kind, StockState},
    machine::{Machine, Posted, Stop, fulfil::collected_all},
    movement::Movement,
    reservation::{Reservation, State},
};

/// What a sale takes from a promise.
struct Consumed {
    before: Reservation,
    after: Reservation,
    /// Units that were set aside for it.
    aside: i64,
    /// Units that were promised on the shelf.
    promised: i64,
}

impl<'a> Machine<'a> {
    /// Posts a sale that names a promise, together with what it does to the promise.
    pub(super) fn consuming_sale(
        &mut self,
        movement: &'a Movement,
        mut entry: Entry<'a>,
    ) -> Result<Posted, Stop> {
        let promise = self.promise(movement)?;
        let consumed = promise.and_then(|before| consume(before, movement));
        if consumed.is_some() || self.is_elsewhere_held(movement)? {
            entry.flags = Flags(entry.flags.0 & !Flags::PROMISE_UNKNOWN.0);
        }
        let Some(consumed) = consumed else { return Ok(self.post(entry)) };
        let Consumed { before, mut after, aside, promised } = consumed;
        entry.reserved_change = -promised;
        entry.reservation_state = Some(after.state);
        if entry.reservation_id.is_empty() {
            entry.reservation_id = Cow::Owned(after.id.to_string());
        }
        let from = entry.states.map(|(from, _)| from);
        // All of it was set aside: it leaves from there. Some of it: that is put back and then sold.
        let from_aside = aside == movement.draft.quantity || from == Some(StockState::Staged);
        if from_aside {
            entry.states = Some((StockState::Staged, StockState::External));
        }
        let unpick = Entry {
            kind: Kind::Unpick,
            legs: Legs::Both,
            states: Some((StockState::Staged, StockState::Sellable)),
            quantity: aside,
            reserved_change: 0,
            flags: Flags::SECONDARY,
            ..entry.clone()
        };
        let posted = self.post(entry);
        if aside > 0 && !from_aside {
            self.post(unpick);
        }
        after.version = posted.at.seq;
        after.changed_at = self.book.now;
        self.superseded.push(before);
        self.change_reservation(after);
        Ok(posted)
    }

    /// The promise that the sale names, if the ledger has it and there is anything left of it.
    fn promise(&mut self, movement: &Movement) -> Result<Option<Reservation>, Stop> {
        if let Some(id) = movement.reservation() {
            let found = self.reservation(id.at())?.filter(|found| found.id == id);
            return Ok(found.filter(|found| found.held_as.is_none()));
        }
        let Some(id) = only_hold(movement) else { return Ok(None) };
        let used = self.hold(HoldKey::of(id))?;
        let held = used.held.map(|at| self.reservation(at)).transpose()?.flatten();
        Ok(held.filter(|held| held.id.place == movement.place))
    }

    /// Whether it names a hold that the ledger does not know, which then is the reservation layer's.
    fn is_elsewhere_held(&mut self, movement: &Movement) -> Result<bool, Stop> {
        let Some(id) = only_hold(movement) else { return Ok(false) };
        let used = self.hold(HoldKey::of(id))?;
        Ok(used.held.is_none() && used.consumed_by.is_none() && !movement.hold_unknown)
    }
}

/// The hold that it names, if it names no reservation, which would go before.
fn only_hold(movement: &Movement) -> Option<HoldId> {
    movement.hold().filter(|_| movement.draft.reservation_id.is_empty())
}

/// What a sale of this size consumes: units set aside first, then units promised on the shelf. `None`:
/// nothing is left for it.
fn consume(before: Reservation, movement: &Movement) -> Option<Consumed> {
    let mut after = before.clone();
    let expired = before.state == State::Expired;
    let line = after.lines.iter_mut().find(|line| line.item == movement.item)?;
    if !before.state.is_open() && !expired {
        return None;
    }
    let from_staged = movement.draft.from_state == StockState::Staged as i32;
    let aside = movement.draft.quantity.min(line.aside());
    let promised = match expired || from_staged {
        true => 0,
        false => line.unpicked().min(movement.draft.quantity - aside),
    };
    if aside + promised == 0 {
        return None;
    }
    line.picked += promised;
    line.collected += aside + promised;
    after.answer_by = None;
    if expired && after.aside() == 0 {
        after.state = State::Collected;
    }
    collected_all(&mut after);
    Some(Consumed { before, after, aside, promised })
}
