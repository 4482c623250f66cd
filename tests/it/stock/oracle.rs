//! A naive model of the ledger: a list of accepted facts and the definitions of the domain, read
//! literally. It shares no function with `src/stock`.

mod promises;

use std::collections::HashMap;

use stockroom::stock::{
    draft::Draft,
    ids::{ItemNo, Place},
    kind::{Kind, StockState},
    movement::Movement,
    refusal::Refusal,
    time::Timestamp,
};

use self::promises::Promises;
use super::network::{Line, SOURCES, Sent};

const MINUTE: i64 = 60_000_000;
const YEAR_2000: i64 = 946_684_800_000_000;
const ROOM: i64 = 9_007_199_254_740_992 - 2_000_000_000;

/// Source and key at a location.
pub type Key = (Place, String, String);

/// What the answer must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Recorded, with these flags.
    Recorded { over_return: bool, awaits: bool, promise_unknown: bool, before_count: bool },
    /// The first answer again.
    Duplicate,
    /// A no.
    Refused(Refusal),
}

/// A fact that was accepted.
#[derive(Clone, Debug)]
struct Fact {
    key: Key,
    kind: Kind,
    place: Place,
    to_place: Option<Place>,
    item: ItemNo,
    quantity: i64,
    at: Timestamp,
    from: i32,
    to: i32,
    document: (String, u32),
    linked: Option<Key>,
    corrected: bool,
}

/// All that was accepted, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    facts: Vec<Fact>,
    drafts: HashMap<Key, Draft>,
    waiting: HashMap<Key, (ItemNo, i64)>,
    promises: Promises,
}

impl Oracle {
    /// What must become of a line, or of the lines of a group.
    pub fn record(&mut self, now: Timestamp, lines: &[Line]) -> Vec<Expected> {
        if let [(sent, line)] = lines {
            // Nothing to take back.
            let one = |movement| self.one(now, sent, movement);
            return vec![line.as_ref().map_or_else(|no| Expected::Refused(no.clone()), one)];
        }
        let before = self.clone();
        let known = |sent: &Sent, line: &Result<Movement, Refusal>| {
            line.as_ref().is_ok_and(|movement| before.drafts.contains_key(&key_of(sent, movement)))
        };
        let reached = lines.iter().all(|(_, line)| line.is_ok());
        let mut all: Vec<_> = lines
            .iter()
            .map(|(sent, line)| match line {
                Ok(movement) if reached => self.one(now, sent, movement),
                Ok(_) => Expected::Refused(group_refused(sent)),
                Err(refusal) => Expected::Refused(refusal.clone()),
            })
            .collect();
        if all.iter().any(|expected| matches!(expected, Expected::Refused(_))) {
            for (expected, (sent, line)) in all.iter_mut().zip(lines) {
                let refused = matches!(expected, Expected::Refused(_));
                if !refused && !known(sent, line) {
                    *expected = Expected::Refused(group_refused(sent));
                }
            }
            *self = before;
        }
        all
    }

    /// The balance of a state, by definition.
    pub fn balance(&self, place: Place, item: ItemNo, state: StockState) -> i64 {
        let facts = || self.facts.iter().filter(|fact| !fact.corrected && fact.item == item);
        match state {
            StockState::Sellable => {
                let mut facts: Vec<_> = facts().filter(|fact| fact.place == place).collect();
                facts.sort_by_key(|fact| fact.at);
                facts.into_iter().fold(0, |sellable, fact| match fact.kind {
                    Kind::Count => fact.quantity,
                    _ => sellable + fact.change(place, state),
                })
            }
            StockState::Expected => {
                let loose = |fact: &&Fact| !fact.is_announced();
                let sum: i64 = facts().filter(loose).map(|fact| fact.change(place, state)).sum();
                let mut lines: Vec<_> = facts()
                    .filter(|fact| fact.place == place && fact.is_announced())
                    .map(|fact| fact.document.clone())
                    .collect();
                lines.sort();
                lines.dedup();
                let open = |line: &(String, u32)| {
                    let of_line = || {
                        facts().filter(|fact| {
                            fact.place == place && fact.is_announced() && fact.document == *line
                        })
                    };
                    let received = of_line().any(|fact| fact.kind == Kind::Receipt);
                    let announced: i64 = of_line().map(|fact| fact.change(place, state)).sum();
                    if received { 0 } else { announced }
                };
                sum + lines.iter().map(open).sum::<i64>()
            }
            _ => facts().map(|fact| fact.change(place, state)).sum(),
        }
    }

    /// Units returned against a key.
    pub fn returned(&self, key: &Key) -> i64 {
        let of_key = |fact: &&Fact| !fact.corrected && fact.linked.as_ref() == Some(key);
        self.facts.iter().filter(of_key).map(|fact| fact.quantity).sum()
    }

