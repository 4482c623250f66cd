//! F32 with requests: what is malformed is refused by field before anything is looked at, and what
//! names nothing says so.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use prost_types::Duration;
use stockroom::api::proto::{
    AmendReservationRequest, BatchCreateReservationsRequest, CancelReservationRequest,
    CheckAvailabilityRequest, CreateReservationRequest, ExtendHoldRequest,
    ExtendReservationRequest, GetReservationRequest, HoldStockRequest, Line,
    ListReservationsRequest, MoveReservationRequest, ReplaceHoldRequest, StartPickingRequest,
};
use tonic::{Code, Status};

use crate::harness::{
    availability::check,
    errors::{explained, short_lines},
    holds::hold,
    movements::{Became as _, receipt},
    reservations::{basket, collection, create, line, pick, seconds},
    server::Server,
};

/// Well-formed, and nobody ever gave it.
const NOBODY: &str = "r0.1.1.7fffffff";
const NO_HOLD: &str = "h0.1.0000000000000000000000007fffffff";

async fn shop() -> Server {
    let server = Server::start_honest().await;
    server.put_locations(&["shop"]).await;
    server.put_item("bag", false).await;
    server.record_one(receipt("r", "shop", "jam", 10)).await.recorded();
    server
}

/// The field that BadRequest names.
fn field(status: &Status, reason: &str) -> String {
    explained(status, Code::InvalidArgument, reason)["field"].clone()
}

fn good() -> CreateReservationRequest {
    create("k", "shop", vec![line("jam", 1)])
}

fn many(count: usize) -> Vec<Line> {
    (0..count).map(|number| line(&format!("item-{number}"), 1)).collect()
}

fn long() -> String {
    "x".repeat(65)
}

#[tokio::test]
async fn f32_reservations_out_of_bounds_are_refused_by_field() {
    let server = shop().await;
    let ttl = |seconds, nanos| Some(Duration { seconds, nanos });
    let (request_id, location, identifier) =
        ("REQUEST_ID_INVALID", "LOCATION_ID_INVALID", "IDENTIFIER_INVALID");
    let cases = [
        (
            CreateReservationRequest { request_id: String::new(), ..good() },
            request_id,
            "request_id",
        ),
        (CreateReservationRequest { request_id: long(), ..good() }, request_id, "request_id"),
        (CreateReservationRequest { request_id: "a\n".into(), ..good() }, request_id, "request_id"),
        (CreateReservationRequest { channel_id: "a b".into(), ..good() }, identifier, "channel_id"),
        (
            CreateReservationRequest { location_id: String::new(), ..good() },
            location,
            "location_id",
        ),
        (CreateReservationRequest { location_id: long(), ..good() }, location, "location_id"),
        (CreateReservationRequest { lines: Vec::new(), ..good() }, "LINES_INVALID", "lines"),
        (CreateReservationRequest { lines: many(201), ..good() }, "LINES_INVALID", "lines"),
        (
            CreateReservationRequest { lines: vec![line("a  b", 1)], ..good() },
            "SKU_INVALID",
            "lines.sku",
        ),
        (
            CreateReservationRequest { lines: vec![line("jam", 0)], ..good() },
            "QUANTITY_OUT_OF_RANGE",
            "lines.quantity",
        ),
        (
            CreateReservationRequest { lines: vec![line("jam", 1_000_000_001)], ..good() },
            "QUANTITY_OUT_OF_RANGE",
            "lines.quantity",
        ),
        (
            CreateReservationRequest { hold_id: "a b".into(), ..good() },
            "HOLD_ID_INVALID",
            "hold_id",
        ),
        (CreateReservationRequest { settlement: 3, ..good() }, "FIELD_INVALID", "settlement"),
        (CreateReservationRequest { line_policy: -1, ..good() }, "FIELD_INVALID", "line_policy"),
        (CreateReservationRequest { order_ref: "ä".into(), ..good() }, identifier, "order_ref"),
        (CreateReservationRequest { customer_ref: long(), ..good() }, identifier, "customer_ref"),
        (
            CreateReservationRequest { ttl: ttl(0, 999_999_999), ..good() },
            "TTL_OUT_OF_RANGE",
            "ttl",
        ),
        (CreateReservationRequest { ttl: ttl(2_678_401, 0), ..good() }, "TTL_OUT_OF_RANGE", "ttl"),
        (CreateReservationRequest { ttl: ttl(i64::MAX, 0), ..good() }, "TTL_OUT_OF_RANGE", "ttl"),
        (CreateReservationRequest { ttl: ttl(-5, 0), ..good() }, "TTL_OUT_OF_RANGE", "ttl"),
    ];
    for (request, reason, name) in cases {
        let shown = format!("{request:?}");
        let refused = server.create(request).await.expect_err(&shown);
        assert_eq!(field(&refused, reason), name, "{shown}");
    }
}

