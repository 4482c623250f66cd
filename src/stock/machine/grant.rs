//! Promises: whether there is enough, and everything that changes how much is promised or until when.

use crate::mutants::{Mutant, on};
use crate::stock::{
    book::HoldKey,
    entry::Flags,
    ids::{ChannelNo, ItemNo, Place, PositionKey},
    kind::Kind,
    machine::{
        Machine, Stop,
        close::{finish, release_all},
        fulfil::collected_all,
        posting::Posting,
        step::wrong_state,
    },
    refusal::{Refusal, Short},
    reservation::{Line, Reservation, ReservationId, State},
    step::{Create, Elsewhere, Step, Wanted},
    terms::{Terms, Times},
    time::Micros,
};

impl<'a> Machine<'a> {
    /// A new promise. Its own hold, if the ledger keeps it, gives way in the same step.
    pub(super) fn create(
        &mut self,
        step: &'a Step,
        create: &'a Create,
    ) -> Result<Reservation, Stop> {
        self.check_lines(create)?;
        let hold = self.own_hold(step, create)?;
        let own = |item| hold.as_ref().map_or(0, |hold| hold.reserved(item));
        create.terms.check_place(step.place, self.book.now)?;
        create.terms.check_ttl(create.ttl, create.held_as.is_some())?;
        create.terms.check_cap(step.place, &create.lines)?;
        let (lines, per_line) = (&create.lines, create.per_line);
        let lines =
            self.grantable(step.place, step.channel, lines, &create.terms, per_line, own)?;
        if let Some(hold) = &hold {
            self.has_positions(step.place, hold.lines.iter().map(|line| line.item))?;
        }
        let now = self.book.now;
        let ready_by = create.terms.ready_by(now);
        let ready_by = match create.held_as {
            Some(_) => ready_by,
            None => self.slot(&create.terms, step.place, ready_by, None)?,
        };
        let times = create.terms.times_from(now, ready_by, create.settlement, create.ttl);
        if let Some(hold) = hold {
            self.consume_whole_hold(step, hold);
        }
        let no = self.next_seq(step.place.partition);
        let id = ReservationId { place: step.place, epoch: self.epoch(step.place), no };
        let held = create.held_as.is_some();
        let reservation = Reservation {
            id,
            state: if held { State::Held } else { State::Reserved },
            channel: step.channel,
            settlement: create.settlement,
            lines,
            order_ref: create.order_ref.clone(),
            customer_ref: create.customer_ref.clone(),
            hold: create.hold.map(|hold| hold.digest),
            held_as: create.held_as.map(|hold| hold.digest),
            code_hash: if held { 0 } else { create.terms.code_hash(&id) },
            created_at: now,
            ready_by: times.ready_by,
            expires_at: times.expires_at,
            ttl_given: create.ttl.is_some(),
            answer_by: times.answer_by.filter(|_| !held),
            paid_at: None,
            changed_at: now,
            reason: String::new(),
            cancelled_by: None,
            successor: None,
            predecessor: None,
            version: no,
        };
        let postings = reserve_all(&reservation);
        self.post_all(step, &reservation, &postings, Flags::REQUEST);
        if let Some(hold) = create.held_as {
            self.change_hold_use(HoldKey::of(hold), |used| used.held = Some(id.at()));
        }
        if let Some(hold) = create.hold {
            self.change_hold_use(HoldKey::of(hold), |used| used.consumed_by = Some(id.at()));
        }
        self.change_reservation(reservation.clone());
        self.change_request(step.request(), |request| request.seq = Some(no));
        Ok(reservation)
    }

    /// Whether these lines may be promised at all, however much there is.
    fn check_lines(&self, create: &Create) -> Result<(), Refusal> {
        if create.lines.is_empty() {
            let hold_id = create.hold.map_or_else(String::new, |hold| hold.to_string());
            return Err(Refusal::HoldUnknown { hold_id });
        }
        if create.lines.iter().any(|line| !line.stock_item) {
            return Err(Refusal::NotAStockItem);
        }
        self.book.recalled.check(&create.lines)
    }

    /// What the ledger knows of the hold that is to be consumed.
    fn own_hold(&mut self, step: &Step, create: &Create) -> Result<Option<Reservation>, Stop> {
        let Some(id) = create.hold else { return Ok(None) };
        if id.place != step.place {
            return Err(Refusal::HoldElsewhere.into());
        }
        let used = self.hold(HoldKey::of(id))?;
        if used.consumed_by.is_some() && !on(Mutant::HoldConsumedTwice) {
            return Err(Refusal::HoldConsumed.into());
        }
        let hold = used.held.map(|at| self.reservation(at)).transpose()?.flatten();
        Ok(hold.filter(|hold| hold.state == State::Held))
    }

    fn consume_whole_hold(&mut self, step: &'a Step, hold: Reservation) {
        let postings = release_all(&hold, "consumed");
        let mut after = Reservation { changed_at: self.book.now, ..hold.clone() };
        finish(&mut after, State::Consumed, "consumed");
        let secondary = Flags::REQUEST.with(Flags::SECONDARY);
        after.version = self.post_all(step, &after, &postings, secondary);
        self.superseded.push(hold);
        self.change_reservation(after);
    }

