//! When a location is open, by its own clock.
//!
//! Hours are minutes of the local day. A minute stands for the first moment at which the clock
//! there shows it or, where the clock skips it, has passed it: days of 23 and 25 hours, midnights
//! that do not exist and days that were left out need no other rule.

use std::{collections::BTreeMap, iter};

use jiff::{
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, TimeZone},
};
use serde::{Deserialize, Serialize};

use crate::stock::{
    live::Closure,
    time::{Micros, SECOND, Timestamp},
};

/// Minutes of a day by the clock; as a closing time: midnight.
pub const DAY_MINUTES: u16 = 24 * 60;
/// Intervals of one day.
pub const INTERVALS_MAX: usize = 10;
/// Dated exceptions of one location: a year of them.
pub const EXCEPTIONS_MAX: usize = 366;
/// Longest preparation time.
pub const PREPARATION_MAX: Micros = 7 * DAY;
/// Preparation time of a location that states none.
pub const PREPARATION_DEFAULT: Micros = 2 * 3_600 * SECOND;
/// What is not found within this many days is not looked for any further: more than a year, so that
/// a location that opens once a year is served.
pub const SEARCH_DAYS_MAX: usize = 400;

const DAY: Micros = 86_400 * SECOND;

/// A stretch of one day in which a location is open, from `opens` to before `closes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Interval {
    /// Minute of the local day, 0 to 1,439.
    pub opens: u16,
    /// Minute of the local day, above `opens`, up to 1,440.
    pub closes: u16,
}

/// The hours of a location.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Monday first. All days empty: always open, but for the exceptions.
    pub week: [Vec<Interval>; 7],
    /// Dates with other hours; none at all: closed.
    pub exceptions: BTreeMap<Date, Vec<Interval>>,
}

/// The hours of a location in its time zone, ready to be asked.
#[derive(Clone, Debug)]
pub struct Calendar {
    zone: TimeZone,
    opening: Opening,
    /// Every day from midnight to midnight, without exception.
    always: bool,
    /// A time at which it is closed whatever its hours say: beginning and end.
    closed: Option<(Timestamp, Timestamp)>,
}

/// An interval of one date, as moments; never empty.
#[derive(Clone, Copy, Debug)]
struct Span {
    opens: Timestamp,
    closes: Timestamp,
}

/// Whether these are the hours of a day: in bounds, in order, none reaching into the next.
pub fn is_day(intervals: &[Interval]) -> bool {
    intervals.len() <= INTERVALS_MAX
        && intervals.iter().all(|day| day.opens < day.closes && day.closes <= DAY_MINUTES)
        && intervals.windows(2).all(|pair| pair[0].closes <= pair[1].opens)
}

impl Opening {
    /// Whether every day is in bounds, and there are not too many exceptions.
    pub fn is_valid(&self) -> bool {
        let mut days = self.week.iter().chain(self.exceptions.values());
        self.exceptions.len() <= EXCEPTIONS_MAX && days.all(|day| is_day(day))
    }
}

impl Calendar {
    /// The calendar of a location with these hours, by the clock of `zone`.
    pub fn new(zone: TimeZone, mut opening: Opening) -> Calendar {
        let unstated = opening.week.iter().all(Vec::is_empty);
        if unstated {
            let day = Interval { opens: 0, closes: DAY_MINUTES };
            opening.week = std::array::from_fn(|_| vec![day]);
        }
        let always = unstated && opening.exceptions.is_empty();
        Calendar { zone, opening, always, closed: None }
    }

    /// The same, closed for some time besides. A closure without an end changes nothing: what is due
    /// is not known before the end is.
    #[must_use]
    pub fn closed(self, closure: Option<Closure>) -> Calendar {
        let closed = closure.and_then(|Closure { from, until }| Some((from, until?)));
        let closed = closed.filter(|(from, until)| from < until);
        Calendar { always: self.always && closed.is_none(), closed, ..self }
    }

