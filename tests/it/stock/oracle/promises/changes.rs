//! What may happen to a promise, step by step.

use stockroom::stock::{
    refusal::Refusal,
    reservation::{CancelledBy, Line, Reservation, State},
    step::{Change, Elsewhere, Step, Wanted},
    terms::{Terms, Times},
    time::Timestamp,
};

use super::{
    Oracle, finish_if_done, is_open,
    limits::{above_cap, answer_by, collect_by, not_eligible, ready_by, too_long},
    line_of, new_id,
    store::start_picking,
    wrong_state,
};

/// What a step left behind.
pub(super) enum Effect {
    /// Nothing: it was done before.
    Nothing,
    /// One more version.
    Step,
    /// And a promise that continues it.
    Moved(Box<Reservation>),
}

pub(super) type Changed = Result<(Reservation, Effect), Refusal>;

impl Oracle {
    /// The promise after a change that names it.
    pub(super) fn change(
        &mut self,
        now: Timestamp,
        step: &Step,
        before: Reservation,
        change: &Change,
        told: Option<&Reservation>,
    ) -> Changed {
        if let Some(successor) = before.successor
            && !matches!(change, Change::ReturnToShelf)
        {
            return Err(Refusal::ReservationMoved { successor_id: successor.to_string() });
        }
        if before.held_as.is_some() && !matches!(change, Change::Expire) {
            let held = before.state == State::Held;
            match change {
                Change::Release if !held => return Ok((before, Effect::Nothing)),
                Change::Release | Change::Extend { .. } | Change::Amend { .. } if held => {}
                _ if before.state == State::Consumed => return Err(Refusal::HoldConsumed),
                _ => return Err(Refusal::HoldEnded),
            }
        }
        let mut after = before.clone();
        after.changed_at = now;
        let done = match change {
            Change::Amend { lines, ttl, terms, .. } => {
                self.amend(now, &mut after, lines, *ttl, terms)
            }
            Change::Extend { ttl, terms } => extend(now, &mut after, *ttl, terms),
            Change::ConfirmPayment { terms } => confirm(now, &mut after, terms),
            Change::Move(to) => return self.move_to(now, step, after, to, told),
            Change::Cancel { by } => cancel(&mut after, *by, &step.reason),
            Change::Reschedule { .. } if !before.state.is_open() => Err(wrong_state(&before)),
            Change::Reschedule { terms } => {
                let ready_by = terms.ready_by_anew(&before);
                let Times { expires_at, answer_by, .. } = terms.times_anew(&before, ready_by);
                let same = (before.ready_by, before.expires_at, before.answer_by);
                if same == (ready_by, expires_at, answer_by) {
                    return Ok((before, Effect::Nothing));
                }
                after = Reservation { ready_by, expires_at, answer_by, ..after };
                Ok(())
            }
            Change::Expire => expire(now, &mut after),
            Change::Unanswered { elsewhere } => {
                return self.unanswered(now, after, elsewhere.as_ref(), told);
            }
            Change::Release => release(&mut after),
            Change::StartPicking => start_picking(&mut after),
            Change::ReportPick { lines, elsewhere } => {
                return self.report_pick(now, after, lines, elsewhere.as_ref(), told);
            }
            Change::MarkReady => self.mark_ready(now, &mut after),
            Change::Collect { lines, code_fits } => {
                self.collect(now, &mut after, lines, *code_fits)
            }
            Change::ReturnToShelf => self.return_to_shelf(now, &mut after),
        };
        done.map(|()| (after, Effect::Step))
    }

    fn amend(
        &self,
        now: Timestamp,
        promise: &mut Reservation,
        wanted: &[Wanted],
        ttl: Option<i64>,
        terms: &Terms,
    ) -> Result<(), Refusal> {
        let before = promise.clone();
        let had = |line: &Wanted| line_of(&before, line.item).map_or(0, |line| line.quantity);
        let more = wanted.iter().filter(|line| line.quantity > had(line)).cloned();
        let more: Vec<_> = more.collect();
        if more.iter().any(|line| !line.stock_item) {
            return Err(Refusal::NotAStockItem);
        }
        if ![State::Reserved, State::Picking, State::Held].contains(&promise.state) {
            return Err(wrong_state(promise));
        }
        for line in &mut promise.lines {
            let named = wanted.iter().find(|named| named.item == line.item);
            line.quantity = named.map_or(0, |named| named.quantity);
            if line.quantity < line.picked {
                let before = line_of(&before, line.item).unwrap();
                let sku = named.map_or_else(String::new, |named| named.sku.clone());
                return Err(Refusal::LineExceeded { sku, left: before.quantity - before.picked });
            }
        }
        let place = promise.id.place;
        let refusal = not_eligible(terms, place)
            .filter(|_| !more.is_empty())
            .or_else(|| too_long(terms, ttl, promise.held_as.is_some()))
            .or_else(|| above_cap(terms, place, &more));
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if !more.is_empty() {
            // What was picked is not among what is sellable any more.
            let own = |item| line_of(&before, item).map_or(0, |line| line.quantity);
            self.grant(promise.id.place, &more, terms, own, false)?;
        }
        let empty =
            |line: &Line| line_of(&before, line.item).is_some_and(|line| line.quantity == 0);
        promise.lines.retain(|line| line.quantity > 0 || empty(line));
        let new =
            wanted.iter().filter(|new| new.quantity > 0 && line_of(&before, new.item).is_none());
        promise.lines.extend(new.map(|new| Line {
            item: new.item,
            quantity: new.quantity,
            picked: 0,
            collected: 0,
            shelved: 0,
        }));
        if let Some(ttl) = ttl {
            (promise.expires_at, promise.ttl_given) = (Timestamp(now.0 + ttl), true);
        }
        finish_if_done(promise);
        Ok(())
    }

