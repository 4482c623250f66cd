//! Figures: what entries add up to, by channel and location. Defined in `docs/figures.md`.
//!
//! Everything here is a sum or a set of times, so that the figures of two periods that follow each
//! other add up to those of both.

mod fold;
mod say;

use std::collections::BTreeMap;

pub use self::{
    fold::{Fold, Past, Period},
    say::{Said, is_short_pick, said},
};
use crate::stock::{
    ids::{ChannelNo, LocationNo, SourceNo},
    reservation::{CancelledBy, State},
    time::{Micros, Timestamp},
};

/// Different causes that are told apart in one row; what comes after them is [`OTHER`].
pub const CAUSES_MAX: usize = 20;
/// Stands for causes that are not told apart.
pub const OTHER: &str = "other";

/// What a report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Of reservations.
    pub reservations: BTreeMap<Group, ReservationFigures>,
    /// Of stock, by location; `None`: of all.
    pub stock: BTreeMap<Option<LocationNo>, StockFigures>,
    /// Of those who send movements.
    pub sources: BTreeMap<SourceNo, SourceFigures>,
}

/// Of what a row is. Dimensions that are not grouped by are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The channel; `None` also for what was asked for through none.
    pub channel: Option<ChannelNo>,
    /// The location.
    pub location: Option<LocationNo>,
}

/// By what rows are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// One row a channel.
    pub channel: bool,
    /// One row a location.
    pub location: bool,
}

/// What became of reservations, each step counted in the period in which it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReservationFigures {
    /// Were made.
    pub made: u64,
    /// Came from another location.
    pub moved_in: u64,
    /// Became READY.
    pub ready: u64,
    /// Were handed over, the last unit of them.
    pub collected: u64,
    /// Times that something was handed over and something was left.
    pub collected_in_part: u64,
    /// Were given up.
    pub cancelled: u64,
    /// Were not accepted by the store.
    pub rejected: u64,
    /// Were not collected in time.
    pub expired: u64,
    /// Went to another location.
    pub moved: u64,
    /// Lines of which fewer units were found than were promised.
    pub short_picked_lines: u64,
    /// Units that were promised and not found.
    pub short_picked_units: i64,
    /// Promises that were not kept, by no fault of the customer: see [`Said::broken`].
    pub broken: u64,
    /// Requests that were refused for lack of stock; not from the ledger.
    pub refusals: u64,
    /// Lines of these that were short; not from the ledger.
    pub refused_lines: u64,
    /// From being made until READY.
    pub time_to_ready: Times,
    /// From READY until the last unit was handed over.
    pub time_to_collect: Times,
    /// How many were cancelled, rejected or moved, or expired, by cause.
    pub causes: Causes,
}

/// What became of stock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StockFigures {
    /// Counts.
    pub counts: u64,
    /// Counts that found more or less than the ledger said.
    pub counts_that_differed: u64,
    /// Units that variances took from SELLABLE.
    pub units_lost: i64,
    /// Units that variances added to SELLABLE.
    pub units_found: i64,
    /// Time in which nothing could be promised, over all positions.
    pub out_of_stock: Micros,
}

/// How long movements of a source took to arrive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFigures {
    /// From happening to being recorded.
    pub lags: Times,
    /// When the last one was recorded, and how long it had taken.
    pub newest: Option<(Timestamp, Micros)>,
}

/// Spans of time, of which quantiles are exact.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Micros>);

/// How reservations ended, and how many each way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(BTreeMap<Cause, u64>);

/// How a reservation ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    /// The state that it ended in.
    pub state: State,
    /// Who gave it up, where it was cancelled.
    pub by: Option<CancelledBy>,
    /// Why, in the words of who ended it; empty: nobody said.
    pub reason: String,
}

