//! F1, F2, F3: the store does not find what was promised, not all of it, or does not answer at all.

use stockroom::api::proto::{
    ChannelPolicy, CreateReservationRequest, Location, MovementKind, PutChannelPolicyRequest,
    PutLocationRequest, Reservation, ReservationState, StockState, UnansweredAction,
};
use tonic::Code;

use crate::harness::{
    errors::explained,
    movements::{Became as _, count, receipt},
    reservations::{create, line, micros, pick, seconds},
    server::{Server, eventually},
};

/// Shops on a line to the east, each farther from the first.
const SHOPS: [&str; 8] = ["here", "next", "far", "farther", "e", "f", "g", "h"];
/// Where nobody may collect.
const DEPOT: &str = "depot";

/// Shops with coordinates and so many units of jam; and a depot with plenty, next to the first of them.
async fn shops(stock: &[(&str, i64)]) -> Server {
    let server = Server::start_honest().await;
    let at = |number: usize| 13.0 + number as f64 / 10.0;
    let shops = SHOPS.iter().enumerate().map(|(number, shop)| (*shop, at(number)));
    for (location_id, longitude) in shops.chain([(DEPOT, 13.01)]) {
        let location = Location {
            location_id: location_id.to_owned(),
            latitude: Some(52.0),
            longitude: Some(longitude),
            pickup_enabled: location_id != DEPOT,
            ..Location::default()
        };
        let request = PutLocationRequest { location: Some(location) };
        server.network().put_location(request).await.unwrap();
    }
    for &(shop, units) in stock.iter().chain(&[(DEPOT, 50)]) {
        server.record_one(receipt("r", shop, "jam", units)).await.recorded();
    }
    server.caught_up().await;
    server
}

async fn put_policy(server: &Server, policy: ChannelPolicy) {
    server.put_channel("web").await;
    let policy = ChannelPolicy { channel_id: "web".to_owned(), ..policy };
    let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
    server.network().put_channel_policy(request).await.unwrap();
}

/// Three units of jam through the channel.
async fn reserve(server: &Server, request_id: &str) -> Reservation {
    let request = create(request_id, "here", vec![line("jam", 3)]);
    let channel_id = "web".to_owned();
    server.create(CreateReservationRequest { channel_id, ..request }).await.unwrap()
}

async fn becomes(server: &Server, id: &str, state: ReservationState) -> Reservation {
    eventually("the store's time is up", || async {
        let made = server.get(id).await;
        (made.state() == state).then_some(made)
    })
    .await
}

#[tokio::test]
async fn f1_nothing_found_is_rejected_doubtful_and_the_nearest_with_stock_are_proposed() {
    let all = SHOPS.map(|shop| (shop, 5));
    let server = shops(&all).await;
    // One that is near and has too little.
    server.reserve("k0", "next", "jam", 3).await.unwrap();
    let made = server.reserve("k1", "here", "jam", 3).await.unwrap();
    server.caught_up().await;
    let report = pick("k2", &made.reservation_id, &[("jam", 0, "")]);
    let told = server.pick(report.clone()).await.unwrap();
    let rejected = told.reservation.clone().unwrap();
    assert_eq!(rejected.state(), ReservationState::Rejected);
    assert_eq!(rejected.reason, "not_found");
    let proposed: Vec<_> = told.proposed_locations.iter().map(|near| &*near.location_id).collect();
    assert_eq!(proposed, ["far", "farther", "e", "f", "g"], "five, nearest first");
    let distances: Vec<_> = told.proposed_locations.iter().map(|near| near.distance_m).collect();
    assert!(distances.is_sorted() && (13_000.0..14_500.0).contains(&distances[0]), "{distances:?}");
    // What nobody found is written off, and nobody trusts the rest until it was counted.
    assert_eq!(server.balances("here", "jam").await, (2, 0, 0));
    assert!(server.explain("here", "jam").await.doubtful);
    let again = server.pick(report).await.unwrap();
    assert_eq!(again.reservation, told.reservation, "the first answer");
    assert_eq!(again.proposed_locations, told.proposed_locations);
    server.record_one(count("c", "here", "jam", 4)).await.recorded();
    assert!(!server.explain("here", "jam").await.doubtful);
}

