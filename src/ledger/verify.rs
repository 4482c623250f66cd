//! Verification: everything that can be worked out from the entries is worked out again, by other
//! means than the writer's, and compared with what is stored.
//!
//! It runs beside the writers. What the fold of a partition (`fold`) says is true of the moment at
//! which its head was noted; rows that moved since (`compare`) are looked at again when the fold has
//! caught up, the last of them within one short transaction.

mod across;
mod archived;
mod compare;
mod corrections;
mod fold;
mod promise;
mod quota;
pub(super) mod read;

use std::{collections::HashMap, path::Path};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::{Connection as _, PgConnection};

use crate::{
    ledger::{
        Ledger,
        chain::Chain,
        fault::{Defect, Fault},
        head::Head,
        rows,
        verify::{
            compare::{Suspects, look_again, look_at_all},
            corrections::corrections_fit,
            fold::Fold,
            read::HeadRow,
        },
    },
    stock::{
        ids::{Partition, Seq},
        kind::Kind,
        time::Timestamp,
    },
};

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Partitions.
    pub partitions: u64,
    /// Positions that the entries add up to.
    pub positions: u64,
    /// Entries that were folded.
    pub entries: u64,
    /// Units that may be sold, over all positions.
    pub sellable: i64,
    /// Units in the buildings, over all positions.
    pub on_hand: i64,
    /// Units that were ever promised, over all entries.
    pub promised: i64,
    /// Units of these that were not there, up to the first difference.
    pub oversold: i64,
    /// Positions of which more was taken than there was; only facts do that.
    pub below_zero: u64,
    /// The first difference: table, key of the row, column, what was found and what was expected.
    pub difference: Option<String>,
}

/// Rows of one page: short transactions, however large the ledger is.
const PAGE_ROWS: i64 = 5_000;
/// Partitions that are read at the same time: the database reads one while another is folded.
const PARTITIONS_AT_ONCE: usize = 2;
/// What is left for the last transaction, newer entries and suspect rows together: well under a
/// second.
const LEFT_FOR_LAST: i64 = 10_000;
/// Each round is shorter than the one before, as folding is faster than writing; should it not be,
/// the last transaction gets more to do.
const ROUNDS_MAX: usize = 20;

