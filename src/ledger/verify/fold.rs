//! The fold: what one partition must look like, worked out from its entries alone and with nothing
//! of what the writer works with.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use crate::{
    ledger::{
        rows::Stored,
        verify::{Stop, differs, entry_name, promise::Promises},
    },
    stock::{
        entry::{Entry, Flags, Legs},
        hash::Digest,
        ids::{Partition, Seq},
        kind::Kind,
        time::Timestamp,
    },
};

/// A request within its partition: digest and location.
pub(super) type RequestId = (Uuid, i32);
/// A position within its partition: location and item.
pub(super) type PositionId = (i32, i32);
/// Columns of `position` by number of the state, from 1 on; 6 is outside and has none.
const STATES: usize = 5;

/// What one partition must look like after its entry `seq`.
pub(super) struct Fold {
    pub partition: Partition,
    pub seq: Seq,
    pub recorded_at: Timestamp,
    pub positions: FxHashMap<PositionId, Sums>,
    pub requests: FxHashMap<RequestId, Asked>,
    /// By the entry that is corrected: the entry that corrects it.
    pub corrections: FxHashMap<Seq, Seq>,
    /// Corrections that came before what they correct.
    pub waiting: FxHashMap<RequestId, Seq>,
    pub returns: Vec<LinkedReturn>,
    /// Halves of transfers whose other half was not looked for yet.
    pub halves: Vec<Half>,
    /// Reservations.
    pub promises: Promises,
    /// Units that were ever promised, and those of them that were not there.
    pub promised: i64,
    pub oversold: i64,
}

/// What the entries of one position add up to.
#[derive(Default)]
pub(super) struct Sums {
    /// By state: SELLABLE, STAGED, BLOCKED, IN_TRANSIT, EXPECTED.
    pub balances: [i64; STATES],
    pub reserved: i64,
    pub seq: Seq,
    pub fact_at: Option<Timestamp>,
    /// When a short pick made it doubtful, unless a count has settled it.
    pub doubtful_at: Option<Timestamp>,
    /// Whether the stored row was found.
    pub seen: bool,
    /// Counts, and what all other facts add to SELLABLE.
    counts: Vec<Fact>,
    changes: Vec<Fact>,
}

/// What a request must say of its own entry.
#[derive(Default)]
pub(super) struct Asked {
    /// `None`: something awaits it.
    pub seq: Option<Seq>,
    /// Whether the stored row was found.
    pub seen: bool,
}

/// A return that names its original.
pub(super) struct LinkedReturn {
    pub seq: Seq,
    pub quantity: i64,
    pub request: RequestId,
    /// Partition and entry of the original; `None`: it was awaited at the return's own location.
    pub original: Option<(Partition, Seq)>,
}

/// One of two entries that belong together.
pub(super) struct Half {
    pub seq: Seq,
    pub location: i32,
    pub item: i32,
    pub quantity: i64,
    pub legs: i16,
    pub other: (Partition, Seq),
    pub other_location: i32,
}

/// A fact in the order of the fold.
#[derive(Clone, Copy)]
struct Fact {
    at: Timestamp,
    seq: Seq,
    units: i64,
}

impl Fold {
    pub(super) fn new(partition: Partition) -> Fold {
        Fold {
            partition,
            seq: 0,
            recorded_at: Timestamp::MIN,
            positions: FxHashMap::default(),
            requests: FxHashMap::default(),
            corrections: FxHashMap::default(),
            waiting: FxHashMap::default(),
            returns: Vec::new(),
            halves: Vec::new(),
            promises: Promises::default(),
            promised: 0,
            oversold: 0,
        }
    }

    /// Takes the next entry, `sources` being the names of all sources.
    pub(super) fn take(
        &mut self,
        stored: &Stored,
        sources: &HashMap<i32, String>,
    ) -> Result<(), Stop> {
        let Stored { entry, checksum } = stored;
        let name = || entry_name(self.partition, entry.seq);
        if entry.seq != self.seq + 1 {
            let name = entry_name(self.partition, self.seq + 1);
            return Err(Stop::Differs(format!("{name}: row is missing")));
        }
        differs(name, &[("checksum", Some(*checksum), Some(entry.checksum()))])?;
        if entry.recorded_at < self.recorded_at {
            let problem = "recorded_at is earlier than in the entry before";
            return Err(Stop::Differs(format!("{}: {problem}", name())));
        }
        (self.seq, self.recorded_at) = (entry.seq, entry.recorded_at);
        let id = (entry.location.0, entry.item.0);
        let sums = self.positions.entry(id).or_default();
        sums.take(entry);
        differs(
            || entry_name(entry.partition, entry.seq),
            &[
                ("sellable_after", Some(entry.sellable_after), Some(sums.balances[0])),
                ("reserved_after", Some(entry.reserved_after), Some(sums.reserved)),
            ],
        )?;
        self.take_promised(entry)?;
        self.take_request(entry, sources)?;
        self.promises.take(entry)?;
        self.take_references(entry);
        Ok(())
    }

