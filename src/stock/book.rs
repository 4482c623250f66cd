//! What the machine may look at: the part of the ledger that a batch needs, read under the lock.

use std::{collections::BTreeSet, sync::Arc};

use rustc_hash::FxHashMap;

use crate::stock::{
    entry::Entry,
    hash::Digest,
    hold::HoldId,
    ids::{EntryRef, ItemNo, Partition, Place, PositionKey, Seq},
    kind::Kind,
    movement::{Command, Movement},
    position::{HistoryFrom, Position},
    quota::Quota,
    recall::Recalled,
    reservation::{Reservation, ReservationId},
    step::{Action, Step, Target},
    time::Timestamp,
};

/// A key at a location: what makes a request unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestKey {
    /// Where.
    pub place: Place,
    /// Source and key.
    pub digest: Digest,
}

/// A hold, as the ledger finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldKey {
    /// Where it is kept.
    pub partition: Partition,
    /// Digest of caller and request.
    pub digest: Digest,
}

/// What the ledger knows of a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldUse {
    /// The promise that it is itself, if it was taken in the ledger.
    pub held: Option<EntryRef>,
    /// The reservation that consumed it.
    pub consumed_by: Option<EntryRef>,
}

/// What was posted under a key, or awaits it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Whether the ledger has a row of it, which then must be changed instead of added.
    pub stored: bool,
    /// The entry that it became; `None`: something that refers to it came first.
    pub seq: Option<Seq>,
    /// Units returned against it by linked returns that were not corrected.
    pub returned: i64,
    /// The entry that corrected it; for an awaited one, the CORRECT entry that waits for it.
    pub corrected: Option<Seq>,
}

/// One line of an announcement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentLine {
    /// Where the goods are expected.
    pub place: Place,
    /// Which item.
    pub item: ItemNo,
    /// The document.
    pub document: String,
    /// The line; 0: none.
    pub line: u32,
}

/// How an announcement stands. EXPECTED of a line is by definition what its uncorrected EXPECTs
/// announced and its uncorrected ADJUSTs changed of that, and nothing from its first uncorrected
/// RECEIPT on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// What its uncorrected EXPECTs and ADJUSTs add up to in EXPECTED.
    pub announced: i64,
    /// Number of uncorrected RECEIPTs.
    pub receipts: i64,
    /// What the line's entries add up to in EXPECTED.
    pub expected: i64,
}

/// The part of the ledger that a batch needs. Requests, positions and announcements that were asked
/// for are in it even where the ledger has none: as their defaults.
#[derive(Debug)]
pub struct Book {
    /// The moment at which the whole batch is recorded.
    pub now: Timestamp,
    /// Last sequence number of every partition that is locked.
    pub heads: FxHashMap<Partition, Seq>,
    /// Epoch of every partition that is locked.
    pub epochs: FxHashMap<Partition, i64>,
    /// Requests, by key.
    pub requests: FxHashMap<RequestKey, Request>,
    /// Positions.
    pub positions: FxHashMap<PositionKey, Position>,
    /// All quotas of positions that have any.
    pub quotas: FxHashMap<PositionKey, Vec<Quota>>,
    /// Announcements.
    pub announcements: FxHashMap<DocumentLine, Announcement>,
    /// Earlier entries that a movement repeats or refers to.
    pub entries: FxHashMap<EntryRef, Entry<'static>>,
    /// Reservations by the entry that made them; `None`: there is none.
    pub reservations: FxHashMap<EntryRef, Option<Reservation>>,
    /// Reservations as they stood after earlier steps.
    pub versions: FxHashMap<(EntryRef, Seq), Reservation>,
    /// Holds.
    pub holds: FxHashMap<HoldKey, HoldUse>,
    /// Open reservations of locations that can have so many ready at a time only, and when each is ready.
    /// Those that were to be ready long ago may be left out.
    pub pickups: FxHashMap<Place, Vec<(EntryRef, Timestamp)>>,
    /// Items that are recalled.
    pub recalled: Arc<Recalled>,
}

/// What must be read into a book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Requests.
    pub requests: BTreeSet<RequestKey>,
    /// Positions.
    pub positions: BTreeSet<PositionKey>,
    /// Announcements.
    pub announcements: BTreeSet<DocumentLine>,
    /// Entries.
    pub entries: BTreeSet<EntryRef>,
    /// Reservations, by the entry that made them.
    pub reservations: BTreeSet<EntryRef>,
    /// Reservations as they stood after the step with this sequence number.
    pub versions: BTreeSet<(EntryRef, Seq)>,
    /// Holds.
    pub holds: BTreeSet<HoldKey>,
    /// Places whose open reservations are looked through.
    pub pickups: BTreeSet<Place>,
    /// Histories of positions.
    pub histories: Vec<(PositionKey, HistoryFrom)>,
    /// Partitions that are not locked: nothing can be read, the command must be sent again with them.
    pub partitions: BTreeSet<Partition>,
}

