//! Calls about holds and reservations.

use stockroom::api::proto::*;

use crate::{
    harness::{
        holds::hold,
        reservations::{create, line, seconds},
    },
    security::{
        reach::calls::{Call, Names, to},
        scene::SKU,
    },
};

/// Of what nobody has: each is refused, and leaves everything as it is.
const TOO_MANY: i64 = 1_000_000;

pub fn promises(names: &Names) -> Vec<Call> {
    let channel_id = || names.channel_id.clone();
    let (request_id, hold_id) = (|| "x".to_owned(), || names.hold_id.clone());
    let lines = || vec![line(SKU, TOO_MANY)];
    let draft = ReservationDraft {
        location_id: names.location_id.clone(),
        lines: lines(),
        hold_id: String::new(),
    };
    let list = |location_id: &str, customer_ref: &str| ListReservationsRequest {
        location_id: location_id.to_owned(),
        customer_ref: customer_ref.to_owned(),
        ..Default::default()
    };
    vec![
        to(
            "ReservationService/HoldStock",
            HoldStockRequest { channel_id: channel_id(), ..hold("x", &names.location_id, lines()) },
        ),
        to(
            "ReservationService/ReplaceHold",
            ReplaceHoldRequest {
                request_id: request_id(),
                hold_id: hold_id(),
                channel_id: channel_id(),
                lines: lines(),
                ttl: None,
            },
        ),
        to(
            "ReservationService/ExtendHold",
            ExtendHoldRequest { request_id: request_id(), hold_id: hold_id(), ttl: seconds(600) },
        ),
        to(
            "ReservationService/ReleaseHold",
            ReleaseHoldRequest { request_id: request_id(), hold_id: hold_id() },
        ),
        to(
            "ReservationService/CreateReservation",
            CreateReservationRequest {
                channel_id: channel_id(),
                ..create("x", &names.location_id, lines())
            },
        ),
        to(
            "ReservationService/BatchCreateReservations",
            BatchCreateReservationsRequest {
                request_id: request_id(),
                channel_id: channel_id(),
                reservations: vec![draft],
                ..Default::default()
            },
        ),
        to(
            "ReservationService/GetReservation",
            GetReservationRequest { reservation_id: names.reservation_id.clone() },
        ),
        to("ReservationService/ListReservations", list(&names.location_id, "")),
        to("ReservationService/ListReservations", list("", "jo")),
    ]
}

pub fn steps(names: &Names) -> Vec<Call> {
    let (request_id, reservation_id) = (|| "x".to_owned(), || names.reservation_id.clone());
    vec![
        to(
            "ReservationService/AmendReservation",
            AmendReservationRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                lines: vec![line(SKU, TOO_MANY)],
                reason: String::new(),
            },
        ),
        to(
            "ReservationService/ExtendReservation",
            ExtendReservationRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                ttl: seconds(86_400),
            },
        ),
        to(
            "ReservationService/ConfirmReservationPayment",
            ConfirmReservationPaymentRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
            },
        ),
        to(
            "ReservationService/MoveReservation",
            MoveReservationRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                location_id: names.location_id.clone(),
                reason: String::new(),
            },
        ),
        to(
            "ReservationService/CancelReservation",
            CancelReservationRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                ..Default::default()
            },
        ),
    ]
}

pub fn store_steps(names: &Names) -> Vec<Call> {
    let (request_id, reservation_id) = (|| "x".to_owned(), || names.reservation_id.clone());
    let picked = PickedLine { sku: SKU.to_owned(), found: TOO_MANY, reason: String::new() };
    vec![
        to(
            "ReservationService/MarkReady",
            MarkReadyRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                actor: String::new(),
            },
        ),
        to(
            "ReservationService/StartPicking",
            StartPickingRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                actor: String::new(),
            },
        ),
        to(
            "ReservationService/ReportPick",
            ReportPickRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                lines: vec![picked],
                actor: String::new(),
            },
        ),
        to(
            "ReservationService/CollectReservation",
            CollectReservationRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                lines: vec![line(SKU, TOO_MANY)],
                ..Default::default()
            },
        ),
        to(
            "ReservationService/ReturnToShelf",
            ReturnToShelfRequest {
                request_id: request_id(),
                reservation_id: reservation_id(),
                actor: String::new(),
            },
        ),
    ]
}
