//! F28: deadlines in the location's own zone, on the days of 23 and of 25 hours.

use jiff::{
    SignedDuration, Timestamp, Zoned,
    civil::{Date, Weekday},
    tz::TimeZone,
};
use stockroom::api::proto::{
    ChannelPolicy, CreateReservationRequest, Location, OpeningException, OpeningHours,
    PutChannelPolicyRequest, PutLocationRequest, Reservation, Settlement,
};

use crate::harness::{
    movements::{Became as _, receipt},
    reservations::{create, line, micros, seconds},
    server::Server,
};

const SUNDAY: i32 = 7;
const MONDAY: i32 = 1;

/// The next Sunday of so many hours that has not begun yet.
fn sunday_of(zone: &TimeZone, hours: i64) -> Date {
    let today = Timestamp::now().to_zoned(zone.clone()).date();
    let mut days =
        std::iter::successors(Some(today.tomorrow().unwrap()), |day| day.tomorrow().ok());
    let length = |day: Date| {
        let begin = |day: Date| day.to_zoned(zone.clone()).unwrap().timestamp();
        begin(day.tomorrow().unwrap()).duration_since(begin(day))
    };
    let wanted = SignedDuration::from_hours(hours);
    let found = days.find(|day| length(*day) == wanted && day.weekday() == Weekday::Sunday);
    found.expect("clocks change every year")
}

fn hours(weekday: i32, opens_minute: u32, closes_minute: u32) -> OpeningHours {
    OpeningHours { weekday, opens_minute, closes_minute }
}

/// Opens first on that Sunday, from midnight to midnight, and on the Monday after it from 9 to 18.
fn shop(zone: &str, sunday: Date) -> Location {
    let zone_of = TimeZone::get(zone).unwrap();
    let today = Timestamp::now().to_zoned(zone_of).date();
    let days = std::iter::successors(Some(today), |day| day.tomorrow().ok());
    let closed = days
        .take_while(|day| *day < sunday)
        .filter(|day| matches!(day.weekday(), Weekday::Sunday | Weekday::Monday));
    let closed =
        closed.map(|day| OpeningException { date: day.to_string(), intervals: Vec::new() });
    Location {
        location_id: "shop".to_owned(),
        time_zone: zone.to_owned(),
        opening_hours: vec![hours(SUNDAY, 0, 1_440), hours(MONDAY, 540, 1_080)],
        opening_exceptions: closed.collect(),
        preparation_time: seconds(4 * 3_600),
        ..Location::default()
    }
}

fn shown(micros: i64, zone: &str) -> Zoned {
    Timestamp::from_microsecond(micros).unwrap().to_zoned(TimeZone::get(zone).unwrap())
}

async fn reserve(server: &Server, key: &str, settlement: Settlement) -> Reservation {
    let request = create(key, "shop", vec![line("jam", 1)]);
    let request = CreateReservationRequest {
        channel_id: "web".to_owned(),
        settlement: settlement as i32,
        ..request
    };
    server.create(request).await.unwrap()
}

/// What is ordered now is prepared on that Sunday: four hours after midnight, whatever the clock says
/// by then, and can be collected until its last hour, or until the shop closes on the Monday.
async fn on_a_day_of(hours: i64, zone: &str, ready_hour: i8) {
    let server = Server::start_honest().await;
    let sunday = sunday_of(&TimeZone::get(zone).unwrap(), hours);
    let request = PutLocationRequest { location: Some(shop(zone, sunday)) };
    server.network().put_location(request).await.unwrap();
    server.put_channel("web").await;
    let policy = ChannelPolicy {
        channel_id: "web".to_owned(),
        collect_days_paid_online: Some(0),
        collect_days_pay_in_store: Some(1),
        answer_timeout: seconds(3 * 3_600),
        ..ChannelPolicy::default()
    };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
    server.record_one(receipt("r", "shop", "jam", 2)).await.recorded();

    let paid = reserve(&server, "k1", Settlement::PaidOnline).await;
    let midnight = sunday.to_zoned(TimeZone::get(zone).unwrap()).unwrap();
    let begins = midnight.timestamp().as_microsecond();
    let after = |time| (micros(time) - begins) as f64 / 3_600_000_000.0;
    let case = format!("{zone} on {sunday}");
    assert_eq!(after(paid.ready_by), 4.0, "{case}: four hours of work");
    let ready = shown(micros(paid.ready_by), zone);
    assert_eq!((ready.date(), ready.hour(), ready.minute()), (sunday, ready_hour, 0), "{case}");
    assert_eq!(after(paid.answer_by), 3.0, "{case}: three hours to answer");
    assert_eq!(after(paid.collect_by), hours as f64, "{case}: until its end");
    assert_eq!(paid.collect_by, paid.expires_at);
    let closes = shown(micros(paid.collect_by), zone);
    assert_eq!((closes.date(), closes.hour()), (sunday.tomorrow().unwrap(), 0), "{case}");

    let unpaid = reserve(&server, "k2", Settlement::PayInStore).await;
    assert_eq!(unpaid.ready_by, paid.ready_by);
    let closes = shown(micros(unpaid.collect_by), zone);
    assert_eq!((closes.date(), closes.hour()), (sunday.tomorrow().unwrap(), 18), "{case}");
    assert_eq!(after(unpaid.collect_by), hours as f64 + 18.0, "{case}");
    server.stop().await;
}

#[tokio::test]
async fn f28_on_a_day_of_23_hours_four_hours_end_at_5_o_clock() {
    on_a_day_of(23, "Europe/Berlin", 5).await;
    on_a_day_of(23, "America/New_York", 5).await;
}

#[tokio::test]
async fn f28_on_a_day_of_25_hours_four_hours_end_at_3_o_clock() {
    on_a_day_of(25, "Europe/Berlin", 3).await;
    on_a_day_of(25, "America/New_York", 3).await;
}

/// A time to live is counted in seconds and wins over opening hours.
#[tokio::test]
async fn f28_a_time_to_live_knows_no_opening_hours() {
    let server = Server::start_honest().await;
    let sunday = sunday_of(&TimeZone::get("Europe/Berlin").unwrap(), 23);
    let request = PutLocationRequest { location: Some(shop("Europe/Berlin", sunday)) };
    server.network().put_location(request).await.unwrap();
    server.record_one(receipt("r", "shop", "jam", 2)).await.recorded();
    let request = create("k1", "shop", vec![line("jam", 1)]);
    let request = CreateReservationRequest { ttl: seconds(31 * 86_400), ..request };
    let made = server.create(request).await.unwrap();
    assert_eq!(micros(made.collect_by) - micros(made.created_at), 31 * 86_400_000_000);
    assert_eq!(shown(micros(made.ready_by), "Europe/Berlin").date(), sunday);
}