#[tokio::test]
async fn f32_the_bounds_of_a_reservation_are_good() {
    let server = shop().await;
    let widest = CreateReservationRequest {
        request_id: "~".repeat(64),
        ttl: seconds(2_678_400),
        order_ref: "o".repeat(64),
        ..good()
    };
    server.create(widest).await.unwrap();
    let lines = CreateReservationRequest { lines: many(200), ..good() };
    let refused = server.create(lines).await.unwrap_err();
    let told = explained(&refused, Code::FailedPrecondition, "INSUFFICIENT_STOCK");
    assert_eq!(told["short_lines"], "200");
    let named = short_lines(&refused).len();
    assert!((20..200).contains(&named), "{named} of 200: headers have a bound");
    assert_eq!(server.balances("shop", "jam").await, (10, 0, 1));
}

#[tokio::test]
async fn f32_holds_out_of_bounds_are_refused_by_field() {
    let server = shop().await;
    let good = || hold("h", "shop", vec![line("jam", 1)]);
    for (request, reason, name) in [
        (HoldStockRequest { ttl: seconds(0), ..good() }, "TTL_OUT_OF_RANGE", "ttl"),
        (HoldStockRequest { ttl: seconds(3_601), ..good() }, "TTL_OUT_OF_RANGE", "ttl"),
        (HoldStockRequest { lines: Vec::new(), ..good() }, "LINES_INVALID", "lines"),
        (HoldStockRequest { line_policy: 3, ..good() }, "FIELD_INVALID", "line_policy"),
        (
            HoldStockRequest { customer_ref: "a b".into(), ..good() },
            "IDENTIFIER_INVALID",
            "customer_ref",
        ),
        (
            HoldStockRequest { request_id: String::new(), ..good() },
            "REQUEST_ID_INVALID",
            "request_id",
        ),
    ] {
        let refused = server.hold(request).await.unwrap_err();
        assert_eq!(field(&refused, reason), name);
    }
    let replace = |hold_id: &str, lines| ReplaceHoldRequest {
        request_id: "k".to_owned(),
        hold_id: hold_id.to_owned(),
        lines,
        ..ReplaceHoldRequest::default()
    };
    let refused = server.replace_hold(replace("", vec![line("jam", 1)])).await.unwrap_err();
    assert_eq!(field(&refused, "HOLD_ID_INVALID"), "hold_id");
    let refused = server.replace_hold(replace(NO_HOLD, Vec::new())).await.unwrap_err();
    assert_eq!(field(&refused, "LINES_INVALID"), "lines");
    let refused = server.replace_hold(replace("nonsense", vec![line("jam", 1)])).await.unwrap_err();
    let told = explained(&refused, Code::NotFound, "HOLD_UNKNOWN");
    assert_eq!(told["hold_id"], "nonsense");
    let request_id = "k".to_owned();
    let extend = ExtendHoldRequest { request_id, hold_id: NO_HOLD.into(), ttl: seconds(3_601) };
    let refused = server.reservations().extend_hold(extend).await.unwrap_err();
    assert_eq!(field(&refused, "TTL_OUT_OF_RANGE"), "ttl");
    for partition in ["0", "99", "-1"] {
        let id = NO_HOLD.replacen('0', partition, 1);
        let refused = server.release_hold("k", &id).await.unwrap_err();
        assert_eq!(explained(&refused, Code::NotFound, "HOLD_UNKNOWN")["hold_id"], id);
        let own = CheckAvailabilityRequest { hold_id: id.clone(), ..check("shop", "jam") };
        assert_eq!(server.check(own).await.unwrap().available, 10, "{id} helps nobody");
    }
}

#[tokio::test]
async fn f32_steps_of_nothing_are_refused() {
    let server = shop().await;
    for id in [NOBODY, "r99.1.1.1", "r0.1.1", "r0.01.1.1"] {
        let get = GetReservationRequest { reservation_id: id.to_owned() };
        let refusals = [
            server.reservations().get_reservation(get).await.map(|_| ()).unwrap_err(),
            server.amend("k", id, vec![line("jam", 1)]).await.unwrap_err(),
            server.extend("k", id, 60).await.unwrap_err(),
            server.confirm_payment("k", id).await.unwrap_err(),
            server.move_to("k", id, "shop").await.unwrap_err(),
            server.cancel("k", id).await.unwrap_err(),
            server.start_picking("k", id).await.unwrap_err(),
            server.report_pick("k", id, &[("jam", 0, "")]).await.unwrap_err(),
            server.mark_ready("k", id).await.unwrap_err(),
            server.collect("k", id).await.unwrap_err(),
            server.return_to_shelf("k", id).await.unwrap_err(),
        ];
        for refused in refusals {
            let told = explained(&refused, Code::NotFound, "RESERVATION_UNKNOWN");
            assert_eq!(told["reservation_id"], id);
        }
    }
}

