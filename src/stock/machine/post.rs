//! Posting facts: the entries that a movement becomes, and the variances that go with them.

use std::borrow::Cow;

use crate::mutants::{Mutant, on};
use crate::stock::{
    book::{DocumentLine, Request},
    entry::{Counter, Entry, Flags, Legs},
    ids::{EntryRef, PositionKey, Seq},
    kind::{Kind, StockState},
    machine::{Machine, Posted, Stop},
    movement::Movement,
    position::{HistoryFrom, Mark},
    refusal::Refusal,
    time::Timestamp,
};

impl<'a> Machine<'a> {
    /// A fact of one entry. `awaited` is what already refers to it.
    pub(super) fn fact(
        &mut self,
        movement: &'a Movement,
        awaited: &Request,
    ) -> Result<Posted, Stop> {
        let mut entry = self.entry_of(movement, Legs::Both)?;
        let sold = matches!(movement.kind, Kind::Sale | Kind::ShipOut);
        if sold && awaited.returned > movement.draft.quantity {
            entry.flags = entry.flags.with(Flags::OVER_RETURN);
        }
        if movement.reservation().is_some() || movement.hold().is_some() {
            return self.consuming_sale(movement, entry);
        }
        Ok(self.post(entry))
    }

    /// A return that names what was sold, in whatever shop and through whatever channel.
    pub(super) fn linked_return(
        &mut self,
        movement: &'a Movement,
        sold: Option<Entry<'a>>,
    ) -> Result<Posted, Stop> {
        let mut entry = self.entry_of(movement, Legs::Both)?;
        let Some(key) = self.named_request(movement)? else { return Ok(self.post(entry)) };
        let sale = self.request(key).cloned().unwrap_or_default();
        match sold {
            None => entry.flags = entry.flags.with(Flags::AWAITS_ORIGINAL),
            Some(sold) => {
                let sold_units = if sale.corrected.is_some() { 0 } else { sold.quantity };
                if sale.returned + movement.draft.quantity > sold_units {
                    entry.flags = entry.flags.with(Flags::OVER_RETURN);
                }
                entry.counter = Some(Counter { place: key.place, seq: sold.seq });
            }
        }
        self.change_request(key, |sale| sale.returned += movement.draft.quantity);
        Ok(self.post(entry))
    }

    /// One document, two locations: the units leave one position and enter another.
    pub(super) fn transfer_ship(&mut self, movement: &'a Movement) -> Result<Posted, Stop> {
        let to_place = movement.to_place.ok_or(Refusal::ToLocationInvalid)?;
        let mut shipped = self.entry_of(movement, Legs::From)?;
        let neutral = self.neutralise(&mut shipped);
        let receiver = PositionKey { place: to_place, item: movement.item };
        let posted = self.append_pair(shipped, receiver, None);
        if let Some((change, count)) = neutral {
            self.vary_count(posted.at, change, count);
        }
        Ok(posted)
    }

    /// A count assigns SELLABLE at its own time; what happened later is laid on top of it.
    pub(super) fn count(&mut self, movement: &'a Movement) -> Result<Posted, Stop> {
        let entry = self.entry_of(movement, Legs::None)?;
        let (key, at) = (entry.position(), entry.effective_at);
        let late = self.position(key).fact_at.is_some_and(|newest| at < newest);
        if late && !self.has_history(&entry, HistoryFrom::At(at))? {
            return Err(Stop::Unread);
        }
        let posted = self.append(entry);
        let position = self.position(key);
        let history = position.history.as_ref().filter(|_| late);
        let in_order = Some(Mark { at, seq: posted.at.seq });
        position.count = history.map_or(in_order, |history| history.last_count());
        let target = history.map_or(Some(movement.draft.quantity), |history| history.fold());
        let change = target.unwrap_or(position.sellable) - position.sellable;
        let explained = position.count.map_or(posted.at.seq, |count| count.seq);
        self.vary_count(posted.at, change, explained);
        Ok(posted)
    }

    /// Appends a fact, keeps what was counted after it, and settles the announcement it belongs to.
    pub(super) fn post(&mut self, mut entry: Entry<'a>) -> Posted {
        let neutral = self.neutralise(&mut entry);
        let line =
            DocumentLine::of(entry.kind, entry.position(), &entry.document, entry.document_line);
        let (kind, expected) = (entry.kind, entry.leg(StockState::Expected));
        let posted = self.append(entry);
        if let Some((change, count)) = neutral {
            self.vary_count(posted.at, change, count);
        }
        if let Some(line) = line {
            let announcement = self.announcement(&line);
            match kind {
                Kind::Receipt => announcement.receipts += 1,
                _ => announcement.announced += expected,
            }
            announcement.expected += expected;
            self.settle_announcement(posted.at, &line);
        }
        posted
    }

    /// Appends an entry of one leg and its other half at `counter`, which refers to
    /// `counter_refers_to`.
    pub(super) fn append_pair(
        &mut self,
        mut entry: Entry<'a>,
        counter: PositionKey,
        counter_refers_to: Option<Seq>,
    ) -> Posted {
        let place = entry.position().place;
        let same_log = i64::from(place.partition == counter.place.partition);
        let counter_seq = self.next_seq(counter.place.partition) + same_log;
        entry.counter = Some(Counter { place: counter.place, seq: counter_seq });
        let mut other = entry.clone();
        let posted = self.append(entry);
        other.partition = counter.place.partition;
        other.location = counter.place.location;
        other.legs = other.legs.inverse();
        other.flags = Flags::SECONDARY;
        other.refers_to = counter_refers_to;
        other.counter = Some(Counter { place, seq: posted.at.seq });
        self.append(other);
        posted
    }

