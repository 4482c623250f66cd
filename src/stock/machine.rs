//! The state machine: `(book, commands) -> plan | needs`. It holds every rule of the domain.
//!
//! [`apply`] works on copies of what it changes and never on the book, so it may be run any number
//! of times: when it meets something that was not read, it says so and is run again with more.

mod close;
mod consume;
mod correct;
mod fulfil;
mod grant;
mod judge;
mod post;
mod posting;
mod slot;
mod step;

use rustc_hash::FxHashMap;

pub use self::judge::AHEAD_MAX;
use crate::mutants::{Mutant, on};
use crate::stock::{
    book::{Announcement, Book, DocumentLine, HoldKey, HoldUse, Needs, Request, RequestKey},
    entry::{Entry, Flags},
    ids::{ChannelNo, EntryRef, Partition, PositionKey, Seq},
    movement::{Command, Movement},
    position::Position,
    quota::{Fences, Quota},
    refusal::Refusal,
    reservation::Reservation,
    time::Timestamp,
};

/// What became of one movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the plan.
    Recorded(Posted),
    /// It was in the ledger already.
    Duplicate(Posted),
    /// A step was taken, now or when it was asked for first: the reservation as it stood after it.
    Stepped(Box<Reservation>),
    /// It changes nothing.
    Refused(Refusal),
}

/// The entry that a movement became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Where in the log.
    pub at: EntryRef,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When it took effect.
    pub effective_at: Timestamp,
    /// How many units it is about.
    pub quantity: i64,
    /// SELLABLE directly after it.
    pub sellable_after: i64,
    /// What is worth knowing.
    pub flags: Flags,
}

/// Everything that a batch writes, and its answers.
#[derive(Debug)]
pub struct Plan<'a> {
    /// New entries of each partition, dense from its head on.
    pub logs: FxHashMap<Partition, Log<'a>>,
    /// Positions that an entry of the plan changed, as they are now.
    pub positions: FxHashMap<PositionKey, Position>,
    /// Quotas of positions, of which an entry of the plan used or gave back some.
    pub quotas: FxHashMap<PositionKey, Vec<Quota>>,
    /// Requests that are new or changed.
    pub requests: FxHashMap<RequestKey, Request>,
    /// Reservations that are new or changed, as they are now.
    pub reservations: FxHashMap<EntryRef, Reservation>,
    /// Reservations as they stood before each of the steps, for repeated requests.
    pub superseded: Vec<Reservation>,
    /// One per movement and step, in order.
    pub outcomes: Vec<Outcome>,
}

/// New entries of one partition.
#[derive(Clone, Debug)]
pub struct Log<'a> {
    /// Last sequence number before them.
    pub base: Seq,
    /// Dense: the first has sequence number `base + 1`.
    pub entries: Vec<Entry<'a>>,
}

/// Decides what a batch does to the ledger. Applies the commands one after the other, so that each
/// sees the effects of those before it.
///
/// # Errors
/// What else must be read into the book before the batch can be decided.
pub fn apply<'a>(book: &'a Book, commands: &'a [Command]) -> Result<Plan<'a>, Box<Needs>> {
    let mut machine = Machine::new(book);
    let mut outcomes = Vec::with_capacity(commands.len());
    for command in commands {
        match command {
            Command::One(movement) => outcomes.extend(machine.one(movement)),
            Command::Group(movements) => outcomes.extend(machine.group(movements, false)),
            Command::Spoiled(movements) => outcomes.extend(machine.group(movements, true)),
            Command::Step(step) => outcomes.extend(machine.step(step)),
            Command::Basket(steps) => outcomes.extend(machine.basket(steps)),
        }
    }
    if !machine.needs.is_empty() {
        return Err(Box::new(machine.needs));
    }
    let Machine { logs, mut positions, quotas, mut requests, reservations, superseded, .. } =
        machine;
    if on(Mutant::NoRequestRow) {
        requests.clear();
    }
    positions.retain(|key, position| {
        logs.get(&key.place.partition).is_some_and(|log| position.seq > log.base)
    });
    Ok(Plan { logs, positions, quotas, requests, reservations, superseded, outcomes })
}

