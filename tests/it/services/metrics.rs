//! What `/metrics` tells, by a server of its own: metrics belong to a process.

use stockroom::api::proto::{
    Channel, CreateReservationRequest, Location, MarkReadyRequest, PutChannelRequest,
    PutLocationRequest, movement_service_client::MovementServiceClient,
    network_service_client::NetworkServiceClient,
    reservation_service_client::ReservationServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{
    binary::{Binary, free_address},
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reservations_and_refusals_are_counted_by_channel_and_never_by_item() {
    let http = free_address().await.to_string();
    let server =
        Binary::start_and(&migrated_database().await, &["--http-listen", &http], &[]).await;
    let connection = || server.connection();
    let mut network = NetworkServiceClient::new(connection());
    let location = Location { location_id: "berlin-mitte".to_owned(), ..Location::default() };
    network.put_location(PutLocationRequest { location: Some(location) }).await.unwrap();
    let channel = Channel { channel_id: "web-shop".to_owned(), name: String::new() };
    network.put_channel(PutChannelRequest { channel: Some(channel) }).await.unwrap();
    let received = put_request("till-1", vec![receipt("r", "berlin-mitte", "plum-jam", 3)]);
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
    let expected = [
        r#"stockroom_reservation_steps_total{channel="web-shop",step="made"} 1"#,
        r#"stockroom_reservation_steps_total{channel="web-shop",step="ready"} 1"#,
        "stockroom_time_to_ready_seconds_count 1",
        r#"stockroom_stock_refusals_total{channel="web-shop"} 1"#,
        r#"stockroom_broken_promises_total{channel="web-shop"} 1"#,
        r#"stockroom_short_picked_units_total{channel="web-shop"} 2"#,
        r#"stockroom_movements_total{status="recorded"} 1"#,
    ];
    let told = eventually("everything is counted", || async {
        let told = metrics(&http).await;
        let has = |line: &&str| told.lines().any(|found| found == *line);
        expected.iter().all(has).then_some(told)
    })
    .await;
    for name in ["plum-jam", "berlin-mitte", "till-1", &made] {
        assert!(!told.contains(name), "{name} is not bounded: {told}");
    }
}
