//! Servers that stop and start while others go on.
#![expect(clippy::disallowed_types, reason = "a client that calls again")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::join_all;
use stockroom::api::proto::{
    GetReservationRequest, reservation_service_client::ReservationServiceClient,
};
use tonic::{Code, Request, Status, transport::Channel};

use crate::harness::{
    binary::Binary,
    databases,
    movements::{Became as _, receipt},
    reservations::{create, line},
    server::{Server, migrated_database},
};

/// Who calls all the time.
const CLIENTS: usize = 6;
/// Attempts of one request; with the pauses between them, more than a restart takes.
const ATTEMPTS: usize = 400;
/// Calls that each client makes at least.
const CALLS_MIN: usize = 20;

/// Reserves one unit, at one server or the other, until it is known.
async fn reserve(connections: &[Channel; 2], client: usize, number: usize) -> String {
    let key = format!("k{client}-{number}");
    for attempt in 0..ATTEMPTS {
        let mut request = Request::new(create(&key, "berlin", vec![line("jam", 1)]));
        request.set_timeout(Duration::from_secs(5));
        let connection = connections[(client + attempt) % 2].clone();
        match ReservationServiceClient::new(connection).create_reservation(request).await {
            Ok(made) => return made.into_inner().reservation.unwrap().reservation_id,
            Err(status) if may_call_again(&status) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(status) => panic!("{key}: {status:?}"),
        }
    }
    panic!("{key} was never answered");
}

/// What a client that follows the contract tries again, with the same key.
fn may_call_again(status: &Status) -> bool {
    // The last two are how this client names a connection that has ended.
    matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
    )
}

#[tokio::test]
async fn a_rolling_restart_under_load_loses_nothing_that_a_client_would_notice() {
    let url = migrated_database().await;
    let look = Server::start_on(&url).await;
    look.put_locations(&["berlin"]).await;
    look.record_one(receipt("r", "berlin", "jam", 1_000_000)).await.recorded();
    let (mut one, mut two) = (Binary::start(&url).await, Binary::start(&url).await);
    let connections = [one.connection(), two.connection()];
    let over = AtomicBool::new(false);
    let clients = (0..CLIENTS).map(|client| {
        let (connections, over) = (&connections, &over);
        async move {
            let mut made = Vec::new();
            while made.len() < CALLS_MIN || !over.load(Ordering::Relaxed) {
                made.push(reserve(connections, client, made.len()).await);
            }
            made
        }
    });
    let rolling = async {
        for server in [&mut one, &mut two] {
            assert_eq!(server.terminate().await, Some(0));
            server.restart().await;
        }
        over.store(true, Ordering::Relaxed);
    };
    let (made, ()) = tokio::join!(join_all(clients), rolling);
    let made: Vec<_> = made.into_iter().flatten().collect();
    let position = look.position("berlin", "jam").await;
    assert_eq!(usize::try_from(position.reserved), Ok(made.len()), "each once");
    for id in &made {
        let request = GetReservationRequest { reservation_id: id.clone() };
        look.reservations().get_reservation(request).await.unwrap();
    }
    let verified = look.ledger.verify(None, |_| ()).await.unwrap();
    assert_eq!(verified.difference, None);
}

/// Applies to a database what a newer version would bring.
async fn upgrade(url: &str, version: i64) {
    let migration = format!(
        "create table tomorrow (id bigint primary key);
         alter table ledger_entry add column tomorrow bigint not null default 7;
         alter table reservation add column tomorrow text;
         insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values ({version}, 'tomorrow', true, '', 0)"
    );
    databases::execute(url, &migration).await;
}

#[tokio::test]
async fn a_server_works_beside_a_newer_one_that_has_added_to_the_schema() {
    let url = migrated_database().await;
    let before = Server::start_on(&url).await;
    before.put_locations(&["berlin"]).await;
    before.record_one(receipt("a", "berlin", "jam", 5)).await.recorded();
    upgrade(&url, 999).await;
    before.record_one(receipt("b", "berlin", "jam", 5)).await.recorded();
    before.reserve("c", "berlin", "jam", 1).await.unwrap();
    let after = Binary::start(&url).await;
    let mut client = ReservationServiceClient::new(after.connection());
    client.create_reservation(create("d", "berlin", vec![line("jam", 2)])).await.unwrap();
    assert_eq!(before.position("berlin", "jam").await.reserved, 3);
    let verified = before.ledger.verify(None, |_| ()).await.unwrap();
    assert_eq!(verified.difference, None);
}

#[tokio::test]
async fn a_server_refuses_a_schema_from_which_something_was_taken_away() {
    let url = migrated_database().await;
    let server = Server::start_on(&url).await;
    server.ledger.check_schema().await.unwrap();
    upgrade(&url, 1_000).await;
    let fault = server.ledger.check_schema().await.unwrap_err();
    assert!(fault.chain().contains("1000"), "{}", fault.chain());
}