    fn move_to(
        &mut self,
        now: Timestamp,
        step: &Step,
        promise: Reservation,
        elsewhere: &Elsewhere,
        told: Option<&Reservation>,
    ) -> Changed {
        if !is_open(&promise) {
            return Err(wrong_state(&promise));
        }
        if elsewhere.to == promise.id.place {
            return Err(Refusal::SameLocation);
        }
        let left = promise.clone();
        self.continue_at(now, promise, &left, elsewhere, &step.reason, told)
    }

    /// What `left` has not handed over is promised elsewhere.
    pub(super) fn continue_at(
        &mut self,
        now: Timestamp,
        mut promise: Reservation,
        left: &Reservation,
        elsewhere: &Elsewhere,
        reason: &str,
        told: Option<&Reservation>,
    ) -> Changed {
        let Elsewhere { to, more, terms } = elsewhere;
        let wanted = left.lines.iter().filter(|line| line.quantity > line.collected);
        let wanted = wanted.map(|line| Wanted {
            item: line.item,
            sku: more
                .iter()
                .find(|m| m.item == line.item)
                .map_or_else(String::new, |m| m.sku.clone()),
            stock_item: true,
            quantity: line.quantity - line.collected,
        });
        let wanted: Vec<_> = wanted.collect();
        if let Some(refusal) = not_eligible(terms, *to) {
            return Err(refusal);
        }
        let lines = self.grant(*to, &wanted, terms, |_| 0, false)?;
        let rule = collect_by(terms, now, promise.settlement);
        let successor = Reservation {
            id: new_id(told, *to),
            state: State::Reserved,
            lines,
            hold: None,
            code_hash: told.map_or(0, |told| told.code_hash),
            created_at: now,
            ready_by: ready_by(terms, now),
            expires_at: if promise.ttl_given { promise.expires_at } else { rule },
            answer_by: answer_by(terms, now),
            changed_at: now,
            reason: String::new(),
            predecessor: Some(promise.id),
            ..promise.clone()
        };
        promise.successor = Some(successor.id);
        end(&mut promise, State::Moved, reason);
        Ok((promise, Effect::Moved(Box::new(successor))))
    }

    fn unanswered(
        &mut self,
        now: Timestamp,
        mut promise: Reservation,
        elsewhere: Option<&Elsewhere>,
        told: Option<&Reservation>,
    ) -> Changed {
        if promise.state != State::Reserved {
            return Err(wrong_state(&promise));
        }
        if promise.answer_by.is_none_or(|answer_by| now < answer_by) {
            return Err(Refusal::NotDue);
        }
        let left = promise.clone();
        if let Some(elsewhere) = elsewhere {
            let moved = self.continue_at(now, left.clone(), &left, elsewhere, "unanswered", told);
            if moved.is_ok() {
                return moved;
            }
        }
        end(&mut promise, State::Rejected, "unanswered");
        Ok((promise, Effect::Step))
    }
}

pub(super) fn end(promise: &mut Reservation, state: State, reason: &str) {
    (promise.state, promise.reason, promise.answer_by) = (state, reason.to_owned(), None);
}

fn extend(
    now: Timestamp,
    promise: &mut Reservation,
    ttl: i64,
    terms: &Terms,
) -> Result<(), Refusal> {
    if !is_open(promise) {
        return Err(wrong_state(promise));
    }
    let hold = promise.held_as.is_some();
    if let Some(refusal) = too_long(terms, Some(ttl), hold) {
        return Err(refusal);
    }
    let longest = promise.expires_at.0.max(now.0 + ttl);
    promise.expires_at = Timestamp(if hold { longest } else { now.0 + ttl });
    promise.ttl_given = true;
    Ok(())
}

fn confirm(now: Timestamp, promise: &mut Reservation, terms: &Terms) -> Result<(), Refusal> {
    if !is_open(promise) || promise.paid_at.is_some() {
        return Err(wrong_state(promise));
    }
    let rule = collect_by(terms, now, promise.settlement);
    promise.expires_at = promise.expires_at.max(rule);
    promise.paid_at = Some(now);
    Ok(())
}

fn cancel(promise: &mut Reservation, by: CancelledBy, reason: &str) -> Result<(), Refusal> {
    if !is_open(promise) {
        return Err(wrong_state(promise));
    }
    let declined = by == CancelledBy::Store && promise.state == State::Reserved;
    promise.cancelled_by = Some(by);
    end(promise, if declined { State::Rejected } else { State::Cancelled }, reason);
    Ok(())
}

fn expire(now: Timestamp, promise: &mut Reservation) -> Result<(), Refusal> {
    if !is_open(promise) {
        return Err(wrong_state(promise));
    }
    if now < promise.expires_at {
        return Err(Refusal::NotDue);
    }
    end(promise, State::Expired, "expired");
    Ok(())
}

fn release(promise: &mut Reservation) -> Result<(), Refusal> {
    if promise.held_as.is_none() {
        return Err(wrong_state(promise));
    }
    end(promise, State::Released, "released");
    Ok(())
}