    /// Number of keys in use.
    pub fn keys(&self) -> usize {
        self.drafts.len() + self.promises.keys()
    }

    /// Number of facts that were corrected, and of corrections that wait.
    pub fn corrections(&self) -> (usize, usize) {
        (self.facts.iter().filter(|fact| fact.corrected).count(), self.waiting.len())
    }

    fn one(&mut self, now: Timestamp, sent: &Sent, movement: &Movement) -> Expected {
        let (draft, key) = (&sent.draft, key_of(sent, movement));
        if let Some(first) = self.drafts.get(&key) {
            return match first == draft {
                true => Expected::Duplicate,
                false => Expected::Refused(Refusal::KeyReused { field: "" }),
            };
        }
        if let Some(at) = draft.occurred_at
            && (at.0 < YEAR_2000 || at.0 > now.0 + 5 * MINUTE)
        {
            return Expected::Refused(Refusal::OccurredAtOutOfRange { occurred_at: at });
        }
        if draft.sku == "service" {
            return Expected::Refused(Refusal::NotAStockItem);
        }
        let linked = self.linked(sent, movement);
        let refusal = match movement.kind {
            Kind::Correct => self.forbids_correction(draft, sent.source, linked.as_ref(), movement),
            Kind::Return if linked.as_ref() == Some(&key) => {
                Some(Refusal::OriginalMismatch { field: "kind" })
            }
            Kind::Return => self.forbids_return(linked.as_ref(), movement),
            _ => None,
        };
        let full = |place: Place| !self.has_room(place, movement.item);
        let refusal = refusal.or_else(|| {
            let full = full(movement.place) || movement.to_place.is_some_and(full);
            full.then_some(Refusal::BalanceOutOfRange)
        });
        if let Some(refusal) = refusal {
            return Expected::Refused(refusal);
        }
        self.drafts.insert(key.clone(), draft.clone());
        let promise_unknown = self.names_nothing_known(movement);
        match (movement.kind, linked) {
            (Kind::Correct, Some(original)) => {
                // What waited for this key waited for something that can be corrected.
                self.waiting.remove(&key);
                let awaits = self.correct(original, movement.item, draft.quantity);
                Expected::Recorded {
                    over_return: false,
                    awaits,
                    promise_unknown,
                    before_count: false,
                }
            }
            (_, linked) => self.accept(now, sent, movement, linked, promise_unknown),
        }
    }

    fn accept(
        &mut self,
        now: Timestamp,
        sent: &Sent,
        movement: &Movement,
        linked: Option<Key>,
        promise_unknown: bool,
    ) -> Expected {
        let (draft, key) = (&sent.draft, key_of(sent, movement));
        let offset = SOURCES.iter().find(|(source, ..)| *source == sent.source).unwrap().2;
        let at = draft.occurred_at.map_or(now.0, |at| at.0) + offset;
        let taken = self.consume(now, movement);
        let from = taken.map_or(draft.from_state, |taken| taken.from(draft));
        let promise_unknown = promise_unknown && taken.is_none();
        let fact = Fact {
            key: key.clone(),
            kind: movement.kind,
            place: movement.place,
            to_place: movement.to_place,
            item: movement.item,
            quantity: draft.quantity,
            at: Timestamp(at.min(now.0)),
            from,
            to: draft.to_state,
            document: (draft.document.clone(), draft.document_line),
            linked: linked.filter(|_| movement.kind == Kind::Return),
            corrected: false,
        };
        let counts = self.facts.iter().filter(|other| other.kind == Kind::Count);
        let before_count = fact.kind != Kind::Count
            && fact.change(fact.place, StockState::Sellable) != 0
            && counts
                .filter(|count| !count.corrected && count.place == fact.place)
                .any(|count| count.item == fact.item && fact.at < count.at);
        let (mut over_return, mut awaits) = (false, false);
        if let Some(original) = &fact.linked {
            let sale = self.facts.iter().find(|sale| sale.key == *original);
            let returned = self.returned(original) + fact.quantity;
            awaits = sale.is_none();
            over_return =
                sale.is_some_and(|sale| returned > if sale.corrected { 0 } else { sale.quantity });
        }
        if matches!(fact.kind, Kind::Sale | Kind::ShipOut) {
            over_return = self.returned(&key) > fact.quantity;
        }
        let (item, quantity, at) = (fact.item, fact.quantity, fact.at);
        self.facts.push(fact);
        if let Some((awaited_item, awaited_quantity)) = self.waiting.remove(&key)
            && awaited_item == item
            && [0, quantity].contains(&awaited_quantity)
        {
            self.facts.last_mut().unwrap().corrected = true;
        }
        if let Some(aside) = taken.filter(|_| from != 2).map(|taken| taken.aside)
            && aside > 0
        {
            // It was put back and then sold.
            self.moved(at, movement.place, item, Kind::Unpick, (2, 1), aside);
        }
        Expected::Recorded { over_return, awaits, promise_unknown, before_count }
    }