    /// Makes up the difference between the running sum and the fold.
    pub(super) fn vary_count(&mut self, cause: EntryRef, change: i64, count: Seq) {
        self.vary(cause, Kind::CountVariance, StockState::Sellable, change, Some(count));
    }

    /// Makes EXPECTED of an announced line what is still announced.
    pub(super) fn settle_announcement(&mut self, cause: EntryRef, line: &DocumentLine) {
        let announcement = self.announcement(line);
        let change = announcement.target() - announcement.expected;
        announcement.expected += change;
        self.vary(cause, Kind::ExpectVariance, StockState::Expected, change, None);
    }

    /// The entry of a movement, without sequence number and balances.
    pub(super) fn entry_of(
        &mut self,
        movement: &'a Movement,
        legs: Legs,
    ) -> Result<Entry<'a>, Stop> {
        let draft = &movement.draft;
        let from = StockState::of(draft.from_state).or_else(|| self.announced_source(movement));
        let to = StockState::of(draft.to_state);
        let states = movement.kind.legs(from, to).ok_or(Refusal::StateInvalid)?;
        let states = (legs != Legs::None).then_some(states);
        let quantity = self.quantity_of(movement);
        let now = self.book.now;
        let occurred = draft.occurred_at.unwrap_or(now);
        let promised = !draft.reservation_id.is_empty() || !draft.hold_id.is_empty();
        // What the entry names is consumed by everybody who reads it.
        let named = |id: &'a str| Cow::Borrowed(if movement.promise_unseen { "" } else { id });
        let original = draft.original.as_ref();
        let (original_source, original_key) =
            original.map_or(("", ""), |(source, key)| (&**source, &**key));
        let mut entry = Entry {
            partition: movement.place.partition,
            seq: 0,
            kind: movement.kind,
            location: movement.place.location,
            item: movement.item,
            legs,
            states,
            quantity,
            sellable_after: 0,
            reserved_change: 0,
            reserved_after: 0,
            source: movement.source,
            key: Cow::Borrowed(&draft.key),
            fingerprint: movement.fingerprint,
            channel: movement.channel,
            actor: Cow::Borrowed(&movement.actor),
            reason: Cow::Borrowed(&draft.reason),
            document: Cow::Borrowed(&draft.document),
            document_line: draft.document_line,
            note: Cow::Borrowed(&draft.note),
            reservation_id: named(&draft.reservation_id),
            hold_id: named(&draft.hold_id),
            original_source: Cow::Borrowed(original_source),
            original_key: Cow::Borrowed(original_key),
            group: Cow::Borrowed(&draft.group),
            counter: None,
            refers_to: None,
            expected_at: draft.expected_at,
            occurred_at: occurred,
            utc_offset_minutes: draft.utc_offset_minutes as i16,
            effective_at: now.min(effective(occurred, movement.clock_offset)),
            recorded_at: now,
            flags: if promised { Flags::PROMISE_UNKNOWN } else { Flags::default() },
            reservation_state: None,
        };
        self.book.recalled.redirect(&mut entry);
        Ok(entry)
    }

    /// What is sellable, where that is to be blocked whatever it is.
    fn quantity_of(&mut self, movement: &Movement) -> i64 {
        let quantity = movement.draft.quantity;
        match movement.up_to {
            true => quantity.min(self.position(movement.position()).sellable),
            false => quantity,
        }
    }

    /// What a fact that the last count already includes needs beside it, so that the count stands.
    fn neutralise(&mut self, entry: &mut Entry<'a>) -> Option<(i64, Seq)> {
        let change = entry.leg(StockState::Sellable);
        let position = self.position(entry.position());
        let count = position.count.filter(|_| position.is_before_count(entry.effective_at))?;
        if change == 0 || on(Mutant::LateFactChangesCount) {
            return None;
        }
        entry.flags = entry.flags.with(Flags::BEFORE_COUNT);
        Some((-change, count.seq))
    }

    /// EXPECTED, if a receipt's line was announced and nothing of it was received yet.
    fn announced_source(&mut self, movement: &Movement) -> Option<StockState> {
        let (document, line) = (&movement.draft.document, movement.draft.document_line);
        let receipt = movement.kind == Kind::Receipt;
        let line = DocumentLine::of(movement.kind, movement.position(), document, line)?;
        let announcement = self.announcement(&line);
        let open = announcement.announced > 0 && announcement.receipts == 0;
        (receipt && open).then_some(StockState::Expected)
    }

    fn vary(
        &mut self,
        cause: EntryRef,
        kind: Kind,
        state: StockState,
        change: i64,
        refers_to: Option<Seq>,
    ) {
        if change == 0 {
            return;
        }
        // The cause was appended a moment ago, so it is there.
        let Ok(cause) = self.entry(cause) else { return };
        let outside = StockState::External;
        self.append(Entry {
            kind,
            legs: Legs::Both,
            states: Some(if change > 0 { (outside, state) } else { (state, outside) }),
            quantity: change.abs(),
            reserved_change: 0,
            flags: Flags::SECONDARY,
            refers_to,
            counter: None,
            ..cause
        });
    }
}

fn effective(occurred: Timestamp, clock_offset: i64) -> Timestamp {
    occurred.saturating_add(clock_offset)
}
