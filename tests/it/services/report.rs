//! Figures by channel and location, from a day of everything.

use std::process::Command;

use stockroom::{
    api::proto::{
        CancelledBy, CreateReservationRequest, GetReportRequest, Movement, ReportGrouping,
        ReservationFigures, ReservationState, StockFigures,
    },
    ledger::figures::{Asked, TooManyEntries},
    stock::{figures::Grouping, time::Timestamp},
};
use tonic::Code;

use crate::harness::{
    errors::explained,
    holds::replace,
    movements::{at, receipt, seconds_from_now},
    reports::{ended, everything, last_hour},
    reservations::{create, line, micros, pick, seconds},
    server::{Server, eventually},
};

/// Reserves one jam through the channel `web`.
async fn order(server: &Server, key: &str, location_id: &str) -> String {
    let request = create(key, location_id, vec![line("jam", 1)]);
    let request = CreateReservationRequest { channel_id: "web".to_owned(), ..request };
    server.create(request).await.unwrap().reservation_id
}

/// Everything that may become of a reservation, once each, and at `berlin` unless it was moved.
async fn a_day(server: &Server) {
    server.put_channel("web").await;
    server.put_locations(&["berlin", "paris"]).await;
    server.record(["berlin", "paris"].map(|at| receipt("r", at, "jam", 100)).to_vec()).await;
    let collected = order(server, "collected", "berlin").await;
    server.start_picking("c1", &collected).await.unwrap();
    server.mark_ready("c2", &collected).await.unwrap();
    server.collect("c3", &collected).await.unwrap();
    let cancelled = order(server, "cancelled", "berlin").await;
    server.cancel("x1", &cancelled).await.unwrap();
    let late = order(server, "cancelled by the store", "berlin").await;
    server.start_picking("s1", &late).await.unwrap();
    server.cancel_by(CancelledBy::Store, "damaged", "s2", &late).await.unwrap();
    let rejected = order(server, "rejected", "berlin").await;
    server.cancel_by(CancelledBy::Store, "no_staff", "j1", &rejected).await.unwrap();
    let moved = order(server, "moved", "berlin").await;
    server.move_to("m1", &moved, "paris").await.unwrap();
    let short = create("short", "berlin", vec![line("jam", 3)]);
    let short = CreateReservationRequest { channel_id: "web".to_owned(), ..short };
    let short = server.create(short).await.unwrap().reservation_id;
    server.pick(pick("p1", &short, &[("jam", 1, "not_found")])).await.unwrap();
    let nothing = order(server, "nothing", "berlin").await;
    server.pick(pick("p2", &nothing, &[("jam", 0, "mismatch")])).await.unwrap();
    let expired = create("expired", "berlin", vec![line("jam", 1)]);
    let expired = CreateReservationRequest { ttl: seconds(1), ..expired };
    let expired = server.create(expired).await.unwrap().reservation_id;
    eventually("it has expired", || async {
        let state = server.get(&expired).await.state();
        (state == ReservationState::Expired).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_everything_adds_up() {
    let server = Server::start_honest().await;
    a_day(&server).await;
    let report = server.report(everything(ReportGrouping::Unspecified)).await.unwrap();
    let by = |channel: &str, location: &str| -> ReservationFigures {
        let mut rows = report.reservations.iter();
        let found = rows.find(|row| (&*row.channel_id, &*row.location_id) == (channel, location));
        found.cloned().unwrap_or_default()
    };
    let berlin = by("web", "berlin");
    let counts = (berlin.made, berlin.ready, berlin.collected, berlin.cancelled, berlin.rejected);
    assert_eq!(counts, (7, 1, 1, 2, 2), "{berlin:?}");
    assert_eq!((berlin.moved, berlin.moved_in, berlin.expired), (1, 0, 0));
    assert_eq!((berlin.short_picked_lines, berlin.short_picked_units), (2, 3));
    assert_eq!(berlin.broken_promises, 4, "by the store: given up, rejected; short; nothing found");
    let (cancelled, rejected, moved) = (
        ReservationState::Cancelled as i32,
        ReservationState::Rejected as i32,
        ReservationState::Moved as i32,
    );
    let mut ends = ended(&berlin.ends);
    ends.sort_unstable();
    let expected = [
        (cancelled, 1, "changed_mind", 1),
        (cancelled, 2, "damaged", 1),
        (rejected, 0, "mismatch", 1),
        (rejected, 0, "no_staff", 1),
        (moved, 0, "closer_to_home", 1),
    ];
    assert_eq!(ends, expected);
    let paris = by("web", "paris");
    assert_eq!((paris.made, paris.moved_in, paris.broken_promises), (0, 1, 0), "{paris:?}");
    let walk_in = by("", "berlin");
    assert_eq!((walk_in.made, walk_in.expired, walk_in.broken_promises), (1, 1, 1), "{walk_in:?}");
    assert_eq!(report.reservations.len(), 3, "{report:?}");
    let times = [berlin.time_to_ready.unwrap(), berlin.time_to_collect.unwrap()];
    assert!(times.iter().all(|times| times.count == 1 && times.p50 == times.max), "{times:?}");
    let total = server.total().await;
    assert_eq!((total.made, total.rejected, total.broken_promises), (8, 2, 5), "{total:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn periods_that_follow_each_other_add_up_whoever_is_asked() {
    let server = Server::start_honest().await;
    a_day(&server).await;
    let whole = server.report(everything(ReportGrouping::Total)).await.unwrap();
    let entries = server.entries().await;
    let other = Server::start_on(&server.database_url).await;
    let whole_of_other = other.report(everything(ReportGrouping::Total)).await.unwrap();
    assert_eq!(whole_of_other.reservations, whole.reservations, "from the ledger alone");
    assert_eq!(whole_of_other.entries, entries.len() as i64);
    // The end of the first part is the begin of the second one.
    for entry in entries.iter().step_by(3) {
        let first =
            GetReportRequest { until: entry.recorded_at, ..everything(ReportGrouping::Total) };
        let second =
            GetReportRequest { from: entry.recorded_at, ..everything(ReportGrouping::Total) };
        let first = server.report(first).await.unwrap();
        let second = server.report(second).await.unwrap();
        assert_eq!(first.entries + second.entries, whole.entries);
        let sum = |of: fn(&ReservationFigures) -> i64| {
            let [first, second] =
                [&first, &second].map(|report| report.reservations.first().map_or(0, of));
            assert_eq!(first + second, of(&whole.reservations[0]), "{entry:?}");
        };
        sum(|row| row.made);
        sum(|row| row.ready);
        sum(|row| row.collected);
        sum(|row| row.cancelled);
        sum(|row| row.rejected);
        sum(|row| row.expired);
        sum(|row| row.broken_promises);
        sum(|row| row.short_picked_units);
        let micros = |row: &ReservationFigures| {
            let times = [row.time_to_ready, row.time_to_collect].map(|times| {
                let max = times.and_then(|times| times.max).unwrap_or_default();
                max.seconds * 1_000_000 + i64::from(max.nanos) / 1_000
            });
            times[0] * 1_000_000 + times[1]
        };
        sum(micros);
    }
    let filtered = GetReportRequest {
        location_ids: vec!["paris".to_owned()],
        channel_ids: vec!["web".to_owned()],
        ..everything(ReportGrouping::Unspecified)
    };
    let filtered = server.report(filtered).await.unwrap();
    let [row] = &filtered.reservations[..] else { panic!("{filtered:?}") };
    assert_eq!((&*row.location_id, row.moved_in, row.made), ("paris", 1, 0));
    other.stop().await;
}

#[tokio::test]
async fn what_a_report_cannot_be_of_is_refused() {
    let server = Server::start().await;
    let refused = async |change: fn(&mut GetReportRequest), reason: &str, field: &str| {
        let mut request = everything(ReportGrouping::Unspecified);
        change(&mut request);
        let status = server.report(request).await.unwrap_err();
        let metadata = explained(&status, status.code(), reason);
        assert_eq!(metadata.get("field").map_or("", String::as_str), field, "{status:?}");
        status.code()
    };
    let invalid = [
        refused(|request| request.from = None, "TIME_INVALID", "from").await,
        refused(
            |request| request.until = Some(at("1999-01-01T00:00:00Z")),
            "TIME_INVALID",
            "until",
        )
        .await,
        refused(|request| request.grouping = 9, "FIELD_INVALID", "grouping").await,
        refused(
            |request| request.channel_ids = vec![String::new()],
            "IDENTIFIER_INVALID",
            "channel_ids",
        )
        .await,
        refused(
            |request| request.location_ids = vec!["x".to_owned(); 1_001],
            "FIELD_INVALID",
            "location_ids",
        )
        .await,
    ];
    assert_eq!(invalid, [Code::InvalidArgument; 5]);
    let unknown = [
        refused(
            |request| request.location_ids = vec!["atlantis".to_owned()],
            "LOCATION_UNKNOWN",
            "",
        )
        .await,
        refused(|request| request.channel_ids = vec!["telex".to_owned()], "CHANNEL_UNKNOWN", "")
            .await,
    ];
    assert_eq!(unknown, [Code::NotFound; 2]);
}

#[tokio::test]
async fn a_period_of_more_entries_than_a_report_may_have_is_not_read() {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    server.record(["berlin", "paris"].map(|at| receipt("r", at, "jam", 1)).to_vec()).await;
    let asked = |entries_max| Asked {
        from: Timestamp::Y2000,
        until: Timestamp::Y10000,
        grouping: Grouping { channel: true, location: true },
        channels: None,
        places: None,
        entries_max,
    };
    let report = server.ledger.report(asked(2)).await.unwrap().unwrap();
    assert_eq!(report.entries, 2);
    let refused = server.ledger.report(asked(1)).await.unwrap();
    assert_eq!(refused.unwrap_err(), TooManyEntries(2));
}

#[tokio::test]
async fn a_source_is_as_late_as_its_movements() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let late = |key: &str, seconds: i64| Movement {
        occurred_at: Some(seconds_from_now(-seconds)),
        ..receipt(key, "berlin", "jam", 1)
    };
    server.record_as("slow", vec![late("1", 7_200), late("2", 3_600)]).await;
    server.record_as("quick", vec![late("1", 0)]).await;
    let report = server.report(everything(ReportGrouping::Total)).await.unwrap();
    let lags = report.sources.iter().map(|row| {
        let lag = row.lag.unwrap();
        let seconds = |time: Option<prost_types::Duration>| time.unwrap().seconds;
        (&*row.source, lag.count, seconds(lag.max) / 600, seconds(row.newest_lag) / 600)
    });
    assert_eq!(lags.collect::<Vec<_>>(), [("slow", 2, 12, 6), ("quick", 1, 0, 0)]);
}

#[tokio::test]
async fn a_position_is_out_of_stock_while_nothing_of_it_can_be_promised() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.record(vec![receipt("r1", "berlin", "jam", 1), receipt("r2", "berlin", "tea", 5)]).await;
    server.reserve("k", "berlin", "jam", 1).await.unwrap();
    server.record(vec![receipt("r3", "berlin", "jam", 1)]).await;
    let entries = server.entries_of("berlin", "jam").await;
    let [received, reserved, again] = &entries[..] else { panic!("{entries:?}") };
    let out = micros(again.recorded_at) - micros(reserved.recorded_at);
    let minutes = |figures: &StockFigures| figures.out_of_stock_minutes * 60e6;
    let whole = server.stock_figures("berlin").await;
    assert!((minutes(&whole) - out as f64).abs() < 1.0, "{whole:?}, {out} us");
    // Two moments after which nothing happened to it but that it was out at the first.
    let within = async |from, until| {
        let request = GetReportRequest { from, until, ..everything(ReportGrouping::Location) };
        let report = server.report(request).await.unwrap();
        report.stock.first().map_or(0.0, minutes)
    };
    let later = |time: Option<prost_types::Timestamp>, micros: i32| {
        time.map(|time| prost_types::Timestamp { nanos: time.nanos + micros * 1_000, ..time })
    };
    let moment = within(later(reserved.recorded_at, 1), later(reserved.recorded_at, 3)).await;
    assert!((moment - 2.0).abs() < 0.01, "the state before counts, not only entries: {moment}");
    let before = within(received.recorded_at, reserved.recorded_at).await;
    assert!(before < 0.01, "{before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_counted_and_told_by_every_server() {
    let server = Server::start_honest().await;
    server.put_channel("web").await;
    server.put_locations(&["berlin", "paris"]).await;
    server.record(vec![receipt("r", "berlin", "jam", 1)]).await;
    server.caught_up().await;
    let lines = || vec![line("jam", 2), line("tea", 1)];
    let create =
        CreateReservationRequest { channel_id: "web".to_owned(), ..create("k", "berlin", lines()) };
    server.create(create.clone()).await.unwrap_err();
    server.create(create).await.unwrap_err();
    server.hold_one("h", "berlin", "jam", 2).await.unwrap_err();
    let (held, _) = server.hold_one("h2", "berlin", "jam", 1).await.unwrap();
    server.replace_hold(replace("h3", &held, vec![line("jam", 2)])).await.unwrap_err();
    let other = Server::start_on(&server.database_url).await;
    // What a server has not told yet it tells when it stops.
    server.stop().await;
    let report = other.report(last_hour(ReportGrouping::Unspecified)).await.unwrap();
    let told = report.reservations.iter().map(|row| {
        (&*row.channel_id, &*row.location_id, row.refusals, row.refused_lines, row.made)
    });
    let expected = [("", "berlin", 2, 2, 0), ("web", "berlin", 2, 4, 0)];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_tables_lines_and_an_object() {
    let server = Server::start_honest().await;
    a_day(&server).await;
    let address = format!("http://{}", server.address);
    let run = async |more: &'static [&'static str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command.args(["report", "--addr", &address]).args(more);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
        let output = output.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), error)
    };
    let (_, object, _) = run(&["--format", "json", "--by", "none"]).await;
    let object: serde_json::Value = serde_json::from_str(&object).unwrap();
    let row = &object["reservations"][0];
    assert_eq!((&row["made"], &row["broken_promises"]), (&8.into(), &5.into()), "{object}");
    assert_eq!(object["ends"].as_array().unwrap().len(), 6, "{object}");
    let (_, lines, _) = run(&["--format", "csv"]).await;
    for line in [
        "channel_id,location_id,source,figure,value",
        "web,berlin,,made,7",
        "web,berlin,,cancelled:customer:changed_mind,1",
        ",,till-1,movements,2",
    ] {
        assert!(lines.lines().any(|found| found == line), "{line} in {lines}");
    }
    let (_, tables, _) = run(&["--location", "paris"]).await;
    assert!(tables.contains("paris") && !tables.contains("berlin"), "{tables}");
    let (ok, _, error) = run(&["--location", "atlantis"]).await;
    assert!(!ok && error.contains("atlantis"), "{error}");
}