    /// The lines that can be promised through a channel, with `own` units of each item not counting
    /// against them.
    fn grantable(
        &mut self,
        place: Place,
        channel: Option<ChannelNo>,
        wanted: &[Wanted],
        terms: &Terms,
        per_line: bool,
        own: impl Fn(ItemNo) -> i64,
    ) -> Result<Vec<Line>, Stop> {
        self.has_positions(place, wanted.iter().map(|line| line.item))?;
        let (mut lines, mut short) = (Vec::with_capacity(wanted.len()), Vec::new());
        for line in wanted {
            let key = PositionKey { place, item: line.item };
            let fences = self.fences(key, channel);
            let position = self.position(key);
            let own = own(line.item);
            let reserved = position.reserved - own;
            let free = terms.policy.available(key, position.sellable, reserved, 0);
            let available = fences.leave(free, own);
            if line.quantity <= available {
                lines.push(Line::new(line.item, line.quantity));
            } else {
                short.push(Short::new(line, available, position.seq, &terms.policy));
            }
        }
        let per_line = per_line || on(Mutant::PartialMultiLine);
        if lines.is_empty() || !(per_line || short.is_empty()) {
            return Err(Refusal::InsufficientStock { short }.into());
        }
        Ok(lines)
    }

    /// Other quantities. What was picked stays; what is added must be there.
    pub(super) fn amend(
        &mut self,
        step: &'a Step,
        before: Reservation,
        wanted: &[Wanted],
        ttl: Option<Micros>,
        terms: &Terms,
    ) -> Result<Reservation, Stop> {
        let increases: Vec<_> = wanted
            .iter()
            .filter(|line| before.line(line.item).is_none_or(|old| line.quantity > old.quantity))
            .cloned()
            .collect();
        if increases.iter().any(|line| !line.stock_item) {
            return Err(Refusal::NotAStockItem.into());
        }
        self.book.recalled.check(&increases)?;
        if !matches!(before.state, State::Reserved | State::Picking | State::Held) {
            return Err(wrong_state(&before));
        }
        let mut after = before.clone();
        let mut postings = Vec::new();
        for line in &mut after.lines {
            let new = wanted.iter().find(|wanted| wanted.item == line.item);
            let quantity = new.map_or(0, |new| new.quantity);
            if quantity < line.picked {
                let sku = new.map_or_else(String::new, |new| new.sku.clone());
                return Err(Refusal::LineExceeded { sku, left: line.unpicked() }.into());
            }
            postings.extend(change_of(line.item, quantity - line.quantity));
            line.quantity = quantity;
        }
        if !increases.is_empty() {
            terms.check_place(before.id.place, self.book.now)?;
        }
        terms.check_ttl(ttl, before.held_as.is_some())?;
        if !increases.is_empty() {
            terms.check_cap(before.id.place, &increases)?;
            // Everything already taken off the shelf is no longer part of SELLABLE.
            let own = |item| before.line(item).map_or(0, |line| line.quantity);
            let channel = step.channel.or(before.channel);
            self.grantable(before.id.place, channel, &increases, terms, false, own)?;
        }
        for new in wanted.iter().filter(|new| before.line(new.item).is_none()) {
            postings.extend(change_of(new.item, new.quantity));
            after.lines.push(Line::new(new.item, new.quantity));
        }
        // A line of which nothing was found stays, as it says so.
        let found = |item| before.line(item).is_none_or(|line| line.quantity > 0);
        after.lines.retain(|line| line.quantity > 0 || !found(line.item));
        // What is given back comes first: an item may be both, under two names, only by mistake.
        postings.sort_by_key(|posting| posting.reserved_change > 0);
        if let Some(ttl) = ttl {
            after.expires_at = self.book.now.saturating_add(ttl);
            after.ttl_given = true;
        }
        collected_all(&mut after);
        self.record(step, before, after, postings)
    }

    pub(super) fn extend(
        &mut self,
        step: &'a Step,
        before: Reservation,
        ttl: Micros,
        terms: &Terms,
    ) -> Result<Reservation, Stop> {
        if !before.state.is_open() {
            return Err(wrong_state(&before));
        }
        terms.check_ttl(Some(ttl), before.held_as.is_some())?;
        let mut expires_at = self.book.now.saturating_add(ttl);
        if before.held_as.is_some() {
            // A hold is never cut short by being extended, wherever it is kept.
            expires_at = expires_at.max(before.expires_at);
        }
        let after = Reservation { expires_at, ttl_given: true, ..before.clone() };
        self.record(step, before, after, Vec::new())
    }