/// Working state: the book, and copies of what changed.
struct Machine<'a> {
    book: &'a Book,
    logs: FxHashMap<Partition, Log<'a>>,
    positions: FxHashMap<PositionKey, Position>,
    quotas: FxHashMap<PositionKey, Vec<Quota>>,
    requests: FxHashMap<RequestKey, Request>,
    announcements: FxHashMap<DocumentLine, Announcement>,
    reservations: FxHashMap<EntryRef, Reservation>,
    holds: FxHashMap<HoldKey, HoldUse>,
    superseded: Vec<Reservation>,
    needs: Needs,
    undo: Option<Undo>,
}

/// What a group changed, as it was before.
#[derive(Default)]
struct Undo {
    lengths: Vec<(Partition, usize)>,
    positions: FxHashMap<PositionKey, Option<Position>>,
    quotas: FxHashMap<PositionKey, Option<Vec<Quota>>>,
    requests: FxHashMap<RequestKey, Option<Request>>,
    announcements: FxHashMap<DocumentLine, Option<Announcement>>,
    reservations: FxHashMap<EntryRef, Option<Reservation>>,
    holds: FxHashMap<HoldKey, Option<HoldUse>>,
    superseded: usize,
}

/// Why a movement was not posted.
enum Stop {
    /// By a rule.
    Refused(Refusal),
    /// Something must be read first; it is in the machine's needs.
    Unread,
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl<'a> Machine<'a> {
    fn new(book: &'a Book) -> Machine<'a> {
        let log = |(&partition, &base)| (partition, Log { base, entries: Vec::new() });
        Machine {
            book,
            logs: book.heads.iter().map(log).collect(),
            positions: FxHashMap::default(),
            quotas: FxHashMap::default(),
            requests: FxHashMap::default(),
            announcements: FxHashMap::default(),
            reservations: FxHashMap::default(),
            holds: FxHashMap::default(),
            superseded: Vec::new(),
            needs: Needs::default(),
            undo: None,
        }
    }

    /// No outcome: something was not read.
    fn one(&mut self, movement: &'a Movement) -> Option<Outcome> {
        match self.judge_and_post(movement) {
            Ok(outcome) => Some(outcome),
            Err(Stop::Refused(refusal)) => Some(Outcome::Refused(refusal)),
            Err(Stop::Unread) => None,
        }
    }

    /// All or none: a refusal, also one that spoiled the group before, takes back what the other lines
    /// did, and with it the entries that lines sent twice in the group would be duplicates of.
    fn group(&mut self, movements: &'a [Movement], spoiled: bool) -> Vec<Outcome> {
        self.begin_undo();
        let outcomes: Vec<_> = movements.iter().filter_map(|movement| self.one(movement)).collect();
        let undo = self.undo.take().unwrap_or_default();
        if !spoiled && !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_))) {
            return outcomes;
        }
        self.take_back(undo);
        let refuse = |(outcome, movement): (Outcome, &Movement)| match outcome {
            Outcome::Recorded(posted) | Outcome::Duplicate(posted)
                if posted.at.seq >= self.next_seq(posted.at.partition) =>
            {
                Outcome::Refused(Refusal::GroupRefused { group: movement.draft.group.clone() })
            }
            other => other,
        };
        outcomes.into_iter().zip(movements).map(refuse).collect()
    }

    /// From here on everything that changes can be taken back.
    fn begin_undo(&mut self) {
        let lengths = self.logs.iter().map(|(&partition, log)| (partition, log.entries.len()));
        let (lengths, superseded) = (lengths.collect(), self.superseded.len());
        self.undo = Some(Undo { lengths, superseded, ..Undo::default() });
    }

    fn take_back(&mut self, undo: Undo) {
        for (partition, length) in undo.lengths {
            if let Some(log) = self.logs.get_mut(&partition) {
                log.entries.truncate(length);
            }
        }
        restore(&mut self.positions, undo.positions);
        restore(&mut self.quotas, undo.quotas);
        restore(&mut self.requests, undo.requests);
        restore(&mut self.announcements, undo.announcements);
        restore(&mut self.reservations, undo.reservations);
        restore(&mut self.holds, undo.holds);
        self.superseded.truncate(undo.superseded);
    }

    fn position(&mut self, key: PositionKey) -> &mut Position {
        if let Some(undo) = &mut self.undo {
            let before = || self.positions.get(&key).cloned();
            undo.positions.entry(key).or_insert_with(before);
        }
        let stored = || self.book.positions.get(&key).cloned().unwrap_or_default();
        self.positions.entry(key).or_insert_with(stored)
    }

    /// What quotas do to a channel at a position, so far.
    fn fences(&self, key: PositionKey, channel: Option<ChannelNo>) -> Fences {
        let quotas = self.quotas.get(&key).or_else(|| self.book.quotas.get(&key));
        quotas.map_or_else(Fences::default, |quotas| Fences::of(channel, quotas, self.book.now))
    }

    /// Counts an entry for the quota of its channel, if its position has one.
    fn count_use(&mut self, entry: &Entry<'_>) {
        let key = entry.position();
        let known = self.quotas.get(&key).or_else(|| self.book.quotas.get(&key));
        let Some(mut quotas) = known.filter(|_| entry.channel.is_some()).cloned() else { return };
        if !quotas.iter_mut().any(|quota| quota.count(entry)) {
            return;
        }
        let before = self.quotas.insert(key, quotas);
        if let Some(undo) = &mut self.undo {
            undo.quotas.entry(key).or_insert(before);
        }
    }

    fn announcement(&mut self, line: &DocumentLine) -> &mut Announcement {
        if let Some(undo) = &mut self.undo {
            let before = || self.announcements.get(line).cloned();
            undo.announcements.entry(line.clone()).or_insert_with(before);
        }
        let stored = || self.book.announcements.get(line).cloned().unwrap_or_default();
        self.announcements.entry(line.clone()).or_insert_with(stored)
    }

    fn request(&self, key: RequestKey) -> Option<&Request> {
        self.requests.get(&key).or_else(|| self.book.requests.get(&key))
    }

    fn change_request(&mut self, key: RequestKey, change: impl FnOnce(&mut Request)) {
        if let Some(undo) = &mut self.undo {
            let before = || self.requests.get(&key).cloned();
            undo.requests.entry(key).or_insert_with(before);
        }
        let stored = || self.book.requests.get(&key).cloned().unwrap_or_default();
        change(self.requests.entry(key).or_insert_with(stored));
    }

    /// An entry of the ledger or of this batch; notes the need where it was not read.
    fn entry(&mut self, at: EntryRef) -> Result<Entry<'a>, Stop> {
        let posted = self.logs.get(&at.partition).and_then(|log| {
            usize::try_from(at.seq - log.base - 1).ok().and_then(|index| log.entries.get(index))
        });
        if let Some(entry) = posted {
            return Ok(entry.clone());
        }
        if let Some(entry) = self.book.entries.get(&at) {
            return Ok(entry.clone());
        }
        self.needs.entries.insert(at);
        Err(Stop::Unread)
    }

    fn next_seq(&self, partition: Partition) -> Seq {
        self.logs.get(&partition).map_or(1, |log| log.base + log.entries.len() as Seq + 1)
    }

    /// Gives the entry its sequence number, adds it to its position, and appends it to its log.
    fn append(&mut self, mut entry: Entry<'a>) -> Posted {
        entry.seq = self.next_seq(entry.partition);
        self.position(entry.position()).add(&mut entry);
        if !self.book.quotas.is_empty() {
            self.count_use(&entry);
        }
        let posted = Posted::of(&entry);
        let log = self.logs.entry(entry.partition);
        log.or_insert_with(|| Log { base: 0, entries: Vec::new() }).entries.push(entry);
        posted
    }
}

impl Posted {
    /// What is told of an entry.
    pub fn of(entry: &Entry<'_>) -> Posted {
        Posted {
            at: entry.at(),
            recorded_at: entry.recorded_at,
            effective_at: entry.effective_at,
            quantity: entry.quantity,
            sellable_after: entry.sellable_after,
            flags: entry.flags.without(Flags::ARCHIVED),
        }
    }
}

fn restore<K: Eq + std::hash::Hash, V>(now: &mut FxHashMap<K, V>, before: FxHashMap<K, Option<V>>) {
    for (key, value) in before {
        match value {
            Some(value) => now.insert(key, value),
            None => now.remove(&key),
        };
    }
}
