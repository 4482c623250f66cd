//! The scrubber: walks over positions, buckets and holds for ever, and puts right what differs from the
//! ledger. It should never find anything.

use std::time::Duration;

use crate::{
    availability::{
        Availability, Bucket,
        scrub::{BucketRows, ScanPlace},
    },
    feed::{
        compare::{Difference, DifferenceKind, differences},
        projection::{Fault, row},
    },
    ledger::Ledger,
    stock::ids::{ItemNo, LocationNo, Partition},
    telemetry,
};

/// Buckets, or totals of holds, between two pauses.
const STEPS_MAX: usize = 16;
/// Leaves the databases to others.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two walks.
const REST: Duration = Duration::from_secs(1);
/// Positions of one page.
const PAGE_ROWS: i64 = 1_000;

/// Walks for ever.
pub(super) async fn run(ledger: Ledger, availability: Availability) {
    let mut scrubber = Scrubber { ledger, availability, steps: 0 };
    loop {
        tokio::time::sleep(REST).await;
        if let Err(fault) = scrubber.walk().await {
            tracing::debug!(fault = fault.chain(), "the walk over what is available ended early");
        }
    }
}

/// What a look at a bucket found.
pub(super) struct Looked {
    /// What differs; None: nothing can be said at the moment.
    pub differences: Option<Vec<Difference>>,
    /// Whether there is something in it that is no row, or the index of buckets is wrong about it.
    pub disorder: bool,
    pub found: BucketRows,
}

/// Compares a bucket with the ledger: Redis first.
pub(super) async fn look(
    ledger: &Ledger,
    availability: &Availability,
    bucket: Bucket,
) -> Result<Looked, Fault> {
    let found = availability.bucket(bucket).await?;
    let (first, last) = bucket.items();
    let balances = ledger.balances_between(bucket.place, first, last).await?;
    let rows = balances.iter().map(|balance| (balance.key.item, row(balance))).collect();
    let epoch = ledger.head(bucket.place.partition).await?.map_or(0, |(epoch, _)| epoch);
    let disorder = found.has_strays() || found.indexed == found.rows.is_empty();
    Ok(Looked { differences: differences(&found, epoch, &rows), disorder, found })
}

/// Every bucket that some positions fall into.
pub(super) async fn buckets_of_page(
    ledger: &Ledger,
    partition: Partition,
    from: (LocationNo, ItemNo),
) -> Result<(Vec<Bucket>, Option<(LocationNo, ItemNo)>), Fault> {
    let page = ledger.balances_behind(partition, from, PAGE_ROWS).await?;
    let mut buckets: Vec<_> = page.iter().map(|balance| Bucket::of(balance.key)).collect();
    buckets.dedup();
    // The next page begins behind the last bucket, which was looked at as a whole.
    let next = buckets.last().map(|bucket| (bucket.place.location, bucket.items().1));
    Ok((buckets, next))
}

/// Before every position.
pub(super) const BEGINNING: (LocationNo, ItemNo) = (LocationNo(i32::MIN), ItemNo(i32::MIN));

struct Scrubber {
    ledger: Ledger,
    availability: Availability,
    steps: usize,
}

impl Scrubber {
    async fn walk(&mut self) -> Result<(), Fault> {
        for partition in self.ledger.partitions().await?.to_vec() {
            let mut next = Some(BEGINNING);
            while let Some(from) = next {
                let (buckets, after) = buckets_of_page(&self.ledger, partition, from).await?;
                for bucket in buckets {
                    self.mend(bucket).await?;
                }
                next = after;
            }
            self.walk_buckets(partition).await?;
            self.walk_holds(partition).await?;
        }
        Ok(())
    }

    async fn walk_buckets(&mut self, partition: Partition) -> Result<(), Fault> {
        let mut next = Some(ScanPlace::default());
        while let Some(from) = next {
            let (buckets, after) = self.availability.buckets(partition, &from).await?;
            for bucket in buckets {
                self.mend(bucket).await?;
            }
            next = after;
        }
        Ok(())
    }

    async fn mend(&mut self, bucket: Bucket) -> Result<(), Fault> {
        self.pause().await;
        let looked = look(&self.ledger, &self.availability, bucket).await?;
        let Some(differences) = looked.differences else { return Ok(()) };
        if differences.is_empty() && !looked.disorder {
            return Ok(());
        }
        for Difference { kind, repair } in &differences {
            let (partition, location) = (bucket.place.partition.0, bucket.place.location.0);
            let (item, name) = (repair.item.0, kind.name());
            telemetry::scrubbed(name);
            if *kind == DifferenceKind::Ahead {
                telemetry::redis_ahead();
                tracing::error!(partition, location, item, "a row is ahead of the ledger");
            } else {
                tracing::warn!(partition, location, item, "a row is {name}");
            }
        }
        let repairs: Vec<_> = differences.into_iter().map(|difference| difference.repair).collect();
        self.availability.repair(bucket, &looked.found, &repairs).await?;
        Ok(())
    }

    async fn walk_holds(&mut self, partition: Partition) -> Result<(), Fault> {
        let left = self.availability.leftovers(partition, true).await?;
        let mut wrong = left.lost_tokens + left.dead_claims;
        let mut next = Some(ScanPlace::default());
        while let Some(from) = next {
            let page = self.availability.holds_page(partition, &from, true).await?;
            wrong += page.lost;
            for (total, ticks) in &page.totals {
                self.pause().await;
                wrong += self.availability.recount(total, ticks, true).await?.unwrap_or(0);
            }
            next = page.next;
        }
        let mut next = Some(ScanPlace::default());
        while let Some(from) = next {
            let (totals, after) = self.availability.totals(partition, &from).await?;
            for total in totals {
                self.pause().await;
                wrong += self.availability.recount(&total, &[], true).await?.unwrap_or(0);
            }
            next = after;
        }
        for _ in 0..wrong {
            telemetry::scrubbed("hold");
        }
        if wrong > 0 {
            tracing::warn!(partition = partition.0, wrong, "totals of holds were wrong");
        }
        Ok(())
    }

    async fn pause(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_MAX) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
