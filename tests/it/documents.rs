//! Documents say what the code does.

mod deploying;
mod generated;
mod monitoring;
mod python;

use prost::Message as _;
use stockroom::{
    api::proto::DESCRIPTORS,
    stock::{
        refusal::{Class, Refusal},
        time::Timestamp,
    },
};

/// One of each, in the order of precedence.
fn refusals() -> Vec<Refusal> {
    let id = || "x".to_owned();
    vec![
        Refusal::KeyInvalid,
        Refusal::KindInvalid { kind: 99 },
        Refusal::LocationIdInvalid,
        Refusal::SkuInvalid,
        Refusal::FieldInvalid { field: "note" },
        Refusal::QuantityOutOfRange { quantity: 0 },
        Refusal::StateInvalid,
        Refusal::ReasonRequired,
        Refusal::OriginalRequired,
        Refusal::ToLocationInvalid,
        Refusal::ScopeMissing { scope: "counts:write" },
        Refusal::LocationForbidden { location_id: id() },
        Refusal::LocationUnknown { location_id: id() },
        Refusal::ChannelUnknown { channel_id: id() },
        Refusal::KeyReused { field: "sku" },
        Refusal::OccurredAtOutOfRange { occurred_at: Timestamp(0) },
        Refusal::ReservationUnknown { reservation_id: id() },
        Refusal::HoldUnknown { hold_id: id() },
        Refusal::ReservationMoved { successor_id: id() },
        Refusal::NotAStockItem,
        Refusal::ItemRecalled { sku: String::new() },
        Refusal::OriginalMismatch { field: "sku" },
        Refusal::AlreadyCorrected,
        Refusal::Archived { until: Timestamp(0) },
        Refusal::ReservationState { state: "READY" },
        Refusal::HoldElsewhere,
        Refusal::HoldEnded,
        Refusal::HoldInUse,
        Refusal::HoldConsumed,
        Refusal::PickupCodeWrong,
        Refusal::NothingAside,
        Refusal::LineUnknown { sku: id() },
        Refusal::LineExceeded { sku: id(), left: 0 },
        Refusal::SameLocation,
        Refusal::NotDue,
        Refusal::LocationNotEligible,
        Refusal::LocationNotAccepting { status: "CLOSED" },
        Refusal::TtlExceeded { ttl_max_ms: 1 },
        Refusal::UnitsPerOrderExceeded { sku: id(), units_max: 1 },
        Refusal::HoldsExceeded { of: "customer", units_max: 1 },
        Refusal::InsufficientStock { short: Vec::new() },
        Refusal::SnapshotTooLarge,
        Refusal::SnapshotDropsTooMuch { to_zero: 2, with_stock: 3 },
        Refusal::BalanceOutOfRange,
        Refusal::GroupRefused { group: id() },
    ]
}

fn code(class: Class) -> &'static str {
    match class {
        Class::InvalidArgument => "INVALID_ARGUMENT",
        Class::NotFound => "NOT_FOUND",
        Class::AlreadyExists => "ALREADY_EXISTS",
        Class::PermissionDenied => "PERMISSION_DENIED",
        Class::FailedPrecondition => "FAILED_PRECONDITION",
        Class::Aborted => "ABORTED",
        Class::OutOfRange => "OUT_OF_RANGE",
    }
}

#[test]
fn the_table_of_rejections_is_the_code_s() {
    let document = include_str!("../../docs/errors.md");
    let (_, rejections) =
        document.split_once("## Why a movement is rejected, or a request refused").unwrap();
    let (rejections, _) = rejections.split_once("## ").unwrap();
    let rows = rejections.lines().filter(|line| line.starts_with("| ")).skip(1);
    let told: Vec<Vec<&str>> =
        rows.map(|row| row.split('|').skip(1).take(3).map(str::trim).collect()).collect();
    let mut expected: Vec<Vec<String>> = Vec::new();
    for refusal in refusals() {
        let metadata = refusal.metadata();
        let names: Vec<_> = metadata.iter().map(|(name, _)| *name).collect();
        let row = [refusal.reason(), code(refusal.class()), &names.join(", ")];
        expected.push(row.map(str::to_owned).into());
    }
    expected.push(["INTERNAL", "INTERNAL", ""].map(str::to_owned).into());
    assert_eq!(told, expected);
}

