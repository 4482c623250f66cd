//! Snapshots: compared with the ledger, known again by their key, and turned into counts.

use crate::{
    ledger::{archive::PastError, snapshot::KnownSnapshot},
    stock::{
        draft::Draft,
        hash::Digest,
        ids::Place,
        refusal::Refusal,
        snapshot::{Comparison, DropLimits, ROWS_MAX, Snapshot},
    },
    writer::{Writer, request::Denial},
};

/// How a snapshot is to be taken.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// How many items may drop to zero; `None`: any number.
    pub limits: Option<DropLimits>,
    /// Only compare it.
    pub dry_run: bool,
}

/// A snapshot that was compared.
#[derive(Debug)]
pub struct Compared {
    /// How it compares with the ledger or, where it came before, how it did.
    pub comparison: Comparison,
    /// The counts that it consists of; none where it is only compared. In this order.
    pub counts: Vec<Draft>,
}

impl Writer {
    /// Compares a snapshot whose rows are in order. What it consists of is to be recorded as reports of
    /// its source; where that is cut short, the same snapshot sent again records the rest.
    ///
    /// # Errors
    /// It is refused, or nothing can be said. Then nothing of it is to be recorded.
    pub async fn compare(&self, snapshot: &Snapshot, manner: Manner) -> Result<Compared, Denial> {
        let ledger = &self.stores.ledger;
        let place = self.location(&snapshot.location_id).await?.place;
        let key = Digest::of_snapshot(&snapshot.source, &snapshot.key);
        let fingerprint = snapshot.fingerprint();
        let first = self.first_told(place, key, fingerprint).await?;
        let there = match ledger.stock_as_of(place, snapshot.cutoff, ROWS_MAX as i64 + 1).await {
            // What was not recorded of it before it was archived is not recorded any more.
            Err(PastError::Archived { .. }) if first.is_some() && !manner.dry_run => {
                let counts = Vec::new();
                return Ok(Compared { comparison: first.unwrap_or_default(), counts });
            }
            there => there?,
        };
        if there.len() > ROWS_MAX {
            return Err(Refusal::SnapshotTooLarge.into());
        }
        let counts = || {
            let counts = snapshot.counts(&there).into_iter();
            counts.map(|(sku, quantity)| snapshot.draft(sku, quantity)).collect()
        };
        if let Some(comparison) = first.filter(|_| !manner.dry_run) {
            return Ok(Compared { comparison, counts: counts() });
        }
        let comparison = snapshot.compare(&there);
        if manner.dry_run {
            return Ok(Compared { comparison, counts: Vec::new() });
        }
        if let Some(limits) = manner.limits {
            comparison.check_drops(limits)?;
        }
        let known = KnownSnapshot { fingerprint, comparison };
        let first = match ledger.keep_snapshot(place, key, &known).await? {
            true => None,
            false => self.first_told(place, key, fingerprint).await?,
        };
        Ok(Compared { comparison: first.unwrap_or(known.comparison), counts: counts() })
    }

    /// What was told of a snapshot that came before.
    async fn first_told(
        &self,
        place: Place,
        key: Digest,
        fingerprint: i64,
    ) -> Result<Option<Comparison>, Denial> {
        let first = self.stores.ledger.snapshot(place, key).await?;
        match first {
            Some(first) if first.fingerprint != fingerprint => {
                Err(Refusal::KeyReused { field: "snapshot" }.into())
            }
            first => Ok(first.map(|first| first.comparison)),
        }
    }
}
