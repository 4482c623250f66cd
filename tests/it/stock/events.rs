//! What is told of every sequence of movements and steps.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use rustc_hash::FxHashMap;
use stockroom::stock::{
    entry::Entry,
    event::{Event, EventType, Level, Stock, Threshold, belonging, events, stepped},
    ids::{EntryRef, PositionKey},
    kind::{Kind, StockState},
    reservation::State,
};

use super::{
    promises::drive,
    properties::{Tally, run},
    strategy::Genes,
};

const SEQUENCES: u32 = 300;

/// What somebody knows who was only told events.
#[derive(Default)]
struct Reader {
    levels: BTreeMap<PositionKey, bool>,
    states: BTreeMap<EntryRef, State>,
    shortfalls: BTreeMap<PositionKey, i64>,
    told: BTreeMap<EventType, usize>,
}

impl Reader {
    fn take(&mut self, event: &Event, entry: &Entry<'_>, threshold: &Threshold) {
        *self.told.entry(event.event_type).or_default() += 1;
        let key = entry.position();
        let level = threshold.level(key, event.after);
        match event.event_type {
            EventType::OutOfStock => {
                assert_eq!(level, Level::Out);
                assert_eq!(self.levels.insert(key, false), Some(true), "out only after in");
            }
            EventType::BackInStock => {
                assert_ne!(level, Level::Out);
                assert_ne!(self.levels.insert(key, true), Some(true), "in only after out");
            }
            EventType::LowStock => {
                assert_eq!(level, Level::Low);
                assert_eq!(self.levels.get(&key), Some(&true), "low is not out");
            }
            EventType::Shortfall => {
                let now = event.after.shortfall();
                assert!(now > event.before.shortfall());
                self.shortfalls.insert(key, now);
            }
            EventType::CountVariance => assert_eq!(entry.kind, Kind::CountVariance),
            told if told.of_reservation() => {
                let id = stepped(entry).unwrap();
                let state = entry.reservation_state.unwrap();
                assert_eq!(EventType::of_state(state), Some(told));
                assert_eq!(self.states.insert(id.at(), state), event.state_before);
            }
            _ => {}
        }
    }
}

/// Reads every log run by run, as whoever sends events does.
fn read(logs: &[&[Entry<'static>]], threshold: &Threshold) -> Reader {
    let mut reader = Reader::default();
    for log in logs {
        let mut rest = *log;
        while !rest.is_empty() {
            let (run, behind) = rest.split_at(belonging(rest));
            let before =
                |entry: &Entry<'_>| Some((entry.seq, *reader.states.get(&stepped(entry)?.at())?));
            let states: FxHashMap<_, _> = run.iter().filter_map(before).collect();
            for event in events(run, threshold, &states) {
                reader.take(&event, &run[event.index], threshold);
            }
            rest = behind;
        }
    }
    reader
}

#[test]
fn who_reads_all_events_knows_what_is_sold_out_and_how_far_every_reservation_is() {
    let mut told: BTreeMap<EventType, usize> = BTreeMap::new();
    let all = std::cell::RefCell::new(&mut told);
    let long = |lines: usize| vec(any::<Genes>(), lines / 2..=lines);
    run(SEQUENCES, (long(40), long(30), 0..9i64), |(steps, movements, low_units)| {
        let world = drive(&steps, &movements, &mut Tally::new());
        let threshold = Threshold { policy: None, low_units };
        let logs: Vec<_> = world.memory.logs.values().map(Vec::as_slice).collect();
        let reader = read(&logs, &threshold);
        for (key, position) in &world.memory.positions {
            let now = Stock { sellable: position.sellable, reserved: position.reserved };
            let known = reader.levels.get(key).copied().unwrap_or(false);
            assert_eq!(known, threshold.level(*key, now) != Level::Out, "{key:?}");
            if position.shortfall() > 0 {
                let told = reader.shortfalls.get(key).copied().unwrap_or(0);
                assert!(told >= position.shortfall(), "{key:?} lacks more than was ever told");
            }
        }
        for (at, made) in &world.memory.reservations {
            let told = EventType::of_state(made.state).map(|_| made.state);
            assert_eq!(reader.states.get(at).copied(), told, "{at:?}");
        }
        for (event_type, number) in reader.told {
            *all.borrow_mut().entry(event_type).or_default() += number;
        }
    });
    let never: Vec<_> = EventType::ALL
        .into_iter()
        .filter(|known| !told.contains_key(known))
        .filter(|known| {
            let needs_more =
                [EventType::TransferOverdue, EventType::Recall, EventType::RecalledSold];
            !needs_more.contains(known)
        })
        .collect();
    assert_eq!(never, Vec::<EventType>::new(), "of {told:?}");
}

#[test]
fn a_variance_behind_a_fact_does_not_cross_a_threshold_and_back() {
    // A count of one says what is there; a sale from before it, told later, changes nothing.
    let world = drive(&[], &[], &mut Tally::new());
    let stock = world.memory.entries().next().unwrap().clone();
    let entry = |kind, quantity, sellable_after, flags| Entry {
        kind,
        quantity,
        sellable_after,
        flags,
        states: Some(match kind {
            Kind::Sale => (StockState::Sellable, StockState::External),
            _ => (StockState::External, StockState::Sellable),
        }),
        ..stock.clone()
    };
    use stockroom::stock::entry::Flags;
    let late = entry(Kind::Sale, 1, 0, Flags::BEFORE_COUNT);
    let variance = entry(Kind::CountVariance, 1, 1, Flags::SECONDARY);
    let told = |entries: &[Entry<'_>]| -> Vec<EventType> {
        let told = events(entries, &Threshold::default(), &FxHashMap::default());
        told.iter().map(|event| event.event_type).collect()
    };
    assert_eq!(belonging(&[late.clone(), variance.clone(), late.clone()]), 2);
    assert_eq!(told(&[late.clone(), variance.clone()]), [EventType::CountVariance]);
    assert_eq!(told(&[late]), [EventType::OutOfStock], "alone it would");
}
