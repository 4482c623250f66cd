//! The live status of locations, closures, and deadlines that follow them.

use std::sync::Arc;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use stockroom::stock::{
    calendar::{Calendar, Interval, Opening},
    channel_policy::Policy,
    ids::{LocationNo, Partition, Place},
    live::{Closure, Live, LocationStatus},
    pickup::PickupSecret,
    refusal::Refusal,
    reservation::{Reservation, ReservationId, Settlement, State},
    terms::{Terms, Times},
    time::{Micros, SECOND, Timestamp},
};

const HOUR: Micros = 3_600 * SECOND;
/// A Thursday, at midnight.
const DAY: Timestamp = Timestamp(1_709_164_800 * SECOND);

fn at(hour: i64) -> Timestamp {
    DAY.saturating_add(hour * HOUR)
}

/// Open from 9 to 19 on every day.
fn calendar(closure: Option<Closure>) -> Calendar {
    let week = std::array::from_fn(|_| vec![Interval { opens: 540, closes: 1_140 }]);
    Calendar::new(TimeZone::UTC, Opening { week, ..Opening::default() }).closed(closure)
}

fn closed(from: i64, until: i64) -> Option<Closure> {
    Some(Closure { from: at(from), until: Some(at(until)) })
}

fn terms(closure: Option<Closure>, live: Live) -> Terms {
    let policy = Policy { answer_timeout: Some(HOUR), ..Policy::default() };
    Terms {
        policy: Arc::new(policy),
        calendar: Arc::new(calendar(closure)),
        preparation: 2 * HOUR,
        live,
        pickups_per_quarter_hour: 0,
        secret: PickupSecret::new(b"secret"),
    }
}

/// When it is due after the hours changed.
fn moved_by(terms: &Terms, made: &Reservation) -> Times {
    terms.times_anew(made, terms.ready_by_anew(made))
}

/// What was promised at this hour, two business days to collect.
fn made(hour: i64) -> Reservation {
    let now = at(hour);
    let times = terms(None, Live::default()).times(now, Settlement::PayInStore, None);
    let place = Place { partition: Partition(0), location: LocationNo(1) };
    Reservation {
        id: ReservationId { place, epoch: 1, no: 1 },
        state: State::Reserved,
        channel: None,
        settlement: Settlement::PayInStore,
        lines: Vec::new(),
        order_ref: String::new(),
        customer_ref: String::new(),
        hold: None,
        held_as: None,
        code_hash: 0,
        created_at: now,
        ready_by: times.ready_by,
        expires_at: times.expires_at,
        ttl_given: false,
        answer_by: times.answer_by,
        paid_at: None,
        changed_at: now,
        reason: String::new(),
        cancelled_by: None,
        successor: None,
        predecessor: None,
        version: 1,
    }
}

#[test]
fn a_status_lasts_until_its_end_or_until_somebody_says_otherwise() {
    let live = Live::default();
    assert!(live.check_accepts(at(0)).is_ok());
    let shut = live.set(LocationStatus::NoNewReservations, Some(at(5)), at(1));
    let refusal = Refusal::LocationNotAccepting { status: "NO_NEW_RESERVATIONS" };
    assert_eq!(shut.check_accepts(at(4)), Err(refusal));
    assert_eq!(shut.status_at(at(5)), LocationStatus::Open);
    assert_eq!(shut.closure, None, "customers may come");
    let pickup = live.set(LocationStatus::PickupOnly, None, at(1));
    assert!(pickup.check_accepts(at(1_000)).is_ok());
    let good = Live { closed_at: Some(at(2)), ..live };
    assert_eq!(good.status_at(at(1_000)), LocationStatus::Closed);
}