#[tokio::test]
async fn f32_malformed_steps_are_refused_by_field() {
    let server = shop().await;
    let made = server.create(good()).await.unwrap();
    let id = &made.reservation_id;
    for (refused, reason, name) in [
        (server.start_picking("", id).await, "REQUEST_ID_INVALID", "request_id"),
        (server.start_picking("k", "a b").await, "RESERVATION_ID_INVALID", "reservation_id"),
        (server.amend("k", id, Vec::new()).await, "LINES_INVALID", "lines"),
        (server.extend("k", id, 2_678_401).await, "TTL_OUT_OF_RANGE", "ttl"),
        (server.move_to("k", id, "").await, "LOCATION_ID_INVALID", "location_id"),
        (server.report_pick("k", id, &[]).await, "LINES_INVALID", "lines"),
        (
            server.report_pick("k", id, &[("jam", 0, ""), ("jam", 1, "")]).await,
            "LINES_INVALID",
            "lines.sku",
        ),
        (
            server.report_pick("k", id, &[("jam", -1, "")]).await,
            "QUANTITY_OUT_OF_RANGE",
            "lines.found",
        ),
        (
            server.report_pick("k", id, &[("jam", 0, "lost")]).await,
            "REASON_INVALID",
            "lines.reason",
        ),
        (server.hand_over(collection("k", id, "a\nb")).await, "IDENTIFIER_INVALID", "pickup_code"),
    ] {
        assert_eq!(field(&refused.unwrap_err(), reason), name);
    }
    let cancel = |reason: &str, cancelled_by| CancelReservationRequest {
        request_id: "k".to_owned(),
        reservation_id: id.clone(),
        reason: reason.to_owned(),
        cancelled_by,
    };
    let mut client = server.reservations();
    let refused = client.cancel_reservation(cancel("Because!", 1)).await.unwrap_err();
    assert_eq!(field(&refused, "REASON_INVALID"), "reason");
    let refused = client.cancel_reservation(cancel("", 3)).await.unwrap_err();
    assert_eq!(field(&refused, "FIELD_INVALID"), "cancelled_by");
    let (request_id, reservation_id) = ("k".to_owned(), id.clone());
    let actor = "a b".to_owned();
    let start = StartPickingRequest { request_id, reservation_id, actor };
    let refused = client.start_picking(start).await.unwrap_err();
    assert_eq!(field(&refused, "IDENTIFIER_INVALID"), "actor");
    let (request_id, reservation_id) = ("k".to_owned(), id.clone());
    let extend = ExtendReservationRequest { request_id, reservation_id, ttl: None };
    let refused = client.extend_reservation(extend).await.unwrap_err();
    assert_eq!(field(&refused, "TTL_OUT_OF_RANGE"), "ttl");
    let amend = AmendReservationRequest {
        request_id: "k".to_owned(),
        reservation_id: id.clone(),
        lines: vec![line("jam", 1)],
        reason: "A".to_owned(),
    };
    let refused = client.amend_reservation(amend).await.unwrap_err();
    assert_eq!(field(&refused, "REASON_INVALID"), "reason");
    let move_to = MoveReservationRequest {
        request_id: "k".to_owned(),
        reservation_id: id.clone(),
        location_id: "nowhere".to_owned(),
        reason: String::new(),
    };
    let refused = client.move_reservation(move_to).await.unwrap_err();
    let told = explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");
    assert_eq!(told["location_id"], "nowhere");
    assert_eq!(server.get(id).await, made, "nothing has happened");
}

