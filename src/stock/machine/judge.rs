//! Whether a movement may be posted: the rules that need to look at the ledger.

use crate::mutants::{Mutant, on};
use crate::stock::{
    book::{DocumentLine, RequestKey},
    entry::{Entry, Flags},
    hash::Digest,
    ids::{EntryRef, ItemNo, Partition, PositionKey},
    kind::{Kind, StockState},
    machine::{Machine, Outcome, Posted, Stop},
    movement::Movement,
    position::{HistoryFrom, Mark, Position, Step},
    refusal::Refusal,
    time::{Micros, SECOND, Timestamp},
};

/// How far ahead of the ledger's clock a fact may lie: more is a wrong clock, to be reviewed.
pub const AHEAD_MAX: Micros = 300 * SECOND;

impl<'a> Machine<'a> {
    /// The caller's key is checked first: the same body gets the same answer, whatever changed since.
    pub(super) fn judge_and_post(&mut self, movement: &'a Movement) -> Result<Outcome, Stop> {
        let request = self.request(movement.request()).cloned().unwrap_or_default();
        if let Some(seq) = request.seq {
            return self.replay(movement, seq);
        }
        let mut locked = true;
        for place in movement.places() {
            locked &= self.is_locked(place.partition);
        }
        if !locked {
            return Err(Stop::Unread);
        }
        if let Some(occurred_at) = movement.draft.occurred_at {
            let latest = self.book.now.saturating_add(AHEAD_MAX);
            if !(Timestamp::Y2000..=latest).contains(&occurred_at) {
                return Err(Refusal::OccurredAtOutOfRange { occurred_at }.into());
            }
        }
        if !movement.stock_item {
            return Err(Refusal::NotAStockItem.into());
        }
        if movement.up_to && self.position(movement.position()).sellable <= 0 {
            return Err(Refusal::InsufficientStock { short: Vec::new() }.into());
        }
        let original = self.judge_original(movement)?;
        for place in [Some(movement.place), movement.to_place].into_iter().flatten() {
            let key = PositionKey { place, item: movement.item };
            if !self.position(key).has_room() {
                return Err(Refusal::BalanceOutOfRange.into());
            }
        }
        let posted = match movement.kind {
            Kind::Correct => self.correct(movement, original)?,
            Kind::Count => self.count(movement)?,
            Kind::Return if movement.original.is_some() => {
                self.linked_return(movement, original)?
            }
            Kind::TransferShip => self.transfer_ship(movement)?,
            _ => self.fact(movement, &request)?,
        };
        self.change_request(movement.request(), |request| request.seq = Some(posted.at.seq));
        if let Some(waiting) = request.corrected {
            self.correct_waiting(movement.request(), waiting, posted.at)?;
        }
        Ok(Outcome::Recorded(posted))
    }

    fn replay(&mut self, movement: &Movement, seq: i64) -> Result<Outcome, Stop> {
        let at = EntryRef { partition: movement.place.partition, seq };
        let entry = self.entry(at)?;
        if entry.fingerprint == movement.fingerprint || on(Mutant::FingerprintIgnored) {
            return Ok(Outcome::Duplicate(Posted::of(&entry)));
        }
        let field = match entry.flags.has(Flags::ARCHIVED) {
            true => "movement",
            false => differing_field(movement, &entry),
        };
        Err(Refusal::KeyReused { field }.into())
    }