#[tokio::test]
async fn f1_nothing_found_moves_to_the_nearest_where_the_channel_wants_that() {
    let server = shops(&[("here", 3), ("far", 3), ("farther", 9)]).await;
    let unanswered = UnansweredAction::Move as i32;
    put_policy(&server, ChannelPolicy { unanswered, ..ChannelPolicy::default() }).await;
    let made = reserve(&server, "k1").await;
    let report = pick("k2", &made.reservation_id, &[("jam", 0, "")]);
    let told = server.pick(report.clone()).await.unwrap();
    let successor = told.reservation.clone().unwrap();
    assert_eq!((&*successor.location_id, successor.state()), ("far", ReservationState::Reserved));
    assert_eq!(successor.predecessor_id, made.reservation_id);
    assert_eq!(server.balances("here", "jam").await, (0, 0, 0));
    assert_eq!(server.balances("far", "jam").await, (3, 0, 3));
    server.cancel("k3", &successor.reservation_id).await.unwrap();
    let again = server.pick(report).await.unwrap();
    assert_eq!(again.reservation.unwrap(), successor, "the first answer, whatever happened since");

    // Nobody else has it any more: it is rejected.
    server.reserve("k4", "far", "jam", 3).await.unwrap();
    server.reserve("k5", "farther", "jam", 9).await.unwrap();
    server.record_one(receipt("r2", "here", "jam", 3)).await.recorded();
    server.caught_up().await;
    let made = reserve(&server, "k6").await;
    let told = server.pick(pick("k7", &made.reservation_id, &[("jam", 0, "damaged")])).await;
    let told = told.unwrap();
    assert_eq!(told.reservation.unwrap().state(), ReservationState::Rejected);
    assert_eq!(told.proposed_locations, []);
}

#[tokio::test]
async fn f2_the_reservation_shrinks_to_what_was_found() {
    for (reason, sellable, blocked) in [("not_found", 4, 0), ("damaged", 4, 2), ("mismatch", 6, 0)]
    {
        let server = shops(&[("here", 9)]).await;
        server.record_one(receipt("r2", "here", "tea", 4)).await.recorded();
        let request = create("k1", "here", vec![line("jam", 5), line("tea", 2)]);
        let made = server.create(request).await.unwrap();
        let id = &made.reservation_id;
        let shrunk = server.report_pick("k2", id, &[("jam", 3, reason)]).await.unwrap();
        assert_eq!(shrunk.state(), ReservationState::Picking, "{reason}");
        assert_eq!((shrunk.lines[0].quantity, shrunk.lines[0].picked), (3, 3), "{reason}");
        assert_eq!((shrunk.lines[1].quantity, shrunk.lines[1].picked), (2, 0), "{reason}");
        assert_eq!(server.balances("here", "jam").await, (sellable, 3, 0), "{reason}");
        assert_eq!(server.position("here", "jam").await.blocked, blocked, "{reason}");
        assert_eq!(server.balances("here", "tea").await, (4, 0, 2), "{reason}");
        assert!(server.explain("here", "jam").await.doubtful, "{reason}");
        assert!(!server.explain("here", "tea").await.doubtful, "{reason}");
        let refused = server.report_pick("k3", id, &[("jam", 1, "")]).await.unwrap_err();
        let told = explained(&refused, Code::FailedPrecondition, "LINE_EXCEEDED");
        assert_eq!((&*told["sku"], &*told["left"]), ("jam", "0"), "what was reported is final");
        // What nobody reported was found.
        let ready = server.mark_ready("k4", id).await.unwrap();
        assert_eq!(ready.lines.iter().map(|line| line.picked).collect::<Vec<_>>(), [3, 2]);
        let collected = server.collect("k5", id).await.unwrap();
        assert_eq!(collected.state(), ReservationState::Collected);
        assert_eq!(server.balances("here", "jam").await, (sellable, 0, 0), "{reason}");
        assert_eq!(server.balances("here", "tea").await, (2, 0, 0), "{reason}");
    }
}

