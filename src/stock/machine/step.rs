//! Steps of reservations: found again by their key, judged, and recorded with their entries.

use std::borrow::Cow;

use crate::mutants::{Mutant, on};
use crate::stock::{
    book::{HoldKey, HoldUse},
    entry::{Entry, Flags, Legs},
    ids::{EntryRef, ItemNo, Place, PositionKey, Seq},
    kind::Kind,
    machine::{Machine, Outcome, Stop, posting::Posting},
    refusal::{Refusal, Short},
    reservation::{Reservation, ReservationId, State},
    step::{Action, Change, Step, Target},
};

impl<'a> Machine<'a> {
    /// No outcome: something was not read.
    pub(super) fn step(&mut self, step: &'a Step) -> Option<Outcome> {
        match self.judge_and_step(step) {
            Ok(reservation) => Some(Outcome::Stepped(Box::new(reservation))),
            Err(Stop::Refused(refusal)) => Some(Outcome::Refused(refusal)),
            Err(Stop::Unread) => None,
        }
    }

    /// All or none: where one is refused the others are too, and every short line is named.
    pub(super) fn basket(&mut self, steps: &'a [Step]) -> Vec<Outcome> {
        self.begin_undo();
        let outcomes: Vec<_> = steps.iter().filter_map(|step| self.step(step)).collect();
        let undo = self.undo.take().unwrap_or_default();
        let refusals = || {
            outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Refused(refusal) => Some(refusal),
                _ => None,
            })
        };
        let Some(first) = refusals().next() else { return outcomes };
        let short = refusals().filter_map(|refusal| match refusal {
            Refusal::InsufficientStock { short } => Some(short.iter().cloned()),
            _ => None,
        });
        let short: Vec<Short> = short.flatten().collect();
        let refusal = match first {
            Refusal::InsufficientStock { .. } => Refusal::InsufficientStock { short },
            other => other.clone(),
        };
        if !on(Mutant::BasketInParts) {
            self.take_back(undo);
        }
        steps.iter().map(|_| Outcome::Refused(refusal.clone())).collect()
    }

    /// The caller's key is checked first, as for movements.
    fn judge_and_step(&mut self, step: &'a Step) -> Result<Reservation, Stop> {
        if let Some(seq) = self.request(step.request()).and_then(|request| request.seq) {
            return self.replay_step(step, seq);
        }
        let mut locked = true;
        for place in step.places() {
            locked &= self.is_locked(place.partition);
        }
        if !locked {
            return Err(Stop::Unread);
        }
        match &step.action {
            Action::Create(create) => self.create(step, create),
            Action::Change(target, change) => {
                let reservation = self.target(*target)?;
                self.change(step, reservation, change)
            }
        }
    }

    fn change(
        &mut self,
        step: &'a Step,
        reservation: Reservation,
        change: &'a Change,
    ) -> Result<Reservation, Stop> {
        let shelves = matches!(change, Change::ReturnToShelf);
        if let Some(successor) = reservation.successor.filter(|_| !shelves) {
            return Err(Refusal::ReservationMoved { successor_id: successor.to_string() }.into());
        }
        if reservation.held_as.is_some() {
            return self.change_hold(step, reservation, change);
        }
        if change.hands_over() {
            self.book.recalled.check_open(&reservation)?;
        }
        match change {
            Change::Amend { lines, ttl, terms, .. } => {
                self.amend(step, reservation, lines, *ttl, terms)
            }
            Change::Extend { ttl, terms } => self.extend(step, reservation, *ttl, terms),
            Change::ConfirmPayment { terms } => self.confirm_payment(step, reservation, terms),
            Change::Move(elsewhere) => self.move_to(step, reservation, elsewhere),
            Change::Reschedule { terms } => self.reschedule(step, reservation, terms),
            Change::Cancel { by } => self.cancel(step, reservation, *by),
            Change::Expire => self.expire(step, reservation),
            Change::Unanswered { elsewhere } => {
                self.unanswered(step, reservation, elsewhere.as_ref())
            }
            Change::StartPicking => self.start_picking(step, reservation),
            Change::ReportPick { lines, elsewhere } => {
                self.report_pick(step, reservation, lines, elsewhere.as_ref())
            }
            Change::MarkReady => self.mark_ready(step, reservation),
            Change::Collect { lines, code_fits } => {
                self.collect(step, reservation, lines, *code_fits)
            }
            Change::ReturnToShelf => self.return_to_shelf(step, reservation),
            Change::Release => Err(wrong_state(&reservation)),
        }
    }

    /// A hold that was taken in the ledger.
    fn change_hold(
        &mut self,
        step: &'a Step,
        hold: Reservation,
        change: &'a Change,
    ) -> Result<Reservation, Stop> {
        match (change, hold.state) {
            (Change::Release, State::Held) => self.close(step, hold, State::Released, "released"),
            // There is nothing left to release; saying so is no error.
            (Change::Release, _) => Ok(hold),
            (Change::Expire, _) => self.expire(step, hold),
            (_, State::Consumed) => Err(Refusal::HoldConsumed.into()),
            (Change::Extend { ttl, terms }, State::Held) => self.extend(step, hold, *ttl, terms),
            (Change::Amend { lines, ttl, terms, .. }, State::Held) => {
                self.amend(step, hold, lines, *ttl, terms)
            }
            _ => Err(Refusal::HoldEnded.into()),
        }
    }

    fn target(&mut self, target: Target) -> Result<Reservation, Stop> {
        match target {
            Target::Reservation(id) => {
                let found = self.reservation(id.at())?.filter(|found| found.id == id);
                let unknown = Refusal::ReservationUnknown { reservation_id: id.to_string() };
                found.ok_or(unknown.into())
            }
            Target::Hold(id) => {
                let used = self.hold(HoldKey::of(id))?;
                let found = used.held.map(|at| self.reservation(at)).transpose()?.flatten();
                let found = found.filter(|found| found.id.place == id.place);
                let refusal = match used.consumed_by {
                    Some(_) => Refusal::HoldConsumed,
                    None => Refusal::HoldUnknown { hold_id: id.to_string() },
                };
                found.ok_or(refusal.into())
            }
        }
    }

    /// The reservation as it stood after the step, whatever became of it since.
    fn replay_step(&mut self, step: &Step, seq: Seq) -> Result<Reservation, Stop> {
        let partition = step.place.partition;
        let entry = self.entry(EntryRef { partition, seq })?;
        if entry.fingerprint != step.fingerprint && !on(Mutant::FingerprintIgnored) {
            return Err(Refusal::KeyReused { field: "request" }.into());
        }
        let unknown =
            || Refusal::ReservationUnknown { reservation_id: entry.reservation_id.to_string() };
        let id: ReservationId = entry.reservation_id.parse().map_err(|_| unknown())?;
        let reservation = self.version(id.at(), seq)?.ok_or_else(unknown)?;
        let shelves = matches!(step.action, Action::Change(_, Change::ReturnToShelf));
        match reservation.successor {
            Some(successor) if !shelves => {
                let continued = self.version(successor.at(), successor.no)?;
                Ok(continued.ok_or_else(unknown)?)
            }
            _ => Ok(reservation),
        }
    }

    /// A reservation as it stood after the step that `version` answers.
    fn version(&mut self, at: EntryRef, version: Seq) -> Result<Option<Reservation>, Stop> {
        let is_it = |found: &&Reservation| found.at() == at && found.version == version;
        let now = self.reservation(at)?;
        if let Some(found) = now.as_ref().filter(|now| is_it(now)) {
            return Ok(Some(found.clone()));
        }
        if let Some(found) = self.superseded.iter().find(is_it) {
            return Ok(Some(found.clone()));
        }
        match self.book.versions.get(&(at, version)) {
            Some(found) => Ok(Some(found.clone())),
            None if now.is_none() => Ok(None),
            None => {
                self.needs.versions.insert((at, version));
                Err(Stop::Unread)
            }
        }
    }

    /// A reservation as it is now; `None`: there is none.
    pub(super) fn reservation(&mut self, at: EntryRef) -> Result<Option<Reservation>, Stop> {
        if let Some(changed) = self.reservations.get(&at) {
            return Ok(Some(changed.clone()));
        }
        match self.book.reservations.get(&at) {
            Some(stored) => Ok(stored.clone()),
            // Its partition may not even be locked.
            None if !self.is_locked(at.partition) => Err(Stop::Unread),
            None => {
                self.needs.reservations.insert(at);
                Err(Stop::Unread)
            }
        }
    }

    pub(super) fn change_reservation(&mut self, reservation: Reservation) {
        let at = reservation.at();
        if let Some(undo) = &mut self.undo {
            let before = || self.reservations.get(&at).cloned();
            undo.reservations.entry(at).or_insert_with(before);
        }
        self.reservations.insert(at, reservation);
    }

    pub(super) fn hold(&mut self, key: HoldKey) -> Result<HoldUse, Stop> {
        if let Some(known) = self.holds.get(&key).or_else(|| self.book.holds.get(&key)) {
            return Ok(*known);
        }
        self.needs.holds.insert(key);
        Err(Stop::Unread)
    }

    pub(super) fn change_hold_use(&mut self, key: HoldKey, change: impl FnOnce(&mut HoldUse)) {
        if let Some(undo) = &mut self.undo {
            let before = || self.holds.get(&key).copied();
            undo.holds.entry(key).or_insert_with(before);
        }
        let stored = || self.book.holds.get(&key).copied().unwrap_or_default();
        change(self.holds.entry(key).or_insert_with(stored));
    }

    /// Whether the positions of these items were read; notes the need if not.
    pub(super) fn has_positions(
        &mut self,
        place: Place,
        items: impl IntoIterator<Item = ItemNo>,
    ) -> Result<(), Stop> {
        let keys = items.into_iter().map(|item| PositionKey { place, item });
        let unread: Vec<_> = keys
            .filter(|key| {
                !self.positions.contains_key(key) && !self.book.positions.contains_key(key)
            })
            .collect();
        if unread.is_empty() {
            return Ok(());
        }
        self.needs.positions.extend(unread);
        Err(Stop::Unread)
    }

    /// Writes a step's entries, of which the first answers the request, and what became of the
    /// reservation. A step without an effect on stock leaves an entry all the same.
    pub(super) fn record(
        &mut self,
        step: &'a Step,
        before: Reservation,
        mut after: Reservation,
        mut postings: Vec<Posting>,
    ) -> Result<Reservation, Stop> {
        self.has_positions(after.id.place, postings.iter().map(|posting| posting.item))?;
        if postings.is_empty() {
            let item = before.lines.first().map(|line| line.item);
            let item = item.ok_or_else(|| wrong_state(&before))?;
            self.has_positions(after.id.place, [item])?;
            postings.push(Posting::of(item, Kind::Step, 0));
        }
        for posting in &postings {
            if !self.position(after.position(posting.item)).has_room() {
                return Err(Refusal::BalanceOutOfRange.into());
            }
        }
        let answer = self.post_all(step, &after, &postings, Flags::REQUEST);
        after.version = answer;
        after.changed_at = self.book.now;
        self.superseded.push(before);
        self.change_reservation(after.clone());
        self.change_request(step.request(), |request| request.seq = Some(answer));
        Ok(after)
    }

    /// Appends a step's entries; all but the first are secondary. Returns the first.
    pub(super) fn post_all(
        &mut self,
        step: &'a Step,
        reservation: &Reservation,
        postings: &[Posting],
        first: Flags,
    ) -> Seq {
        let Place { partition, location } = reservation.id.place;
        let answer = self.next_seq(partition);
        let reservation_id = reservation.id.to_string();
        let mut flags = first;
        for posting in postings {
            let mut entry = self.step_entry(step, posting);
            (entry.partition, entry.location) = (partition, location);
            entry.channel = step.channel.or(reservation.channel);
            entry.reservation_id = Cow::Owned(reservation_id.clone());
            entry.reservation_state = Some(reservation.state);
            entry.flags = if posting.doubtful { flags.with(Flags::DOUBTFUL) } else { flags };
            self.append(entry);
            flags = Flags::REQUEST.with(Flags::SECONDARY);
        }
        answer
    }

    fn step_entry(&self, step: &'a Step, posting: &Posting) -> Entry<'a> {
        let now = self.book.now;
        let hold = match &step.action {
            Action::Create(create) => create.held_as.or(create.hold),
            Action::Change(Target::Hold(hold), _) => Some(*hold),
            Action::Change(..) => None,
        };
        let reason = match posting.reason {
            "" => &step.reason,
            reason => reason,
        };
        Entry {
            partition: step.place.partition,
            seq: 0,
            kind: posting.kind,
            location: step.place.location,
            item: posting.item,
            legs: if posting.states.is_some() { Legs::Both } else { Legs::None },
            states: posting.states,
            quantity: posting.quantity,
            sellable_after: 0,
            reserved_change: posting.reserved_change,
            reserved_after: 0,
            source: step.caller,
            key: Cow::Borrowed(&step.request_id),
            fingerprint: step.fingerprint,
            channel: step.channel,
            actor: Cow::Borrowed(&step.actor),
            reason: Cow::Borrowed(reason),
            document: Cow::Borrowed(""),
            document_line: 0,
            note: Cow::Borrowed(""),
            reservation_id: Cow::Borrowed(""),
            hold_id: hold.map_or(Cow::Borrowed(""), |hold| Cow::Owned(hold.to_string())),
            original_source: Cow::Borrowed(""),
            original_key: Cow::Borrowed(""),
            group: Cow::Borrowed(""),
            counter: None,
            refers_to: None,
            expected_at: None,
            occurred_at: now,
            utc_offset_minutes: 0,
            effective_at: now,
            recorded_at: now,
            flags: Flags::REQUEST,
            reservation_state: None,
        }
    }
}

/// The reservation is not where this step begins.
pub(super) fn wrong_state(reservation: &Reservation) -> Stop {
    Refusal::ReservationState { state: reservation.state.name() }.into()
}
