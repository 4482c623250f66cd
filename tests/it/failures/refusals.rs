//! Every reason for which a line is rejected: told with its code and its values, kept, and without
//! any other effect.

use std::collections::HashMap;

use prost_types::Timestamp;
use stockroom::api::proto::{Movement, MovementKind};

use crate::harness::{
    databases::{execute, number},
    movements::{
        Became as _, adjust, correction, linked_return, movement, receipt, reference, sale,
    },
    server::{SOURCE, Server},
};

/// A line that is rejected.
struct Case {
    line: Movement,
    code: i32,
    reason: &'static str,
    metadata: Vec<(&'static str, &'static str)>,
}

const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const ALREADY_EXISTS: i32 = 6;
const FAILED_PRECONDITION: i32 = 9;
const ABORTED: i32 = 10;
const OUT_OF_RANGE: i32 = 11;

fn case(line: Movement, code: i32, reason: &'static str) -> Case {
    Case { line, code, reason, metadata: Vec::new() }
}

fn told(
    line: Movement,
    code: i32,
    reason: &'static str,
    name: &'static str,
    value: &'static str,
) -> Case {
    Case { line, code, reason, metadata: vec![(name, value)] }
}

/// A sale of an item that nobody has heard of.
fn new(key: &str) -> Movement {
    sale(key, "berlin", &format!("new {key}"), 1)
}

fn malformed() -> Vec<Case> {
    let invalid = INVALID_ARGUMENT;
    let long = "x".repeat(65);
    let line = || new("m");
    vec![
        case(new(""), invalid, "KEY_INVALID"),
        case(new("tab\t"), invalid, "KEY_INVALID"),
        case(new("ключ"), invalid, "KEY_INVALID"),
        case(Movement { key: long.clone(), ..line() }, invalid, "KEY_INVALID"),
        told(Movement { kind: 0, ..new("k0") }, invalid, "KIND_INVALID", "kind", "0"),
        told(Movement { kind: 13, ..new("k13") }, invalid, "KIND_INVALID", "kind", "13"),
        told(Movement { kind: -1, ..new("k-1") }, invalid, "KIND_INVALID", "kind", "-1"),
        case(Movement { location_id: String::new(), ..new("l0") }, invalid, "LOCATION_ID_INVALID"),
        case(Movement { location_id: "a b".into(), ..new("l1") }, invalid, "LOCATION_ID_INVALID"),
        case(Movement { location_id: "a\0".into(), ..new("l2") }, invalid, "LOCATION_ID_INVALID"),
        case(sale("i0", "berlin", "", 1), invalid, "SKU_INVALID"),
        case(sale("i1", "berlin", " A", 1), invalid, "SKU_INVALID"),
        case(sale("i2", "berlin", "A\0", 1), invalid, "SKU_INVALID"),
        case(sale("i3", "berlin", &long, 1), invalid, "SKU_INVALID"),
        told(sale("q0", "berlin", "new", 0), invalid, "QUANTITY_OUT_OF_RANGE", "quantity", "0"),
        told(sale("q1", "berlin", "new", -7), invalid, "QUANTITY_OUT_OF_RANGE", "quantity", "-7"),
        told(
            sale("q2", "berlin", "new", 1_000_000_001),
            invalid,
            "QUANTITY_OUT_OF_RANGE",
            "quantity",
            "1000000001",
        ),
        told(
            sale("q3", "berlin", "new", i64::MIN),
            invalid,
            "QUANTITY_OUT_OF_RANGE",
            "quantity",
            "-9223372036854775808",
        ),
        case(Movement { to_state: 1, ..new("s0") }, invalid, "STATE_INVALID"),
        case(adjust("s1", "berlin", "new", 1, "found"), invalid, "STATE_INVALID"),
        case(
            Movement { to_state: 1, ..adjust("w0", "berlin", "new", 1, "") },
            invalid,
            "REASON_REQUIRED",
        ),
        case(movement(MovementKind::Return, "w1", "berlin", "new", 1), invalid, "REASON_REQUIRED"),
        case(
            Movement { reason: "because".into(), ..correction("w2", "berlin", "A", (SOURCE, "s")) },
            invalid,
            "REASON_REQUIRED",
        ),
        case(
            Movement { original: None, ..correction("o", "berlin", "new", (SOURCE, "s")) },
            invalid,
            "ORIGINAL_REQUIRED",
        ),
        case(
            movement(MovementKind::TransferShip, "t0", "berlin", "new", 1),
            invalid,
            "TO_LOCATION_INVALID",
        ),
        case(
            Movement {
                to_location_id: "berlin".into(),
                ..movement(MovementKind::TransferShip, "t1", "berlin", "new", 1)
            },
            invalid,
            "TO_LOCATION_INVALID",
        ),
    ]
}

