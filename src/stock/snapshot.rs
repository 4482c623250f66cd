//! A snapshot: a full count of a location, how it compares with the ledger, and what it becomes.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::stock::{
    draft::{Draft, QUANTITY_MAX, UTC_OFFSET_MINUTES_MAX},
    hash::StableHash,
    ids::{is_identifier, is_key, is_sku},
    kind::Kind,
    refusal::Refusal,
    time::Timestamp,
};

/// Rows of one snapshot: more than any shop has, and some 20 MB while it is taken.
pub const ROWS_MAX: usize = 200_000;
/// Variances that are told and kept: those that somebody will look at.
pub const VARIANCES_MAX: usize = 1_000;

/// A full count of a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Who sent it.
    pub source: String,
    /// Its idempotency key.
    pub key: String,
    /// What was counted.
    pub location_id: String,
    /// When.
    pub cutoff: Timestamp,
    /// Offset of local time from UTC then.
    pub utc_offset_minutes: i32,
    /// Item codes and units, ascending by code, each once.
    pub rows: Vec<(String, i64)>,
}

/// What makes a snapshot of this content unfit, before anything is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// An item code is malformed.
    SkuMalformed,
    /// A quantity is out of its bounds.
    QuantityOutOfRange {
        /// The item.
        sku: String,
        /// What was sent.
        quantity: i64,
    },
    /// An item is listed twice.
    Repeated {
        /// The item.
        sku: String,
    },
}

/// How many items may drop to zero without a confirmation. Beyond both bounds it is rather the feed
/// that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropLimits {
    /// This share of the items that have stock, in per cent.
    pub percent: u32,
    /// As many in any case: in a small location a few are a large share.
    pub items: u32,
}

/// How a snapshot compares with the ledger as of its cut-off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// Items that were listed or had stock.
    pub compared: u32,
    /// Of these, counted as the ledger had them.
    pub equal: u32,
    /// Items of which the ledger had more than 0.
    pub with_stock: u32,
    /// Of these, counted as 0 or not listed.
    pub to_zero: u32,
    /// Items that were counted differently, the largest difference first; [`VARIANCES_MAX`] at most.
    pub variances: Vec<Variance>,
}

/// An item whose count differs from the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variance {
    /// The item.
    pub sku: String,
    /// SELLABLE of the ledger.
    pub ledger: i64,
    /// What was counted.
    pub counted: i64,
}

impl Default for DropLimits {
    fn default() -> DropLimits {
        DropLimits { percent: 20, items: 10 }
    }
}

