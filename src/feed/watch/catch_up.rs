//! What there was before somebody began to watch, read page by page in short statements.

use std::collections::{BTreeMap, VecDeque};

use rustc_hash::FxHashMap;

use super::scope::Scope;
use crate::{
    feed::follow::Stand,
    ledger::{Ledger, fault::Fault, feed::Balance},
    stock::ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
};

/// Positions, or entries, of one page.
const ROWS_MAX: usize = 1_000;
/// Who missed more entries of a partition than this is better served by a walk over its positions.
const ENTRIES_MAX: Seq = 50_000;

/// How much of a state was told, in the order of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    Nothing,
    /// Everything up to this position.
    UpTo(PositionKey),
    /// Everything.
    All,
}

/// Something that is being read.
#[derive(Debug)]
pub struct CatchUp {
    told: Progress,
    base: BTreeMap<Partition, Stand>,
    left: VecDeque<Segment>,
    /// How far the ledger must be followed until everything that was read has been handed over.
    until: BTreeMap<Partition, Seq>,
}

#[derive(Debug)]
enum Segment {
    /// These positions.
    Positions { keys: Vec<PositionKey>, whatever: bool },
    /// Positions of a partition behind this, in order.
    Behind(Partition, (LocationNo, ItemNo)),
    /// Positions of a place behind this, in order.
    Of(Place, ItemNo),
    /// What entries did.
    Entries { partition: Partition, after: Seq, until: Seq },
}

impl CatchUp {
    /// Everything of `scope` but what `told` covers, and of that what changed since `base`; `again` is
    /// told whatever it says. Of what is recorded behind `now` only the present state may be told.
    pub fn new(
        scope: &Scope,
        now: &BTreeMap<Partition, Stand>,
        told: Progress,
        base: BTreeMap<Partition, Stand>,
        again: Vec<PositionKey>,
    ) -> CatchUp {
        let mut left = VecDeque::new();
        let missed = |partition: &Partition| {
            let (base, now) = (base.get(partition)?.seq, now.get(partition)?.seq);
            (told == Progress::All && now - base <= ENTRIES_MAX).then_some((base, now))
        };
        match scope {
            Scope::Positions(keys) => left.extend(
                keys.chunks(ROWS_MAX)
                    .map(|keys| Segment::Positions { keys: keys.to_vec(), whatever: false }),
            ),
            Scope::Places(places) => {
                left.extend(places.iter().map(|place| Segment::Of(*place, ItemNo(i32::MIN))));
            }
            Scope::All => left.extend(now.keys().map(|&partition| match missed(&partition) {
                Some((after, until)) => Segment::Entries { partition, after, until },
                None => Segment::Behind(partition, (LocationNo(i32::MIN), ItemNo(i32::MIN))),
            })),
        }
        for keys in again.chunks(ROWS_MAX) {
            left.push_back(Segment::Positions { keys: keys.to_vec(), whatever: true });
        }
        CatchUp { told, base, left, until: BTreeMap::new() }
    }

    /// How far the present state was read.
    pub fn told(&self) -> Progress {
        self.told
    }

    /// Whether everything that was read has been handed over, now that the ledger was followed so far.
    pub fn is_over(&self, stands: &BTreeMap<Partition, Stand>) -> bool {
        let reached = |(partition, until): (&Partition, &Seq)| {
            stands.get(partition).is_some_and(|stand| stand.seq >= *until)
        };
        self.left.is_empty() && self.until.iter().all(reached)
    }

