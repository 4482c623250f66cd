//! When a location is open: days of 23 and 25 hours, midnights that do not exist, bank holidays,
//! and a naive clock that goes minute by minute.

use std::{array, collections::BTreeMap};

use jiff::{
    Span, ToSpan as _,
    civil::{Date, DateTime, date},
    tz::TimeZone,
};
use proptest::{collection, prelude::*, sample};
use stockroom::stock::{
    calendar::{Calendar, DAY_MINUTES, EXCEPTIONS_MAX, Interval, Opening, is_day},
    time::{Micros, SECOND, Timestamp},
};

const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;

/// Changes by half an hour, at midnight, by a whole day; offsets from +14 to -11 hours.
const ZONES: [&str; 13] = [
    "Etc/UTC",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Pacific/Apia",
    "Africa/Cairo",
    "America/Havana",
    "America/Sao_Paulo",
    "America/Santiago",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
];

/// Hours of one day, `"9:00-12:30 14:00-24:00"`.
fn day(text: &str) -> Vec<Interval> {
    let minute = |text: &str| {
        let (hour, minute) = text.split_once(':').unwrap();
        hour.parse::<u16>().unwrap() * 60 + minute.parse::<u16>().unwrap()
    };
    let interval = |text: &str| {
        let (opens, closes) = text.split_once('-').unwrap();
        Interval { opens: minute(opens), closes: minute(closes) }
    };
    let day: Vec<_> = text.split_whitespace().map(interval).collect();
    assert!(is_day(&day), "{text}");
    day
}

/// The same hours from Monday to Saturday.
fn shop(zone: &str, hours: &str, exceptions: &[(Date, &str)]) -> Calendar {
    let week = array::from_fn(|weekday| day(if weekday < 6 { hours } else { "" }));
    let exceptions = exceptions.iter().map(|&(date, hours)| (date, day(hours))).collect();
    Calendar::new(TimeZone::get(zone).unwrap(), Opening { week, exceptions })
}

/// The same hours on every day.
fn daily(zone: &str, hours: &str) -> Calendar {
    let week = array::from_fn(|_| day(hours));
    let opening = Opening { week, ..Opening::default() };
    Calendar::new(TimeZone::get(zone).unwrap(), opening)
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn told(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).unwrap().to_string()
}

#[track_caller]
fn same(found: Timestamp, expected: &str) {
    assert_eq!(told(found), told(at(expected)));
}

#[test]
fn f28_a_location_without_hours_is_always_open_and_closes_at_its_own_midnight() {
    let always = |zone| Calendar::new(TimeZone::get(zone).unwrap(), Opening::default());
    let now = at("2026-06-15T11:30:00Z");
    for (zone, days, midnight) in [
        ("Pacific/Kiritimati", 0, "2026-06-17T00:00:00+14:00"),
        ("Pacific/Kiritimati", 2, "2026-06-19T00:00:00+14:00"),
        ("Pacific/Pago_Pago", 0, "2026-06-16T00:00:00-11:00"),
        ("Pacific/Pago_Pago", 1, "2026-06-17T00:00:00-11:00"),
        ("Europe/Berlin", 7, "2026-06-23T00:00:00+02:00"),
        ("Asia/Kathmandu", 0, "2026-06-16T00:00:00+05:45"),
    ] {
        let calendar = always(zone);
        assert!(calendar.is_open(now));
        same(calendar.next_opening(now), "2026-06-15T11:30:00Z");
        same(calendar.ready_by(now, 2 * HOUR), "2026-06-15T13:30:00Z");
        same(calendar.collect_by(now, days), midnight);
    }
    let calendar = always("Europe/Berlin");
    let beyond = Timestamp(i64::MAX);
    assert_eq!(calendar.ready_by(beyond, HOUR), beyond, "no calendar goes so far");
    assert_eq!(calendar.collect_by(beyond, 2), beyond);
}

