//! Corrections: the exact inverse of a named entry, taken out of the fold at its own time.

use crate::stock::{
    book::{DocumentLine, RequestKey},
    entry::{Entry, Flags, Legs},
    ids::{EntryRef, PositionKey, Seq},
    kind::{Kind, StockState},
    machine::{
        Machine, Posted, Stop,
        judge::{original_of, uncorrectable},
    },
    movement::Movement,
    position::Mark,
    refusal::Refusal,
};

impl<'a> Machine<'a> {
    /// Corrects what has arrived, or waits for it.
    pub(super) fn correct(
        &mut self,
        movement: &'a Movement,
        original: Option<Entry<'a>>,
    ) -> Result<Posted, Stop> {
        let key = movement.original_request().ok_or(Refusal::OriginalRequired)?;
        let mut entry = self.entry_of(movement, Legs::None)?;
        let posted = match original {
            Some(corrected) => {
                self.read_for_undoing(&corrected)?;
                self.undo_entry(entry, &corrected)
            }
            None => {
                entry.flags = entry.flags.with(Flags::AWAITS_ORIGINAL);
                self.append(entry)
            }
        };
        self.change_request(key, |request| request.corrected = Some(posted.at.seq));
        Ok(posted)
    }

    /// Carries out a correction that came before its original, which has just been posted. One that
    /// does not fit it, or was archived meanwhile, has no effect.
    pub(super) fn correct_waiting(
        &mut self,
        key: RequestKey,
        waiting: Seq,
        original: EntryRef,
    ) -> Result<(), Stop> {
        let mut correction = self.entry(EntryRef { seq: waiting, ..original })?;
        let corrected = self.entry(original)?;
        let archived = correction.flags.has(Flags::ARCHIVED);
        if archived || uncorrectable(&corrected, correction.item, correction.quantity).is_some() {
            self.change_request(key, |request| request.corrected = None);
            return Ok(());
        }
        self.read_for_undoing(&corrected)?;
        correction.recorded_at = self.book.now;
        correction.flags = Flags::SECONDARY;
        let posted = self.undo_entry(correction, &corrected);
        self.change_request(key, |request| request.corrected = Some(posted.at.seq));
        Ok(())
    }

    /// Posts `correction` as the inverse of `corrected`. Everything it touches was read.
    fn undo_entry(&mut self, mut correction: Entry<'a>, corrected: &Entry<'a>) -> Posted {
        correction.quantity = corrected.quantity;
        correction.legs = corrected.legs.inverse();
        correction.states = corrected.states.map(|(from, to)| (to, from));
        correction.effective_at = corrected.effective_at;
        correction.refers_to = Some(corrected.seq);
        let line = DocumentLine::of(
            corrected.kind,
            corrected.position(),
            &corrected.document,
            corrected.document_line,
        );
        let expected = corrected.leg(StockState::Expected);
        if line.is_some() || expected != 0 {
            // What a line adds up to in EXPECTED is read by document.
            correction.document = corrected.document.clone();
            correction.document_line = corrected.document_line;
        }
        let posted = match corrected.counter {
            Some(counter) if corrected.kind == Kind::TransferShip => {
                let key = PositionKey { place: counter.place, item: corrected.item };
                self.post_inverse_pair(correction, key, counter.seq, corrected)
            }
            _ => self.post_inverse(correction, corrected),
        };
        if let Some(sale) = original_of(corrected) {
            self.change_request(sale, |sale| sale.returned -= corrected.quantity);
        }
        if let Some(line) = line {
            let announcement = self.announcement(&line);
            match corrected.kind {
                Kind::Receipt => announcement.receipts -= 1,
                _ => announcement.announced -= expected,
            }
            announcement.expected -= expected;
            self.settle_announcement(posted.at, &line);
        }
        posted
    }

    fn post_inverse(&mut self, correction: Entry<'a>, corrected: &Entry<'_>) -> Posted {
        let posted = self.append(correction);
        self.leave_fold(posted.at, corrected);
        posted
    }

    fn post_inverse_pair(
        &mut self,
        correction: Entry<'a>,
        counter: PositionKey,
        counter_seq: Seq,
        corrected: &Entry<'_>,
    ) -> Posted {
        let posted = self.append_pair(correction, counter, Some(counter_seq));
        self.leave_fold(posted.at, corrected);
        posted
    }

    /// Takes a corrected fact out of the fold and makes up what its inverse leg does not.
    fn leave_fold(&mut self, correction: EntryRef, corrected: &Entry<'_>) {
        let mark = Mark { at: corrected.effective_at, seq: corrected.seq };
        let position = self.position(corrected.position());
        if let Some(history) = &mut position.history {
            history.steps.remove(&mark);
        }
        if position.count == Some(mark) {
            let history = position.history.as_ref();
            position.count = history.and_then(|history| history.last_count());
            let target = history.and_then(|history| history.fold()).unwrap_or(position.sellable);
            let change = target - position.sellable;
            self.vary_count(correction, change, corrected.seq);
        } else if let Some(count) = position.count.filter(|count| mark < *count) {
            // The inverse leg took it out of the sum as well; what was counted stands.
            self.vary_count(correction, corrected.leg(StockState::Sellable), count.seq);
        }
    }
}