    /// Whether the correction has to wait.
    fn correct(&mut self, original: Key, item: ItemNo, quantity: i64) -> bool {
        match self.facts.iter_mut().find(|fact| fact.key == original) {
            Some(fact) => {
                fact.corrected = true;
                false
            }
            None => {
                self.waiting.insert(original, (item, quantity));
                true
            }
        }
    }

    fn forbids_correction(
        &self,
        draft: &Draft,
        own_source: &str,
        original: Option<&Key>,
        movement: &Movement,
    ) -> Option<Refusal> {
        let original = original?;
        let mismatch = |field| Some(Refusal::OriginalMismatch { field });
        if original.2 == draft.key && original.1 == own_source {
            return mismatch("kind");
        }
        let Some(fact) = self.facts.iter().find(|fact| fact.key == *original) else {
            if let Some(correction) = self.drafts.get(original) {
                assert_eq!(correction.kind, 12);
                return mismatch("kind");
            }
            return self.waiting.contains_key(original).then_some(Refusal::AlreadyCorrected);
        };
        if fact.item != movement.item {
            return mismatch("sku");
        }
        if draft.quantity != 0 && draft.quantity != fact.quantity {
            return mismatch("quantity");
        }
        fact.corrected.then_some(Refusal::AlreadyCorrected)
    }

    fn forbids_return(&self, original: Option<&Key>, movement: &Movement) -> Option<Refusal> {
        let known = self.drafts.get(original?)?;
        let field = match self.facts.iter().find(|fact| Some(&fact.key) == original) {
            Some(sale) if [Kind::Sale, Kind::ShipOut].contains(&sale.kind) => {
                (sale.item != movement.item).then_some("sku")?
            }
            Some(_) => "kind",
            None => {
                assert_eq!(known.kind, 12);
                "kind"
            }
        };
        Some(Refusal::OriginalMismatch { field })
    }

    fn linked(&self, sent: &Sent, movement: &Movement) -> Option<Key> {
        let (source, key) = sent.draft.original.clone()?;
        let found = movement.original.as_ref().and_then(|original| original.place);
        Some((found.unwrap_or(movement.place), source, key))
    }

    fn has_room(&self, place: Place, item: ItemNo) -> bool {
        use StockState::{Blocked, Expected, InTransit, Sellable, Staged};
        let states = [Sellable, Staged, Blocked, InTransit, Expected];
        states.into_iter().all(|state| self.balance(place, item, state).abs() < ROOM)
    }
}

impl Fact {
    /// Whether it belongs to a line of an announcement.
    fn is_announced(&self) -> bool {
        let of_line = match self.kind {
            Kind::Expect | Kind::Receipt => true,
            Kind::Adjust => [self.from, self.to].contains(&5),
            _ => false,
        };
        of_line && !self.document.0.is_empty()
    }

    /// What it adds to a state at a place, whatever was counted or announced.
    fn change(&self, place: Place, state: StockState) -> i64 {
        if self.kind == Kind::TransferShip {
            return match state {
                StockState::Sellable if place == self.place => -self.quantity,
                StockState::InTransit if Some(place) == self.to_place => self.quantity,
                _ => 0,
            };
        }
        let or = |stated: i32, default: i32| if stated == 0 { default } else { stated };
        let (from, to) = match self.kind {
            _ if place != self.place => return 0,
            Kind::Count => return 0,
            Kind::Receipt => (or(self.from, 6), or(self.to, 1)),
            Kind::Expect => (6, 5),
            Kind::Sale | Kind::ShipOut => (or(self.from, 1), 6),
            Kind::Return => (6, or(self.to, 1)),
            Kind::TransferReceive => (4, 1),
            Kind::Adjust => (or(self.from, 6), or(self.to, 6)),
            Kind::Block => (1, 3),
            Kind::Unblock => (3, 1),
            Kind::Pick | Kind::Unpick => (self.from, self.to),
            other => panic!("{other:?} is no fact"),
        };
        let state = state as i32;
        match () {
            () if from == to => 0,
            () if state == from => -self.quantity,
            () if state == to => self.quantity,
            () => 0,
        }
    }
}

/// What makes a line unique.
pub fn key_of(sent: &Sent, movement: &Movement) -> Key {
    (movement.place, sent.source.to_owned(), sent.draft.key.clone())
}

fn group_refused(sent: &Sent) -> Refusal {
    Refusal::GroupRefused { group: sent.draft.group.clone() }
}