impl HoldKey {
    /// The key of a hold.
    pub fn of(id: HoldId) -> HoldKey {
        HoldKey { partition: id.place.partition, digest: id.digest }
    }
}

impl Announcement {
    /// What EXPECTED of the line must be.
    pub fn target(&self) -> i64 {
        if self.receipts > 0 { 0 } else { self.announced }
    }
}

impl DocumentLine {
    /// The line that a movement or entry of `kind` belongs to, if any.
    pub fn of(
        kind: Kind,
        position: PositionKey,
        document: &str,
        line: u32,
    ) -> Option<DocumentLine> {
        let announced = matches!(kind, Kind::Expect | Kind::Receipt | Kind::Adjust);
        let announced = announced && !document.is_empty();
        let PositionKey { place, item } = position;
        announced.then(|| DocumentLine { place, item, document: document.to_owned(), line })
    }
}

impl Movement {
    /// The position at its own place.
    pub fn position(&self) -> PositionKey {
        PositionKey { place: self.place, item: self.item }
    }

    /// What makes it unique.
    pub fn request(&self) -> RequestKey {
        RequestKey { place: self.place, digest: self.digest }
    }

    /// The request that it refers to.
    pub fn original_request(&self) -> Option<RequestKey> {
        let original = self.original.as_ref()?;
        // Only units that come back may have left elsewhere; a correction stays where it was made.
        let elsewhere = original.place.filter(|_| self.kind == Kind::Return);
        let place = elsewhere.unwrap_or(self.place);
        Some(RequestKey { place, digest: original.digest })
    }

    /// The reservation that it consumes, if that is one of its own place.
    pub fn reservation(&self) -> Option<ReservationId> {
        let id: ReservationId = self.draft.reservation_id.parse().ok()?;
        (self.consumes() && id.place == self.place).then_some(id)
    }

    /// The hold that it consumes, if that is one of its own place.
    pub fn hold(&self) -> Option<HoldId> {
        let id: HoldId = self.draft.hold_id.parse().ok()?;
        (self.consumes() && id.place == self.place).then_some(id)
    }

    fn consumes(&self) -> bool {
        matches!(self.kind, Kind::Sale | Kind::ShipOut) && !self.promise_unseen
    }
}

impl Needs {
    /// What every batch needs, before the machine has looked at anything.
    pub fn of(commands: &[Command]) -> Needs {
        let movements = || commands.iter().flat_map(Command::movements);
        let steps = || commands.iter().flat_map(Command::steps);
        let wanted = |step: &Step| {
            let (place, lines) = step.wanted();
            let items: Vec<_> = lines.iter().map(|line| line.item).collect();
            items.into_iter().map(move |item| PositionKey { place, item })
        };
        let reservation = |step: &Step| match step.action {
            Action::Change(Target::Reservation(id), _) => Some(id.at()),
            _ => None,
        };
        let to_position = |movement: &Movement| {
            movement.to_place.map(|place| PositionKey { place, item: movement.item })
        };
        Needs {
            requests: movements()
                .flat_map(|movement| [Some(movement.request()), movement.original_request()])
                .flatten()
                .chain(steps().map(Step::request))
                .collect(),
            positions: movements()
                .flat_map(|movement| [Some(movement.position()), to_position(movement)])
                .flatten()
                .chain(steps().flat_map(wanted))
                .collect(),
            reservations: movements()
                .filter_map(|movement| movement.reservation().map(|id| id.at()))
                .chain(steps().filter_map(reservation))
                .collect(),
            holds: movements()
                .filter_map(|movement| movement.hold().map(HoldKey::of))
                .chain(steps().flat_map(Step::holds))
                .collect(),
            pickups: steps().filter_map(Step::takes_slot).collect(),
            announcements: movements()
                .filter_map(|movement| {
                    let (document, line) = (&movement.draft.document, movement.draft.document_line);
                    DocumentLine::of(movement.kind, movement.position(), document, line)
                })
                .collect(),
            ..Needs::default()
        }
    }

    /// Whether nothing is needed.
    pub fn is_empty(&self) -> bool {
        *self == Needs::default()
    }
}

impl Book {
    /// A book in which nothing was read yet.
    pub fn new(now: Timestamp, heads: FxHashMap<Partition, Seq>) -> Book {
        Book {
            now,
            heads,
            epochs: FxHashMap::default(),
            requests: FxHashMap::default(),
            positions: FxHashMap::default(),
            quotas: FxHashMap::default(),
            announcements: FxHashMap::default(),
            entries: FxHashMap::default(),
            reservations: FxHashMap::default(),
            versions: FxHashMap::default(),
            holds: FxHashMap::default(),
            pickups: FxHashMap::default(),
            recalled: Arc::default(),
        }
    }
}