    /// What a correction or a linked return names, if it has arrived, and whether it may be named.
    fn judge_original(&mut self, movement: &Movement) -> Result<Option<Entry<'a>>, Stop> {
        let correction = movement.kind == Kind::Correct;
        if !correction && movement.kind != Kind::Return {
            return Ok(None);
        }
        if movement.original_request() == Some(movement.request()) {
            return Err(Refusal::OriginalMismatch { field: "kind" }.into());
        }
        let Some(key) = self.named_request(movement)? else { return Ok(None) };
        let request = self.request(key).cloned().unwrap_or_default();
        let at = request.seq.map(|seq| EntryRef { partition: key.place.partition, seq });
        let entry = at.map(|at| self.entry(at)).transpose()?;
        let misfit = entry.as_ref().and_then(|entry| match movement.kind {
            Kind::Correct => uncorrectable(entry, movement.item, movement.draft.quantity),
            _ => unreturnable(entry, movement.item),
        });
        if let Some(field) = misfit {
            return Err(Refusal::OriginalMismatch { field }.into());
        }
        if correction && request.corrected.is_some() {
            return Err(Refusal::AlreadyCorrected.into());
        }
        if let Some(archived) = entry.as_ref().filter(|it| it.flags.has(Flags::ARCHIVED))
            && correction
        {
            return Err(Refusal::Archived { until: archived.recorded_at }.into());
        }
        Ok(entry)
    }

    /// What a correction or a return refers to: the request that was found for it, or, if that is not
    /// posted after all, the one at its own location. There it waits, as its entry says of no other.
    pub(super) fn named_request(
        &mut self,
        movement: &Movement,
    ) -> Result<Option<RequestKey>, Stop> {
        let Some(key) = movement.original_request() else { return Ok(None) };
        let own = RequestKey { place: movement.place, ..key };
        if key == own || self.request(key).is_some_and(|request| request.seq.is_some()) {
            return Ok(Some(key));
        }
        if self.request(own).is_none() {
            self.needs.requests.insert(own);
            return Err(Stop::Unread);
        }
        Ok(Some(own))
    }

    /// Makes sure that everything is there that undoing `entry` touches.
    pub(super) fn read_for_undoing(&mut self, entry: &Entry<'_>) -> Result<(), Stop> {
        let mut ready = true;
        if let Some(counter) = entry.counter {
            ready &= self.is_locked(counter.place.partition);
            let key = PositionKey { place: counter.place, item: entry.item };
            if ready && !self.book.positions.contains_key(&key) {
                self.needs.positions.insert(key);
                ready = false;
            }
        }
        if let Some(sale) = original_of(entry)
            && self.is_locked(sale.place.partition)
            && self.request(sale).is_none()
        {
            self.needs.requests.insert(sale);
            ready = false;
        }
        let line =
            DocumentLine::of(entry.kind, entry.position(), &entry.document, entry.document_line);
        if let Some(line) = line
            && !self.book.announcements.contains_key(&line)
        {
            self.needs.announcements.insert(line);
            ready = false;
        }
        let mark = Mark { at: entry.effective_at, seq: entry.seq };
        if entry.kind == Kind::Count && self.position(entry.position()).count == Some(mark) {
            ready &= self.has_history(entry, HistoryFrom::CountBefore(mark))?;
        }
        if ready { Ok(()) } else { Err(Stop::Unread) }
    }

    /// Whether the position of `entry` has its history from there on; notes the need if not. What is
    /// archived has none.
    pub(super) fn has_history(
        &mut self,
        entry: &Entry<'_>,
        from: HistoryFrom,
    ) -> Result<bool, Refusal> {
        let key = entry.position();
        let position = self.position(key);
        if reaches(position, from) {
            return Ok(true);
        }
        if let Some(history) = position.history.as_ref().filter(|history| history.is_whole()) {
            return Err(Refusal::Archived { until: history.archived_until });
        }
        // The ledger would find a count again that this batch has just corrected, or would go back
        // count by count: a history that was too short once is read as a whole.
        let whole = HistoryFrom::At(Timestamp::MIN);
        let from = if position.history.is_some() { whole } else { from };
        self.needs.histories.push((key, from));
        Ok(false)
    }

    pub(super) fn is_locked(&mut self, partition: Partition) -> bool {
        let locked = self.logs.contains_key(&partition);
        if !locked {
            self.needs.partitions.insert(partition);
        }
        locked
    }
}