    /// Nothing is ever promised that is not there. A fact may take away what was promised: that is a
    /// shortfall, and none of its entries promises anything.
    fn take_promised(&mut self, entry: &Entry<'_>) -> Result<(), Stop> {
        if entry.reserved_change <= 0 {
            return Ok(());
        }
        self.promised += entry.reserved_change;
        let missing = (entry.reserved_after - entry.sellable_after).max(0);
        self.oversold += missing.min(entry.reserved_change);
        if missing == 0 {
            return Ok(());
        }
        let name = entry_name(entry.partition, entry.seq);
        Err(Stop::Differs(format!("{name}: promises {missing} units more than there are")))
    }

    /// What the entry answers, unless it came along with one that does.
    fn take_request(
        &mut self,
        entry: &Entry<'_>,
        sources: &HashMap<i32, String>,
    ) -> Result<(), Stop> {
        if entry.flags.has(Flags::SECONDARY) {
            return Ok(());
        }
        let Some(source) = sources.get(&entry.source.0) else {
            let (name, no) = (entry_name(entry.partition, entry.seq), entry.source.0);
            return Err(Stop::Differs(format!("{name}: source {no} does not exist")));
        };
        let id = match entry.flags.has(Flags::REQUEST) {
            true => {
                let digest = Digest::of_request(source, &entry.key);
                (Uuid::from_u128(digest.0), entry.location.0)
            }
            false => request_id(source, &entry.key, entry.location.0),
        };
        let asked = self.requests.entry(id).or_default();
        if let Some(first) = asked.seq.replace(entry.seq) {
            let name = entry_name(entry.partition, entry.seq);
            return Err(Stop::Differs(format!("{name}: source and key are those of {first}")));
        }
        Ok(())
    }

    fn take_references(&mut self, entry: &Entry<'_>) {
        let own = entry.location.0;
        let awaited = || request_id(&entry.original_source, &entry.original_key, own);
        match (entry.kind, entry.refers_to) {
            (Kind::Correct, Some(corrected)) => {
                self.corrections.insert(corrected, entry.seq);
            }
            (Kind::Correct, None) => {
                self.waiting.insert(awaited(), entry.seq);
                self.requests.entry(awaited()).or_default();
            }
            (Kind::Return, _) if !entry.original_key.is_empty() => {
                let (mut request, original) = (awaited(), entry.counter);
                match original {
                    Some(original) => request.1 = original.place.location.0,
                    None => drop(self.requests.entry(request).or_default()),
                }
                self.returns.push(LinkedReturn {
                    seq: entry.seq,
                    quantity: entry.quantity,
                    request,
                    original: original.map(|original| (original.place.partition, original.seq)),
                });
            }
            _ => {}
        }
        if let Some(counter) = entry.counter.filter(|_| entry.kind != Kind::Return) {
            self.halves.push(Half {
                seq: entry.seq,
                location: own,
                item: entry.item.0,
                quantity: entry.quantity,
                legs: entry.legs as i16,
                other: (counter.place.partition, counter.seq),
                other_location: counter.place.location.0,
            });
        }
    }
}

