//! Opening hours out of bytes: what is accepted never breaks the clock.

use jiff::{civil::Date, tz::TimeZone};
use stockroom::stock::{
    calendar::{Calendar, DAY_MINUTES, Interval, Opening},
    time::{SECOND, Timestamp},
};

use super::{
    numbers::Numbers,
    runner::{Target, fuzz},
};

const ZONES: [&str; 8] = [
    "Etc/UTC",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Apia",
    "America/Havana",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Africa/Cairo",
];
/// 2020-01-01 and the years after it.
const EPOCH: i64 = 1_577_836_800 * SECOND;
const DAYS: i64 = 6 * 366;

fn day(numbers: &mut Numbers<'_>) -> Vec<Interval> {
    let interval = |numbers: &mut Numbers<'_>| {
        let opens = numbers.below(u32::from(DAY_MINUTES) + 20) as u16;
        Interval { opens, closes: opens + numbers.below(600) as u16 }
    };
    (0..numbers.below(4)).map(|_| interval(numbers)).collect()
}

fn exception(numbers: &mut Numbers<'_>) -> Option<(Date, Vec<Interval>)> {
    let [year, month, of_month] = [7, 13, 32].map(|bound| numbers.below(bound));
    let date = Date::new(2020 + year as i16, month as i8, of_month as i8).ok()?;
    Some((date, day(numbers)))
}

#[test]
fn calendars() {
    let ramp = |step: usize| (0..200).map(|at| (at * step % 251) as u8).collect();
    let target = Target {
        name: "calendars",
        seeds: vec![vec![], ramp(1), ramp(7), ramp(31), ramp(97)],
        words: &[],
        message: false,
        floor: 18,
    };
    fuzz(target, |input, seen| {
        let mut numbers = Numbers(input);
        let zone = ZONES[numbers.below(ZONES.len() as u32) as usize];
        let now = Timestamp(EPOCH + i64::from(numbers.below(DAYS as u32 * 86_400)) * SECOND);
        let lead = i64::from(numbers.below(200 * 3_600)) * SECOND;
        let days = numbers.below(32);
        let week = std::array::from_fn(|_| day(&mut numbers));
        let exceptions = (0..numbers.below(6)).filter_map(|_| exception(&mut numbers)).collect();
        let opening = Opening { week, exceptions };
        if !opening.is_valid() {
            seen.saw("invalid");
            return;
        }
        let closed = opening.exceptions.values().any(Vec::is_empty);
        let calendar = Calendar::new(TimeZone::get(zone).unwrap(), opening);
        let opens = calendar.next_opening(now);
        let ready = calendar.ready_by(now, lead);
        let collect = calendar.collect_by(ready, days);
        assert!(opens >= now, "it opens at {opens:?}, before {now:?}");
        assert!(ready.0 >= now.0 + lead, "ready {ready:?}, {lead} us after {now:?}");
        assert!(collect >= ready, "collected by {collect:?}, ready {ready:?}");
        let open = calendar.is_open(now);
        assert!(!open || opens == now, "open, and it opens at {opens:?}");
        let never = !open && opens == now;
        seen.saw(format!("{zone}, open {open}"));
        let waits = (ready.0 - now.0 - lead).signum();
        seen.saw(format!("waits {waits}, collects {}", (collect.0 - ready.0).signum()));
        seen.saw(format!("closed for a day {closed}, for ever {never}"));
    });
}
