//! Orders that a location has ready within a quarter of an hour.

use std::{collections::BTreeMap, sync::Arc};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use stockroom::stock::{
    calendar::{Calendar, Interval, Opening},
    terms::Terms,
    time::Micros,
};

use super::*;

const QUARTER: Micros = 900 * SECOND;

/// Open from 9 to 19 on every day; ten minutes of work.
fn limited(pickups_per_quarter_hour: u32) -> Arc<Terms> {
    let week = std::array::from_fn(|_| vec![Interval { opens: 540, closes: 1_140 }]);
    let calendar = Calendar::new(TimeZone::UTC, Opening { week, ..Opening::default() });
    Arc::new(Terms {
        calendar: Arc::new(calendar),
        preparation: 600 * SECOND,
        pickups_per_quarter_hour,
        ..Terms::clone(&terms(None))
    })
}

fn one(terms: &Arc<Terms>) -> Create {
    Create { terms: Arc::clone(terms), ..create(vec![units(0, 1)], None) }
}

fn quarter(at: Timestamp) -> i64 {
    at.0.div_euclid(QUARTER)
}

#[test]
fn an_order_too_many_is_ready_in_the_next_quarter_and_its_deadline_follows() {
    let mut shops = Shops::with(&[(0, 0, 100)]);
    let terms = limited(2);
    let made: Vec<_> = (0..4).map(|_| shops.create(0, one(&terms)).unwrap()).collect();
    assert_eq!(made[0].ready_by, made[1].ready_by, "both at their own time");
    let next = Timestamp((quarter(made[0].ready_by) + 1) * QUARTER);
    assert_eq!((made[2].ready_by, made[3].ready_by), (next, next));
    for made in &made {
        let days = terms.policy.collect_days(made.settlement);
        assert_eq!(made.expires_at, terms.calendar.collect_by(made.ready_by, days));
    }
    // Who gives up makes room, and a hold takes none.
    shops.change(made[0].id, Change::Cancel { by: CancelledBy::Customer }).unwrap();
    let hold = HoldId::of("cart", LOCATIONS[0].1, "h");
    let (held_as, ttl) = (Some(hold), Some(60 * SECOND));
    let hold = shops.create(0, Create { held_as, ttl, ..one(&terms) }).unwrap();
    assert_eq!(hold.ready_by, made[1].ready_by);
    assert_eq!(shops.create(0, one(&terms)).unwrap().ready_by, made[1].ready_by);
    assert_eq!(shops.create(0, one(&limited(0))).unwrap().ready_by, made[1].ready_by);
    let elsewhere = shops.fact(1, Draft { quantity: 5, ..draft(Kind::Receipt, 0) });
    assert_eq!(elsewhere, Flags::default());
    assert_eq!(shops.create(1, one(&terms)).unwrap().ready_by, made[1].ready_by, "another shop");
}

#[test]
fn what_is_moved_takes_its_turn_and_what_is_rescheduled_does_not_stand_in_its_own_way() {
    let mut shops = Shops::with(&[(0, 0, 100), (1, 0, 100)]);
    let terms = limited(1);
    let here = shops.create(0, one(&terms)).unwrap();
    let there = shops.create(1, one(&terms)).unwrap();
    assert_eq!(here.ready_by, there.ready_by);
    let to = Elsewhere { to: LOCATIONS[0].1, more: Vec::new(), terms: Arc::clone(&terms) };
    let moved = shops.change(there.id, Change::Move(to)).unwrap();
    assert_eq!(quarter(moved.ready_by), quarter(here.ready_by) + 1);
    let same = shops.change(here.id, Change::Reschedule { terms: Arc::clone(&terms) }).unwrap();
    assert_eq!(same, here, "nothing happened");
    // Closed until tomorrow at 10, by when nobody has worked: both are ready then, one after the other.
    let day = 86_400 * SECOND;
    let until = Timestamp(shops.now.0.div_euclid(day) * day + day + 10 * 3_600 * SECOND);
    let closure = Some(stockroom::stock::live::Closure { from: shops.now, until: Some(until) });
    let calendar = Calendar::clone(&terms.calendar).closed(closure);
    let closed = Arc::new(Terms { calendar: Arc::new(calendar), ..Terms::clone(&terms) });
    let ids = [here.id, moved.id];
    let anew = ids.map(|id| {
        shops.change(id, Change::Reschedule { terms: Arc::clone(&closed) }).unwrap().ready_by
    });
    assert_eq!(anew[0], until.saturating_add(600 * SECOND));
    assert_eq!(quarter(anew[1]), quarter(anew[0]) + 1);
}

proptest! {
    #[test]
    fn no_quarter_has_too_many_and_none_is_passed_over_that_has_room(
        most in 1..4_u32,
        waits in prop::collection::vec(0..2_000_i64, 1..40),
        together in 1..5_usize,
    ) {
        let mut shops = Shops::with(&[(0, 0, 1_000)]);
        let terms = limited(most);
        let mut taken: BTreeMap<i64, u32> = BTreeMap::new();
        for batch in waits.chunks(together) {
            shops.later(batch[0]);
            let now = shops.now;
            // In one batch they see each other too.
            let steps: Vec<_> = batch
                .iter()
                .map(|_| shops.request(LOCATIONS[0].1, Action::Create(Box::new(one(&terms)))))
                .map(|step| Command::Step(Box::new(step)))
                .collect();
            for outcome in shops.memory.record(now, &steps) {
                let Outcome::Stepped(made) = outcome else { panic!("{outcome:?}") };
                let wanted = terms.calendar.ready_by(now, terms.preparation);
                prop_assert!(made.ready_by >= wanted);
                prop_assert!(terms.calendar.is_open(made.ready_by));
                let mut passed = quarter(wanted)..quarter(made.ready_by);
                let full = passed.all(|quarter| {
                    let begins = Timestamp(quarter * QUARTER);
                    let open = terms.calendar.is_open(begins) || quarter * QUARTER < wanted.0;
                    !open || taken.get(&quarter) == Some(&most)
                });
                prop_assert!(full);
                *taken.entry(quarter(made.ready_by)).or_default() += 1;
                prop_assert!(taken[&quarter(made.ready_by)] <= most);
            }
        }
    }
}