/// Every reason that a call can fail with stands in the sources as a literal.
#[test]
fn every_reason_of_a_call_is_in_the_table() {
    let document = include_str!("../../docs/errors.md");
    let sources = [
        include_str!("../../src/api/arriving.rs"),
        include_str!("../../src/api/authorise.rs"),
        include_str!("../../src/api/availability.rs"),
        include_str!("../../src/api/availability/explain.rs"),
        include_str!("../../src/api/availability/pickup.rs"),
        include_str!("../../src/api/error.rs"),
        include_str!("../../src/api/events.rs"),
        include_str!("../../src/api/events/webhook.rs"),
        include_str!("../../src/api/guard.rs"),
        include_str!("../../src/api/layer.rs"),
        include_str!("../../src/api/ledger.rs"),
        include_str!("../../src/api/movements.rs"),
        include_str!("../../src/api/movements/permit.rs"),
        include_str!("../../src/api/movements/snapshot.rs"),
        include_str!("../../src/api/network.rs"),
        include_str!("../../src/api/network/location.rs"),
        include_str!("../../src/api/network/policy.rs"),
        include_str!("../../src/api/network/preview.rs"),
        include_str!("../../src/api/network/quota.rs"),
        include_str!("../../src/api/rates.rs"),
        include_str!("../../src/api/reach.rs"),
        include_str!("../../src/api/page.rs"),
        include_str!("../../src/api/reservations.rs"),
        include_str!("../../src/api/reservations/asked.rs"),
        include_str!("../../src/api/reservations/holds.rs"),
        include_str!("../../src/api/reservations/list.rs"),
        include_str!("../../src/api/reservations/pick.rs"),
        include_str!("../../src/api/reservations/told.rs"),
        include_str!("../../src/api/reservations/watch.rs"),
    ];
    let reasons: Vec<_> = sources.iter().flat_map(|source| reasons_in(source)).collect();
    assert!(reasons.len() > 20, "found {reasons:?}");
    let missing: Vec<_> = reasons.iter().filter(|reason| !document.contains(**reason)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

/// Literals in a source that look like reasons.
fn reasons_in(source: &str) -> Vec<&str> {
    let literals = source.split('"').skip(1).step_by(2);
    let reason = |text: &&str| {
        text.len() > 6
            && text.contains('_')
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
            && !text.starts_with('_')
    };
    literals.filter(reason).collect()
}

/// The core names each reason once, in the order of precedence.
#[test]
fn no_refusal_is_missing_from_the_list_above() {
    let source = include_str!("../../src/stock/refusal.rs");
    let (_, reasons) = source.split_once("pub fn reason(").unwrap();
    let told: Vec<_> = refusals().iter().map(Refusal::reason).collect();
    assert_eq!(told, reasons_in(reasons));
}

#[test]
fn every_field_of_a_location_and_of_a_policy_is_explained() {
    let document = include_str!("../../docs/network.md");
    let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let messages = files.iter().flat_map(|file| &file.message_type);
    for (name, heading) in [("Location", "## Locations"), ("ChannelPolicy", "## Policies")] {
        let message = messages.clone().find(|message| message.name() == name).unwrap();
        let (_, table) = document.split_once(heading).unwrap();
        let (table, _) = table.split_once("\n## ").unwrap_or((table, ""));
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let told: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
        let fields: Vec<_> = message.field.iter().map(|field| field.name()).collect();
        assert_eq!(told, fields, "{name}");
    }
}
