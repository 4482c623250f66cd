//! What the store does with a promise: picking, handing over, and back to the shelf.

use stockroom::stock::{
    kind::Kind,
    refusal::Refusal,
    reservation::{Line, Reservation, State},
    step::{Elsewhere, Found, ShortCause, Wanted},
    time::Timestamp,
};

use super::{
    Oracle, aside,
    changes::{Changed, Effect, end},
    finish_if_done, is_open, line_of, wrong_state,
};

impl Oracle {
    pub(super) fn report_pick(
        &mut self,
        now: Timestamp,
        mut promise: Reservation,
        found: &[Found],
        elsewhere: Option<&Elsewhere>,
        told: Option<&Reservation>,
    ) -> Changed {
        if ![State::Reserved, State::Picking].contains(&promise.state) {
            return Err(wrong_state(&promise));
        }
        if let Some(line) = found.iter().find(|line| line_of(&promise, line.item).is_none()) {
            return Err(Refusal::LineUnknown { sku: line.sku.clone() });
        }
        let before = promise.clone();
        let left = |line: &Found| {
            line_of(&before, line.item).map_or(0, |line| line.quantity - line.picked)
        };
        if let Some(line) = found.iter().find(|line| line.found > left(line)) {
            return Err(Refusal::LineExceeded { sku: line.sku.clone(), left: left(line) });
        }
        let mut missed = Vec::new();
        for line in found {
            let missing = left(line) - line.found;
            let own = promise.lines.iter_mut().find(|own| own.item == line.item).unwrap();
            own.picked += line.found;
            own.quantity -= missing;
            self.moved(now, before.id.place, line.item, Kind::Pick, (1, 2), line.found);
            if missing > 0 {
                missed.push((line, missing));
            }
        }
        let moved =
            promise.lines.iter().all(|line| line.quantity == 0).then_some(()).and_then(|()| {
                // At the other location, so what is written off here makes no difference.
                let reason = missed.first().map_or("", |(line, _)| line.cause.reason());
                let continued = promise.clone();
                self.continue_at(now, continued, &before, elsewhere?, reason, told).ok()
            });
        for (line, missing) in &missed {
            let (kind, to) = match line.cause {
                ShortCause::NotFound => (Kind::Adjust, 6),
                ShortCause::Damaged => (Kind::Block, 3),
                ShortCause::Mismatch => continue,
            };
            self.moved(now, before.id.place, line.item, kind, (1, to), *missing);
        }
        if let Some(moved) = moved {
            return Ok(moved);
        }
        (promise.state, promise.answer_by) = (State::Picking, None);
        if promise.lines.iter().all(|line| line.quantity == 0) {
            let cause = missed.last().map_or("", |(line, _)| line.cause.reason());
            end(&mut promise, State::Rejected, cause);
        }
        finish_if_done(&mut promise);
        Ok((promise, Effect::Step))
    }

    pub(super) fn mark_ready(
        &mut self,
        now: Timestamp,
        promise: &mut Reservation,
    ) -> Result<(), Refusal> {
        if promise.state != State::Picking {
            return Err(wrong_state(promise));
        }
        for line in &mut promise.lines {
            let picked = line.quantity - line.picked;
            self.moved(now, promise.id.place, line.item, Kind::Pick, (1, 2), picked);
            line.picked = line.quantity;
        }
        promise.state = State::Ready;
        Ok(())
    }

    pub(super) fn collect(
        &mut self,
        now: Timestamp,
        promise: &mut Reservation,
        wanted: &[Wanted],
        code_fits: bool,
    ) -> Result<(), Refusal> {
        let expired = promise.state == State::Expired;
        if !is_open(promise) && !expired {
            return Err(wrong_state(promise));
        }
        if !code_fits {
            return Err(Refusal::PickupCodeWrong);
        }
        if expired && promise.lines.iter().all(|line| aside(line) == 0) {
            return Err(Refusal::NothingAside);
        }
        let left = |line: &Line| {
            let on_shelf = if expired { 0 } else { line.quantity - line.picked };
            aside(line) + on_shelf
        };
        if let Some(line) = wanted.iter().find(|line| line_of(promise, line.item).is_none()) {
            return Err(Refusal::LineUnknown { sku: line.sku.clone() });
        }
        let of = |line: &Wanted| line_of(promise, line.item).map_or(0, left);
        if let Some(line) = wanted.iter().find(|line| line.quantity > of(line)) {
            return Err(Refusal::LineExceeded { sku: line.sku.clone(), left: of(line) });
        }
        for line in &mut promise.lines {
            let named = wanted.iter().find(|named| named.item == line.item);
            let all = if wanted.is_empty() { left(line) } else { 0 };
            let quantity = named.map_or(all, |named| named.quantity);
            let staged = quantity.min(aside(line));
            self.moved(now, promise.id.place, line.item, Kind::Sale, (2, 6), staged);
            self.moved(now, promise.id.place, line.item, Kind::Sale, (1, 6), quantity - staged);
            line.picked += quantity - staged;
            line.collected += quantity;
        }
        promise.answer_by = None;
        finish_if_done(promise);
        Ok(())
    }

    pub(super) fn return_to_shelf(
        &mut self,
        now: Timestamp,
        promise: &mut Reservation,
    ) -> Result<(), Refusal> {
        if is_open(promise) {
            return Err(wrong_state(promise));
        }
        if promise.lines.iter().all(|line| aside(line) == 0) {
            return Err(Refusal::NothingAside);
        }
        for line in &mut promise.lines {
            self.moved(now, promise.id.place, line.item, Kind::Unpick, (2, 1), aside(line));
            line.shelved += aside(line);
        }
        Ok(())
    }
}

pub(super) fn start_picking(promise: &mut Reservation) -> Result<(), Refusal> {
    if promise.state != State::Reserved {
        return Err(wrong_state(promise));
    }
    (promise.state, promise.answer_by) = (State::Picking, None);
    Ok(())
}
