//! Reads of what may still be promised: from Redis as long as it can say it, else from PostgreSQL, and
//! the answer says so.

pub mod nearest;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::{
    ambient,
    availability::{
        Availability,
        read::{Reading, View},
    },
    ledger::{Ledger, fault::Fault},
    stock::{
        channel_policy::{Policy, Shown},
        hold::HoldId,
        ids::{ChannelNo, Partition, PositionKey, Seq},
        position::Position,
        quota::Fences,
        time::{Micros, Timestamp},
    },
};

/// Positions that are read in one statement.
const KEYS_MAX: usize = 1_000;

/// Reads over both stores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reads {
    ledger: Ledger,
    availability: Availability,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// Which positions.
    pub keys: &'q [PositionKey],
    /// Who asks: the quotas of other channels are kept from it; none: those of all.
    pub channel: Option<ChannelNo>,
    /// A hold that does not count.
    pub own: Option<HoldId>,
    /// What the caller has seen: an epoch, and the least sequence number of each partition.
    pub seen: Option<(i64, &'q BTreeMap<Partition, Seq>)>,
    /// How old the answer may be.
    pub age_us_max: Micros,
}

/// What is there, in the order of the question.
#[derive(Debug)]
pub struct Answer {
    /// One for each position.
    pub stock: Vec<Stock>,
    /// Everything that was committed up to this moment is seen.
    pub as_of: Timestamp,
    /// It is older than asked for, or live holds could not be seen.
    pub degraded: bool,
}

/// What is there of one position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// May be sold.
    pub sellable: i64,
    /// Promised by firm reservations.
    pub reserved: i64,
    /// Promised by live holds.
    pub held: i64,
    /// What quotas do to the channel that asks.
    pub fences: Fences,
    /// The entry that this rests on; 0: the ledger never heard of it.
    pub seq: Seq,
}

impl Stock {
    /// What may still be promised of it through a channel, `own` units of its owner's not counting.
    pub fn available(&self, key: PositionKey, own: i64, policy: &Policy) -> i64 {
        // What is its owner's may be younger than the row.
        let own = own.min(self.reserved);
        let free = policy.available(key, self.sellable, self.reserved - own, self.held);
        self.fences.leave(free, own)
    }

    /// What the channel is told of it.
    pub fn shown(&self, key: PositionKey, own: i64, policy: &Policy) -> Shown {
        policy.shown(self.available(key, own, policy))
    }
}

impl Reads {
    /// Reads over these stores.
    pub fn new(ledger: Ledger, availability: Availability) -> Reads {
        Reads { ledger, availability }
    }

    /// The reservation layer.
    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    /// Reads positions, in one round trip as long as Redis can say all of it: those with quotas the
    /// ledger is asked about.
    ///
    /// # Errors
    /// Neither store can say anything.
    pub async fn stock(&self, question: Question<'_>) -> Result<Answer, Fault> {
        let mut answer = self.without_quotas(question).await?;
        for keys in self.with_quotas(question.keys.iter()).chunks(KEYS_MAX) {
            let Ok(book) = self.ledger.positions_with_quotas(keys).await else {
                answer.degraded = true;
                break;
            };
            for (key, stock) in question.keys.iter().zip(&mut answer.stock) {
                let Some(quotas) = book.quotas.get(key) else { continue };
                let fences = Fences::of(question.channel, quotas, book.now);
                *stock = Stock { fences, ..Stock::of(book.positions.get(key), stock.held) };
            }
        }
        Ok(answer)
    }

    /// Says of rows that were followed what quotas do to a channel now: as they changed with the rows, or
    /// a moment later, when another row is on its way.
    ///
    /// # Errors
    /// The database is away.
    pub async fn fence(
        &self,
        channel: Option<ChannelNo>,
        rows: &mut [(PositionKey, Stock)],
    ) -> Result<(), Fault> {
        for keys in self.with_quotas(rows.iter().map(|(key, _)| key)).chunks(KEYS_MAX) {
            let book = self.ledger.positions_with_quotas(keys).await?;
            for (key, stock) in &mut *rows {
                if let Some(quotas) = book.quotas.get(key) {
                    stock.fences = Fences::of(channel, quotas, book.now);
                }
            }
        }
        Ok(())
    }

