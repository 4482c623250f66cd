//! An in-memory ledger that does for the machine what PostgreSQL does: it reads what is needed and
//! writes what was decided.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use stockroom::stock::{
    book::{Announcement, Book, DocumentLine, HoldKey, HoldUse, Needs, Request, RequestKey},
    entry::{Entry, Legs},
    hash::Digest,
    ids::{EntryRef, Partition, Place, PositionKey, Seq},
    kind::{Kind, StockState},
    machine::{Outcome, Plan, apply},
    movement::Command,
    position::{History, HistoryFrom, Mark, Position, Step},
    quota::Quota,
    reservation::Reservation,
    time::Timestamp,
};

/// More than any batch may need to read what it looks at.
const ROUNDS_MAX: usize = 8;

/// The epoch of every partition.
pub const EPOCH: i64 = 7;

/// All tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    pub logs: BTreeMap<Partition, Vec<Entry<'static>>>,
    pub positions: BTreeMap<PositionKey, Position>,
    pub quotas: BTreeMap<PositionKey, Vec<Quota>>,
    pub requests: BTreeMap<RequestKey, Request>,
    pub reservations: BTreeMap<EntryRef, Reservation>,
    pub versions: BTreeMap<(EntryRef, Seq), Reservation>,
}

impl Memory {
    /// Records a batch at `now`.
    pub fn record(&mut self, now: Timestamp, commands: &[Command]) -> Vec<Outcome> {
        let places = commands.iter().flat_map(Command::places);
        let mut locked: BTreeSet<Partition> = places.map(|place| place.partition).collect();
        loop {
            match self.record_locked(now, commands, &locked) {
                Ok(outcomes) => return outcomes,
                Err(more) => {
                    assert!(more.is_disjoint(&locked), "asks for what is locked already");
                    locked.extend(more);
                }
            }
        }
    }

    /// Where a fact of this digest was recorded: at `near`, or else anywhere.
    pub fn place_of(&self, digest: Digest, near: Place) -> Option<Place> {
        let recorded = |(key, request): (&RequestKey, &Request)| {
            (key.digest == digest && request.seq.is_some()).then_some(key.place)
        };
        let places: Vec<_> = self.requests.iter().filter_map(recorded).collect();
        places.iter().find(|place| **place == near).or(places.first()).copied()
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry<'static>> {
        self.logs.values().flatten()
    }