#[test]
fn f28_days_of_23_and_25_hours_count_the_hours_that_they_have() {
    let night = daily("Europe/Berlin", "0:00-24:00");
    let (spring, autumn) = (at("2026-03-29T00:00:00+01:00"), at("2026-10-25T00:00:00+02:00"));
    same(night.collect_by(spring, 0), "2026-03-30T00:00:00+02:00");
    assert_eq!(night.collect_by(spring, 0).0 - spring.0, 23 * HOUR);
    same(night.collect_by(autumn, 0), "2026-10-26T00:00:00+01:00");
    assert_eq!(night.collect_by(autumn, 0).0 - autumn.0, 25 * HOUR);
    let early = daily("Europe/Berlin", "1:00-5:00");
    same(early.ready_by(spring, 2 * HOUR), "2026-03-29T04:00:00+02:00");
    same(early.ready_by(spring, 3 * HOUR), "2026-03-30T01:00:00+02:00");
    same(early.ready_by(autumn, 2 * HOUR), "2026-10-25T02:00:00+01:00");
    same(early.ready_by(autumn, 5 * HOUR - MINUTE), "2026-10-25T04:59:00+01:00");
    // Saturday evening to Sunday morning, over the change.
    let evening = daily("Europe/Berlin", "0:00-4:00 22:00-24:00");
    same(evening.ready_by(at("2026-03-28T21:30:00+01:00"), 4 * HOUR), "2026-03-29T03:00:00+02:00");
}

#[test]
fn f28_a_minute_that_is_skipped_is_the_change_and_one_shown_twice_is_the_first() {
    let skipped = daily("Europe/Berlin", "2:00-3:00");
    let spring = at("2026-03-28T12:00:00+01:00");
    same(skipped.next_opening(spring), "2026-03-30T02:00:00+02:00");
    same(skipped.collect_by(spring, 1), "2026-03-30T03:00:00+02:00");
    let half = daily("Europe/Berlin", "2:30-3:30");
    same(half.next_opening(spring), "2026-03-29T03:00:00+02:00");
    same(half.collect_by(spring, 1), "2026-03-29T03:30:00+02:00");
    let autumn = at("2026-10-24T12:00:00+02:00");
    same(half.next_opening(autumn), "2026-10-25T02:30:00+02:00");
    same(half.collect_by(autumn, 1), "2026-10-25T03:30:00+01:00");
    assert!(half.is_open(at("2026-10-25T02:10:00+01:00")), "after the first 2:30");
    let before = daily("Europe/Berlin", "0:00-2:30");
    same(before.collect_by(autumn, 1), "2026-10-25T02:30:00+02:00");
    assert!(!before.is_open(at("2026-10-25T02:10:00+01:00")), "after the first 2:30");
}

#[test]
fn f28_a_midnight_that_does_not_exist_is_the_moment_of_the_change() {
    let brazil = daily("America/Sao_Paulo", "0:00-24:00");
    let noon = at("2018-11-03T12:00:00-03:00");
    same(brazil.collect_by(noon, 0), "2018-11-04T01:00:00-02:00");
    same(brazil.collect_by(noon, 1), "2018-11-05T00:00:00-02:00");
    let late = daily("Africa/Cairo", "0:30-2:00 20:00-24:00");
    let evening = at("2026-04-23T19:00:00+02:00");
    same(late.collect_by(evening, 0), "2026-04-24T01:00:00+03:00");
    same(late.ready_by(evening, 4 * HOUR), "2026-04-24T01:00:00+03:00");
    // A midnight that is shown twice, and one after which the clock goes back to the day before.
    let cuba = daily("America/Havana", "0:00-24:00");
    same(cuba.collect_by(at("2026-10-31T12:00:00-04:00"), 0), "2026-11-01T00:00:00-04:00");
    let canada = daily("America/St_Johns", "0:00-24:00");
    let again = at("2006-10-28T23:30:00-03:30");
    assert!(canada.is_open(again));
    same(canada.collect_by(again, 0), "2006-10-30T00:00:00-03:30");
}