#[test]
fn a_closure_keeps_its_beginning_and_is_remembered_with_its_end() {
    let open_end = Live::default().set(LocationStatus::Closed, None, at(10));
    assert_eq!(open_end.closure, Some(Closure { from: at(10), until: None }));
    let known = open_end.set(LocationStatus::Closed, Some(at(30)), at(12));
    assert_eq!(known.closure, closed(10, 30));
    assert_eq!(known.set(LocationStatus::Open, None, at(20)).closure, closed(10, 20));
    let later = known.set(LocationStatus::Closed, Some(at(50)), at(40));
    assert_eq!(later.closure, closed(40, 50), "the one before was over");
    let open = known.set(LocationStatus::PickupOnly, None, at(35));
    assert_eq!(open.closure, closed(10, 30), "it had ended by itself");
}

#[test]
fn f27_deadlines_move_past_a_closure() {
    // Ordered on Thursday at 15, ready at 17, to be collected by Saturday at 19.
    let order = made(15);
    assert_eq!((order.ready_by, order.expires_at), (at(17), at(67)));
    let moved = |closure| {
        let times = moved_by(&terms(closure, Live::default()), &order);
        (times.ready_by, times.expires_at)
    };
    assert_eq!(moved(None), (at(17), at(67)));
    // From 16 until noon on Friday: an hour of work is left then.
    assert_eq!(moved(closed(16, 36)), (at(37), at(91)));
    // All of Saturday: it is no business day.
    assert_eq!(moved(closed(48, 72)), (at(17), at(91)));
    // On Saturday from 14 on: who would have come at 18 comes on Sunday.
    assert_eq!(moved(closed(62, 72)), (at(17), at(91)));
    let ready = Reservation { state: State::Ready, ..order.clone() };
    let times = moved_by(&terms(closed(16, 36), Live::default()), &ready);
    assert_eq!(times.ready_by, at(17), "it is ready");
    let given = Reservation { ttl_given: true, ..order.clone() };
    let times = moved_by(&terms(closed(48, 72), Live::default()), &given);
    assert_eq!(times.expires_at, at(67), "somebody chose it");
}

proptest! {
    #[test]
    fn a_closure_is_closed_and_everything_else_is_as_before(
        from in 0..200_i64, hours in 0..200_i64, now in 0..200_i64, lead in 0..30_i64,
    ) {
        let (open, shut) = (calendar(None), calendar(closed(from, from + hours)));
        let mut ready = None;
        let mut worked = 0;
        for hour in now..now + 1_000 {
            let expected = open.is_open(at(hour)) && !(from..from + hours).contains(&hour);
            prop_assert_eq!(shut.is_open(at(hour)), expected, "at {}", hour);
            if expected && worked == lead {
                ready = ready.or(Some(at(hour)));
            }
            worked += i64::from(expected);
        }
        prop_assert_eq!(Some(shut.ready_by(at(now), lead * HOUR)), ready);
        let closes = shut.closing_from(at(now));
        prop_assert!(closes >= at(now));
        prop_assert!(shut.is_open(closes.saturating_add(-1)) && !shut.is_open(closes));
    }

    #[test]
    fn f27_nothing_is_due_earlier_than_before_and_moving_twice_changes_nothing(
        ordered in 0..100_i64, from in 0..200_i64, hours in 0..300_i64, paid in 0..200_i64,
        state in prop::sample::select(vec![State::Reserved, State::Picking, State::Ready]),
        pays in any::<bool>(),
    ) {
        let paid_at = pays.then_some(at(paid));
        let order = Reservation { state, paid_at, ..made(ordered) };
        let terms = terms(closed(from, from + hours), Live::default());
        let times = moved_by(&terms, &order);
        prop_assert!(times.ready_by >= order.ready_by);
        prop_assert!(times.expires_at >= order.expires_at);
        prop_assert!(times.answer_by >= order.answer_by);
        prop_assert!(terms.calendar.is_open(times.expires_at.saturating_add(-1)));
        if state != State::Ready {
            prop_assert!(terms.calendar.is_open(times.ready_by));
        }
        let moved = Reservation {
            ready_by: times.ready_by,
            expires_at: times.expires_at,
            answer_by: times.answer_by,
            ..order
        };
        prop_assert_eq!(moved_by(&terms, &moved), times);
    }
}
