//! Entries of a period, in the order of their logs, as figures.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Cause, Figures, Grouping, ReservationFigures, Said, StockFigures, is_short_pick, said,
};
use crate::stock::{
    entry::{Entry, Flags},
    ids::{ChannelNo, EntryRef, LocationNo, PositionKey},
    kind::{Kind, StockState},
    reservation::{CancelledBy, ReservationId, State},
    time::{Micros, Timestamp},
};

/// The time that a report is about, by when the ledger recorded things: from the first moment on, and
/// before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment of it.
    pub from: Timestamp,
    /// The first moment behind it.
    pub until: Timestamp,
}

/// What must be known of a reservation besides the entries of the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// The entry that made it.
    pub at: EntryRef,
    /// Through which channel it was made.
    pub channel: Option<ChannelNo>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it became READY, if that was before the period.
    pub ready_at: Option<Timestamp>,
    /// Who gave it up, if anybody ever did.
    pub cancelled_by: Option<CancelledBy>,
}

/// Takes entries and says what they add up to. Its memory is bounded by what the period touches.
#[derive(Debug)]
pub struct Fold {
    period: Period,
    grouping: Grouping,
    channels: Option<FxHashSet<ChannelNo>>,
    locations: Option<FxHashSet<LocationNo>>,
    promises: FxHashMap<EntryRef, Past>,
    positions: FxHashMap<PositionKey, Touched>,
    /// The reservation that is stepped, and whether this step was counted as a broken promise.
    step: Option<(EntryRef, bool)>,
    /// The last count. The variance that it makes necessary follows at once.
    counted: Option<EntryRef>,
    figures: Figures,
}

/// A position with entries in the period.
#[derive(Debug)]
struct Touched {
    first_at: Timestamp,
    /// Since when nothing can be promised.
    out_since: Option<Timestamp>,
}

impl Fold {
    /// Of a period, so far without entries. Channels and locations, where they are given, are those
    /// that count; channels say nothing about stock and sources.
    pub fn new(
        period: Period,
        grouping: Grouping,
        channels: Option<FxHashSet<ChannelNo>>,
        locations: Option<FxHashSet<LocationNo>>,
    ) -> Fold {
        Fold {
            period,
            grouping,
            channels,
            locations,
            promises: FxHashMap::default(),
            positions: FxHashMap::default(),
            step: None,
            counted: None,
            figures: Figures::default(),
        }
    }