/// One batch: whoever sees one of its entries sees all of them.
#[tokio::test]
async fn f2_a_short_pick_is_one_step_of_the_ledger() {
    let server = shops(&[("here", 5)]).await;
    let made = server.reserve("k1", "here", "jam", 5).await.unwrap();
    server.report_pick("k2", &made.reservation_id, &[("jam", 3, "")]).await.unwrap();
    let entries = server.entries_of("here", "jam").await;
    let step: Vec<_> = entries.iter().filter(|entry| entry.key == "k2").collect();
    let told: Vec<_> = step
        .iter()
        .map(|entry| (entry.kind(), entry.quantity, entry.reserved_change, entry.to_state()))
        .collect();
    assert_eq!(
        told,
        [
            (MovementKind::Pick, 3, -3, StockState::Staged),
            (MovementKind::Release, 2, -2, StockState::Unspecified),
            (MovementKind::Adjust, 2, 0, StockState::External),
        ]
    );
    assert!(step.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "without a gap");
    assert!(step.iter().all(|entry| entry.recorded_at == step[0].recorded_at), "at one moment");
    assert_eq!((&*step[1].reason, &*step[2].reason), ("not_found", "not_found"));
    assert!(step.iter().all(|entry| entry.reservation_id == made.reservation_id));
}

#[tokio::test]
async fn f3_what_the_store_does_not_answer_is_rejected() {
    let server = shops(&[("here", 9), ("next", 9)]).await;
    let policy = ChannelPolicy { answer_timeout: seconds(1), ..ChannelPolicy::default() };
    put_policy(&server, policy).await;
    let (late, begun) = (reserve(&server, "k1").await, reserve(&server, "k2").await);
    let answer_by = micros(late.answer_by);
    assert_eq!(answer_by, micros(late.created_at) + 1_000_000);
    let begun = server.start_picking("k3", &begun.reservation_id).await.unwrap();
    assert_eq!(begun.answer_by, None, "the store has answered");
    let ended = becomes(&server, &late.reservation_id, ReservationState::Rejected).await;
    assert!(micros(ended.changed_at) >= answer_by, "never early");
    assert_eq!(ended.reason, "unanswered");
    assert_eq!(server.balances("here", "jam").await, (9, 0, 3), "only the other is promised");
    assert_eq!(server.get(&begun.reservation_id).await, begun);
    let refused = server.start_picking("k4", &late.reservation_id).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "RESERVATION_STATE");
    assert_eq!(told["state"], "REJECTED");
}

#[tokio::test]
async fn f3_what_the_store_does_not_answer_moves_on_and_never_back() {
    let server = shops(&[("here", 3), ("far", 3), ("farther", 3)]).await;
    let policy = ChannelPolicy {
        answer_timeout: seconds(1),
        unanswered: UnansweredAction::Move as i32,
        ..ChannelPolicy::default()
    };
    put_policy(&server, policy).await;
    let made = reserve(&server, "k1").await;
    let mut id = made.reservation_id;
    for next in ["far", "farther"] {
        let moved = becomes(&server, &id, ReservationState::Moved).await;
        let successor = server.get(&moved.successor_id).await;
        assert_eq!((&*successor.location_id, &*successor.predecessor_id), (next, &*id));
        assert!(micros(moved.changed_at) >= micros(moved.answer_by), "never early");
        id = moved.successor_id;
    }
    // Everybody was asked once: shops that never answer must not hand it round for ever.
    becomes(&server, &id, ReservationState::Rejected).await;
    for shop in ["here", "far", "farther"] {
        assert_eq!(server.balances(shop, "jam").await, (3, 0, 0), "{shop}");
    }
}