/// One case for every field that has a rule of its own.
fn malformed_fields() -> Vec<Case> {
    let field = |name, spoil: fn(&mut Movement)| {
        let mut line = new(name);
        spoil(&mut line);
        told(line, INVALID_ARGUMENT, "FIELD_INVALID", "field", name)
    };
    vec![
        field("utc_offset_minutes", |line| line.utc_offset_minutes = 1_081),
        field("utc_offset_minutes", |line| line.utc_offset_minutes = i32::MIN),
        field("channel_id", |line| line.channel_id = "a b".into()),
        field("reason", |line| line.reason = "Damaged".into()),
        field("document", |line| line.document = "\n".into()),
        field("document_line", |line| line.document_line = u32::MAX),
        field("note", |line| line.note = "bell \u{7}".into()),
        field("note", |line| line.note = "nul \0".into()),
        field("note", |line| line.note = "é".repeat(501)),
        field("from_state", |line| line.from_state = 7),
        field("to_state", |line| line.to_state = -1),
        field("reservation_id", |line| line.reservation_id = "a b".into()),
        field("hold_id", |line| line.hold_id = "a\0".into()),
        field("original", |line| line.original = Some(reference((SOURCE, "s")))),
        field("expected_at", |line| line.expected_at = Some(Timestamp::default())),
        field("group", |line| line.group = "x".repeat(65)),
    ]
}

/// What only the ledger can know.
fn forbidden() -> Vec<Case> {
    let unknown = Movement { location_id: "nowhere".into(), ..new("u0") };
    let unknown_receiver = Movement {
        to_location_id: "nowhere".into(),
        ..movement(MovementKind::TransferShip, "u1", "berlin", "new", 1)
    };
    let unknown_channel = Movement { channel_id: "tv".into(), ..new("u2") };
    let ancient = Movement { occurred_at: Some(Timestamp::default()), ..new("t") };
    let late = Movement { group: "g".into(), ..new("g1") };
    let spoiler = Movement { group: "g".into(), ..Movement { quantity: 0, ..new("g2") } };
    vec![
        told(unknown, NOT_FOUND, "LOCATION_UNKNOWN", "location_id", "nowhere"),
        told(unknown_receiver, NOT_FOUND, "LOCATION_UNKNOWN", "location_id", "nowhere"),
        told(unknown_channel, NOT_FOUND, "CHANNEL_UNKNOWN", "channel_id", "tv"),
        told(sale("s", "berlin", "new", 2), ALREADY_EXISTS, "KEY_REUSED", "field", "sku"),
        told(ancient, INVALID_ARGUMENT, "OCCURRED_AT_OUT_OF_RANGE", "occurred_at_us", "0"),
        case(sale("n", "berlin", "bag", 1), FAILED_PRECONDITION, "NOT_A_STOCK_ITEM"),
        told(
            linked_return("x0", "berlin", "new", 1, (SOURCE, "s")),
            FAILED_PRECONDITION,
            "ORIGINAL_MISMATCH",
            "field",
            "sku",
        ),
        told(
            linked_return("x1", "berlin", "A", 1, (SOURCE, "r")),
            FAILED_PRECONDITION,
            "ORIGINAL_MISMATCH",
            "field",
            "kind",
        ),
        told(
            Movement { quantity: 5, ..correction("x2", "berlin", "A", (SOURCE, "s")) },
            FAILED_PRECONDITION,
            "ORIGINAL_MISMATCH",
            "field",
            "quantity",
        ),
        case(
            correction("x3", "berlin", "A", (SOURCE, "gone")),
            FAILED_PRECONDITION,
            "ALREADY_CORRECTED",
        ),
        case(sale("f", "berlin", "full", 1), OUT_OF_RANGE, "BALANCE_OUT_OF_RANGE"),
        told(late, ABORTED, "GROUP_REFUSED", "group", "g"),
        told(spoiler, INVALID_ARGUMENT, "QUANTITY_OUT_OF_RANGE", "quantity", "0"),
    ]
}

