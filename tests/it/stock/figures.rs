//! Figures of streams of movements and steps, against what can be seen by looking at every state of
//! every reservation and at every position at every moment.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use stockroom::stock::{
    entry::{Entry, Flags},
    figures::{Figures, Fold, Group, Grouping, Past, Period, ReservationFigures, Times},
    ids::{EntryRef, PositionKey},
    kind::{Kind, StockState},
    reservation::{CancelledBy, Reservation, State},
    time::Timestamp,
};

use super::{
    memory::Memory,
    promises::drive,
    properties::{Tally, run},
    strategy::{Genes, NOW, SLOT},
};

const STREAMS: u32 = 300;
/// Batches of a stream, and some.
const SLOTS: i64 = 120;
const BOTH: Grouping = Grouping { channel: true, location: true };

fn period(from: i64, until: i64) -> Period {
    let at = |slot: i64| Timestamp(NOW.0 + slot * SLOT);
    Period { from: at(from), until: at(until) }
}

fn within(period: Period, at: Timestamp) -> bool {
    period.from <= at && at < period.until
}

/// Every state of each reservation, in order. Holds are none.
fn lives(memory: &Memory) -> BTreeMap<EntryRef, Vec<&Reservation>> {
    let mut lives: BTreeMap<EntryRef, Vec<&Reservation>> = BTreeMap::new();
    for version in memory.versions.values().chain(memory.reservations.values()) {
        if version.held_as.is_none() {
            lives.entry(version.at()).or_default().push(version);
        }
    }
    lives.values_mut().for_each(|life| life.sort_by_key(|state| state.version));
    lives
}

/// When it was READY first.
fn ready_at(life: &[&Reservation]) -> Option<Timestamp> {
    life.iter().find(|state| state.state == State::Ready).map(|state| state.changed_at)
}

fn figures(memory: &Memory, period: Period, page: usize) -> Figures {
    let lives = lives(memory);
    let mut fold = Fold::new(period, BOTH, None, None);
    let mut last: BTreeMap<PositionKey, &Entry<'_>> = BTreeMap::new();
    for log in memory.logs.values() {
        let before = log.iter().filter(|entry| entry.recorded_at < period.from);
        last.extend(before.map(|entry| (entry.position(), entry)));
        let entries = log.iter().filter(|entry| within(period, entry.recorded_at)).cloned();
        let entries: Vec<_> = entries.collect();
        for page in entries.chunks(page) {
            for at in fold.unknown(page) {
                let Some(life) = lives.get(&at) else { continue };
                let known = life.last().unwrap();
                fold.learn(Past {
                    at,
                    channel: known.channel,
                    made_at: known.created_at,
                    ready_at: ready_at(life).filter(|ready_at| *ready_at < period.from),
                    cancelled_by: known.cancelled_by,
                });
            }
            page.iter().for_each(|entry| fold.take(entry));
        }
    }
    let out = |entry: &Entry<'_>| entry.sellable_after <= entry.reserved_after;
    let out = last.iter().filter(|(_, entry)| out(entry));
    out.for_each(|(key, _)| fold.was_out(*key));
    fold.finish()
}

/// Whether the step that led to this state did not find what was promised.
fn is_short(memory: &Memory, life: &[&Reservation], index: usize) -> bool {
    let state = life[index];
    let next = life.get(index + 1).map_or(i64::MAX, |next| next.version);
    let id = state.id.to_string();
    memory.logs[&state.at().partition].iter().any(|entry| {
        (state.version..next).contains(&entry.seq)
            && entry.reservation_id == id
            && entry.flags.has(Flags::DOUBTFUL)
            && entry.kind == Kind::Release
    })
}

/// What became of reservations, seen from their states.
fn expected(memory: &Memory, period: Period) -> BTreeMap<Group, ReservationFigures> {
    let mut rows: BTreeMap<Group, ReservationFigures> = BTreeMap::new();
    let mut times: BTreeMap<Group, [Vec<i64>; 2]> = BTreeMap::new();
    for life in lives(memory).values() {
        let first = life[0];
        let group = BOTH.group(first.channel, first.id.place.location);
        let mut row = rows.remove(&group).unwrap_or_default();
        let [to_ready, to_collect] = times.entry(group).or_default();
        for (index, state) in life.iter().enumerate() {
            let at = state.changed_at;
            let before = index.checked_sub(1).map(|before| life[before]);
            if !within(period, at) {
                continue;
            }
            let Some(before) = before else {
                row.made += u64::from(state.predecessor.is_none());
                row.moved_in += u64::from(state.predecessor.is_some());
                continue;
            };
            let units = |of: &Reservation| of.lines.iter().map(|line| line.collected).sum::<i64>();
            let handed_over = units(state) > units(before);
            let changed = state.state != before.state;
            row.collected_in_part += u64::from(handed_over && state.state != State::Collected);
            let mut broken = is_short(memory, life, index);
            match state.state {
                State::Ready if changed => {
                    row.ready += 1;
                    to_ready.push(at.0 - state.created_at.0);
                }
                State::Collected if changed => {
                    row.collected += 1;
                    to_collect.extend(ready_at(life).map(|ready| at.0 - ready.0));
                }
                State::Cancelled if changed => {
                    row.cancelled += 1;
                    broken |= state.cancelled_by == Some(CancelledBy::Store);
                }
                State::Rejected if changed => {
                    row.rejected += 1;
                    broken = true;
                }
                State::Expired if changed => {
                    row.expired += 1;
                    broken |= ready_at(life).is_none();
                }
                State::Moved if changed => {
                    row.moved += 1;
                    broken |= state.reason == "unanswered";
                }
                _ => {}
            }
            row.broken += u64::from(broken);
        }
        rows.insert(group, row);
    }
    for (group, [to_ready, to_collect]) in times {
        let row = rows.get_mut(&group).unwrap();
        row.time_to_ready = to_ready.into_iter().collect();
        row.time_to_collect = to_collect.into_iter().collect();
    }
    rows
}

