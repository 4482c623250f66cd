//! The audit: walks the hash chain of every partition along its entries and names the first that is
//! not what was recorded. Works while others write, in short statements; what is written meanwhile
//! is left for the next audit.

pub mod anchor;
mod read;
pub mod walk;

use std::{fmt, path::Path};

pub(super) use self::read::links;
use crate::{
    ledger::{
        Ledger,
        archive::{Slice, file, slices},
        audit::{anchor::Anchor, read::behind, walk::Walk},
        chain::Chain,
        fault::{Defect, Fault, chain},
        rows,
        verify::{Stop, heads, nothing_outside, read::HeadRow},
    },
    stock::ids::{Partition, Seq},
};

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Batches of the chains.
    pub batches: u64,
    /// Entries that were read.
    pub entries: u64,
    /// Entries behind the end of their chain: recorded by servers that keep none.
    pub unlinked: u64,
    /// First and last entry of each gap: recorded before the chain began, or by servers that keep
    /// none.
    pub gaps: Vec<(Seq, Seq)>,
    /// Every epoch, with the first entry that was recorded in it.
    pub epochs: Vec<(i64, Seq)>,
    /// Anchors that fit.
    pub anchors: u64,
    /// Anchors of what an epoch lost that ended after them.
    pub lost: Vec<Lost>,
}

/// An anchor of entries that were lost, with their epoch, in a restore or a fail-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where.
    pub partition: Partition,
    /// The last entry that it vouches for.
    pub seq: Seq,
    /// The epoch that it was exported in.
    pub epoch: i64,
    /// The epoch that was entered without these entries.
    pub until: i64,
}

/// The first thing in a partition that is not what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, if it is in one partition.
    pub partition: Option<Partition>,
    /// The entry, or the last entry of the batch.
    pub seq: Option<Seq>,
    /// Table, key and what differs.
    pub what: String,
}

/// What an audit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audited {
    /// Each partition, ascending, with what was found in it.
    pub partitions: Vec<(Partition, Found)>,
    /// At most one of each partition, and one about all of them.
    pub differences: Vec<Difference>,
}

/// Entries of one page: short statements, however large the ledger is.
const PAGE_ROWS: i64 = 5_000;
/// Links of one page, each with 16 bytes for each of its entries.
const PAGE_LINKS: i64 = 500;

/// Why the audit of a partition ended before its end.
enum Ended {
    Fault(Fault),
    Differs(Difference),
}

impl From<Fault> for Ended {
    fn from(fault: Fault) -> Ended {
        Ended::Fault(fault)
    }
}

impl From<Difference> for Ended {
    fn from(difference: Difference) -> Ended {
        Ended::Differs(difference)
    }
}

impl Difference {
    fn new(partition: Partition, seq: Option<Seq>, what: String) -> Difference {
        Difference { partition: Some(partition), seq, what }
    }

    fn entry(partition: Partition, seq: Seq, what: &str) -> Difference {
        let name = format!("ledger_entry partition={} seq={seq}", partition.0);
        Difference::new(partition, Some(seq), format!("{name}: {what}"))
    }

