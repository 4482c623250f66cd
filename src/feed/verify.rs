//! Whether Redis is what the ledger says: every row, no row too many, and totals of holds that fit the
//! holds. Changes nothing, and runs under traffic.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    availability::{
        Availability, Bucket, Checkpoint,
        scrub::{ScanPlace, Total},
    },
    feed::{
        projection::Fault,
        scrub::{BEGINNING, buckets_of_page, look},
    },
    ledger::Ledger,
    stock::ids::Partition,
};

/// How long the projection may take to reach the head that was noted at the start, and how long what
/// differs is looked at again: traffic and servers that mend may be at it.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Rows that are what the ledger says.
    pub rows: u64,
    /// Live holds.
    pub holds: u64,
    /// The first difference: what, where, and in what way.
    pub difference: Option<String>,
}

/// Why a comparison came to no end.
#[derive(Debug, thiserror::Error)]
pub enum NotCompared {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(crate::ledger::fault::Fault),
    /// Redis could not be read.
    #[error(transparent)]
    Redis(crate::availability::fault::Fault),
}

impl From<Fault> for NotCompared {
    fn from(fault: Fault) -> NotCompared {
        match fault {
            Fault::Ledger(fault) => NotCompared::Ledger(fault),
            Fault::Redis(fault) => NotCompared::Redis(fault),
        }
    }
}

/// Why the comparison ends before its end.
enum Stop {
    Fault(Fault),
    Differs(String),
}

impl<F: Into<Fault>> From<F> for Stop {
    fn from(fault: F) -> Stop {
        Stop::Fault(fault.into())
    }
}

/// Compares all of Redis with the ledger. A projection that is behind, and whatever differs, is given
/// some time.
///
/// # Errors
/// One of them is away. A difference is no error.
pub async fn compare(
    ledger: &Ledger,
    availability: &Availability,
    patience: Duration,
) -> Result<Compared, NotCompared> {
    let compared = Compared::default();
    let mut comparison = Comparison { ledger, availability, patience, compared };
    match comparison.all().await {
        Ok(()) => Ok(comparison.compared),
        Err(Stop::Differs(difference)) => {
            Ok(Compared { difference: Some(difference), ..comparison.compared })
        }
        Err(Stop::Fault(fault)) => Err(fault.into()),
    }
}

struct Comparison<'c> {
    ledger: &'c Ledger,
    availability: &'c Availability,
    patience: Duration,
    compared: Compared,
}

impl Comparison<'_> {
    async fn all(&mut self) -> Result<(), Stop> {
        self.catch_up().await?;
        for &partition in self.ledger.partitions().await? {
            self.rows(partition).await?;
            self.holds(partition).await?;
        }
        Ok(())
    }

    /// Waits until every checkpoint has reached the head that is noted now.
    async fn catch_up(&self) -> Result<(), Stop> {
        let deadline = Instant::now() + self.patience;
        let partitions = self.ledger.partitions().await?;
        let noted = self.ledger.heads().await?.heads;
        loop {
            let states = self.availability.states(partitions).await?;
            let checkpoints = states.iter().map(|state| state.view.checkpoint);
            let late = noted.iter().zip(checkpoints).find(|(head, at)| {
                let noted = Checkpoint { epoch: head.epoch, seq: head.seq };
                at.is_none_or(|at| at < noted)
            });
            let Some((head, at)) = late else { return Ok(()) };
            if Instant::now() > deadline {
                let at =
                    at.map_or("there is no checkpoint".to_owned(), |Checkpoint { epoch, seq }| {
                        format!("the checkpoint stands at seq {seq} of epoch {epoch}")
                    });
                let (partition, epoch, seq) = (head.partition.0, head.epoch, head.seq);
                let differs = format!(
                    "redis partition={partition}: {at}, expected seq {seq} of epoch {epoch} at least"
                );
                return Err(Stop::Differs(differs));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Every position of the ledger, then every bucket that Redis has besides.
    async fn rows(&mut self, partition: Partition) -> Result<(), Stop> {
        let mut seen = BTreeSet::new();
        let mut next = Some(BEGINNING);
        while let Some(from) = next {
            let (buckets, after) = buckets_of_page(self.ledger, partition, from).await?;
            for bucket in buckets {
                self.bucket(bucket).await?;
                seen.insert(bucket);
            }
            next = after;
        }
        let mut next = Some(ScanPlace::default());
        while let Some(from) = next {
            let page = self.availability.buckets(partition, &from).await?;
            for bucket in page.0 {
                if seen.insert(bucket) {
                    self.bucket(bucket).await?;
                }
            }
            next = page.1;
        }
        Ok(())
    }

    async fn bucket(&mut self, bucket: Bucket) -> Result<(), Stop> {
        let deadline = Instant::now() + self.patience;
        loop {
            let looked = look(self.ledger, self.availability, bucket).await?;
            let (partition, location) = (bucket.place.partition.0, bucket.place.location.0);
            let differs = match looked.differences.as_deref() {
                Some([]) if !looked.disorder => {
                    self.compared.rows += looked.found.rows.len() as u64;
                    return Ok(());
                }
                Some([]) => format!(
                    "redis partition={partition} location={location} bucket={}: something in it is \
                     no row, or the index of buckets does not fit",
                    bucket.number
                ),
                Some([first, ..]) => format!(
                    "redis partition={partition} location={location} item={}: the row is {}",
                    first.repair.item.0,
                    first.kind.name()
                ),
                None => format!("redis partition={partition}: the checkpoint is of another epoch"),
            };
            if Instant::now() > deadline {
                return Err(Stop::Differs(differs));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    async fn holds(&mut self, partition: Partition) -> Result<(), Stop> {
        let mut totals: BTreeMap<Total, Vec<i64>> = BTreeMap::new();
        let deadline = Instant::now() + self.patience;
        loop {
            let left = self.availability.leftovers(partition, false).await?;
            if left == Default::default() {
                break;
            }
            if Instant::now() > deadline {
                let text = format!("redis partition={}: left over are {left:?}", partition.0);
                return Err(Stop::Differs(text));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        let mut next = Some(ScanPlace::default());
        while let Some(from) = next {
            let page = self.availability.holds_page(partition, &from, false).await;
            let page = page?;
            if page.lost > 0 {
                let text =
                    format!("redis partition={}: a hold would never be removed", partition.0);
                return Err(Stop::Differs(text));
            }
            self.compared.holds += page.live;
            for (total, ticks) in page.totals {
                totals.entry(total).or_default().extend(ticks);
            }
            next = page.next;
        }
        let mut next = Some(ScanPlace::default());
        while let Some(from) = next {
            let (held, after) = self.availability.totals(partition, &from).await?;
            for total in held {
                totals.entry(total).or_default();
            }
            next = after;
        }
        for (total, mut ticks) in totals {
            ticks.sort_unstable();
            ticks.dedup();
            let wrong = self.availability.recount(&total, &ticks, false).await?;
            if wrong.is_some_and(|wrong| wrong > 0) {
                let text = format!(
                    "redis partition={} {total}: the total of its holds is not their sum",
                    partition.0
                );
                return Err(Stop::Differs(text));
            }
        }
        Ok(())
    }
}