#[test]
fn f28_a_day_that_was_left_out_is_no_business_day() {
    let samoa = daily("Pacific/Apia", "9:00-17:00");
    let thursday = at("2011-12-29T12:00:00-10:00");
    same(samoa.collect_by(thursday, 1), "2011-12-31T17:00:00+14:00");
    same(samoa.ready_by(thursday, 6 * HOUR), "2011-12-31T10:00:00+14:00");
}

#[test]
fn preparation_counts_while_the_location_is_open() {
    let shop = shop("Europe/Berlin", "9:00-12:00 13:00-19:00", &[]);
    for (now, lead, ready) in [
        ("2026-06-15T09:00:00+02:00", 2 * HOUR, "2026-06-15T11:00:00+02:00"),
        ("2026-06-15T11:00:00+02:00", 2 * HOUR, "2026-06-15T14:00:00+02:00"),
        ("2026-06-15T12:30:00+02:00", 0, "2026-06-15T13:00:00+02:00"),
        ("2026-06-15T18:00:00+02:00", 2 * HOUR, "2026-06-16T10:00:00+02:00"),
        // What is done when the shop closes is ready when it opens.
        ("2026-06-15T17:00:00+02:00", 2 * HOUR, "2026-06-16T09:00:00+02:00"),
        ("2026-06-15T19:00:00+02:00", 0, "2026-06-16T09:00:00+02:00"),
        ("2026-06-20T18:59:59.999999+02:00", 1, "2026-06-22T09:00:00+02:00"),
        ("2026-06-20T20:00:00+02:00", 12 * HOUR, "2026-06-23T13:00:00+02:00"),
        ("2026-06-15T09:00:00+02:00", -HOUR, "2026-06-15T09:00:00+02:00"),
    ] {
        same(shop.ready_by(at(now), lead), ready);
    }
    assert!(!shop.is_open(at("2026-06-15T12:00:00+02:00")), "closed at the closing time");
    assert!(shop.is_open(at("2026-06-15T13:00:00+02:00")), "open at the opening time");
    assert!(!shop.is_open(at("2026-06-21T10:00:00+02:00")), "Sunday");
}

#[test]
fn f28_business_days_are_those_on_which_the_location_opens() {
    let holidays = [
        (date(2026, 12, 24), "9:00-13:00"),
        (date(2026, 12, 25), ""),
        (date(2026, 12, 26), ""),
        (date(2026, 12, 27), "12:00-16:00"),
    ];
    let shop = shop("Europe/Berlin", "9:00-19:00", &holidays);
    for (ready, days, collect) in [
        ("2026-12-21T10:00:00+01:00", 0, "2026-12-21T19:00:00+01:00"),
        ("2026-12-21T10:00:00+01:00", 2, "2026-12-23T19:00:00+01:00"),
        ("2026-12-22T10:00:00+01:00", 2, "2026-12-24T13:00:00+01:00"),
        ("2026-12-22T10:00:00+01:00", 3, "2026-12-27T16:00:00+01:00"),
        ("2026-12-22T10:00:00+01:00", 4, "2026-12-28T19:00:00+01:00"),
        // Ready after closing, or on a day on which nobody comes: that date is number 0 as well.
        ("2026-12-21T20:00:00+01:00", 1, "2026-12-22T19:00:00+01:00"),
        ("2026-12-21T20:00:00+01:00", 0, "2026-12-22T19:00:00+01:00"),
        ("2026-12-24T13:00:00+01:00", 0, "2026-12-27T16:00:00+01:00"),
        ("2026-12-25T10:00:00+01:00", 1, "2026-12-27T16:00:00+01:00"),
        ("2026-12-25T10:00:00+01:00", 0, "2026-12-27T16:00:00+01:00"),
    ] {
        same(shop.collect_by(at(ready), days), collect);
    }
    same(shop.ready_by(at("2026-12-24T12:00:00+01:00"), 2 * HOUR), "2026-12-27T13:00:00+01:00");
}