    /// One entry.
    pub fn entry(&self, at: EntryRef) -> Option<&Entry<'static>> {
        let index = usize::try_from(at.seq - 1).ok()?;
        self.logs.get(&at.partition)?.get(index)
    }

    fn record_locked(
        &mut self,
        now: Timestamp,
        commands: &[Command],
        locked: &BTreeSet<Partition>,
    ) -> Result<Vec<Outcome>, BTreeSet<Partition>> {
        let head = |partition| self.logs.get(&partition).map_or(0, |log| log.len() as Seq);
        let heads = locked.iter().map(|&partition| (partition, head(partition))).collect();
        let mut book = Book::new(now, heads);
        book.epochs = locked.iter().map(|&partition| (partition, EPOCH)).collect();
        let mut needs = Needs::of(commands);
        for _ in 0..ROUNDS_MAX {
            if !needs.partitions.is_empty() {
                return Err(needs.partitions);
            }
            self.load(&needs, &mut book);
            match apply(&book, commands) {
                Ok(plan) => return Ok(self.commit(&book, plan)),
                Err(more) => needs = *more,
            }
        }
        panic!("still needs {needs:?}");
    }

    /// Reads what is needed into the book.
    pub fn load(&self, needs: &Needs, book: &mut Book) {
        for &key in &needs.requests {
            book.requests.insert(key, self.requests.get(&key).cloned().unwrap_or_default());
        }
        for &key in &needs.positions {
            book.positions.insert(key, self.positions.get(&key).cloned().unwrap_or_default());
            book.quotas.extend(self.quotas.get(&key).map(|quotas| (key, quotas.clone())));
        }
        for line in &needs.announcements {
            book.announcements.insert(line.clone(), self.announcement(line));
        }
        for &at in &needs.entries {
            book.entries.extend(self.entry(at).map(|entry| (at, entry.clone())));
        }
        for &at in &needs.reservations {
            book.reservations.insert(at, self.reservations.get(&at).cloned());
        }
        for key in &needs.versions {
            book.versions.extend(self.versions.get(key).map(|found| (*key, found.clone())));
        }
        for &place in &needs.pickups {
            let there = self.reservations.values().filter(|made| made.id.place == place);
            let open = there.filter(|made| made.state.is_open() && made.held_as.is_none());
            book.pickups.insert(place, open.map(|made| (made.at(), made.ready_by)).collect());
        }
        for &key in &needs.holds {
            book.holds.insert(key, self.hold(key));
        }
        let mut starts = BTreeMap::new();
        for &(key, from) in &needs.histories {
            let from = self.start(key, from);
            let start = starts.entry(key).or_insert(from);
            *start = from.min(*start);
        }
        for (key, from) in starts {
            book.positions.get_mut(&key).unwrap().history = Some(self.history(key, from));
        }
    }

    fn commit(&mut self, book: &Book, plan: Plan<'_>) -> Vec<Outcome> {
        for (partition, log) in plan.logs {
            assert_eq!(log.base, book.heads[&partition]);
            self.logs.entry(partition).or_default().extend(log.entries.into_iter().map(owned));
        }
        for (key, mut position) in plan.positions {
            assert!(position.seq > book.heads[&key.place.partition], "nothing touched {key:?}");
            position.history = None;
            self.positions.insert(key, position);
        }
        self.quotas.extend(plan.quotas);
        for (key, request) in plan.requests {
            assert_eq!(request.stored, self.requests.contains_key(&key));
            self.requests.insert(key, Request { stored: true, ..request });
        }
        for (at, reservation) in plan.reservations {
            assert_eq!(reservation.at(), at);
            self.reservations.insert(at, reservation);
        }
        for before in plan.superseded {
            let key = (before.at(), before.version);
            assert!(self.versions.insert(key, before).is_none(), "superseded once: {key:?}");
        }
        plan.outcomes
    }

    fn hold(&self, key: HoldKey) -> HoldUse {
        let own = || self.reservations.values().filter(|r| r.id.place.partition == key.partition);
        let at = |found: Option<&Reservation>| found.map(Reservation::at);
        HoldUse {
            held: at(own().find(|r| r.held_as == Some(key.digest))),
            consumed_by: at(own().find(|r| r.hold == Some(key.digest))),
        }
    }

    fn announcement(&self, line: &DocumentLine) -> Announcement {
        let mut announcement = Announcement::default();
        for entry in self.entries_of(PositionKey { place: line.place, item: line.item }) {
            if entry.document != line.document || entry.document_line != line.line {
                continue;
            }
            let expected = leg(entry, StockState::Expected);
            announcement.expected += expected;
            let corrected = self.is_corrected(entry);
            match entry.kind {
                Kind::Expect | Kind::Adjust if !corrected => announcement.announced += expected,
                Kind::Receipt if !corrected => announcement.receipts += 1,
                _ => {}
            }
        }
        announcement
    }

    fn start(&self, key: PositionKey, from: HistoryFrom) -> Timestamp {
        match from {
            HistoryFrom::At(at) => at,
            HistoryFrom::CountBefore(mark) => {
                let counts = self.facts(key).filter(|entry| entry.kind == Kind::Count);
                let before = counts.map(mark_of).filter(|count| *count < mark).max();
                before.map_or(Timestamp::MIN, |count| count.at)
            }
        }
    }

    fn history(&self, key: PositionKey, from: Timestamp) -> History {
        let facts = self.facts(key).filter(|entry| entry.effective_at >= from);
        let steps = facts.map(|entry| match entry.kind {
            Kind::Count => (mark_of(entry), Step::Set(entry.quantity)),
            _ => (mark_of(entry), Step::Add(leg(entry, StockState::Sellable))),
        });
        let archived_until = Timestamp::MIN;
        History {
            from,
            archived_until,
            steps: steps.filter(|(_, step)| *step != Step::Add(0)).collect(),
        }
    }

    fn facts(&self, key: PositionKey) -> impl Iterator<Item = &Entry<'static>> {
        let written = [Kind::Correct, Kind::CountVariance, Kind::ExpectVariance];
        let fact = move |entry: &&Entry<'_>| {
            let request = entry.kind as i16 >= 100;
            !request && !written.contains(&entry.kind) && !self.is_corrected(entry)
        };
        self.entries_of(key).filter(fact)
    }

    fn is_corrected(&self, entry: &Entry<'_>) -> bool {
        self.logs[&entry.partition]
            .iter()
            .any(|other| other.kind == Kind::Correct && other.refers_to == Some(entry.seq))
    }

    fn entries_of(&self, key: PositionKey) -> impl Iterator<Item = &Entry<'static>> {
        let log = self.logs.get(&key.place.partition).into_iter().flatten();
        log.filter(move |entry| entry.location == key.place.location && entry.item == key.item)
    }
}

/// What an entry adds to the balance of `state` at its own position.
pub fn leg(entry: &Entry<'_>, state: StockState) -> i64 {
    let Some((from, to)) = entry.states else { return 0 };
    let leaves = from == state && [Legs::From, Legs::Both].contains(&entry.legs);
    let enters = to == state && [Legs::To, Legs::Both].contains(&entry.legs);
    match (leaves, enters) {
        (true, false) => -entry.quantity,
        (false, true) => entry.quantity,
        _ => 0,
    }
}

fn mark_of(entry: &Entry<'_>) -> Mark {
    Mark { at: entry.effective_at, seq: entry.seq }
}

/// An entry that borrows nothing.
pub fn owned(entry: Entry<'_>) -> Entry<'static> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    Entry {
        key: text(entry.key),
        actor: text(entry.actor),
        reason: text(entry.reason),
        document: text(entry.document),
        note: text(entry.note),
        reservation_id: text(entry.reservation_id),
        hold_id: text(entry.hold_id),
        original_source: text(entry.original_source),
        original_key: text(entry.original_key),
        group: text(entry.group),
        partition: entry.partition,
        seq: entry.seq,
        kind: entry.kind,
        location: entry.location,
        item: entry.item,
        legs: entry.legs,
        states: entry.states,
        quantity: entry.quantity,
        sellable_after: entry.sellable_after,
        reserved_change: entry.reserved_change,
        reserved_after: entry.reserved_after,
        source: entry.source,
        fingerprint: entry.fingerprint,
        channel: entry.channel,
        document_line: entry.document_line,
        counter: entry.counter,
        refers_to: entry.refers_to,
        expected_at: entry.expected_at,
        occurred_at: entry.occurred_at,
        utc_offset_minutes: entry.utc_offset_minutes,
        effective_at: entry.effective_at,
        recorded_at: entry.recorded_at,
        flags: entry.flags,
        reservation_state: entry.reservation_state,
    }
}
