//! Who guesses, and who wants too much.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::api::proto::ListReservationsRequest;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    errors::explained,
    movements::{Became as _, receipt},
    reservations::collection,
    server::Server,
};

/// Wrong codes at one location, at once.
const WRONG_CODES: usize = 20;

async fn shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin", "hamburg"]).await;
    server.record_one(receipt("r", "berlin", "jam", 50)).await.recorded();
    server
}

async fn look_up(server: &Server, location_id: &str, code: &str) -> Result<usize, Status> {
    let request = ListReservationsRequest {
        location_id: location_id.to_owned(),
        pickup_code: code.to_owned(),
        ..ListReservationsRequest::default()
    };
    Ok(server.list(request).await?.reservations.len())
}

fn is_limited(status: &Status) {
    explained(status, Code::ResourceExhausted, "PICKUP_LOOKUPS_LIMITED");
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((1..=6).contains(&(wait.as_secs() + 1)), "{wait:?}");
}

#[tokio::test]
async fn who_guesses_pickup_codes_has_to_wait_and_who_knows_them_has_not() {
    let server = shop().await;
    let made = server.reserve("k", "berlin", "jam", 1).await.unwrap();
    for _ in 0..2 * WRONG_CODES {
        assert_eq!(look_up(&server, "berlin", &made.pickup_code).await.unwrap(), 1);
    }
    for guess in 0..WRONG_CODES {
        assert_eq!(look_up(&server, "berlin", &format!("0000{guess:04}")).await.unwrap(), 0);
    }
    is_limited(&look_up(&server, "berlin", &made.pickup_code).await.unwrap_err());
    let collect = collection("c", &made.reservation_id, &made.pickup_code);
    is_limited(&server.reservations().collect_reservation(collect).await.unwrap_err());
    assert_eq!(look_up(&server, "hamburg", "00000000").await.unwrap(), 0, "elsewhere it may");
    let collect = collection("c", &made.reservation_id, "");
    server.reservations().collect_reservation(collect).await.expect("no code is no guess");
}

#[tokio::test]
async fn a_wrong_code_for_a_collection_is_a_guess() {
    let server = shop().await;
    let made = server.reserve("k", "berlin", "jam", 1).await.unwrap();
    let collect = |key: &str, code: &str| {
        let request = collection(key, &made.reservation_id, code);
        let mut client = server.reservations();
        async move { client.collect_reservation(request).await }
    };
    for guess in 0..WRONG_CODES {
        let wrong = collect(&format!("w{guess}"), &format!("0000{guess:04}")).await.unwrap_err();
        explained(&wrong, Code::FailedPrecondition, "PICKUP_CODE_WRONG");
    }
    is_limited(&collect("right", &made.pickup_code).await.unwrap_err());
}