#[tokio::test]
async fn f32_what_is_named_must_exist_and_be_kept() {
    let server = shop().await;
    let nowhere = CreateReservationRequest { location_id: "nowhere".into(), ..good() };
    let refused = server.create(nowhere).await.unwrap_err();
    explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");
    let nothing = CreateReservationRequest { channel_id: "nothing".into(), ..good() };
    let refused = server.create(nothing).await.unwrap_err();
    explained(&refused, Code::NotFound, "CHANNEL_UNKNOWN");
    let bag = vec![line("jam", 1), line("bag", 1)];
    let kept = CreateReservationRequest { lines: bag.clone(), ..good() };
    let refused = server.create(kept).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "NOT_A_STOCK_ITEM");
    let refused = server.hold(hold("h", "shop", bag.clone())).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "NOT_A_STOCK_ITEM");
    let made = server.create(good()).await.unwrap();
    let refused = server.amend("k2", &made.reservation_id, bag).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "NOT_A_STOCK_ITEM");
    let unheard = CreateReservationRequest { hold_id: NO_HOLD.into(), ..good() };
    let unheard = CreateReservationRequest { request_id: "k3".into(), ..unheard };
    server.create(unheard).await.expect_err("it is of another location");
    let none: Vec<(&str, &str, i64)> = Vec::new();
    let refused = server.batch(basket("k4", &none)).await.unwrap_err();
    assert_eq!(field(&refused, "RESERVATIONS_INVALID"), "reservations");
    let twice = basket("k4", &[("shop", "jam", 1), ("shop", "jam", 1)]);
    let refused = server.batch(twice).await.unwrap_err();
    assert_eq!(field(&refused, "LOCATION_REPEATED"), "reservations.location_id");
    let many: Vec<_> = (0..21).map(|number| format!("shop-{number}")).collect();
    let many: Vec<_> = many.iter().map(|shop| (&**shop, "jam", 1)).collect();
    let refused = server.batch(basket("k4", &many)).await.unwrap_err();
    assert_eq!(field(&refused, "RESERVATIONS_INVALID"), "reservations");
    let long_lived = BatchCreateReservationsRequest {
        ttl: seconds(2_678_401),
        ..basket("k4", &[("shop", "jam", 1)])
    };
    let refused = server.batch(long_lived).await.unwrap_err();
    assert_eq!(field(&refused, "TTL_OUT_OF_RANGE"), "ttl");
    let report = pick("k5", &made.reservation_id, &[("gin", 0, "")]);
    let refused = server.pick(report).await.unwrap_err();
    assert_eq!(explained(&refused, Code::FailedPrecondition, "LINE_UNKNOWN")["sku"], "gin");
}

#[tokio::test]
async fn f32_questions_about_availability_are_bounded() {
    let server = shop().await;
    let good = || check("shop", "jam");
    let none = CheckAvailabilityRequest { skus: Vec::new(), ..good() };
    let refused = server.check(none).await.unwrap_err();
    assert_eq!(field(&refused, "SKUS_INVALID"), "skus");
    let pairs = CheckAvailabilityRequest {
        skus: (0..10_000).map(|number| format!("item-{number}")).collect(),
        location_ids: (0..3).map(|number| format!("shop-{number}")).collect(),
        ..good()
    };
    let refused = server.check(pairs).await.unwrap_err();
    assert_eq!(field(&refused, "SKUS_INVALID"), "skus");
    for (request, reason, name) in [
        (CheckAvailabilityRequest { skus: vec!["a  b".into()], ..good() }, "SKU_INVALID", "skus"),
        (
            CheckAvailabilityRequest { location_ids: vec!["a b".into()], ..good() },
            "LOCATION_ID_INVALID",
            "location_ids",
        ),
        (
            CheckAvailabilityRequest { min_token: "nonsense".into(), ..good() },
            "TOKEN_INVALID",
            "min_token",
        ),
        (
            CheckAvailabilityRequest { max_staleness: seconds(3_601), ..good() },
            "FIELD_INVALID",
            "max_staleness",
        ),
        (
            CheckAvailabilityRequest { channel_id: "a b".into(), ..good() },
            "IDENTIFIER_INVALID",
            "channel_id",
        ),
        (
            CheckAvailabilityRequest { reservation_id: "a b".into(), ..good() },
            "RESERVATION_ID_INVALID",
            "reservation_id",
        ),
    ] {
        let refused = server.check(request).await.unwrap_err();
        assert_eq!(field(&refused, reason), name);
    }
    let nothing = CheckAvailabilityRequest { channel_id: "nothing".into(), ..good() };
    let refused = server.check(nothing).await.unwrap_err();
    explained(&refused, Code::NotFound, "CHANNEL_UNKNOWN");
    // What nobody has heard of is not there, and that is no error.
    for (location, sku) in [("shop", "gin"), ("nowhere", "jam"), ("nowhere", "gin")] {
        let told = server.check(check(location, sku)).await.unwrap();
        assert_eq!((told.available, told.version, told.known), (0, 0, false), "{location} {sku}");
    }
    let told = server.check(good()).await.unwrap();
    assert_eq!((told.available, told.known), (10, true));
    let list = ListReservationsRequest { pickup_code: "a\u{7}".into(), ..Default::default() };
    let refused = server.list(list).await.unwrap_err();
    assert_eq!(field(&refused, "IDENTIFIER_INVALID"), "pickup_code");
}