#[test]
fn the_example_of_the_document_holds() {
    let week = array::from_fn(|weekday| day(if weekday < 5 { "9:00-19:00" } else { "" }));
    let opening = Opening { week, ..Opening::default() };
    let shop = Calendar::new(TimeZone::get("Europe/Paris").unwrap(), opening);
    let ready = shop.ready_by(at("2026-06-18T18:00:00+02:00"), 2 * HOUR);
    same(ready, "2026-06-19T10:00:00+02:00");
    same(shop.collect_by(ready, 2), "2026-06-23T19:00:00+02:00");
}

#[test]
fn a_location_that_does_not_open_counts_as_always_open() {
    let closed = |first: Date, count: usize, step: Span, hours: &str| {
        let dates = first.series(step).take(count);
        let exceptions: BTreeMap<_, _> = dates.map(|date| (date, Vec::new())).collect();
        let week = array::from_fn(|weekday| day(if weekday == 0 { hours } else { "" }));
        Calendar::new(TimeZone::UTC, Opening { week, exceptions })
    };
    let now = at("2026-06-15T10:00:00Z");
    let monday = date(2026, 6, 15);
    let year = closed(monday, EXCEPTIONS_MAX, 1.day(), "");
    same(year.next_opening(now), "2027-06-16T00:00:00Z");
    same(year.collect_by(now, 0), "2027-06-17T00:00:00Z");
    let never = closed(monday, EXCEPTIONS_MAX, 1.week(), "9:00-17:00");
    assert!(!never.is_open(now));
    assert_eq!(never.next_opening(now), now);
    same(never.ready_by(now, 2 * HOUR), "2026-06-15T12:00:00Z");
    same(never.collect_by(now, 2), "2026-06-18T00:00:00Z");
}

#[test]
fn hours_out_of_bounds_are_no_day() {
    let interval = |opens, closes| Interval { opens, closes };
    assert!(is_day(&[]));
    assert!(is_day(&[interval(0, 60), interval(60, DAY_MINUTES)]), "they may touch");
    assert!(!is_day(&[interval(0, DAY_MINUTES + 1)]));
    assert!(!is_day(&[interval(60, 60)]));
    assert!(!is_day(&[interval(120, 60)]));
    assert!(!is_day(&[interval(0, 61), interval(60, 120)]), "they overlap");
    assert!(!is_day(&[interval(60, 120), interval(0, 60)]), "out of order");
    let many: Vec<_> = (0..11).map(|hour| interval(hour * 60, hour * 60 + 30)).collect();
    assert!(is_day(&many[..10]) && !is_day(&many));
    let day: Date = date(2026, 1, 1);
    let days = |count: i64| Opening {
        exceptions: (0..count).map(|after| (day + after.days(), Vec::new())).collect(),
        ..Opening::default()
    };
    assert!(days(366).is_valid() && !days(367).is_valid());
}

/// A clock that is looked at every minute: the latest local time that it has shown so far.
struct Naive<'a> {
    zone: &'a TimeZone,
    opening: &'a Opening,
    shown: DateTime,
}

impl Naive<'_> {
    /// Whether the location is open in the minute from `at` on; called minute by minute.
    fn is_open(&mut self, at: Timestamp) -> bool {
        let now = jiff::Timestamp::from_microsecond(at.0).unwrap();
        self.shown = self.shown.max(self.zone.to_datetime(now));
        let (date, time) = (self.shown.date(), self.shown.time());
        let minute =
            time.hour().unsigned_abs() as u16 * 60 + u16::from(time.minute().unsigned_abs());
        let unstated = self.opening.week.iter().all(Vec::is_empty);
        match self.opening.exceptions.get(&date) {
            None if unstated => true,
            None => {
                let weekday = date.weekday().to_monday_zero_offset().unsigned_abs();
                holds(&self.opening.week[usize::from(weekday)], minute)
            }
            Some(day) => holds(day, minute),
        }
    }
}

fn holds(day: &[Interval], minute: u16) -> bool {
    day.iter().any(|interval| (interval.opens..interval.closes).contains(&minute))
}

