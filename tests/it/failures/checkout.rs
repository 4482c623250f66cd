//! F30: the promise breaks at check-out.

use stockroom::api::proto::{CheckAvailabilityRequest, CreateReservationRequest, ReservationState};

use crate::harness::{
    availability::check,
    errors::explained,
    movements::{receipt, sale},
    reservations::{create, line, pick},
    server::Server,
};

/// What a buyer who has come to the check-out is told, having seen `token`.
async fn told(server: &Server, hold: &str, reservation: &str, token: &str) -> i64 {
    let request = CheckAvailabilityRequest {
        hold_id: hold.to_owned(),
        reservation_id: reservation.to_owned(),
        min_token: token.to_owned(),
        ..check("berlin", "jam")
    };
    server.check(request).await.unwrap().available
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f30_a_check_at_the_check_out_says_the_truth_when_another_buyer_was_quicker() {
    let server = Server::start_honest().await;
    server.put_locations(&["berlin"]).await;
    let token = server.record(vec![receipt("r", "berlin", "jam", 1)]).await.token;
    assert_eq!(told(&server, "", "", &token).await, 1, "both buyers see the last one");
    let request = create("quicker", "berlin", vec![line("jam", 1)]);
    let made = server.reservations().create_reservation(request).await.unwrap().into_inner();
    assert_eq!(told(&server, "", "", &made.token).await, 0, "the slower one is told");
    let own = made.reservation.unwrap().reservation_id;
    assert_eq!(told(&server, "", &own, &made.token).await, 1, "his own promise counts for himself");
    let refused = server.reserve("slower", "berlin", "jam", 1).await.unwrap_err();
    explained(&refused, tonic::Code::FailedPrecondition, "INSUFFICIENT_STOCK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f30_what_is_held_in_a_cart_is_still_there_at_the_check_out_and_for_nobody_else() {
    let server = Server::start_honest().await;
    server.put_locations(&["berlin"]).await;
    server.record(vec![receipt("r", "berlin", "jam", 1)]).await;
    server.caught_up().await;
    let (hold, _) = server.hold_one("cart", "berlin", "jam", 1).await.unwrap();
    let hold = hold.hold_id;
    assert_eq!(told(&server, "", "", "").await, 0);
    assert_eq!(told(&server, &hold, "", "").await, 1);
    server.reserve("another", "berlin", "jam", 1).await.unwrap_err();
    // A till sells it to somebody who stands before it: nothing is left to be promised.
    let token = server.record(vec![sale("s", "berlin", "jam", 1)]).await.token;
    assert_eq!(told(&server, &hold, "", &token).await, 0);
    let request = create("mine", "berlin", Vec::new());
    let request = CreateReservationRequest { hold_id: hold, ..request };
    let refused = server.create(request).await.unwrap_err();
    explained(&refused, tonic::Code::FailedPrecondition, "INSUFFICIENT_STOCK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f30_a_broken_promise_is_counted_once() {
    let server = Server::start_honest().await;
    server.put_locations(&["berlin"]).await;
    server.record(vec![receipt("r", "berlin", "jam", 1)]).await;
    let promised = server.reserve("k", "berlin", "jam", 1).await.unwrap().reservation_id;
    assert_eq!(server.total().await.broken_promises, 0);
    let token = server.record(vec![sale("s", "berlin", "jam", 1)]).await.token;
    assert_eq!(told(&server, "", &promised, &token).await, 0, "a check says that it is gone");
    let answer = server.pick(pick("p", &promised, &[("jam", 0, "mismatch")])).await.unwrap();
    assert_eq!(answer.reservation.unwrap().state(), ReservationState::Rejected);
    let total = server.total().await;
    assert_eq!((total.made, total.rejected, total.broken_promises), (1, 1, 1), "{total:?}");
    assert_eq!((total.short_picked_lines, total.short_picked_units), (1, 1));
}
