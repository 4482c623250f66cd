//! Locations of the contract as those of the ledger, and back.

use std::{collections::BTreeMap, ops::RangeInclusive};

use jiff::civil::Date;
use tonic::{Code, Status};

use crate::{
    ambient,
    api::{
        error::{invalid, status, unknown},
        network::{NAME, identifier},
        proto::{self, OpeningException, OpeningHours, OpeningInterval, SetLocationStatusRequest},
        wire,
    },
    ledger::network::{Closed, Left, Location},
    stock::{
        calendar::{
            EXCEPTIONS_MAX, INTERVALS_MAX, Interval, Opening, PREPARATION_DEFAULT, PREPARATION_MAX,
            is_day,
        },
        ids::Partition,
        live::{Live, LocationStatus, PICKUPS_MAX, UNTIL_MAX},
        network::{is_name, is_on_earth},
        time::Timestamp,
    },
};

const HOURS: &str = "must each name a weekday, open before they close, at 1,440 at the latest, and \
                     not overlap; at most 10 a weekday";
const EXCEPTIONS: &str = "must each name another date such as 2026-12-25, with hours that open \
                          before they close, at 1,440 at the latest, and do not overlap; at most \
                          10 a date and 366 dates";
/// Exceptions lie in these years.
const YEARS: RangeInclusive<i16> = 2000..=9998;

/// A location that was sent.
pub(super) fn location_in(sent: proto::Location) -> Result<Location, Status> {
    let location_id = identifier(sent.location_id, "location.location_id")?;
    if !is_name(&sent.name) {
        return Err(invalid("NAME_INVALID", "location.name", NAME));
    }
    let time_zone = match &*sent.time_zone {
        "" => "Etc/UTC".to_owned(),
        _ => sent.time_zone,
    };
    if jiff::tz::TimeZone::get(&time_zone).is_err() {
        let rule = "must name a zone of the IANA time zone database";
        return Err(invalid("TIME_ZONE_INVALID", "location.time_zone", rule));
    }
    let coordinates = match (sent.latitude, sent.longitude) {
        (None, None) => None,
        (Some(latitude), Some(longitude)) if is_on_earth(latitude, longitude) => {
            Some((latitude, longitude))
        }
        _ => {
            let rule = "must be -90 to 90, and longitude -180 to 180; both or neither";
            return Err(invalid("COORDINATES_INVALID", "location.latitude", rule));
        }
    };
    let wrong = |field, rule| invalid("OPENING_HOURS_INVALID", field, rule);
    let opening = Opening {
        week: week_in(&sent.opening_hours).ok_or_else(|| wrong("location.opening_hours", HOURS))?,
        exceptions: exceptions_in(&sent.opening_exceptions)
            .ok_or_else(|| wrong("location.opening_exceptions", EXCEPTIONS))?,
    };
    let preparation = match sent.preparation_time {
        None => Some(PREPARATION_DEFAULT),
        Some(time) => wire::duration_in(time),
    };
    let preparation = preparation.filter(|time| (0..=PREPARATION_MAX).contains(time));
    let Some(preparation) = preparation else {
        return Err(invalid("FIELD_INVALID", "location.preparation_time", "must be 0 to 7 days"));
    };
    let pickups_per_quarter_hour = sent.pickups_per_quarter_hour;
    if pickups_per_quarter_hour > PICKUPS_MAX {
        let field = "location.pickups_per_quarter_hour";
        return Err(invalid("FIELD_INVALID", field, "must be at most 10,000"));
    }
    Ok(Location {
        location_id,
        name: sent.name,
        time_zone,
        coordinates,
        pickup_enabled: sent.pickup_enabled,
        partition: Partition(0),
        opening,
        preparation,
        pickups_per_quarter_hour,
        live: Live::default(),
    })
}

/// What became of a location that was to be closed for good.
pub(super) fn closed_out(closed: Closed, id: &str) -> Result<Location, Status> {
    match closed {
        Closed::Done(location) => Ok(*location),
        Closed::Unknown => Err(unknown("location", "location_id", id)),
        Closed::NotEmpty(Left { positions, promises }) => {
            let metadata =
                [("positions", &*positions.to_string()), ("promises", &*promises.to_string())];
            let message = format!(
                "{positions} positions have units and {promises} promises are open; move, sell or \
                 write off the units, and end the promises"
            );
            Err(status(Code::FailedPrecondition, "LOCATION_NOT_EMPTY", message, &metadata))
        }
    }
}

