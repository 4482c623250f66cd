//! From the shelf to the customer: picking, handing over, and back to the shelf.

use crate::stock::{
    ids::ItemNo,
    kind::{Kind, StockState},
    machine::{Machine, Stop, close::finish, posting::Posting, step::wrong_state},
    recall::RECALL,
    refusal::Refusal,
    reservation::{Line, Reservation, State},
    step::{Elsewhere, Found, ShortCause, Step, Wanted},
};

const FROM_SHELF: (StockState, StockState) = (StockState::Sellable, StockState::Staged);
const TO_BLOCKED: (StockState, StockState) = (StockState::Sellable, StockState::Blocked);
const TO_SHELF: (StockState, StockState) = (StockState::Staged, StockState::Sellable);

impl<'a> Machine<'a> {
    pub(super) fn start_picking(
        &mut self,
        step: &'a Step,
        before: Reservation,
    ) -> Result<Reservation, Stop> {
        if before.state != State::Reserved {
            return Err(wrong_state(&before));
        }
        let mut after = before.clone();
        begin_picking(&mut after);
        self.record(step, before, after, Vec::new())
    }

    /// The reservation shrinks to what was found. Of which nothing was found at all goes elsewhere, if
    /// it may and there is enough, or else is rejected.
    pub(super) fn report_pick(
        &mut self,
        step: &'a Step,
        before: Reservation,
        lines: &[Found],
        elsewhere: Option<&Elsewhere>,
    ) -> Result<Reservation, Stop> {
        if !matches!(before.state, State::Reserved | State::Picking) {
            return Err(wrong_state(&before));
        }
        let mut after = before.clone();
        begin_picking(&mut after);
        let mut postings = Vec::new();
        let mut cause = "";
        for found in lines {
            line_mut(&mut after, found.item, &found.sku)?;
        }
        for found in lines {
            let line = line_mut(&mut after, found.item, &found.sku)?;
            let unpicked = line.unpicked();
            if found.found > unpicked {
                let sku = found.sku.clone();
                return Err(Refusal::LineExceeded { sku, left: unpicked }.into());
            }
            let missing = unpicked - found.found;
            line.picked += found.found;
            line.quantity -= missing;
            postings.extend(pick(found.item, found.found));
            if missing > 0 {
                cause = found.cause.reason();
                postings.push(Posting {
                    doubtful: true,
                    reason: cause,
                    ..Posting::of(found.item, Kind::Release, missing)
                });
                postings.extend(missed(found.item, missing, found.cause));
            }
        }
        if after.lines.iter().any(|line| line.quantity > 0) {
            collected_all(&mut after);
            return self.record(step, before, after, postings);
        }
        if let Some(elsewhere) = elsewhere {
            let (before, after, postings) = (before.clone(), after.clone(), postings.clone());
            match self.continue_at(step, before, after, postings, elsewhere) {
                Err(Stop::Refused(_)) => {}
                moved => return moved,
            }
        }
        finish(&mut after, State::Rejected, cause);
        self.record(step, before, after, postings)
    }

    /// What nobody reported was found.
    pub(super) fn mark_ready(
        &mut self,
        step: &'a Step,
        before: Reservation,
    ) -> Result<Reservation, Stop> {
        if before.state != State::Picking {
            return Err(wrong_state(&before));
        }
        let mut after = Reservation { state: State::Ready, ..before.clone() };
        let mut postings = Vec::new();
        for line in &mut after.lines {
            postings.extend(pick(line.item, line.unpicked()));
            line.picked = line.quantity;
        }
        self.record(step, before, after, postings)
    }