    /// Reservations of which more must be [learned](Fold::learn) before these entries are taken: those
    /// made before the period, and those that somebody gave up.
    pub fn unknown(&self, entries: &[Entry<'_>]) -> Vec<EntryRef> {
        let (mut unknown, mut made) = (Vec::new(), FxHashSet::default());
        for entry in entries.iter().filter(|entry| self.counts_at(entry.location)) {
            let Some((id, said)) = said(entry) else { continue };
            let at = id.at();
            let begins = matches!(said, Said::Made | Said::MovedIn);
            let given_up = said == Said::Ended(State::Cancelled);
            if begins {
                made.insert(at);
            } else if given_up || !(self.promises.contains_key(&at) || made.contains(&at)) {
                unknown.push(at);
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    /// Takes note of what was asked for by [`Fold::unknown`]. What is not learned is a hold: its end looks
    /// like that of a reservation, and does not count.
    pub fn learn(&mut self, past: Past) {
        let known = self.promises.entry(past.at).or_insert(past);
        known.cancelled_by = past.cancelled_by;
    }

    /// The next entry. Those of a partition come in its order.
    pub fn take(&mut self, entry: &Entry<'_>) {
        if !self.counts_at(entry.location) {
            return;
        }
        self.take_position(entry);
        self.take_source(entry);
        self.take_count(entry);
        if let Some((id, said)) = said(entry) {
            self.take_step(entry, id.at(), said);
        }
        if is_short_pick(entry) {
            self.take_short_pick(entry);
        }
    }

    /// Nothing of this position could be promised when the period began. Told once of each, after all
    /// entries were taken.
    pub fn was_out(&mut self, key: PositionKey) {
        if !self.counts_at(key.place.location) {
            return;
        }
        let until = match self.positions.get(&key) {
            Some(touched) => touched.first_at,
            None => self.period.until,
        };
        self.out_of_stock(key.place.location, self.period.from, until);
    }

    /// Requests that were refused for lack of stock.
    pub fn refused(
        &mut self,
        channel: Option<ChannelNo>,
        location: LocationNo,
        (refusals, lines): (u64, u64),
    ) {
        if self.counts_at(location)
            && let Some(figures) = self.of(channel, location)
        {
            figures.refusals += refusals;
            figures.refused_lines += lines;
        }
    }

    /// What it all adds up to.
    pub fn finish(mut self) -> Figures {
        for (key, touched) in std::mem::take(&mut self.positions) {
            if let Some(since) = touched.out_since {
                self.out_of_stock(key.place.location, since, self.period.until);
            }
        }
        self.figures
    }

    fn take_step(&mut self, entry: &Entry<'_>, at: EntryRef, said: Said) {
        self.step = Some((at, false));
        if matches!(said, Said::Made | Said::MovedIn) {
            let (channel, made_at) = (entry.channel, entry.recorded_at);
            let made = Past { at, channel, made_at, ready_at: None, cancelled_by: None };
            self.promises.entry(at).or_insert(made);
        }
        let Some(promise) = self.promises.get_mut(&at) else { return };
        let Past { channel, made_at, ready_at, cancelled_by, .. } = *promise;
        if said == Said::Ready && ready_at.is_none() {
            promise.ready_at = Some(entry.recorded_at);
        }
        if said == Said::Stepped || said == Said::Ready && ready_at.is_some() {
            return;
        }
        let Some(figures) = self.of(channel, entry.location) else { return };
        match said {
            Said::Made => figures.made += 1,
            Said::MovedIn => figures.moved_in += 1,
            Said::Ready => {
                figures.ready += 1;
                figures.time_to_ready.push(entry.recorded_at.0 - made_at.0);
            }
            Said::Collected => {
                figures.collected += 1;
                let waited = ready_at.map(|ready_at| entry.recorded_at.0 - ready_at.0);
                waited.into_iter().for_each(|waited| figures.time_to_collect.push(waited));
            }
            Said::CollectedInPart => figures.collected_in_part += 1,
            Said::Ended(state) => {
                match state {
                    State::Cancelled => figures.cancelled += 1,
                    State::Rejected => figures.rejected += 1,
                    State::Expired => figures.expired += 1,
                    _ => figures.moved += 1,
                }
                let by = cancelled_by.filter(|_| state == State::Cancelled);
                let reason = entry.reason.clone().into_owned();
                figures.causes.count(Cause { state, by, reason }, 1);
            }
            Said::Stepped => {}
        }
        let by_store = cancelled_by == Some(CancelledBy::Store);
        if said.broken(by_store, ready_at.is_some(), &entry.reason) {
            figures.broken += 1;
            self.step = Some((at, true));
        }
    }

    fn take_short_pick(&mut self, entry: &Entry<'_>) {
        // One step breaks a promise once, however many of its lines are short.
        let id = entry.reservation_id.parse::<ReservationId>().map(|id| id.at()).ok();
        let counted = self.step.is_some_and(|(at, counted)| Some(at) == id && counted);
        self.step = id.map(|at| (at, true));
        // Its entries carry the channel of the reservation, whoever took the step.
        let Some(figures) = self.of(entry.channel, entry.location) else { return };
        figures.short_picked_lines += 1;
        figures.short_picked_units += entry.quantity;
        figures.broken += u64::from(!counted);
    }

    fn take_position(&mut self, entry: &Entry<'_>) {
        let now = entry.recorded_at;
        let key = entry.position();
        let first = || Touched { first_at: now, out_since: None };
        let touched = self.positions.entry(key).or_insert_with(first);
        if entry.sellable_after <= entry.reserved_after {
            touched.out_since.get_or_insert(now);
        } else if let Some(since) = touched.out_since.take() {
            self.out_of_stock(key.place.location, since, now);
        }
    }

    fn take_source(&mut self, entry: &Entry<'_>) {
        let of_itself = !entry.flags.has(Flags::SECONDARY) && !entry.flags.has(Flags::REQUEST);
        if of_itself && entry.kind.is_movement() {
            let figures = self.figures.sources.entry(entry.source).or_default();
            let lag: Micros = entry.recorded_at.0 - entry.occurred_at.0;
            figures.lags.push(lag);
            figures.told((entry.recorded_at, lag));
        }
    }

    fn take_count(&mut self, entry: &Entry<'_>) {
        match entry.kind {
            Kind::Count => {
                self.stock(entry.location).counts += 1;
                self.counted = Some(entry.at());
            }
            Kind::CountVariance => {
                // Late facts make others necessary, which name the same count.
                let before = EntryRef { seq: entry.seq - 1, ..entry.at() };
                let own = self.counted == Some(before) && entry.refers_to == Some(before.seq);
                let change = entry.leg(StockState::Sellable);
                let figures = self.stock(entry.location);
                figures.units_lost += (-change).max(0);
                figures.units_found += change.max(0);
                figures.counts_that_differed += u64::from(own);
            }
            _ => {}
        }
    }

    fn out_of_stock(&mut self, location: LocationNo, since: Timestamp, until: Timestamp) {
        if since < until {
            self.stock(location).out_of_stock += until.0 - since.0;
        }
    }

    fn stock(&mut self, location: LocationNo) -> &mut StockFigures {
        self.figures.stock.entry(self.grouping.place(location)).or_default()
    }

    /// `None`: the channel does not count.
    fn of(
        &mut self,
        channel: Option<ChannelNo>,
        location: LocationNo,
    ) -> Option<&mut ReservationFigures> {
        let counts =
            |channels: &FxHashSet<ChannelNo>| channel.is_some_and(|no| channels.contains(&no));
        if !self.channels.as_ref().is_none_or(counts) {
            return None;
        }
        let group = self.grouping.group(channel, location);
        Some(self.figures.reservations.entry(group).or_default())
    }

    fn counts_at(&self, location: LocationNo) -> bool {
        self.locations.as_ref().is_none_or(|locations| locations.contains(&location))
    }
}
