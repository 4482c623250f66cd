//! Inputs to begin with: whole stories, and each method alone.

use prost::Message;
use prost_types::Timestamp;
use stockroom::api::proto::{
    AmendReservationRequest, BatchGetPositionsRequest, CancelReservationRequest, Channel,
    ChannelPolicy, CheckAvailabilityRequest, CollectReservationRequest,
    ConfirmReservationPaymentRequest, CreateReservationRequest, DismissRejectedMovementRequest,
    ExplainAvailabilityRequest, ExtendHoldRequest, ExtendReservationRequest,
    GetChannelPolicyRequest, GetItemRequest, GetPositionRequest, GetReservationRequest,
    HoldStockRequest, Item, ListEntriesRequest, ListRejectedMovementsRequest,
    ListReservationsRequest, Location, MarkReadyRequest, MoveReservationRequest, Movement,
    OpeningException, OpeningHours, OpeningInterval, PositionRef, PutChannelPolicyRequest,
    PutChannelRequest, PutItemRequest, PutLocationRequest, ReleaseHoldRequest, ReplaceHoldRequest,
    ResubmitMovementRequest, ReturnToShelfRequest, StartPickingRequest, WatchReservationsRequest,
    channel_policy::Buffer,
};

use super::{
    super::fields::{Field, Value, encode},
    Method,
};
use crate::harness::{
    holds::hold,
    movements::{adjust, at, correction, count, linked_return, put_request, receipt, sale},
    reservations::{basket, collection, create, line, pick, seconds},
};

/// Worth putting into a message.
pub const WORDS: [&str; 27] = [
    "a",
    "b",
    "x",
    "y",
    "web",
    "$r",
    "$h",
    "$t",
    "$m",
    "$k",
    "$k1",
    "$k2",
    "till",
    "nowhere",
    "damage",
    "did_not_occur",
    "not_found",
    "g",
    "Europe/Berlin",
    "2026-12-24",
    "",
    "\n",
    "é",
    "1S",
    "5m",
    "99999999H",
    "r0.1.1.1",
];

/// One input out of calls.
fn story(methods: &[Method], calls: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let call =
        |call| Field { number: 1, value: Value::Bytes(encode(&field_of_call(methods, call))) };
    encode(&calls.iter().map(call).collect::<Vec<_>>())
}

fn field_of_call(methods: &[Method], (name, message): &(&str, Vec<u8>)) -> Vec<Field> {
    let end = format!("/{name}");
    let number = methods.iter().position(|method| method.path.ends_with(&end)).unwrap();
    vec![
        Field { number: 1, value: Value::Varint(number as u64) },
        Field { number: 2, value: Value::Bytes(message.clone()) },
    ]
}