    /// Hands over what is aside and, as long as the promise stands, what is still on the shelf.
    pub(super) fn collect(
        &mut self,
        step: &'a Step,
        before: Reservation,
        wanted: &[Wanted],
        code_fits: bool,
    ) -> Result<Reservation, Stop> {
        let expired = before.state == State::Expired;
        if !before.state.is_open() && !expired {
            return Err(wrong_state(&before));
        }
        if !code_fits {
            return Err(Refusal::PickupCodeWrong.into());
        }
        if expired && before.aside() == 0 {
            return Err(Refusal::NothingAside.into());
        }
        let left = |line: &Line| line.aside() + if expired { 0 } else { line.unpicked() };
        let mut after = before.clone();
        let mut postings = Vec::new();
        for line in wanted {
            line_mut(&mut after, line.item, &line.sku)?;
        }
        for line in wanted {
            let left = left(line_mut(&mut after, line.item, &line.sku)?);
            if line.quantity > left {
                return Err(Refusal::LineExceeded { sku: line.sku.clone(), left }.into());
            }
        }
        for line in &mut after.lines {
            let asked = wanted.iter().find(|wanted| wanted.item == line.item);
            let quantity = match (asked, wanted.is_empty()) {
                (Some(asked), _) => asked.quantity,
                (None, true) => left(line),
                (None, false) => 0,
            };
            let aside = quantity.min(line.aside());
            postings.extend(hand_over(line.item, StockState::Staged, aside));
            postings.extend(hand_over(line.item, StockState::Sellable, quantity - aside));
            line.picked += quantity - aside;
            line.collected += quantity;
        }
        after.answer_by = None;
        if expired && after.aside() == 0 {
            after.state = State::Collected;
        }
        collected_all(&mut after);
        self.record(step, before, after, postings)
    }

    /// What a finished reservation left aside may be sold again.
    pub(super) fn return_to_shelf(
        &mut self,
        step: &'a Step,
        before: Reservation,
    ) -> Result<Reservation, Stop> {
        if before.state.is_open() {
            return Err(wrong_state(&before));
        }
        if before.aside() == 0 {
            return Err(Refusal::NothingAside.into());
        }
        let mut after = before.clone();
        let mut postings = Vec::new();
        for line in after.lines.iter_mut().filter(|line| line.aside() > 0) {
            postings.push(Posting::moving(line.item, Kind::Unpick, TO_SHELF, line.aside()));
            if self.book.recalled.has(line.item) {
                let blocked = Posting::moving(line.item, Kind::Block, TO_BLOCKED, line.aside());
                postings.push(Posting { reason: RECALL, ..blocked });
            }
            line.shelved += line.aside();
        }
        self.record(step, before, after, postings)
    }
}

/// Once everything was handed over the reservation is finished.
pub(super) fn collected_all(reservation: &mut Reservation) {
    let all = |line: &Line| line.collected == line.quantity;
    if reservation.state.is_open() && reservation.lines.iter().all(all) {
        let done = if reservation.held_as.is_some() { State::Consumed } else { State::Collected };
        finish(reservation, done, "");
    }
}

fn begin_picking(reservation: &mut Reservation) {
    reservation.state = State::Picking;
    reservation.answer_by = None;
}

fn line_mut<'r>(
    reservation: &'r mut Reservation,
    item: ItemNo,
    sku: &str,
) -> Result<&'r mut Line, Refusal> {
    let line = reservation.lines.iter_mut().find(|line| line.item == item);
    line.ok_or_else(|| Refusal::LineUnknown { sku: sku.to_owned() })
}

fn pick(item: ItemNo, quantity: i64) -> Option<Posting> {
    let picked = Posting {
        reserved_change: -quantity,
        ..Posting::moving(item, Kind::Pick, FROM_SHELF, quantity)
    };
    (quantity > 0).then_some(picked)
}

/// What units that were not found do to stock.
fn missed(item: ItemNo, missing: i64, cause: ShortCause) -> Option<Posting> {
    let (kind, to) = match cause {
        ShortCause::NotFound => (Kind::Adjust, StockState::External),
        ShortCause::Damaged => (Kind::Block, StockState::Blocked),
        ShortCause::Mismatch => return None,
    };
    let moved = Posting::moving(item, kind, (StockState::Sellable, to), missing);
    Some(Posting { reason: cause.reason(), ..moved })
}

fn hand_over(item: ItemNo, from: StockState, quantity: i64) -> Option<Posting> {
    let promised = if from == StockState::Sellable { quantity } else { 0 };
    let sold = Posting {
        reserved_change: -promised,
        ..Posting::moving(item, Kind::Sale, (from, StockState::External), quantity)
    };
    (quantity > 0).then_some(sold)
}