async fn prepared() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.put_item("bag", false).await;
    let movements = vec![
        receipt("r", "berlin", "A", 10),
        sale("s", "berlin", "A", 2),
        sale("gone", "berlin", "A", 1),
        correction("c", "berlin", "A", (SOURCE, "gone")),
        receipt("full", "berlin", "full", 1),
    ];
    for result in server.record(movements).await.results {
        result.recorded();
    }
    let fill = "update position set sellable = 9007199254740991
        where item = (select item_no from item where sku = 'full')";
    execute(&server.database_url, fill).await;
    server
}

/// Everything that a bad line must leave alone.
async fn left(server: &Server) -> Vec<i64> {
    let mut left = Vec::new();
    for table in ["item", "position", "request", "ledger_entry", "location", "channel"] {
        left.push(number(&server.database_url, &format!("select count(*) from {table}")).await);
    }
    left
}

#[tokio::test]
async fn f32_every_reason_is_told_kept_and_has_no_other_effect() {
    let server = prepared().await;
    let cases: Vec<_> =
        malformed().into_iter().chain(malformed_fields()).chain(forbidden()).collect();
    let before = left(&server).await;
    let lines: Vec<_> = cases.iter().map(|case| case.line.clone()).collect();
    let response = server.record(lines).await;
    for (case, result) in cases.iter().zip(&response.results) {
        let error = result.rejected(case.reason);
        assert_eq!(error.code, case.code, "{error:?}");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let metadata: HashMap<_, _> = case.metadata.iter().map(owned).collect();
        assert_eq!(error.metadata, metadata, "{error:?}");
        for value in error.metadata.values().filter(|_| case.reason != "OCCURRED_AT_OUT_OF_RANGE") {
            assert!(error.message.contains(value), "{error:?}");
        }
    }
    assert_eq!((&*response.token, response.durability), ("", 0), "nothing was written");
    assert_eq!(left(&server).await, before, "items, positions, requests, entries, network");

    let kept = server.rejected().await;
    let distinct: HashMap<_, _> = cases.iter().map(|case| (identity(&case.line), case)).collect();
    assert_eq!(kept.len(), distinct.len());
    for row in kept {
        let movement = row.movement.unwrap();
        let case = distinct[&identity(&movement)];
        assert_eq!(movement, case.line, "as it was sent");
        assert_eq!(row.error.unwrap().reason, case.reason);
    }
}

/// What the rejected list keeps one row for: the key, or the whole of what has none.
fn identity(line: &Movement) -> String {
    let malformed = line.key.is_empty() || line.key.len() > 64 || !line.key.is_ascii();
    match malformed || line.key.contains('\t') {
        true => format!("{line:?}"),
        false => line.key.clone(),
    }
}

#[tokio::test]
async fn f32_a_bad_line_costs_no_good_one() {
    let server = prepared().await;
    let bad = malformed().into_iter().chain(malformed_fields()).chain(forbidden());
    let mut lines = Vec::new();
    for (number, case) in bad.enumerate() {
        lines.push(case.line);
        lines.push(sale(&format!("good {number}"), "berlin", "A", 1));
    }
    let response = server.record(lines.clone()).await;
    for pair in response.results.chunks(2) {
        assert!(pair[0].error.is_some(), "{pair:?}");
        pair[1].recorded();
    }
    assert_eq!(server.sellable("berlin", "A").await, 8 - lines.len() as i64 / 2);
}

#[tokio::test]
async fn f32_the_bounds_themselves_are_good() {
    let server = prepared().await;
    let line = Movement {
        utc_offset_minutes: -1_080,
        document: "~".repeat(64),
        document_line: 1_000_000_000,
        note: "é".repeat(500),
        reservation_id: "x".repeat(64),
        hold_id: "-".into(),
        group: " ".into(),
        ..sale(&"k".repeat(64), "berlin", &"s".repeat(64), 1_000_000_000)
    };
    server.record_one(line).await.recorded();
    server.record_one(sale("inner", "berlin", "a b c", 1)).await.recorded();
}