/// Its status is of no account any more.
pub(super) fn closed_for_good() -> Status {
    let message = "the location was closed for good";
    status(Code::FailedPrecondition, "LOCATION_CLOSED", message, &[])
}

/// A status that was sent, and until when.
pub(super) fn status_in(
    sent: &SetLocationStatusRequest,
) -> Result<(LocationStatus, Option<Timestamp>), Status> {
    let stated = LocationStatus::of(sent.status);
    let stated = stated.ok_or_else(|| invalid("FIELD_INVALID", "status", "must be stated"))?;
    let until = sent.until.map(wire::time_in);
    let now = ambient::now();
    let ahead = now..=now.saturating_add(UNTIL_MAX);
    if until.is_some_and(|until| stated == LocationStatus::Open || !ahead.contains(&until)) {
        let rule = "must be up to 400 days ahead, and not set for OPEN";
        return Err(invalid("FIELD_INVALID", "until", rule));
    }
    Ok((stated, until))
}

impl From<Location> for proto::Location {
    fn from(location: Location) -> proto::Location {
        let now = ambient::now();
        let status = location.live.status_at(now);
        let lasting = location.live.until.filter(|until| *until > now);
        let Opening { week, exceptions } = location.opening;
        let days = (1..).zip(week);
        let opening_hours = days.flat_map(|(weekday, day)| {
            day.into_iter().map(move |interval| OpeningHours {
                weekday,
                opens_minute: interval.opens.into(),
                closes_minute: interval.closes.into(),
            })
        });
        let opening_exceptions = exceptions.into_iter().map(|(date, intervals)| {
            let interval = |interval: Interval| OpeningInterval {
                opens_minute: interval.opens.into(),
                closes_minute: interval.closes.into(),
            };
            let intervals = intervals.into_iter().map(interval).collect();
            OpeningException { date: date.to_string(), intervals }
        });
        proto::Location {
            location_id: location.location_id,
            name: location.name,
            time_zone: location.time_zone,
            latitude: location.coordinates.map(|(latitude, _)| latitude),
            longitude: location.coordinates.map(|(_, longitude)| longitude),
            pickup_enabled: location.pickup_enabled,
            partition: wire::partition(location.partition.0),
            opening_hours: opening_hours.collect(),
            opening_exceptions: opening_exceptions.collect(),
            preparation_time: Some(wire::duration_out(location.preparation)),
            status: status as i32,
            status_until: lasting.map(wire::time_out),
            pickups_per_quarter_hour: location.pickups_per_quarter_hour,
            closed_at: location.live.closed_at.map(wire::time_out),
        }
    }
}

/// Hours by weekday, Monday first, each day in order.
fn week_in(sent: &[OpeningHours]) -> Option<[Vec<Interval>; 7]> {
    let mut week = <[Vec<Interval>; 7]>::default();
    for hours in sent {
        let weekday = usize::try_from(hours.weekday).ok()?.checked_sub(1)?;
        let day = week.get_mut(weekday).filter(|day| day.len() < INTERVALS_MAX)?;
        day.push(interval_in(hours.opens_minute, hours.closes_minute)?);
    }
    week.iter_mut().for_each(|day| day.sort_unstable());
    week.iter().all(|day| is_day(day)).then_some(week)
}

fn exceptions_in(sent: &[OpeningException]) -> Option<BTreeMap<Date, Vec<Interval>>> {
    let mut exceptions = BTreeMap::new();
    for exception in sent {
        let date: Date = exception.date.parse().ok()?;
        // Nothing but the one form that is also sent out, and in a year that databases can hold.
        if date.to_string() != exception.date || !YEARS.contains(&date.year()) {
            return None;
        }
        let intervals = exception.intervals.iter().take(INTERVALS_MAX + 1);
        let day = intervals.map(|sent| interval_in(sent.opens_minute, sent.closes_minute));
        let mut day = day.collect::<Option<Vec<_>>>()?;
        day.sort_unstable();
        if !is_day(&day) || exceptions.insert(date, day).is_some() {
            return None;
        }
    }
    (exceptions.len() <= EXCEPTIONS_MAX).then_some(exceptions)
}

fn interval_in(opens: u32, closes: u32) -> Option<Interval> {
    Some(Interval { opens: opens.try_into().ok()?, closes: closes.try_into().ok()? })
}