    fn batch(partition: Partition, seq: Seq, what: &str) -> Difference {
        let name = format!("ledger_batch partition={} last_seq={seq}", partition.0);
        Difference::new(partition, Some(seq), format!("{name}: {what}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Ledger {
    /// Walks every chain, and compares with `anchors`, which must have been exported before this
    /// begins; where entries are archived, from there on, or from the beginning along the files of
    /// `archive`. `progress` is told how many entries were read, now and then.
    ///
    /// # Errors
    /// The database is away, or was not prepared. A difference is no error.
    pub async fn audit(
        &self,
        anchors: &[Anchor],
        archive: Option<&Path>,
        progress: impl Fn(u64),
    ) -> Result<Audited, Fault> {
        let mut audited = Audited::default();
        let heads = match heads(&mut *self.reader().await?).await {
            Ok(heads) => heads,
            Err(stop) => {
                audited.differences.push(elsewhere(stop)?);
                return Ok(audited);
            }
        };
        let unknown =
            |anchor: &&Anchor| !heads.iter().any(|row| row.head.partition.0 == anchor.partition);
        if let Some(anchor) = anchors.iter().find(unknown) {
            let partition = Partition(anchor.partition);
            let name = format!("ledger_head partition={}", anchor.partition);
            let what = format!("{name}: row is missing, and an anchor of {} names it", anchor.time);
            audited.differences.push(Difference::new(partition, None, what));
        }
        let mut done = 0;
        for row in &heads {
            let partition = row.head.partition;
            let before = slices(&mut *self.reader().await?, partition, i64::MAX).await?;
            let archived = before.last().map(Slice::chain).unwrap_or_default();
            let from = if archive.is_some() { Chain::default() } else { archived };
            let mut walk = Walk::new(partition, from, anchors);
            let told = |entries| progress(done + entries);
            let files = archive.map_or(Ok(()), |folder| along(folder, &before, &mut walk));
            let walked = match files {
                Ok(()) => self.audit_partition(row, &mut walk, told).await,
                Err(what) => Err(Difference::new(partition, None, what).into()),
            };
            if self.archived_slices(partition).await?.len() != before.len() {
                return Err(Fault::defect("audit", Defect::ArchivedMeanwhile));
            }
            match walked {
                Ok(()) => {}
                Err(Ended::Differs(difference)) => audited.differences.push(difference),
                Err(Ended::Fault(fault)) => return Err(fault),
            }
            let found = walk.into_found();
            done += found.entries;
            audited.partitions.push((partition, found));
        }
        let known: Vec<_> = heads.into_iter().map(|row| row.head).collect();
        if let Err(stop) = nothing_outside(&mut *self.reader().await?, &known).await {
            audited.differences.push(elsewhere(stop)?);
        }
        Ok(audited)
    }

    async fn audit_partition(
        &self,
        HeadRow { head, chain, .. }: &HeadRow,
        walk: &mut Walk,
        progress: impl Fn(u64),
    ) -> Result<(), Ended> {
        let partition = head.partition;
        while walk.seq() < chain.seq {
            let connection = &mut *self.reader().await?;
            let (after, until) = (walk.seq(), chain.seq);
            let links = read::links(connection, partition, after, until, PAGE_LINKS).await?;
            let Some(until) = links.last().map(|link| link.last) else { break };
            walk.follow(links);
            self.take_until(walk, partition, until, &progress).await?;
        }
        walk.end(*chain, head.epoch)?;
        self.take_until(walk, partition, head.seq, &progress).await?;
        let behind = behind(&mut *self.reader().await?, partition).await?;
        if let Some(seq) = behind.entry {
            return Err(Difference::entry(partition, seq, "the head does not know this row").into());
        }
        if let Some(seq) = behind.batch {
            return Err(Difference::batch(partition, seq, "the head does not know this row").into());
        }
        Ok(())
    }

    async fn take_until(
        &self,
        walk: &mut Walk,
        partition: Partition,
        until: Seq,
        progress: impl Fn(u64),
    ) -> Result<(), Ended> {
        while walk.seq() < until {
            let (after, until) = (walk.seq(), until.min(walk.seq() + PAGE_ROWS));
            let connection = &mut *self.reader().await?;
            let rows = rows::entries_between(connection, partition, after, until).await?;
            for (seq, stored) in &rows {
                let stored = match stored {
                    Ok(stored) => Ok((&stored.entry, stored.checksum)),
                    Err(fault) => Err(fault.source.to_string()),
                };
                walk.take(*seq, stored)?;
            }
            if walk.seq() < until {
                return Err(walk.missing().into());
            }
            progress(rows.len() as u64);
        }
        Ok(())
    }
}

/// Walks along the files of a partition.
fn along(folder: &Path, slices: &[Slice], walk: &mut Walk) -> Result<(), String> {
    let walked = slices.iter().try_for_each(|slice| file::walk_along(folder, slice, walk));
    walked.map_err(|error| chain(&error))
}

/// A difference of no entry.
fn elsewhere(stop: Stop) -> Result<Difference, Fault> {
    match stop {
        Stop::Fault(fault) => Err(fault),
        Stop::Differs(what) => Ok(Difference { partition: None, seq: None, what }),
    }
}