fn bytes(message: impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

fn record(movements: Vec<Movement>) -> (&'static str, Vec<u8>) {
    ("RecordMovements", bytes(put_request("till", movements)))
}

fn stocked() -> (&'static str, Vec<u8>) {
    record(vec![receipt("$kr", "a", "x", 9), receipt("$kr", "b", "x", 9)])
}

fn reserved() -> (&'static str, Vec<u8>) {
    let request = CreateReservationRequest {
        order_ref: "order".to_owned(),
        ttl: seconds(600),
        ..create("$k", "a", vec![line("x", 2)])
    };
    ("CreateReservation", bytes(request))
}

/// Each step of a reservation after it was made.
fn steps() -> Vec<(&'static str, Vec<u8>)> {
    let (request_id, reservation_id) = (|| "$k2".to_owned(), || "$r".to_owned());
    let amend = AmendReservationRequest {
        request_id: request_id(),
        reservation_id: reservation_id(),
        lines: vec![line("x", 3)],
        reason: "more".to_owned(),
    };
    let extend = ExtendReservationRequest {
        request_id: request_id(),
        reservation_id: reservation_id(),
        ttl: seconds(900),
    };
    let confirm = ConfirmReservationPaymentRequest {
        request_id: request_id(),
        reservation_id: reservation_id(),
    };
    let move_to = MoveReservationRequest {
        request_id: request_id(),
        reservation_id: reservation_id(),
        location_id: "b".to_owned(),
        reason: String::new(),
    };
    let collect =
        CollectReservationRequest { lines: vec![line("x", 1)], ..collection("$k2", "$r", "") };
    vec![
        ("AmendReservation", bytes(amend)),
        ("ExtendReservation", bytes(extend)),
        ("ConfirmReservationPayment", bytes(confirm)),
        ("MoveReservation", bytes(move_to)),
        ("CancelReservation", bytes(cancel("$k2"))),
        ("ReportPick", bytes(pick("$k2", "$r", &[("x", 1, "damaged")]))),
        ("CollectReservation", bytes(collect)),
        ("GetReservation", bytes(GetReservationRequest { reservation_id: reservation_id() })),
    ]
}

fn facts() -> Vec<Movement> {
    let to = |movement: Movement| Movement { to_location_id: "b".to_owned(), ..movement };
    let of = |kind: i32, key: &str| Movement { kind, ..receipt(key, "a", "x", 2) };
    vec![
        receipt("$k1", "a", "x", 9),
        sale("$k2", "a", "x", 2),
        count("$k3", "a", "x", 5),
        to(of(6, "$k4")),
        of(9, "$k5"),
        adjust("$k6", "a", "x", 1, "damage"),
        linked_return("$k7", "b", "x", 1, ("till", "$k2")),
        correction("$k8", "a", "x", ("till", "$k3")),
        Movement { group: "g".to_owned(), ..sale("$k9", "a", "y", 1) },
        Movement { group: "g".to_owned(), ..receipt("$k10", "b", "y", 1) },
        sale("$k11", "nowhere", "x", 1),
        Movement { occurred_at: Some(Timestamp::default()), ..sale("$k12", "a", "x", 1) },
        Movement {
            occurred_at: Some(at("2025-06-01T00:00:00Z")),
            expected_at: Some(at("2100-01-01T00:00:00Z")),
            utc_offset_minutes: 60,
            ..of(2, "$k13")
        },
    ]
}

fn location() -> Location {
    let interval = OpeningInterval { opens_minute: 600, closes_minute: 720 };
    Location {
        location_id: "b".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        latitude: Some(52.5),
        longitude: Some(13.4),
        pickup_enabled: true,
        opening_hours: vec![OpeningHours { weekday: 1, opens_minute: 540, closes_minute: 1_140 }],
        opening_exceptions: vec![OpeningException {
            date: "2026-12-24".to_owned(),
            intervals: vec![interval],
        }],
        preparation_time: seconds(7_200),
        ..Location::default()
    }
}

fn questions() -> Vec<(&'static str, Vec<u8>)> {
    let (location_id, sku) = ("a".to_owned(), "x".to_owned());
    let position = PositionRef { location_id: location_id.clone(), sku: sku.clone() };
    let check = CheckAvailabilityRequest {
        skus: vec![sku.clone()],
        location_ids: vec![location_id.clone()],
        channel_id: "web".to_owned(),
        min_token: "$t".to_owned(),
        max_staleness: seconds(1),
        ..CheckAvailabilityRequest::default()
    };
    let explain = ExplainAvailabilityRequest {
        channel_id: "web".to_owned(),
        location_id: location_id.clone(),
        sku: sku.clone(),
    };
    let seen = GetPositionRequest { token: "$t".to_owned(), ..now_of(&position) };
    let then = GetPositionRequest {
        as_of: Some(at("2025-06-01T00:00:00Z")),
        token: String::new(),
        ..seen.clone()
    };
    let entries = ListEntriesRequest {
        location_id: location_id.clone(),
        effective_from: Some(at("2025-06-01T00:00:00Z")),
        effective_until: Some(at("2100-01-01T00:00:00Z")),
        ..ListEntriesRequest::default()
    };
    let order_ref = "order".to_owned();
    let list = ListReservationsRequest { order_ref, page_size: 2, ..Default::default() };
    vec![
        ("CheckAvailability", bytes(check)),
        ("ExplainAvailability", bytes(explain)),
        ("GetPosition", bytes(seen)),
        ("GetPosition", bytes(then)),
        (
            "BatchGetPositions",
            bytes(BatchGetPositionsRequest { positions: vec![position], ..Default::default() }),
        ),
        ("ListEntries", bytes(entries)),
        ("ListReservations", bytes(list)),
        ("WatchReservations", bytes(WatchReservationsRequest { location_id })),
    ]
}

fn now_of(position: &PositionRef) -> GetPositionRequest {
    GetPositionRequest {
        location_id: position.location_id.clone(),
        sku: position.sku.clone(),
        ..GetPositionRequest::default()
    }
}

fn master_data() -> Vec<(&'static str, Vec<u8>)> {
    let channel = Channel { channel_id: "web".to_owned(), name: "Web".to_owned() };
    let policy = ChannelPolicy {
        channel_id: "web".to_owned(),
        buffer: Some(Buffer::BufferPercent(10)),
        units_per_order_max: 4,
        hold_ttl_max: seconds(600),
        reservation_ttl_max: seconds(7_200),
        answer_timeout: seconds(60),
        ..ChannelPolicy::default()
    };
    let gtins = vec!["4006381333931".to_owned()];
    let item = Item { sku: "y".to_owned(), gtins, stock_item: Some(false), ..Item::default() };
    let policy = PutChannelPolicyRequest {
        policy: Some(policy),
        expected_version: Some(0),
        actor: "anna".to_owned(),
        note: "less".to_owned(),
    };
    vec![
        ("PutLocation", bytes(PutLocationRequest { location: Some(location()) })),
        ("PutChannel", bytes(PutChannelRequest { channel: Some(channel) })),
        ("PutChannelPolicy", bytes(policy)),
        ("GetChannelPolicy", bytes(GetChannelPolicyRequest { channel_id: "web".to_owned() })),
        ("PutItem", bytes(PutItemRequest { item: Some(item) })),
        ("GetItem", bytes(GetItemRequest { sku: "y".to_owned() })),
    ]
}

fn review() -> Vec<(&'static str, Vec<u8>)> {
    let rejected_movement_id = || "$m".to_owned();
    let movement = Some(receipt("$k20", "a", "x", 1));
    let resubmit = ResubmitMovementRequest {
        rejected_movement_id: rejected_movement_id(),
        movement,
        actor: "clerk".to_owned(),
    };
    let dismiss = DismissRejectedMovementRequest {
        rejected_movement_id: rejected_movement_id(),
        ..DismissRejectedMovementRequest::default()
    };
    vec![
        record(vec![sale("$k11", "nowhere", "x", 1)]),
        ("ListRejectedMovements", bytes(ListRejectedMovementsRequest::default())),
        ("ResubmitMovement", bytes(resubmit)),
        ("DismissRejectedMovement", bytes(dismiss)),
    ]
}

fn of_holds() -> Vec<(&'static str, Vec<u8>)> {
    let (request_id, hold_id) = (|| "$k2".to_owned(), || "$h".to_owned());
    let replace = ReplaceHoldRequest {
        request_id: request_id(),
        hold_id: hold_id(),
        lines: vec![line("x", 2), line("y", 1)],
        ..ReplaceHoldRequest::default()
    };
    let extend =
        ExtendHoldRequest { request_id: request_id(), hold_id: hold_id(), ttl: seconds(60) };
    let from_hold =
        CreateReservationRequest { hold_id: hold_id(), ..create("$k", "a", vec![line("x", 4)]) };
    let own = CheckAvailabilityRequest {
        skus: vec!["x".to_owned()],
        hold_id: hold_id(),
        ..CheckAvailabilityRequest::default()
    };
    let sold = Movement { hold_id: hold_id(), ..sale("$k3", "a", "x", 2) };
    vec![
        ("ReplaceHold", bytes(replace)),
        ("ExtendHold", bytes(extend)),
        ("CheckAvailability", bytes(own)),
        ("CreateReservation", bytes(from_hold)),
        record(vec![sold]),
        ("ReleaseHold", bytes(ReleaseHoldRequest { request_id: request_id(), hold_id: hold_id() })),
    ]
}

/// What each of these stories ends with is refused for lack of stock, or of time.
fn too_much() -> Vec<(&'static str, Vec<u8>)> {
    let ttl = |ttl| CreateReservationRequest {
        ttl: seconds(ttl),
        ..create("$k9", "a", vec![line("x", 1)])
    };
    vec![
        ("CreateReservation", bytes(create("$k9", "a", vec![line("z", 1)]))),
        ("HoldStock", bytes(hold("$k9", "a", vec![line("x", 1_000_000_000)]))),
        ("CreateReservation", bytes(ttl(2_678_401))),
        ("BatchCreateReservations", bytes(basket("$k9", &[("a", "x", 1), ("b", "z", 2)]))),
    ]
}

/// Every story.
pub fn seeds(methods: &[Method]) -> Vec<Vec<u8>> {
    let holding =
        HoldStockRequest { channel_id: "web".to_owned(), ..hold("$kh", "a", vec![line("x", 3)]) };
    let held = || ("HoldStock", bytes(holding.clone()));
    let (actor, reservation_id) = (String::new, || "$r".to_owned());
    let start = StartPickingRequest {
        request_id: "$k2".to_owned(),
        reservation_id: reservation_id(),
        actor: actor(),
    };
    let ready = MarkReadyRequest {
        request_id: "$k3".to_owned(),
        reservation_id: reservation_id(),
        actor: actor(),
    };
    let shelve = ReturnToShelfRequest {
        request_id: "$k5".to_owned(),
        reservation_id: reservation_id(),
        actor: actor(),
    };
    let picked = [
        stocked(),
        reserved(),
        ("StartPicking", bytes(start)),
        ("MarkReady", bytes(ready)),
        ("CancelReservation", bytes(cancel("$k4"))),
        ("ReturnToShelf", bytes(shelve)),
    ];
    let wanted = [("a", "x", 1), ("b", "x", 2)];
    let mut stories = vec![
        story(methods, &[record(facts())]),
        story(methods, &[("SyncMovements", record(facts()).1)]),
        story(methods, &picked),
        story(methods, &review()),
        story(methods, &[stocked(), ("BatchCreateReservations", bytes(basket("$k", &wanted)))]),
    ];
    let after = |before: &[(&str, Vec<u8>)], last: Vec<(&'static str, Vec<u8>)>| {
        let whole = |call| story(methods, &[before, &[call]].concat());
        last.into_iter().map(whole).collect::<Vec<_>>()
    };
    stories.extend(after(&[stocked(), held()], of_holds()));
    stories.extend(after(&[stocked(), reserved()], steps()));
    stories.extend(after(&[stocked()], questions()));
    stories.extend(after(&[stocked()], too_much()));
    stories.extend(after(&[], master_data()));
    stories.extend(in_browsers(methods));
    let alone = methods.iter().filter_map(|method| method.path.rsplit('/').next());
    stories.extend(alone.map(|name| story(methods, &[(name, Vec::new())])));
    stories
}

/// A question with a time limit.
fn in_browsers(methods: &[Method]) -> Vec<Vec<u8>> {
    let limits = ["5S", "1u", "99999999H", "0n"];
    let limited = limits.into_iter().map(|limit| {
        let [ask] = &questions()[..1] else { unreachable!("there is a question") };
        let call = field_of_call(methods, ask);
        let limit = Field { number: 3, value: Value::Bytes(limit.into()) };
        encode(&[Field { number: 1, value: Value::Bytes(encode(&[&call[..], &[limit]].concat())) }])
    });
    limited.collect()
}

fn cancel(request_id: &str) -> CancelReservationRequest {
    CancelReservationRequest {
        request_id: request_id.to_owned(),
        reservation_id: "$r".to_owned(),
        reason: "no".to_owned(),
        cancelled_by: 0,
    }
}
