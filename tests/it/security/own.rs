//! Keys, holds and reservations of one caller are no other one's.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use stockroom::{
    access::Scope,
    api::proto::{
        BatchCreateReservationsRequest, CancelReservationRequest, CheckAvailabilityRequest,
        CreateReservationRequest, EntryFlag, ExtendHoldRequest, GetReservationRequest, Hold,
        ListEntriesRequest, ListReservationsRequest, MoveReservationRequest, Movement,
        ReleaseHoldRequest, Reservation, StartPickingRequest,
    },
};
use tonic::{Code, Status};

use crate::{
    harness::errors::explained,
    harness::{
        holds::{hold, replace},
        movements::{Became as _, sale},
        reservations::{basket, create, line, seconds},
    },
    security::scene::{CHANNELS, Client, SHOPS, SKU, Scene},
};

const ALPHA: &str = SHOPS[0];
const BETA: &str = SHOPS[1];
const SCOPES: [Scope; 6] = [
    Scope::MovementsWrite,
    Scope::HoldsWrite,
    Scope::ReservationsWrite,
    Scope::ReservationsRead,
    Scope::ReservationsFulfil,
    Scope::AvailabilityRead,
];

async fn held(client: &Client, request_id: &str) -> Result<Hold, Status> {
    let request = hold(request_id, ALPHA, vec![line(SKU, 5)]);
    let answer = client.reservations().hold_stock(request).await?;
    Ok(answer.into_inner().hold.unwrap())
}

async fn reserved(
    client: &Client,
    request: CreateReservationRequest,
) -> Result<Reservation, Status> {
    let answer = client.reservations().create_reservation(request).await?;
    Ok(answer.into_inner().reservation.unwrap())
}

async fn available(client: &Client, hold_id: &str) -> i64 {
    let request = CheckAvailabilityRequest {
        skus: vec![SKU.to_owned()],
        location_ids: vec![ALPHA.to_owned()],
        hold_id: hold_id.to_owned(),
        ..CheckAvailabilityRequest::default()
    };
    let answer = client.availability().check_availability(request).await.unwrap();
    answer.into_inner().availability[0].available
}

#[tokio::test]
async fn two_callers_with_the_same_request_id_do_not_meet() {
    let scene = Scene::start().await;
    let one = scene.caller("one", &SCOPES, None, None).await;
    let other = scene.caller("other", &SCOPES, None, None).await;
    let first = held(&one, "r1").await.unwrap();
    assert_ne!(held(&other, "r1").await.unwrap().hold_id, first.hold_id);
    assert_eq!(held(&one, "r1").await.unwrap().hold_id, first.hold_id);
    // Other contents under the key of another caller are no reuse of it.
    let a = reserved(&one, create("r2", ALPHA, vec![line(SKU, 1)])).await.unwrap();
    let b = reserved(&other, create("r2", ALPHA, vec![line(SKU, 2)])).await.unwrap();
    assert_ne!(a.reservation_id, b.reservation_id);
    let again = reserved(&one, create("r2", ALPHA, vec![line(SKU, 1)])).await.unwrap();
    assert_eq!(again.reservation_id, a.reservation_id);
    scene.server.stop().await;
}

#[tokio::test]
async fn the_hold_of_another_caller_does_not_exist() {
    let scene = Scene::start().await;
    let one = scene.caller("one", &SCOPES, None, None).await;
    let other = scene.caller("other", &SCOPES, None, None).await;
    let own = held(&one, "r1").await.unwrap();
    let hold_id = own.hold_id.clone();
    let unknown = |status: Status| explained(&status, Code::NotFound, "HOLD_UNKNOWN");
    let mut client = other.reservations();
    let request_id = || "x".to_owned();
    let extend =
        ExtendHoldRequest { request_id: request_id(), hold_id: hold_id.clone(), ttl: seconds(60) };
    unknown(client.extend_hold(extend).await.unwrap_err());
    let release = ReleaseHoldRequest { request_id: request_id(), hold_id: hold_id.clone() };
    unknown(client.release_hold(release).await.unwrap_err());
    unknown(client.replace_hold(replace("x", &own, vec![line(SKU, 1)])).await.unwrap_err());
    for lines in [Vec::new(), vec![line(SKU, 5)]] {
        let request =
            CreateReservationRequest { hold_id: hold_id.clone(), ..create("x", ALPHA, lines) };
        unknown(reserved(&other, request).await.unwrap_err());
    }
    let request = basket("x", &[(ALPHA, SKU, 5)]);
    let mut request: BatchCreateReservationsRequest = request;
    request.reservations[0].hold_id = hold_id.clone();
    unknown(client.batch_create_reservations(request).await.unwrap_err());
    // It does not count as its own either.
    assert_eq!((available(&one, &hold_id).await, available(&other, &hold_id).await), (100, 95));

    // A sale that names it is a fact all the same, and the hold stays what it is.
    let sold = Movement { hold_id: hold_id.clone(), ..sale("s1", ALPHA, SKU, 2) };
    other.record("other", vec![sold.clone()]).await.results[0].recorded();
    other.record("other", vec![sold]).await.results[0].duplicate();
    let request = ListEntriesRequest { page_size: 1_000, ..Default::default() };
    let entries = scene.admin.ledger().list_entries(request).await.unwrap().into_inner().entries;
    let entry = entries.iter().find(|entry| entry.key == "s1").unwrap();
    assert!(entry.flags().any(|flag| flag == EntryFlag::PromiseUnknown), "{entry:?}");
    scene.server.caught_up().await;
    assert_eq!(available(&other, "").await, 93);

    // Its own sale consumes it.
    let sold = Movement { hold_id: hold_id.clone(), ..sale("s1", ALPHA, SKU, 5) };
    one.record("one", vec![sold]).await.results[0].recorded();
    scene.server.caught_up().await;
    assert_eq!(available(&other, "").await, 93);
    scene.server.stop().await;
}