impl Sums {
    fn take(&mut self, entry: &Entry<'_>) {
        let mut sellable = 0;
        if let Some((from, to)) = entry.states {
            let leaves = matches!(entry.legs, Legs::From | Legs::Both);
            let enters = matches!(entry.legs, Legs::To | Legs::Both);
            for (moves, state, units) in
                [(leaves, from, -entry.quantity), (enters, to, entry.quantity)]
            {
                let column = state as usize - 1;
                if let Some(balance) = self.balances.get_mut(column).filter(|_| moves) {
                    *balance += units;
                    sellable += if column == 0 { units } else { 0 };
                }
            }
        }
        self.reserved += entry.reserved_change;
        self.seq = entry.seq;
        if entry.flags.has(Flags::DOUBTFUL) {
            self.doubtful_at = Some(entry.recorded_at);
        }
        let fact = Fact { at: entry.effective_at, seq: entry.seq, units: sellable };
        match entry.kind {
            Kind::Correct | Kind::CountVariance | Kind::ExpectVariance => return,
            // Requests are no facts.
            Kind::Reserve | Kind::Release | Kind::Step => return,
            Kind::Count => {
                self.counts.push(Fact { units: entry.quantity, ..fact });
                self.doubtful_at = self.doubtful_at.filter(|since| *since > entry.effective_at);
            }
            _ if sellable != 0 => self.changes.push(fact),
            _ => {}
        }
        self.fact_at = self.fact_at.max(Some(entry.effective_at));
    }

    /// The last count that was not corrected, and SELLABLE by definition: what it counted and what
    /// every uncorrected fact behind it added.
    pub(super) fn fold(
        &self,
        corrections: &FxHashMap<Seq, Seq>,
    ) -> (Option<(Timestamp, Seq)>, i64) {
        let stands = |fact: &&Fact| !corrections.contains_key(&fact.seq);
        let order = |fact: &Fact| (fact.at, fact.seq);
        let count = self.counts.iter().filter(stands).max_by_key(|count| order(count)).copied();
        let mark = count.map(|count| order(&count));
        let behind = self.changes.iter().filter(|fact| mark.is_none_or(|mark| order(fact) > mark));
        let added: i64 = behind.filter(stands).map(|fact| fact.units).sum();
        (mark, count.map_or(0, |count| count.units) + added)
    }
}

fn request_id(source: &str, key: &str, location: i32) -> RequestId {
    (Uuid::from_u128(Digest::of(source, key).0), location)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::stock::{
        ids::{ItemNo, LocationNo, SourceNo},
        kind::StockState,
    };

    fn entry(seq: Seq, kind: Kind, quantity: i64) -> Entry<'static> {
        let text = || Cow::Borrowed("");
        let receipt = kind == Kind::Receipt;
        let states = receipt.then_some((StockState::External, StockState::Sellable));
        Entry {
            partition: Partition(0),
            seq,
            kind,
            location: LocationNo(1),
            item: ItemNo(1),
            legs: if receipt { Legs::Both } else { Legs::None },
            states,
            quantity,
            sellable_after: 5,
            reserved_change: if receipt { 0 } else { quantity },
            reserved_after: if receipt { 0 } else { quantity },
            source: SourceNo(1),
            key: Cow::Owned(format!("k{seq}")),
            fingerprint: 0,
            channel: None,
            actor: text(),
            reason: text(),
            document: text(),
            document_line: 0,
            note: text(),
            reservation_id: text(),
            hold_id: text(),
            original_source: text(),
            original_key: text(),
            group: text(),
            counter: None,
            refers_to: None,
            expected_at: None,
            occurred_at: Timestamp(0),
            utc_offset_minutes: 0,
            effective_at: Timestamp(0),
            recorded_at: Timestamp(0),
            flags: Flags::default(),
            reservation_state: None,
        }
    }

    /// What the second entry, a promise of so many of five units, is found to be.
    fn promise(quantity: i64) -> (Option<String>, i64, i64) {
        let sources = HashMap::from([(1, "till".to_owned())]);
        let mut fold = Fold::new(Partition(0));
        let mut take = |entry: Entry<'static>| {
            let checksum = entry.checksum();
            match fold.take(&Stored { entry, checksum }, &sources) {
                Err(Stop::Differs(difference)) => Some(difference),
                _ => None,
            }
        };
        assert_eq!(take(entry(1, Kind::Receipt, 5)), None);
        let difference = take(entry(2, Kind::Reserve, quantity));
        (difference, fold.promised, fold.oversold)
    }

    #[test]
    fn a_promise_of_more_than_there_is_differs() {
        assert_eq!(promise(5), (None, 5, 0));
        let (difference, promised, oversold) = promise(7);
        assert_eq!((promised, oversold), (7, 2));
        let name = "ledger_entry partition=0 seq=2";
        assert_eq!(difference, Some(format!("{name}: promises 2 units more than there are")));
    }
}