    /// Whether the location is open at a moment. It is at its opening time and is not at its
    /// closing time.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.always || self.spans_from(at).next().is_some_and(|span| span.opens <= at)
    }

    /// The first moment from `at` on at which the location is open.
    ///
    /// A location that does not open within [`SEARCH_DAYS_MAX`] counts as always open: `at`.
    pub fn next_opening(&self, at: Timestamp) -> Timestamp {
        self.ready_by(at, 0)
    }

    /// When what is ordered at `now` is ready: the first moment at which the location is open and
    /// has been open for `lead` since `now`. Work that ends at the closing time is ready at the
    /// next opening.
    ///
    /// A location that is not open for so long within [`SEARCH_DAYS_MAX`] counts as always open:
    /// `now` + `lead`.
    pub fn ready_by(&self, now: Timestamp, lead: Micros) -> Timestamp {
        let lead = lead.max(0);
        let always = now.saturating_add(lead);
        if self.always {
            return always;
        }
        let mut left = lead;
        for span in self.spans_from(now) {
            let begins = span.opens.max(now);
            let length = span.closes.0 - begins.0;
            if left < length {
                return begins.saturating_add(left);
            }
            left -= length;
        }
        always
    }

    /// Until when what is ready at `ready_by` must be collected. The local date of `ready_by` is
    /// number 0, the dates after it on which the location opens are business days 1, 2, 3 ...; it
    /// is the last closing time of number `business_days` or, where number 0 has closed by then or
    /// does not open, of number 1. A location that is always open closes at the midnight that ends
    /// a date.
    ///
    /// A location without that many business days within [`SEARCH_DAYS_MAX`] counts as always open.
    pub fn collect_by(&self, ready_by: Timestamp, business_days: u32) -> Timestamp {
        let fallback = ready_by.saturating_add(DAY.saturating_mul(business_days.into()));
        let Some(today) = self.date(ready_by) else { return fallback };
        let mut counted = 0;
        for date in dates(today) {
            let Some(last) = self.spans(date).next_back() else { continue };
            if date > today {
                counted += 1;
            }
            if counted >= business_days && last.closes > ready_by {
                return last.closes;
            }
        }
        let date = dates(today).nth(business_days as usize);
        date.and_then(|date| self.moment(date, DAY_MINUTES)).unwrap_or(fallback)
    }

    /// The first closing time at `at` or later. A location that does not open within
    /// [`SEARCH_DAYS_MAX`] counts as always open: `at`.
    pub fn closing_from(&self, at: Timestamp) -> Timestamp {
        self.spans_from(Timestamp(at.0.saturating_sub(1))).next().map_or(at, |span| span.closes)
    }

    /// Every interval that ends after `at`, in order, as far as it is looked for.
    fn spans_from(&self, at: Timestamp) -> impl Iterator<Item = Span> {
        let dates = self.date(at).into_iter().flat_map(dates);
        dates.flat_map(|date| self.spans(date)).filter(move |span| span.closes > at)
    }

    /// The intervals of a date that are not skipped by the clock, without what lies in a closure.
    fn spans(&self, date: Date) -> impl DoubleEndedIterator<Item = Span> {
        let weekday = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
        let exception = self.opening.exceptions.get(&date);
        let intervals = exception.or_else(|| self.opening.week.get(weekday));
        let spans = intervals.into_iter().flatten().filter_map(move |interval| {
            let (opens, closes) = (interval.opens, interval.closes);
            Some(Span { opens: self.moment(date, opens)?, closes: self.moment(date, closes)? })
        });
        spans.flat_map(|span| self.parts(span)).filter(|span| span.opens < span.closes)
    }

    /// What a closure leaves of an interval, before and behind it.
    fn parts(&self, span: Span) -> [Span; 2] {
        let (from, until) = self.closed.unwrap_or((span.closes, span.closes));
        let before = Span { closes: span.closes.min(from), ..span };
        let behind = Span { opens: span.opens.max(until), ..span };
        [before, behind]
    }

    /// The date that the clock shows; none beyond the year 9999.
    fn date(&self, at: Timestamp) -> Option<Date> {
        let at = jiff::Timestamp::from_microsecond(at.0).ok()?;
        Some(self.zone.to_datetime(at).date())
    }

    /// The first moment at which the clock shows a minute of a date or, where it skips it, has
    /// passed it.
    fn moment(&self, date: Date, minute: u16) -> Option<Timestamp> {
        let date = if minute == DAY_MINUTES { date.tomorrow().ok()? } else { date };
        let minute =
            i8::try_from(minute % 60).ok().zip(i8::try_from(minute % DAY_MINUTES / 60).ok());
        let (minute, hour) = minute?;
        let shown = DateTime::from_parts(date, Time::new(hour, minute, 0, 0).ok()?);
        let moment = self.zone.to_ambiguous_timestamp(shown);
        let skipped = matches!(moment.offset(), AmbiguousOffset::Gap { .. });
        let earlier = moment.earlier().ok()?;
        let moment = match skipped {
            true => self.zone.following(earlier).next()?.timestamp(),
            false => earlier,
        };
        Some(Timestamp(moment.as_microsecond()))
    }
}

/// A date and those after it, as far as they are looked at.
fn dates(first: Date) -> impl Iterator<Item = Date> {
    iter::successors(Some(first), |date| date.tomorrow().ok()).take(SEARCH_DAYS_MAX)
}
