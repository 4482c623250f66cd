//! What `/metrics` tells, by a server of its own: metrics belong to a process.
#![expect(clippy::disallowed_types, reason = "the tests hold a transaction open")]

use std::time::SystemTime;

use sqlx::{Connection as _, PgConnection};
use stockroom::{
    api::proto::{
        Channel, CreateReservationRequest, HoldStockRequest, Location, MarkReadyRequest, Movement,
        PutChannelRequest, PutLocationRequest, movement_service_client::MovementServiceClient,
        network_service_client::NetworkServiceClient,
        reservation_service_client::ReservationServiceClient,
    },
    telemetry::metrics::METRICS,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    binary::{Binary, free_address},
    holds::hold,
    movements::{put_request, receipt},
    reservations::{create, line, pick},
    server::{eventually, migrated_database},
};

async fn metrics(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub async fn put_location(server: &Binary, location_id: &str) {
    let mut network = NetworkServiceClient::new(server.connection());
    let location = Location { location_id: location_id.to_owned(), ..Location::default() };
    network.put_location(PutLocationRequest { location: Some(location) }).await.unwrap();
}

/// What calls and refusals of one channel are counted as.
const COUNTED: [&str; 16] = [
    r#"stockroom_calls_total{method="MovementService/RecordMovements",code="OK"} 1"#,
    r#"stockroom_calls_total{method="ReservationService/CreateReservation",code="OK"} 2"#,
    r#"stockroom_call_duration_seconds_count{method="ReservationService/MarkReady"} 1"#,
    r#"stockroom_refusals_total{request="reservation",reason="INSUFFICIENT_STOCK"} 1"#,
    r#"stockroom_refusals_total{request="hold",reason="INSUFFICIENT_STOCK"} 1"#,
    r#"stockroom_database_up{database="postgresql"} 1"#,
    r#"stockroom_pool_connections_max{pool="followers"} 4"#,
    "stockroom_source_lag_seconds_count 1",
    "stockroom_sources_heard 1",
    r#"stockroom_reservation_steps_total{channel="web-shop",step="made"} 1"#,
    r#"stockroom_reservation_steps_total{channel="web-shop",step="ready"} 1"#,
    "stockroom_time_to_ready_seconds_count 1",
    r#"stockroom_stock_refusals_total{channel="web-shop"} 2"#,
    r#"stockroom_broken_promises_total{channel="web-shop"} 1"#,
    r#"stockroom_short_picked_units_total{channel="web-shop"} 2"#,
    r#"stockroom_movements_total{status="recorded"} 1"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservations_and_refusals_are_counted_by_channel_and_never_by_item() {
    let http = free_address().await.to_string();
    let server =
        Binary::start_and(&migrated_database().await, &["--http-listen", &http], &[]).await;
    let connection = || server.connection();
    let mut network = NetworkServiceClient::new(connection());
    put_location(&server, "berlin-mitte").await;
    let channel = Channel { channel_id: "web-shop".to_owned(), name: String::new() };
    network.put_channel(PutChannelRequest { channel: Some(channel) }).await.unwrap();
    let occurred_at = Some(SystemTime::now().into());
    let received = Movement { occurred_at, ..receipt("r", "berlin-mitte", "plum-jam", 3) };
    let received = put_request("till-1", vec![received]);
    MovementServiceClient::new(connection()).record_movements(received).await.unwrap();
    let mut reservations = ReservationServiceClient::new(connection());
    let ask = |key: &str, quantity| CreateReservationRequest {
        channel_id: "web-shop".to_owned(),
        ..create(key, "berlin-mitte", vec![line("plum-jam", quantity)])
    };
    let made = reservations.create_reservation(ask("k1", 3)).await.unwrap().into_inner();
    let made = made.reservation.unwrap().reservation_id;
    let again = reservations.create_reservation(ask("k1", 3)).await.unwrap().into_inner();
    assert_eq!(again.reservation.unwrap().reservation_id, made, "a replay makes nothing");
    reservations.create_reservation(ask("k2", 1)).await.unwrap_err();
    let found = pick("p", &made, &[("plum-jam", 1, "not_found")]);
    reservations.report_pick(found).await.unwrap();
    let ready = MarkReadyRequest {
        request_id: "m".to_owned(),
        reservation_id: made.clone(),
        ..MarkReadyRequest::default()
    };
    reservations.mark_ready(ready).await.unwrap();
    let asked = hold("h", "berlin-mitte", vec![line("plum-jam", 9)]);
    let asked = HoldStockRequest { channel_id: "web-shop".to_owned(), ..asked };
    reservations.hold_stock(asked).await.unwrap_err();
    let told = eventually("everything is counted", || async {
        let told = metrics(&http).await;
        let has = |line: &&str| told.lines().any(|found| found == *line);
        COUNTED.iter().all(has).then_some(told)
    })
    .await;
    for name in ["plum-jam", "berlin-mitte", "till-1", &made] {
        assert!(!told.contains(name), "{name} is not bounded: {told}");
    }
    are_in_the_table(&told);
    for name in [
        "stockroom_entries_written_total",
        "stockroom_batch_wait_seconds_count",
        "stockroom_lock_wait_seconds_count",
    ] {
        assert!(value(&told, name) >= 1.0, "{name}: {told}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(told.contains(&format!("stockroom_build_info{{version=\"{version}\"")), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_exports_of_anchors_are_counted_before_there_is_one() {
    let http = free_address().await.to_string();
    let _server =
        Binary::start_and(&migrated_database().await, &["--http-listen", &http], &[]).await;
    let told = metrics(&http).await;
    let failed = r#"stockroom_anchor_exports_total{outcome="failed"} 0"#;
    assert!(told.lines().any(|line| line == failed), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_holds_and_whoever_keeps_the_database_from_tidying_up_are_seen() {
    let http = free_address().await.to_string();
    let database = migrated_database().await;
    let server = Binary::start_and(&database, &["--http-listen", &http], &[]).await;
    put_location(&server, "berlin-mitte").await;
    let received = put_request("till-1", vec![receipt("r", "berlin-mitte", "plum-jam", 3)]);
    MovementServiceClient::new(server.connection()).record_movements(received).await.unwrap();
    let mut idle = PgConnection::connect(&database).await.unwrap();
    let begin = "begin; create table kept (); select 1";
    sqlx::raw_sql(begin).execute(&mut idle).await.unwrap();
    let mut reservations = ReservationServiceClient::new(server.connection());
    let asked = hold("h", "berlin-mitte", vec![line("plum-jam", 1)]);
    reservations.hold_stock(asked).await.unwrap();
    eventually("they are seen", || async {
        let told = metrics(&http).await;
        // Where the tests run without Redis the ledger keeps the hold.
        let up = r#"stockroom_database_up{database="redis"}"#;
        let holds = value(&told, up) < 1.0 || value(&told, "stockroom_live_holds") >= 1.0;
        let open = value(&told, "stockroom_oldest_transaction_seconds");
        (holds && open > 0.0).then_some(())
    })
    .await;
    sqlx::raw_sql("rollback").execute(&mut idle).await.unwrap();
}

/// The value of a series; 0: it is not there.
fn value(told: &str, series: &str) -> f64 {
    let line = told.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Everything that is exported is in the table, with its kind, its labels and its sentence.
fn are_in_the_table(told: &str) {
    let lines_of = |begin: &'static str| told.lines().filter_map(move |l| l.strip_prefix(begin));
    let types: Vec<_> = lines_of("# TYPE ").filter_map(|line| line.split_once(' ')).collect();
    assert!(types.len() > 20, "{told}");
    for (name, kind) in types {
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(kind, metric.kind.name(), "{name}");
        let help = lines_of("# HELP ").filter_map(|line| line.split_once(' '));
        let help: Vec<_> = help.filter(|(of, _)| *of == name).map(|(_, help)| help).collect();
        assert_eq!(help, [metric.help], "{name}");
        let series = told.lines().filter_map(|line| line.strip_prefix(name)?.split_once('{'));
        let series = series.filter(|(rest, _)| ["", "_bucket"].contains(rest));
        let labels = series.filter_map(|(_, labels)| labels.split_once('}'));
        for label in labels.flat_map(|(labels, _)| labels.split("\",")) {
            let (label, _) = label.split_once('=').unwrap();
            let known = metric.labels.contains(&label) || label == "le";
            assert!(known, "{name} has an unknown label {label}");
        }
    }
}