impl Figures {
    /// Adds those of a period that follows, or of other partitions.
    pub fn add(&mut self, other: Figures) {
        for (group, figures) in other.reservations {
            self.reservations.entry(group).or_default().add(figures);
        }
        for (location, figures) in other.stock {
            self.stock.entry(location).or_default().add(&figures);
        }
        for (source, figures) in other.sources {
            let own = self.sources.entry(source).or_default();
            own.lags.0.extend(figures.lags.0);
            figures.newest.into_iter().for_each(|newest| own.told(newest));
        }
    }
}

impl Grouping {
    /// The row of a channel and a location.
    pub fn group(self, channel: Option<ChannelNo>, location: LocationNo) -> Group {
        Group { channel: channel.filter(|_| self.channel), location: self.place(location) }
    }

    /// The row of a location.
    pub fn place(self, location: LocationNo) -> Option<LocationNo> {
        self.location.then_some(location)
    }
}

impl ReservationFigures {
    fn add(&mut self, other: ReservationFigures) {
        self.made += other.made;
        self.moved_in += other.moved_in;
        self.ready += other.ready;
        self.collected += other.collected;
        self.collected_in_part += other.collected_in_part;
        self.cancelled += other.cancelled;
        self.rejected += other.rejected;
        self.expired += other.expired;
        self.moved += other.moved;
        self.short_picked_lines += other.short_picked_lines;
        self.short_picked_units += other.short_picked_units;
        self.broken += other.broken;
        self.refusals += other.refusals;
        self.refused_lines += other.refused_lines;
        self.time_to_ready.0.extend(other.time_to_ready.0);
        self.time_to_collect.0.extend(other.time_to_collect.0);
        for (cause, times) in other.causes.0 {
            self.causes.count(cause, times);
        }
    }
}

impl SourceFigures {
    /// The last of those that were recorded at the same moment is the newest.
    fn told(&mut self, (at, lag): (Timestamp, Micros)) {
        if self.newest.is_none_or(|(newest, _)| newest <= at) {
            self.newest = Some((at, lag));
        }
    }
}

impl StockFigures {
    /// Units that counts found missing, less those that they found.
    pub fn shrinkage(&self) -> i64 {
        self.units_lost - self.units_found
    }

    fn add(&mut self, other: &StockFigures) {
        self.counts += other.counts;
        self.counts_that_differed += other.counts_that_differed;
        self.units_lost += other.units_lost;
        self.units_found += other.units_found;
        self.out_of_stock += other.out_of_stock;
    }
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest that so many per cent of them do not exceed; `None`: there are none.
    pub fn quantile(&mut self, percent: usize) -> Option<Micros> {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// Their mean, rounded towards zero; `None`: there are none.
    pub fn mean(&self) -> Option<Micros> {
        let sum: i128 = self.0.iter().map(|time| i128::from(*time)).sum();
        let count = i128::try_from(self.0.len()).ok().filter(|count| *count > 0)?;
        i64::try_from(sum / count).ok()
    }

    fn push(&mut self, time: Micros) {
        self.0.push(time);
    }
}

/// The same times in any order.
impl PartialEq for Times {
    fn eq(&self, other: &Times) -> bool {
        let sorted = |times: &Times| {
            let mut times = times.0.clone();
            times.sort_unstable();
            times
        };
        sorted(self) == sorted(other)
    }
}

impl Eq for Times {}

impl FromIterator<Micros> for Times {
    fn from_iter<T: IntoIterator<Item = Micros>>(times: T) -> Times {
        Times(times.into_iter().collect())
    }
}

impl Causes {
    /// Each with how many ended so.
    pub fn iter(&self) -> impl Iterator<Item = (&Cause, u64)> {
        self.0.iter().map(|(cause, times)| (cause, *times))
    }

    fn count(&mut self, mut cause: Cause, times: u64) {
        if self.0.len() >= CAUSES_MAX && !self.0.contains_key(&cause) {
            cause.reason = OTHER.to_owned();
        }
        *self.0.entry(cause).or_default() += times;
    }
}