    /// The next page; none: that was all. Before the first one nothing may be handed over.
    ///
    /// # Errors
    /// The database is away.
    pub async fn next_page(&mut self, ledger: &Ledger) -> Result<Option<Vec<Balance>>, Fault> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let mut rows = self.all_entries(ledger).await?;
        if rows.is_empty()
            && let Some(segment) = self.left.pop_front()
        {
            rows = self.read(segment, ledger).await?;
        }
        for row in &rows {
            let until = self.until.entry(row.key.place.partition).or_default();
            *until = row.seq.max(*until);
        }
        Ok(Some(rows))
    }

    async fn read(&mut self, segment: Segment, ledger: &Ledger) -> Result<Vec<Balance>, Fault> {
        let page = match segment {
            Segment::Positions { keys, whatever } => {
                let mut rows = present(ledger, &keys).await?;
                if whatever {
                    return Ok(rows);
                }
                rows.retain(|row| self.is_new(row));
                keys.last().into_iter().for_each(|last| self.advance(*last));
                return Ok(rows);
            }
            Segment::Behind(partition, at) => {
                let page = ledger.balances_behind(partition, at, ROWS_MAX as i64).await?;
                if let Some(last) = page.last().filter(|_| page.len() == ROWS_MAX) {
                    let at = (last.key.place.location, last.key.item);
                    self.left.push_front(Segment::Behind(partition, at));
                }
                page
            }
            Segment::Of(place, after) => {
                let page = ledger.balances_of(place, after, ROWS_MAX as i64).await?;
                if let Some(last) = page.last().filter(|_| page.len() == ROWS_MAX) {
                    self.left.push_front(Segment::Of(place, last.key.item));
                }
                page
            }
            Segment::Entries { .. } => Vec::new(),
        };
        let last = page.last().map(|row| row.key);
        let rows = page.into_iter().filter(|row| self.is_new(row)).collect();
        last.into_iter().for_each(|last| self.advance(last));
        Ok(rows)
    }

    /// What entries did, of all partitions at once: what one of them says of a position may be older than
    /// what is handed over meanwhile.
    async fn all_entries(&mut self, ledger: &Ledger) -> Result<Vec<Balance>, Fault> {
        let mut newest: FxHashMap<PositionKey, Balance> = FxHashMap::default();
        while let Some(Segment::Entries { partition, mut after, until }) =
            self.left.pop_front_if(|segment| matches!(segment, Segment::Entries { .. }))
        {
            while after < until {
                let recorded = ledger.recorded(partition, after, ROWS_MAX as i64).await?;
                if !recorded.is_next {
                    // What was missed is archived; what came of it is not.
                    let start = (LocationNo(i32::MIN), ItemNo(i32::MIN));
                    self.left.push_back(Segment::Behind(partition, start));
                    break;
                }
                let mut changes = recorded.changes;
                changes.retain(|change| change.balance.seq <= until);
                let Some(last) = changes.last().map(|change| change.balance.seq) else { break };
                after = last;
                newest.extend(changes.iter().map(|change| (change.balance.key, change.balance)));
            }
        }
        Ok(newest.into_values().collect())
    }

    /// Whether it was not told yet.
    fn is_new(&self, row: &Balance) -> bool {
        let told = match self.told {
            Progress::Nothing => false,
            Progress::UpTo(last) => row.key <= last,
            Progress::All => true,
        };
        let base = self.base.get(&row.key.place.partition);
        !told || base.is_none_or(|base| row.seq > base.seq)
    }

    fn advance(&mut self, to: PositionKey) {
        self.told = match self.told {
            Progress::Nothing => Progress::UpTo(to),
            Progress::UpTo(last) => Progress::UpTo(last.max(to)),
            Progress::All => Progress::All,
        };
    }
}

/// Positions as they are; those that there are none of are empty.
async fn present(ledger: &Ledger, keys: &[PositionKey]) -> Result<Vec<Balance>, Fault> {
    let positions = ledger.positions(keys).await?;
    let rows = keys.iter().map(|&key| {
        let (seq, sellable, reserved) = positions
            .get(&key)
            .map_or((0, 0, 0), |position| (position.seq, position.sellable, position.reserved));
        Balance { key, seq, sellable, reserved }
    });
    Ok(rows.collect())
}