impl Snapshot {
    /// Whether these may be the texts and numbers that all rows share, field by field of the contract.
    pub fn misfit(&self) -> Option<&'static str> {
        let offset = self.utc_offset_minutes.abs_diff(0);
        let fields = [
            ("header.source", is_identifier(&self.source)),
            ("header.key", is_key(&self.key)),
            ("header.location_id", is_identifier(&self.location_id)),
            ("header.cutoff", self.cutoff >= Timestamp::Y2000),
            ("header.utc_offset_minutes", offset <= UTC_OFFSET_MINUTES_MAX.unsigned_abs()),
        ];
        fields.into_iter().find(|(_, fits)| !fits).map(|(field, _)| field)
    }

    /// Takes a row, so that only what is well formed is kept until the last one has come.
    ///
    /// # Errors
    /// It is malformed.
    pub fn take(&mut self, sku: String, quantity: i64) -> Result<(), Flaw> {
        if !is_sku(&sku) {
            return Err(Flaw::SkuMalformed);
        }
        if !(0..=QUANTITY_MAX).contains(&quantity) {
            return Err(Flaw::QuantityOutOfRange { sku, quantity });
        }
        self.rows.push((sku, quantity));
        Ok(())
    }

    /// Puts its rows in order.
    ///
    /// # Errors
    /// One of them is of an item that another one is of.
    pub fn put_in_order(&mut self) -> Result<(), Flaw> {
        self.rows.sort_unstable();
        let same = |pair: &&[(String, i64)]| matches!(pair, [(one, _), (other, _)] if one == other);
        match self.rows.windows(2).find(same) {
            Some([(sku, _), ..]) => Err(Flaw::Repeated { sku: sku.clone() }),
            _ => Ok(()),
        }
    }

    /// Over everything that makes it what it is.
    pub fn fingerprint(&self) -> i64 {
        let mut hash = StableHash::new("snapshot");
        hash.text(&self.location_id);
        hash.number(self.cutoff.0);
        hash.number(i64::from(self.utc_offset_minutes));
        for (sku, quantity) in &self.rows {
            hash.text(sku);
            hash.number(*quantity);
        }
        hash.finish_i64()
    }

    /// Compares it with what the ledger had: codes and units, ascending by code, without zeros.
    pub fn compare(&self, ledger: &[(String, i64)]) -> Comparison {
        let mut comparison = Comparison::default();
        let mut ledger = ledger.iter().peekable();
        for (sku, counted) in &self.rows {
            while let Some((unlisted, units)) = ledger.next_if(|(other, _)| other < sku) {
                comparison.add(unlisted, *units, 0);
            }
            let had = ledger.next_if(|(other, _)| other == sku);
            comparison.add(sku, had.map_or(0, |(_, units)| *units), *counted);
        }
        ledger.for_each(|(unlisted, units)| comparison.add(unlisted, *units, 0));
        let by = |variance: &Variance| Reverse(variance.ledger.abs_diff(variance.counted));
        // Stable: of equal differences the least code comes first.
        comparison.variances.sort_by_key(by);
        comparison.variances.truncate(VARIANCES_MAX);
        comparison.variances.shrink_to_fit();
        comparison
    }

    /// Its rows, and a zero for each item that the ledger had and that is not listed.
    pub fn counts<'s>(&'s self, ledger: &'s [(String, i64)]) -> Vec<(&'s str, i64)> {
        let listed = |sku: &String| self.rows.binary_search_by(|(row, _)| row.cmp(sku)).is_ok();
        let unlisted = ledger.iter().filter(|(sku, _)| !listed(sku));
        let rows = self.rows.iter().map(|(sku, quantity)| (&**sku, *quantity));
        rows.chain(unlisted.map(|(sku, _)| (&**sku, 0))).collect()
    }

    /// The count of one item. Its key is made of the snapshot's and the item, so that a snapshot that is
    /// sent again repeats what it did, row by row.
    pub fn draft(&self, sku: &str, quantity: i64) -> Draft {
        let mut hash = StableHash::new("snapshot row");
        // Also of the location: a source that counts a thousand of them may use one key for all.
        hash.text(&self.location_id);
        hash.text(&self.key);
        hash.text(sku);
        Draft {
            key: format!("snapshot.{:032x}", hash.finish_u128()),
            kind: Kind::Count as i32,
            location_id: self.location_id.clone(),
            sku: sku.to_owned(),
            quantity,
            occurred_at: Some(self.cutoff),
            utc_offset_minutes: self.utc_offset_minutes,
            document: self.key.clone(),
            ..Draft::default()
        }
    }
}

impl Comparison {
    /// Items that were counted differently.
    pub fn different(&self) -> u32 {
        self.compared - self.equal
    }

    /// Whether too many items would drop to zero.
    ///
    /// # Errors
    /// They would.
    pub fn check_drops(&self, limits: DropLimits) -> Result<(), Refusal> {
        let Comparison { to_zero, with_stock, .. } = *self;
        let share = u64::from(to_zero) * 100 > u64::from(limits.percent) * u64::from(with_stock);
        if share && to_zero > limits.items {
            return Err(Refusal::SnapshotDropsTooMuch { to_zero, with_stock });
        }
        Ok(())
    }

    fn add(&mut self, sku: &str, ledger: i64, counted: i64) {
        self.compared += 1;
        self.with_stock += u32::from(ledger > 0);
        self.to_zero += u32::from(ledger > 0 && counted == 0);
        if ledger == counted {
            self.equal += 1;
        } else {
            self.variances.push(Variance { sku: sku.to_owned(), ledger, counted });
        }
    }
}