    pub(super) fn confirm_payment(
        &mut self,
        step: &'a Step,
        before: Reservation,
        terms: &Terms,
    ) -> Result<Reservation, Stop> {
        if !before.state.is_open() || before.paid_at.is_some() {
            return Err(wrong_state(&before));
        }
        let now = self.book.now;
        let Times { expires_at, .. } = terms.times(now, before.settlement, None);
        let expires_at = expires_at.max(before.expires_at);
        let after = Reservation { paid_at: Some(now), expires_at, ..before.clone() };
        self.record(step, before, after, Vec::new())
    }

    /// Its deadlines follow the hours of its location. Where they do already nothing happens, and no
    /// entry says so.
    pub(super) fn reschedule(
        &mut self,
        step: &'a Step,
        before: Reservation,
        terms: &Terms,
    ) -> Result<Reservation, Stop> {
        if !before.state.is_open() {
            return Err(wrong_state(&before));
        }
        let mut ready_by = terms.ready_by_anew(&before);
        if ready_by != before.ready_by {
            ready_by = self.slot(terms, before.id.place, ready_by, Some(before.at()))?;
        }
        let Times { expires_at, answer_by, .. } = terms.times_anew(&before, ready_by);
        let after = Reservation { ready_by, expires_at, answer_by, ..before.clone() };
        if after == before {
            return Ok(before);
        }
        self.record(step, before, after, Vec::new())
    }

    /// What was not handed over yet is promised at the other location, or everything stays as it is.
    pub(super) fn move_to(
        &mut self,
        step: &'a Step,
        before: Reservation,
        elsewhere: &Elsewhere,
    ) -> Result<Reservation, Stop> {
        if !before.state.is_open() {
            return Err(wrong_state(&before));
        }
        if elsewhere.to == before.id.place {
            return Err(Refusal::SameLocation.into());
        }
        let postings = release_all(&before, "");
        let after = before.clone();
        self.continue_at(step, before, after, postings, elsewhere)
    }

    /// Ends a promise by these postings and makes its successor, if there is enough for it.
    pub(super) fn continue_at(
        &mut self,
        step: &'a Step,
        before: Reservation,
        mut after: Reservation,
        postings: Vec<Posting>,
        elsewhere: &Elsewhere,
    ) -> Result<Reservation, Stop> {
        let Elsewhere { to, more, terms } = elsewhere;
        let left = left_of(&before, more);
        self.book.recalled.check(&left)?;
        terms.check_place(*to, self.book.now)?;
        let channel = step.channel.or(before.channel);
        let lines = self.grantable(*to, channel, &left, terms, false, |_| 0)?;
        let now = self.book.now;
        let ready_by = self.slot(terms, *to, terms.ready_by(now), None)?;
        let times = terms.times_from(now, ready_by, before.settlement, None);
        let same_log = before.id.place.partition == to.partition;
        let ahead = if same_log { postings.len().max(1) as i64 } else { 0 };
        let no = self.next_seq(to.partition) + ahead;
        let id = ReservationId { place: *to, epoch: self.epoch(*to), no };
        let successor = Reservation {
            id,
            state: State::Reserved,
            lines,
            hold: None,
            code_hash: terms.code_hash(&id),
            created_at: now,
            ready_by: times.ready_by,
            expires_at: if before.ttl_given { before.expires_at } else { times.expires_at },
            answer_by: times.answer_by,
            changed_at: now,
            predecessor: Some(before.id),
            version: no,
            ..before.clone()
        };
        after.successor = Some(id);
        let told = postings.iter().map(|posting| posting.reason).find(|why| !why.is_empty());
        finish(&mut after, State::Moved, told.unwrap_or(&step.reason));
        self.record(step, before, after, postings)?;
        let reserved = reserve_all(&successor);
        let secondary = Flags::REQUEST.with(Flags::SECONDARY);
        self.post_all(step, &successor, &reserved, secondary);
        self.change_reservation(successor.clone());
        Ok(successor)
    }

    fn epoch(&self, place: Place) -> i64 {
        self.book.epochs.get(&place.partition).copied().unwrap_or(0)
    }
}

/// What a reservation has not handed over yet, by the names that were seen without the lock.
fn left_of(reservation: &Reservation, seen: &[Wanted]) -> Vec<Wanted> {
    let lines = reservation.lines.iter().filter(|line| line.quantity > line.collected);
    let name = |item| seen.iter().find(|seen| seen.item == item).map(|seen| seen.sku.clone());
    let wanted = lines.map(|line| Wanted {
        item: line.item,
        sku: name(line.item).unwrap_or_default(),
        stock_item: true,
        quantity: line.quantity - line.collected,
    });
    wanted.collect()
}

fn reserve_all(reservation: &Reservation) -> Vec<Posting> {
    let lines = reservation.lines.iter();
    lines.map(|line| Posting::of(line.item, Kind::Reserve, line.unpicked())).collect()
}

fn change_of(item: ItemNo, change: i64) -> Option<Posting> {
    match change {
        0 => None,
        more if more > 0 => Some(Posting::of(item, Kind::Reserve, more)),
        less => Some(Posting::of(item, Kind::Release, -less)),
    }
}
