//! Whether a movement may be posted: the rules that need to look at the ledger.

use crate::stock::{
    book::{DocumentLine, Request, RequestKey},
    entry::Entry,
    hash::Digest,
    ids::{EntryRef, Partition, PositionKey},
    machine::{Machine, Outcome, Posted, Stop},
    movement::{Kind, Movement, StockState},
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
        if let Some(occurred_at) = movement.draft.occurred_at {
            let latest = self.book.now.saturating_add(AHEAD_MAX);
            if !(Timestamp::Y2000..=latest).contains(&occurred_at) {
                return Err(Refusal::OccurredAtOutOfRange { occurred_at }.into());
            }
        }
        if !movement.stock_item {
            return Err(Refusal::NotAStockItem.into());
        }
        for place in [Some(movement.place), movement.to_place].into_iter().flatten() {
            let key = PositionKey { place, item: movement.item };
            if !self.position(key).has_room() {
                return Err(Refusal::BalanceOutOfRange.into());
            }
        }
        let posted = match movement.kind {
            Kind::Correct => self.correct(movement)?,
            Kind::Count => self.count(movement)?,
            Kind::Return if movement.original.is_some() => self.linked_return(movement)?,
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
        if entry.fingerprint == movement.fingerprint {
            return Ok(Outcome::Duplicate(Posted::of(&entry)));
        }
        Err(Refusal::KeyReused { field: differing_field(movement, &entry) }.into())
    }

    /// The entry that a correction names, if it has arrived, and whether it may be corrected.
    pub(super) fn correctable(
        &mut self,
        movement: &Movement,
        original: &Request,
    ) -> Result<Option<Entry<'a>>, Stop> {
        if original.corrected.is_some() {
            return Err(Refusal::AlreadyCorrected.into());
        }
        let Some(seq) = original.seq else { return Ok(None) };
        let entry = self.entry(EntryRef { partition: movement.place.partition, seq })?;
        let quantity_fits =
            movement.draft.quantity == 0 || movement.draft.quantity == entry.quantity;
        let misfits = [
            ("kind", entry.kind == Kind::Correct),
            ("sku", entry.item != movement.item),
            ("quantity", !quantity_fits),
        ];
        match misfits.into_iter().find(|(_, misfit)| *misfit) {
            Some((field, _)) => Err(Refusal::OriginalMismatch { field }.into()),
            None => Ok(Some(entry)),
        }
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
            ready &= self.has_history(entry, HistoryFrom::CountBefore(mark));
        }
        if ready { Ok(()) } else { Err(Stop::Unread) }
    }

    /// Whether the position of `entry` has its history from there on; notes the need if not.
    pub(super) fn has_history(&mut self, entry: &Entry<'_>, from: HistoryFrom) -> bool {
        let key = entry.position();
        let reaches = reaches(self.position(key), from);
        if !reaches {
            self.needs.histories.push((key, from));
        }
        reaches
    }

    fn is_locked(&mut self, partition: Partition) -> bool {
        let locked = self.logs.contains_key(&partition);
        if !locked {
            self.needs.partitions.insert(partition);
        }
        locked
    }
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
    let occurred_at = movement.draft.occurred_at.unwrap_or(entry.occurred_at);
    let states =
        StockState::of(movement.draft.from_state).is_none_or(|from| has_state(entry, from));
    let differences = [
        ("kind", movement.kind != entry.kind),
        ("sku", movement.item != entry.item),
        ("quantity", movement.draft.quantity != entry.quantity),
        ("occurred_at", occurred_at != entry.occurred_at),
        ("channel_id", movement.channel != entry.channel),
        ("reason", movement.draft.reason != entry.reason),
        ("document", movement.draft.document != entry.document),
        ("document_line", movement.draft.document_line != entry.document_line),
        ("note", movement.draft.note != entry.note),
        ("from_state", !states),
    ];
    let differs = differences.into_iter().find(|(_, differs)| *differs);
    differs.map_or("another field", |(field, _)| field)
}

fn has_state(entry: &Entry<'_>, state: StockState) -> bool {
    entry.states.is_some_and(|(from, _)| from == state)
}
