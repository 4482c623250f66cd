//! What differs between a bucket of Redis and the ledger. Pure.
//!
//! The bucket is read in one step together with its checkpoint, and the ledger after it. So nothing has
//! to be looked at twice: up to the checkpoint everything must be there, and nothing may be there that
//! the ledger, read later, does not know.

use std::collections::BTreeMap;

use crate::{
    availability::{
        Row,
        scrub::{BucketRows, Repair},
    },
    stock::ids::ItemNo,
};

/// A row that differs.
#[derive(Clone, Debug)]
pub struct Difference {
    /// In what way.
    pub kind: DifferenceKind,
    /// What puts it right, if it is still there.
    pub repair: Repair,
}

/// In what way a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It is not there.
    Missing,
    /// It is older than the checkpoint allows.
    Stale,
    /// It says something else of the same version.
    Wrong,
    /// It is newer than the ledger: one of them is wrong.
    Ahead,
    /// The ledger has no such position.
    Stray,
    /// It cannot be read.
    Unreadable,
}

impl DifferenceKind {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            DifferenceKind::Missing => "missing",
            DifferenceKind::Stale => "stale",
            DifferenceKind::Wrong => "wrong",
            DifferenceKind::Ahead => "ahead",
            DifferenceKind::Stray => "stray",
            DifferenceKind::Unreadable => "unreadable",
        }
    }
}

/// Every row of a bucket that differs from the ledger, which has these positions in it. None: nothing
/// can be said, because the checkpoint is not of the ledger's epoch.
pub fn differences(
    found: &BucketRows,
    epoch: i64,
    ledger: &BTreeMap<ItemNo, Row>,
) -> Option<Vec<Difference>> {
    let at = found.checkpoint.filter(|at| at.epoch == epoch)?;
    let mut differences = Vec::new();
    for item in found.rows.keys().chain(ledger.keys().filter(|item| !found.rows.contains_key(item)))
    {
        let (stored, row) = (found.rows.get(item), ledger.get(item).copied());
        let due = row.filter(|row| row.seq <= at.seq);
        let kind = match (stored, stored.and_then(|stored| stored.row)) {
            (None, _) => due.map(|_| DifferenceKind::Missing),
            (Some(_), None) => Some(DifferenceKind::Unreadable),
            (Some(_), Some((there, _))) if there > epoch => Some(DifferenceKind::Ahead),
            (Some(_), Some((there, _))) if there < epoch => match row {
                // It counts as if it were not there.
                Some(_) => due.map(|_| DifferenceKind::Missing),
                None => Some(DifferenceKind::Stray),
            },
            (Some(_), Some((_, there))) => match row {
                None => Some(DifferenceKind::Stray),
                Some(row) if there.seq > row.seq => Some(DifferenceKind::Ahead),
                Some(row) if there.seq < row.seq => due.map(|_| DifferenceKind::Stale),
                Some(row) => (there != row).then_some(DifferenceKind::Wrong),
            },
        };
        if let Some(kind) = kind {
            let row = row.map(|row| (epoch, row));
            let repair = Repair { item: *item, found: stored.cloned(), row };
            differences.push(Difference { kind, repair });
        }
    }
    Some(differences)
}