/// The field that keeps `entry` from being the original of a correction. A quantity of 0 fits all.
pub(super) fn uncorrectable(
    entry: &Entry<'_>,
    item: ItemNo,
    quantity: i64,
) -> Option<&'static str> {
    let misfits = [
        ("kind", entry.kind == Kind::Correct),
        ("sku", entry.item != item),
        ("quantity", quantity != 0 && quantity != entry.quantity),
    ];
    misfits.into_iter().find(|(_, misfit)| *misfit).map(|(field, _)| field)
}

/// The field that keeps `entry` from being the original of a return.
fn unreturnable(entry: &Entry<'_>, item: ItemNo) -> Option<&'static str> {
    let misfits =
        [("kind", !matches!(entry.kind, Kind::Sale | Kind::ShipOut)), ("sku", entry.item != item)];
    misfits.into_iter().find(|(_, misfit)| *misfit).map(|(field, _)| field)
}

/// The request that a return was linked to.
pub(super) fn original_of(entry: &Entry<'_>) -> Option<RequestKey> {
    let linked = entry.kind == Kind::Return && !entry.original_key.is_empty();
    let place = entry.counter.map_or(entry.position().place, |counter| counter.place);
    let digest = Digest::of(&entry.original_source, &entry.original_key);
    linked.then_some(RequestKey { place, digest })
}

fn reaches(position: &Position, from: HistoryFrom) -> bool {
    position.history.as_ref().is_some_and(|history| match from {
        HistoryFrom::At(at) => history.from <= at,
        HistoryFrom::CountBefore(mark) => {
            let mut before = history.steps.range(..mark);
            history.from == Timestamp::MIN || before.any(|(_, step)| matches!(step, Step::Set(_)))
        }
    })
}

/// The field to name when a key is used for another movement.
fn differing_field(movement: &Movement, entry: &Entry<'_>) -> &'static str {
    // Unstated, it occurred when it was recorded, came from where the ledger found it, and corrected
    // whatever its original was.
    let draft = &movement.draft;
    let occurred_at = draft.occurred_at.unwrap_or(entry.recorded_at);
    let (stated, to) = (StockState::of(draft.from_state), StockState::of(draft.to_state));
    let legs = movement.kind.legs(stated, to);
    let from = entry.states.is_none_or(|(from, _)| stated.is_none_or(|stated| stated == from));
    let to = entry.states.is_none_or(|(_, to)| legs.is_none_or(|(_, stated)| stated == to));
    let correction = entry.kind == Kind::Correct;
    // A sale that consumed a promise may have taken its units from where they were set aside.
    let consumed = entry.reservation_state.is_some();
    let hold_only = consumed && draft.reservation_id.is_empty();
    let whole = correction && draft.quantity == 0;
    let original = draft.original.as_ref();
    let original = original.map_or(("", ""), |(source, key)| (&**source, &**key));
    let differences = [
        ("kind", movement.kind != entry.kind),
        ("sku", movement.item != entry.item),
        ("original", original != (&*entry.original_source, &*entry.original_key)),
        ("quantity", draft.quantity != entry.quantity && !whole),
        ("occurred_at", occurred_at != entry.occurred_at),
        ("utc_offset_minutes", draft.utc_offset_minutes != i32::from(entry.utc_offset_minutes)),
        ("channel_id", movement.channel != entry.channel),
        ("reason", draft.reason != entry.reason),
        ("document", draft.document != entry.document && !correction),
        ("document_line", draft.document_line != entry.document_line && !correction),
        ("note", draft.note != entry.note),
        ("from_state", !from && !correction && !consumed),
        ("to_state", !to && !correction),
        ("reservation_id", draft.reservation_id != entry.reservation_id && !hold_only),
        ("hold_id", draft.hold_id != entry.hold_id),
        ("expected_at", draft.expected_at != entry.expected_at),
        ("group", draft.group != entry.group),
        (
            "to_location_id",
            movement.to_place.is_some_and(|to| entry.counter.map(|other| other.place) != Some(to)),
        ),
    ];
    let differs = differences.into_iter().find(|(_, differs)| *differs);
    differs.map_or("another field", |(field, _)| field)
}