#[tokio::test]
async fn a_reservation_out_of_reach_cannot_be_seen_or_changed() {
    let scene = Scene::start().await;
    let promised = scene.fill().await;
    // In the order of shops, then channels: the second is of the other channel, the third of the other shop.
    let caller = scene.caller("c", &SCOPES, Some(&[ALPHA]), Some(&[CHANNELS[0]])).await;
    let mut client = caller.reservations();
    let get = |id: &str| GetReservationRequest { reservation_id: id.to_owned() };
    client.get_reservation(get(&promised[0].reservation_id)).await.unwrap();
    for hidden in &promised[1..] {
        let id = &hidden.reservation_id;
        let unknown = |status: Status| explained(&status, Code::NotFound, "RESERVATION_UNKNOWN");
        unknown(client.get_reservation(get(id)).await.unwrap_err());
        let (request_id, reservation_id) = ("x".to_owned(), id.clone());
        let cancel = CancelReservationRequest {
            request_id: request_id.clone(),
            reservation_id: reservation_id.clone(),
            ..Default::default()
        };
        unknown(client.cancel_reservation(cancel).await.unwrap_err());
        let pick = StartPickingRequest { request_id, reservation_id, actor: String::new() };
        unknown(client.start_picking(pick).await.unwrap_err());
    }
    // A look-up by pickup code finds what exists for the caller, and nothing else.
    let look_up = |location_id: &str, pickup_code: &str| ListReservationsRequest {
        location_id: location_id.to_owned(),
        pickup_code: pickup_code.to_owned(),
        ..ListReservationsRequest::default()
    };
    let found = client.list_reservations(look_up(ALPHA, &promised[0].pickup_code)).await.unwrap();
    assert_eq!(found.into_inner().reservations.len(), 1);
    let found = client.list_reservations(look_up(ALPHA, &promised[1].pickup_code)).await.unwrap();
    assert!(found.into_inner().reservations.is_empty());
    let refused = client.list_reservations(look_up(BETA, &promised[2].pickup_code)).await;
    explained(&refused.unwrap_err(), Code::NotFound, "LOCATION_UNKNOWN");

    // Neither does a full page tell of others.
    let request = ListReservationsRequest {
        customer_ref: "jo".to_owned(),
        page_size: 2,
        ..ListReservationsRequest::default()
    };
    let page = client.list_reservations(request).await.unwrap().into_inner();
    assert_eq!((page.reservations.len(), &*page.next_page_token), (1, ""));

    // What concerns several locations needs all of them.
    let mut all = basket("b", &[(ALPHA, SKU, 1), (BETA, SKU, 1)]);
    all.channel_id = CHANNELS[0].to_owned();
    let refused = client.batch_create_reservations(all).await.unwrap_err();
    explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");
    let elsewhere = MoveReservationRequest {
        request_id: "m".to_owned(),
        reservation_id: promised[0].reservation_id.clone(),
        location_id: BETA.to_owned(),
        reason: String::new(),
    };
    let refused = client.move_reservation(elsewhere).await.unwrap_err();
    explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");

    // Whoever may use certain channels must name one of them.
    let none = create("n", ALPHA, vec![line(SKU, 1)]);
    let refused = reserved(&caller, none.clone()).await.unwrap_err();
    explained(&refused, Code::PermissionDenied, "CHANNEL_FORBIDDEN");
    let other = CreateReservationRequest { channel_id: CHANNELS[1].to_owned(), ..none };
    explained(&reserved(&caller, other).await.unwrap_err(), Code::NotFound, "CHANNEL_UNKNOWN");
    scene.server.stop().await;
}

#[tokio::test]
async fn a_sale_cannot_consume_a_reservation_of_a_channel_out_of_reach() {
    let scene = Scene::start().await;
    let promised = scene.fill().await;
    let caller = scene.caller("c", &SCOPES, None, Some(&[CHANNELS[0]])).await;
    let sold = |key: &str, number: usize| Movement {
        reservation_id: promised[number].reservation_id.clone(),
        ..sale(key, ALPHA, SKU, 1)
    };
    let answer = caller.record("c", vec![sold("s0", 0), sold("s1", 1)]).await;
    answer.results.iter().for_each(|result| drop(result.recorded()));
    let state = async |number: usize| {
        let id = promised[number].reservation_id.clone();
        let request = GetReservationRequest { reservation_id: id };
        let answer = scene.admin.reservations().get_reservation(request).await.unwrap();
        answer.into_inner().reservation.unwrap().state().as_str_name()
    };
    assert_eq!(state(0).await, "RESERVATION_STATE_COLLECTED");
    assert_eq!(state(1).await, "RESERVATION_STATE_RESERVED");
    scene.server.stop().await;
}