/// Lines and units that were not found, by the entries that made positions doubtful.
fn missing(memory: &Memory, period: Period) -> (u64, i64) {
    let doubtful = memory
        .entries()
        .filter(|entry| entry.flags.has(Flags::DOUBTFUL) && within(period, entry.recorded_at));
    doubtful.fold((0, 0), |(lines, units), entry| (lines + 1, units + entry.quantity))
}

/// How long nothing of all positions could be promised, by looking at each at every moment: everything
/// happens at the begin of a slot.
fn out_of_stock(memory: &Memory, from: i64, until: i64) -> i64 {
    let mut logs: BTreeMap<PositionKey, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in memory.entries() {
        logs.entry(entry.position()).or_default().push(entry);
    }
    let moments = (from..until).flat_map(|slot| logs.values().map(move |log| (slot, log)));
    let out = moments.filter(|(slot, log)| {
        let now = NOW.0 + slot * SLOT;
        let last = log.iter().rfind(|entry| entry.recorded_at.0 <= now);
        last.is_some_and(|entry| entry.sellable_after - entry.reserved_after <= 0)
    });
    out.count() as i64 * SLOT
}

/// Counts that a variance follows at once.
fn counts_that_differed(memory: &Memory, period: Period) -> u64 {
    let differed = |log: &Vec<Entry<'static>>| {
        let pairs = log.windows(2).filter(|pair| within(period, pair[0].recorded_at));
        let own = pairs.filter(|pair| {
            pair[0].kind == Kind::Count
                && pair[1].kind == Kind::CountVariance
                && pair[1].flags.has(Flags::SECONDARY)
        });
        own.count() as u64
    };
    memory.logs.values().map(differed).sum()
}

fn check(steps: &[Genes], movements: &[Genes], page: usize) {
    let memory = drive(steps, movements, &mut Tally::new()).memory;
    let all = figures(&memory, period(-1, SLOTS), page);
    for middle in [3, 11, 20] {
        let mut parts = figures(&memory, period(-1, middle), page);
        parts.add(figures(&memory, period(middle, SLOTS), 1));
        assert_eq!(parts, all, "parts add up to the whole");
        let later = figures(&memory, period(middle, middle + 9), page);
        compare(&memory, &later, (middle, middle + 9));
    }
    compare(&memory, &all, (-1, SLOTS));
}

fn compare(memory: &Memory, figures: &Figures, (from, until): (i64, i64)) {
    let period = period(from, until);
    let mut expected = expected(memory, period);
    let none = ReservationFigures::default();
    expected.retain(|_, row| *row != none);
    let short = figures.reservations.values().fold((0, 0), |(lines, units), row| {
        (lines + row.short_picked_lines, units + row.short_picked_units)
    });
    assert_eq!(short, missing(memory, period));
    let ended = |row: &ReservationFigures| row.cancelled + row.rejected + row.expired + row.moved;
    let told: BTreeMap<_, _> = figures
        .reservations
        .iter()
        .map(|(group, row)| {
            let causes: u64 = row.causes.iter().map(|(_, times)| times).sum();
            assert_eq!(causes, ended(row), "every end has a cause");
            let mut row = ReservationFigures { causes: Default::default(), ..row.clone() };
            (row.short_picked_lines, row.short_picked_units) = (0, 0);
            (*group, row)
        })
        .collect();
    assert_eq!(told, expected);
    let stock = figures.stock.values();
    let out: i64 = stock.clone().map(|row| row.out_of_stock).sum();
    assert_eq!(out, out_of_stock(memory, from, until));
    let entries = || memory.entries().filter(|entry| within(period, entry.recorded_at));
    let of = |kind| entries().filter(move |entry| entry.kind == kind);
    let counts: u64 = stock.clone().map(|row| row.counts).sum();
    assert_eq!(counts, of(Kind::Count).count() as u64);
    let change: i64 = of(Kind::CountVariance).map(|entry| entry.leg(StockState::Sellable)).sum();
    assert_eq!(stock.clone().map(|row| row.shrinkage()).sum::<i64>(), -change);
    let differed: u64 = stock.map(|row| row.counts_that_differed).sum();
    assert_eq!(differed, counts_that_differed(memory, period));
    let lags: usize = figures.sources.values().map(|row| row.lags.count()).sum();
    let sent = entries().filter(|entry| {
        entry.kind.is_movement()
            && !entry.flags.has(Flags::SECONDARY)
            && !entry.flags.has(Flags::REQUEST)
    });
    assert_eq!(lags, sent.count());
}

#[test]
fn figures_are_what_every_state_of_every_reservation_says() {
    let genes = |most: usize| vec(any::<Genes>(), most / 2..=most);
    run(STREAMS, (genes(60), genes(20), 1..40_usize), |(steps, movements, page)| {
        check(&steps, &movements, page);
    });
}

#[test]
fn quantiles_are_the_nearest_rank() {
    let mut times: Times = (1..=10).rev().collect();
    let told = [1, 50, 90, 91, 100].map(|percent| times.quantile(percent));
    assert_eq!(told, [Some(1), Some(5), Some(9), Some(10), Some(10)]);
    assert_eq!((times.count(), times.mean()), (10, Some(5)));
    let mut none = Times::default();
    assert_eq!((none.quantile(50), none.mean()), (None, None));
}