fn any_day() -> impl Strategy<Value = Vec<Interval>> {
    let minutes = prop_oneof![
        Just(Vec::new()),
        Just(vec![0, DAY_MINUTES]),
        collection::btree_set(0..=DAY_MINUTES, 2..=6).prop_map(|set| set.into_iter().collect()),
        // Where clocks change.
        collection::btree_set((0..=12_u16).prop_map(|half| half * 30), 2..=4)
            .prop_map(|set| set.into_iter().collect()),
    ];
    minutes.prop_map(|minutes: Vec<u16>| {
        let pairs = minutes.chunks_exact(2);
        pairs.map(|pair| Interval { opens: pair[0], closes: pair[1] }).collect()
    })
}

/// A location and a whole minute near a change of its clock.
fn any_case() -> impl Strategy<Value = (TimeZone, Opening, Timestamp)> {
    let week = collection::vec(any_day(), 7);
    let exceptions = collection::vec((-5_i64..15, any_day()), 0..6);
    let since = 0..1_100_000_000_i64;
    (sample::select(&ZONES[..]), week, exceptions, since, -6 * 1_440..6 * 1_440_i64).prop_map(
        |(zone, week, exceptions, since, minutes)| {
            let zone = TimeZone::get(zone).unwrap();
            let since = jiff::Timestamp::from_second(946_684_800 + since).unwrap();
            let change = zone.following(since).next().map_or(since, |change| change.timestamp());
            let today = zone.to_datetime(change).date();
            let exceptions = exceptions.into_iter().map(|(after, day)| (today + after.days(), day));
            let opening =
                Opening { week: week.try_into().unwrap(), exceptions: exceptions.collect() };
            let minute = change.as_microsecond().div_euclid(MINUTE) + minutes;
            (zone, opening, Timestamp(minute * MINUTE))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn f28_readiness_is_what_a_clock_says_that_is_looked_at_every_minute(
        (zone, opening, now) in any_case(),
        lead in 0..2_000_i64,
    ) {
        let calendar = Calendar::new(zone.clone(), opening.clone());
        let mut naive = Naive { zone: &zone, opening: &opening, shown: DateTime::MIN };
        for before in (1..=1_440).rev() {
            naive.is_open(now.saturating_add(-before * MINUTE));
        }
        let (mut open, mut ready, mut next) = (0, None, None);
        for minute in 0..12 * 1_440 {
            let at = now.saturating_add(minute * MINUTE);
            let is_open = naive.is_open(at);
            if minute < 3 * 1_440 {
                prop_assert_eq!(calendar.is_open(at), is_open, "at {}", told(at));
            }
            if is_open && open == lead {
                ready = Some(at);
                break;
            }
            next = next.or(is_open.then_some(at));
            open += i64::from(is_open);
        }
        if let Some(ready) = ready {
            prop_assert_eq!(told(calendar.ready_by(now, lead * MINUTE)), told(ready));
            prop_assert_eq!(calendar.next_opening(now), next.unwrap_or(ready));
        }
    }

    #[test]
    fn f28_readiness_is_open_and_never_earlier_for_what_comes_later(
        (zone, mut opening, now) in any_case(),
        lead in 0..7 * 24 * HOUR,
        later in 0..48 * HOUR,
        days in 0..=31_u32,
    ) {
        // So that it opens often enough.
        opening.week[2] = day("8:00-20:00");
        let calendar = Calendar::new(zone.clone(), opening);
        let ready = calendar.ready_by(now, lead);
        prop_assert!(calendar.is_open(ready));
        prop_assert!(ready >= now.saturating_add(lead));
        prop_assert_eq!(calendar.next_opening(ready), ready);
        prop_assert!(calendar.ready_by(now.saturating_add(later), lead) >= ready);
        prop_assert!(calendar.ready_by(now, lead.saturating_add(later)) >= ready);
        let collect = calendar.collect_by(ready, days);
        prop_assert!(collect > ready);
        prop_assert!(calendar.is_open(collect.saturating_add(-1)));
        prop_assert!(calendar.collect_by(ready, days + 1) > collect);
        let local = |at: Timestamp| {
            zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).unwrap()).date()
        };
        let between = local(collect.saturating_add(-1)) - local(ready);
        prop_assert!(between.get_days() >= i32::try_from(days).unwrap());
    }
}