/// Why the verification ended before its end.
pub(super) enum Stop {
    Fault(Fault),
    Differs(String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl Ledger {
    /// Recomputes the whole ledger from its entries, those that are archived from the files of
    /// `archive`, and compares. Works while others write. `progress` is told how many entries were
    /// folded, now and then.
    ///
    /// # Errors
    /// The database is away, or was not prepared; entries are archived, and it is not said where, or were
    /// archived meanwhile. A difference is no error.
    pub async fn verify(
        &self,
        archive: Option<&Path>,
        progress: impl Fn(u64),
    ) -> Result<Verified, Fault> {
        let slices = archived::count(self).await?;
        let mut folds = Vec::new();
        let difference = match self.verify_all(&mut folds, archive, &progress).await {
            Ok(()) => None,
            Err(Stop::Differs(difference)) => Some(difference),
            Err(Stop::Fault(fault)) => return Err(fault),
        };
        if archived::count(self).await? != slices {
            return Err(Fault::defect("verify", Defect::ArchivedMeanwhile));
        }
        Ok(verified(&folds, difference))
    }

    async fn verify_all(
        &self,
        folds: &mut Vec<Fold>,
        archive: Option<&Path>,
        progress: &impl Fn(u64),
    ) -> Result<(), Stop> {
        let mut heads = bare_heads(&mut *self.reader().await?).await?;
        folds.extend(heads.iter().map(|head| Fold::new(head.partition)));
        let sources = read::sources(&mut *self.reader().await?).await?.into_iter().collect();
        for fold in &mut *folds {
            archived::take(self, fold, archive, &sources).await?;
        }
        self.advance_all(folds, &heads, progress).await?;
        let mut across = across::join(folds)?;
        let mut suspects = Vec::with_capacity(folds.len());
        for fold in &mut *folds {
            suspects.push(look_at_all(self, fold, &across).await?);
        }
        for _ in 0..ROUNDS_MAX {
            let newer: i64 = heads.iter().map(|head| head.seq).sum();
            heads = bare_heads(&mut *self.reader().await?).await?;
            let newer = heads.iter().map(|head| head.seq).sum::<i64>() - newer;
            let suspect: usize = suspects.iter().map(Suspects::len).sum();
            if newer + suspect as i64 <= LEFT_FOR_LAST {
                break;
            }
            self.advance_all(folds, &heads, progress).await?;
            across = across::join(folds)?;
            for (fold, suspects) in folds.iter().zip(&mut suspects) {
                let connection = &mut *self.reader().await?;
                *suspects = look_again(connection, fold, &across, suspects).await?.0;
            }
        }
        for fold in &*folds {
            quota::look_at_all(self, fold.partition).await?;
        }
        self.finish(folds, &suspects, progress).await
    }

    /// Catches up with every head, two partitions at a time.
    async fn advance_all(
        &self,
        folds: &mut [Fold],
        heads: &[Head],
        progress: &impl Fn(u64),
    ) -> Result<(), Stop> {
        let sources = read::sources(&mut *self.reader().await?).await?.into_iter().collect();
        let done: u64 = folds.iter().map(|fold| fold.seq as u64).sum();
        let done = std::cell::Cell::new(done);
        let tell = |entries| {
            done.set(done.get() + entries);
            progress(done.get());
        };
        let parts = folds.iter_mut().zip(heads);
        let parts = parts.map(|(fold, head)| self.advance(fold, head, &sources, &tell));
        stream::iter(parts).buffer_unordered(PARTITIONS_AT_ONCE).try_collect().await
    }

    async fn advance(
        &self,
        fold: &mut Fold,
        head: &Head,
        sources: &HashMap<i32, String>,
        tell: &impl Fn(u64),
    ) -> Result<(), Stop> {
        while fold.seq < head.seq {
            let connection = &mut *self.reader().await?;
            tell(fold_page(connection, fold, head.seq, sources).await?);
        }
        head_fits(fold, head)
    }

    /// What is left, in one snapshot: whatever differs now is a difference.
    async fn finish(
        &self,
        folds: &mut [Fold],
        suspects: &[Suspects],
        progress: &impl Fn(u64),
    ) -> Result<(), Stop> {
        let mut connection = self.reader().await?;
        let mut snapshot = connection
            .begin_with("begin isolation level repeatable read read only")
            .await
            .map_err(Fault::doing("begin to compare"))?;
        let heads = bare_heads(&mut snapshot).await?;
        let sources = read::sources(&mut snapshot).await?.into_iter().collect();
        for (fold, head) in folds.iter_mut().zip(&heads) {
            while fold.seq < head.seq {
                fold_page(&mut snapshot, fold, head.seq, &sources).await?;
            }
            head_fits(fold, head)?;
            if let Some(seq) = read::entry_behind(&mut snapshot, head.partition, head.seq).await? {
                let name = entry_name(head.partition, seq);
                return Err(Stop::Differs(format!("{name}: the head does not know this row")));
            }
        }
        progress(folds.iter().map(|fold| fold.seq as u64).sum());
        let across = across::join(folds)?;
        across::promised(folds)?;
        for (fold, suspects) in folds.iter().zip(suspects) {
            let (_, first) = look_again(&mut snapshot, fold, &across, suspects).await?;
            if let Some(difference) = first {
                return Err(Stop::Differs(difference));
            }
        }
        nothing_outside(&mut snapshot, &heads).await?;
        snapshot.commit().await.map_err(Fault::doing("end to compare"))?;
        Ok(())
    }
}

async fn bare_heads(connection: &mut PgConnection) -> Result<Vec<Head>, Stop> {
    let rows = heads(connection).await?;
    Ok(rows.into_iter().map(|row| row.head).collect())
}

/// The heads, each of which must fit its checksums, unless nothing ever touched it.
pub(super) async fn heads(connection: &mut PgConnection) -> Result<Vec<HeadRow>, Stop> {
    let rows = read::heads(connection).await?;
    if rows.is_empty() {
        return Err(Fault::unprepared().into());
    }
    for HeadRow { head, checksum, chain, chain_checksum } in &rows {
        let untouched = Head {
            partition: head.partition,
            epoch: 0,
            seq: 0,
            recorded_at: Timestamp::Y2000,
            system_identifier: 0,
            timeline: 0,
        };
        if (head, checksum) != (&untouched, &0) {
            let columns = [("checksum", Some(*checksum), Some(head.checksum()))];
            differs(|| head_name(head.partition), &columns)?;
        }
        if (chain, chain_checksum) != (&Chain::default(), &0) {
            let expected = chain.checksum(head.partition);
            let columns = [("chain_checksum", Some(*chain_checksum), Some(expected))];
            differs(|| head_name(head.partition), &columns)?;
        }
    }
    let located = read::located_partitions(connection).await?;
    let dense = (0..).take(rows.len());
    let known = |partition| rows.iter().any(|row| row.head.partition.0 == partition);
    match dense.chain(located).find(|&partition| !known(partition)) {
        Some(lost) => Err(Stop::Differs(format!("{}: row is missing", head_name(Partition(lost))))),
        None => Ok(rows),
    }
}

/// Folds up to a page of entries and returns their number.
async fn fold_page(
    connection: &mut PgConnection,
    fold: &mut Fold,
    until: Seq,
    sources: &HashMap<i32, String>,
) -> Result<u64, Stop> {
    let until = until.min(fold.seq + PAGE_ROWS);
    let rows = rows::entries_between(connection, fold.partition, fold.seq, until).await?;
    let entries = rows.len() as u64;
    let mut corrections = Vec::new();
    for (seq, stored) in rows {
        let unreadable = |fault: Fault| {
            Stop::Differs(format!("{}: {}", entry_name(fold.partition, seq), fault.source))
        };
        let stored = stored.map_err(unreadable)?;
        fold.take(&stored, sources)?;
        if let (Kind::Correct, Some(corrected)) = (stored.entry.kind, stored.entry.refers_to) {
            corrections.push((stored.entry, corrected));
        }
    }
    corrections_fit(connection, fold.partition, &corrections).await?;
    if fold.seq < until {
        let name = entry_name(fold.partition, fold.seq + 1);
        return Err(Stop::Differs(format!("{name}: row is missing")));
    }
    Ok(entries)
}

fn head_fits(fold: &Fold, head: &Head) -> Result<(), Stop> {
    if head.seq == 0 {
        return Ok(());
    }
    let columns = [
        ("seq", Some(head.seq), Some(fold.seq)),
        ("recorded_at", Some(head.recorded_at.0), Some(fold.recorded_at.0)),
    ];
    differs(|| head_name(head.partition), &columns)
}

/// No table has rows in a partition that has no head.
pub(super) async fn nothing_outside(
    connection: &mut PgConnection,
    heads: &[Head],
) -> Result<(), Stop> {
    let mut above = i16::MIN;
    loop {
        let next = read::next_partitions(connection, above).await?;
        let Some(partition) = next.into_iter().flatten().min() else { return Ok(()) };
        if !heads.iter().any(|head| head.partition.0 == partition) {
            let tables = read::TABLES.into_iter().zip(next);
            let found = tables.filter(|(_, next)| *next == Some(partition));
            let tables = found.map(|(table, _)| table).collect::<Vec<_>>().join(", ");
            let text = format!("{tables} partition={partition}: the partition has no head");
            return Err(Stop::Differs(text));
        }
        above = partition;
    }
}

/// The first of (column, found, expected) that differs, as the difference of the named row.
fn differs(
    name: impl Fn() -> String,
    columns: &[(&str, Option<i64>, Option<i64>)],
) -> Result<(), Stop> {
    let Some((column, found, expected)) = columns.iter().find(|column| column.1 != column.2) else {
        return Ok(());
    };
    let [found, expected] = [found, expected].map(|value| value_text(column, *value));
    Err(Stop::Differs(format!("{}: {column} is {found}, expected {expected}", name())))
}

fn value_text(column: &str, value: Option<i64>) -> String {
    let Some(value) = value else { return "null".to_owned() };
    let moment = || jiff::Timestamp::from_microsecond(value).ok();
    match column.ends_with("_at").then(moment).flatten() {
        Some(moment) => moment.to_string(),
        None => value.to_string(),
    }
}

fn text(result: Result<(), Stop>) -> Result<(), String> {
    match result {
        Err(Stop::Differs(text)) => Err(text),
        _ => Ok(()),
    }
}

fn position_name(Partition(partition): Partition, (location, item): (i32, i32)) -> String {
    format!("position partition={partition} location={location} item={item}")
}

fn entry_name(Partition(partition): Partition, seq: Seq) -> String {
    format!("ledger_entry partition={partition} seq={seq}")
}

fn head_name(Partition(partition): Partition) -> String {
    format!("ledger_head partition={partition}")
}

fn verified(folds: &[Fold], difference: Option<String>) -> Verified {
    let sums = || folds.iter().flat_map(|fold| fold.positions.values());
    Verified {
        partitions: folds.len() as u64,
        positions: sums().count() as u64,
        entries: folds.iter().map(|fold| fold.seq as u64).sum(),
        sellable: sums().map(|sums| sums.balances[0]).sum(),
        on_hand: sums().flat_map(|sums| &sums.balances[..3]).sum(),
        promised: folds.iter().map(|fold| fold.promised).sum(),
        oversold: folds.iter().map(|fold| fold.oversold).sum(),
        below_zero: sums().filter(|sums| sums.balances[0] < 0).count() as u64,
        difference,
    }
}