    /// Those of some positions that have quotas, as far as this server knows.
    fn with_quotas<'k>(&self, keys: impl Iterator<Item = &'k PositionKey>) -> Vec<PositionKey> {
        let known = self.ledger.directory().known();
        keys.copied().filter(|key| known.has_quotas(*key)).collect()
    }

    async fn without_quotas(&self, question: Question<'_>) -> Result<Answer, Fault> {
        let now = ambient::now();
        let Ok(reading) = self.availability.read(question.keys, question.own).await else {
            let positions = self.positions(question.keys.iter().copied()).await?;
            let stock = question.keys.iter().map(|key| Stock::of(positions.get(key), 0));
            return Ok(Answer { stock: stock.collect(), as_of: now, degraded: true });
        };
        let trusted = |partition| {
            let view = reading.views.get(&partition);
            view.is_some_and(|view| question.is_met_by(partition, view))
        };
        let doubted = question.keys.iter().copied().filter(|key| !trusted(key.place.partition));
        let doubted: Vec<_> = doubted.collect();
        let mut answer = Answer { stock: Vec::new(), as_of: now, degraded: false };
        let mut positions = FxHashMap::default();
        if !doubted.is_empty() {
            answer.degraded = question.is_of_a_dead_epoch(&reading);
            match self.positions(doubted.into_iter()).await {
                Ok(read) => positions = read,
                Err(fault) if !reading.is_known() => return Err(fault),
                Err(_) => answer.degraded = true,
            }
        }
        answer.stock.reserve_exact(question.keys.len());
        for (key, projected) in question.keys.iter().zip(&reading.positions) {
            answer.stock.push(match positions.get(key) {
                Some(position) => Stock::of(Some(position), projected.held),
                None => projected.row.map_or_else(Stock::default, |row| Stock {
                    sellable: row.sellable,
                    reserved: row.reserved,
                    held: projected.held,
                    fences: Fences::default(),
                    seq: row.seq,
                }),
            });
        }
        let read_there = |partition| positions.keys().any(|key| key.place.partition == partition);
        let from_redis = reading.views.iter().filter(|(partition, _)| !read_there(**partition));
        let age_us = from_redis.map(|(_, view)| view.age_us).max().unwrap_or(0);
        answer.as_of = Timestamp(now.0.saturating_sub(age_us));
        Ok(answer)
    }

    /// Units of live holds, as far as they can be seen.
    pub async fn held(&self, keys: &[PositionKey]) -> FxHashMap<PositionKey, i64> {
        let Ok(reading) = self.availability.read(keys, None).await else {
            return FxHashMap::default();
        };
        let held = reading.positions.iter().map(|projected| projected.held);
        keys.iter().copied().zip(held).collect()
    }

    async fn positions(
        &self,
        keys: impl Iterator<Item = PositionKey>,
    ) -> Result<FxHashMap<PositionKey, Position>, Fault> {
        let keys: Vec<_> = keys.collect();
        let mut positions = FxHashMap::default();
        for keys in keys.chunks(KEYS_MAX) {
            positions.extend(self.ledger.positions(keys).await?);
        }
        Ok(positions)
    }
}

impl Question<'_> {
    /// Whether what Redis says of a partition is good enough.
    fn is_met_by(&self, partition: Partition, view: &View) -> bool {
        let Some(checkpoint) = view.checkpoint else { return false };
        let seen = self.seen.is_none_or(|(epoch, seqs)| {
            let seq = seqs.get(&partition).copied().unwrap_or(0);
            epoch == checkpoint.epoch && seq <= checkpoint.seq
        });
        seen && !view.doubtful && view.age_us <= self.age_us_max
    }

    /// Whether the caller has seen what a fail-over may have lost.
    fn is_of_a_dead_epoch(&self, reading: &Reading) -> bool {
        let Some((epoch, _)) = self.seen else { return false };
        let mut checkpoints = reading.views.values().filter_map(|view| view.checkpoint);
        checkpoints.any(|checkpoint| epoch < checkpoint.epoch)
    }
}

impl Stock {
    fn of(position: Option<&Position>, held: i64) -> Stock {
        position.map_or_else(Stock::default, |position| Stock {
            sellable: position.sellable,
            reserved: position.reserved,
            held,
            fences: Fences::default(),
            seq: position.seq,
        })
    }
}

impl Reading {
    /// Whether it says anything of every partition that was asked.
    fn is_known(&self) -> bool {
        self.views.values().all(|view| view.checkpoint.is_some())
    }
}
