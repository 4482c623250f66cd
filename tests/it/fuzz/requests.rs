//! Bytes as requests: what is decoded is encoded again, and movements go on to the machine.

use prost::Message;
use stockroom::{
    api::proto::{self, Movement, RecordMovementsRequest},
    stock::{draft::Draft, refusal::Class, time::Timestamp},
};

use crate::{
    fuzz::{
        behaviours::Behaviours,
        fields,
        runner::{Target, fuzz},
    },
    harness::movements::{adjust, correction, count, linked_return, movement, receipt, sale},
    stock::{
        invariants,
        network::{ITEMS, Line, Sent, resolve},
        properties::{Tally, World},
        strategy::{NOW, SLOT},
    },
};

const WORDS: [&str; 22] = [
    "s0",
    "s1",
    "s2",
    "s3",
    "i0",
    "i1",
    "full",
    "service",
    "t0",
    "t1",
    "web",
    "k0",
    "k1",
    "k2",
    "d1",
    "did_not_occur",
    "incorrect_data",
    "damage",
    "g",
    "h1",
    "\n",
    "é",
];

/// Whether bytes are a message of some type.
type Again = fn(&[u8]) -> bool;

/// Every request, decoded, encoded and decoded again.
const REQUESTS: &[(&str, Again)] = &[
    ("AmendReservation", again::<proto::AmendReservationRequest>),
    ("ApplySnapshot", again::<proto::ApplySnapshotRequest>),
    ("BatchCreateReservations", again::<proto::BatchCreateReservationsRequest>),
    ("BatchGetPositions", again::<proto::BatchGetPositionsRequest>),
    ("BlockItem", again::<proto::BlockItemRequest>),
    ("CancelReservation", again::<proto::CancelReservationRequest>),
    ("CheckAvailability", again::<proto::CheckAvailabilityRequest>),
    ("CloseLocation", again::<proto::CloseLocationRequest>),
    ("CollectReservation", again::<proto::CollectReservationRequest>),
    ("ConfirmReservationPayment", again::<proto::ConfirmReservationPaymentRequest>),
    ("CreateReservation", again::<proto::CreateReservationRequest>),
    ("DeleteWebhook", again::<proto::DeleteWebhookRequest>),
    ("DismissDeadLetters", again::<proto::DismissDeadLettersRequest>),
    ("DismissRejectedMovement", again::<proto::DismissRejectedMovementRequest>),
    ("ExplainAvailability", again::<proto::ExplainAvailabilityRequest>),
    ("ExportPositions", again::<proto::ExportPositionsRequest>),
    ("ExtendHold", again::<proto::ExtendHoldRequest>),
    ("ExtendReservation", again::<proto::ExtendReservationRequest>),
    ("FindPickupLocations", again::<proto::FindPickupLocationsRequest>),
    ("GetPosition", again::<proto::GetPositionRequest>),
    ("GetReport", again::<proto::GetReportRequest>),
    ("GetReservation", again::<proto::GetReservationRequest>),
    ("GetWebhook", again::<proto::GetWebhookRequest>),
    ("HoldStock", again::<proto::HoldStockRequest>),
    ("ListDeadLetters", again::<proto::ListDeadLettersRequest>),
    ("ListEntries", again::<proto::ListEntriesRequest>),
    ("ListChannelPolicyVersions", again::<proto::ListChannelPolicyVersionsRequest>),
    ("ListLocations", again::<proto::ListLocationsRequest>),
    ("ListQuotas", again::<proto::ListQuotasRequest>),
    ("ListRejectedMovements", again::<proto::ListRejectedMovementsRequest>),
    ("ListReservations", again::<proto::ListReservationsRequest>),
    ("ListWebhooks", again::<proto::ListWebhooksRequest>),
    ("MarkReady", again::<proto::MarkReadyRequest>),
    ("MoveReservation", again::<proto::MoveReservationRequest>),
    ("PreviewChannelPolicy", again::<proto::PreviewChannelPolicyRequest>),
    ("PutChannelPolicy", again::<proto::PutChannelPolicyRequest>),
    ("PutChannel", again::<proto::PutChannelRequest>),
    ("PutItem", again::<proto::PutItemRequest>),
    ("PutLocation", again::<proto::PutLocationRequest>),
    ("PutQuotas", again::<proto::PutQuotasRequest>),
    ("PutWebhook", again::<proto::PutWebhookRequest>),
    ("RecordMovements", again::<RecordMovementsRequest>),
    ("ReleaseHold", again::<proto::ReleaseHoldRequest>),
    ("ReplayDeadLetters", again::<proto::ReplayDeadLettersRequest>),
    ("ReplaceHold", again::<proto::ReplaceHoldRequest>),
    ("ReportPick", again::<proto::ReportPickRequest>),
    ("ResubmitMovement", again::<proto::ResubmitMovementRequest>),
    ("ReturnToShelf", again::<proto::ReturnToShelfRequest>),
    ("SetLocationStatus", again::<proto::SetLocationStatusRequest>),
    ("StartPicking", again::<proto::StartPickingRequest>),
    ("UnblockItem", again::<proto::UnblockItemRequest>),
    ("WatchAvailability", again::<proto::WatchAvailabilityRequest>),
];

/// Whether it is a message of this type; if it is, it stays the same however often it is encoded.
fn again<M: Message + Default + std::fmt::Debug>(input: &[u8]) -> bool {
    let Ok(first) = M::decode(input) else { return false };
    let bytes = first.encode_to_vec();
    let second = M::decode(&*bytes).expect("what was encoded can be decoded");
    assert_eq!(second.encode_to_vec(), bytes, "{second:?}");
    true
}

/// One of each kind.
fn movements() -> Vec<Movement> {
    let to = |sent: Movement| Movement { to_location_id: "s1".to_owned(), ..sent };
    let of = |number: i32, key: &str, quantity| {
        movement(proto::MovementKind::try_from(number).unwrap(), key, "s0", "i0", quantity)
    };
    vec![
        receipt("k0", "s0", "i0", 9),
        sale("k1", "s0", "i0", 2),
        count("k2", "s0", "i0", 5),
        Movement { document: "d1".to_owned(), ..of(2, "k3", 7) },
        Movement { document: "d1".to_owned(), ..receipt("k4", "s0", "i0", 6) },
        to(of(6, "k5", 3)),
        of(9, "k6", 1),
        of(10, "k7", 1),
        adjust("k8", "s0", "i0", 1, "damage"),
        linked_return("k9", "s0", "i0", 1, ("t0", "k1")),
        correction("k10", "s0", "i0", ("t0", "k2")),
        receipt("k0", "s0", "i0", 9),
        Movement { group: "g".to_owned(), ..sale("k11", "s2", "i1", 1) },
        Movement { group: "g".to_owned(), ..receipt("k12", "s3", "i1", 1) },
        sale("k13", "nowhere", "i0", 1),
    ]
}

fn seeds() -> Vec<Vec<u8>> {
    let whole =
        RecordMovementsRequest { source: "t0".to_owned(), sent_at: None, movements: movements() };
    let parts = movements().into_iter().map(|movement| RecordMovementsRequest {
        source: "t1".to_owned(),
        sent_at: None,
        movements: vec![movement],
    });
    parts.chain([whole]).map(|request| request.encode_to_vec()).collect()
}

#[test]
fn requests() {
    let target =
        Target { name: "requests", seeds: seeds(), words: &WORDS, message: true, floor: 240 };
    fuzz(target, |input, seen| {
        let shape = fields::parse(input);
        for (name, again) in REQUESTS {
            seen.saw(format!("{name} {}", again(input)));
        }
        seen.saw(format!("message {}", shape.is_some()));
        if let Ok(request) = RecordMovementsRequest::decode(input) {
            record(&request, seen);
        }
    });
}

/// What the service does with it, without the databases.
fn record(request: &RecordMovementsRequest, seen: &mut Behaviours) {
    let mut world = World::default();
    let source = if request.source == "t1" { "t1" } else { "t0" };
    let mut lines: Vec<Line> = Vec::new();
    for (number, movement) in request.movements.iter().take(40).enumerate() {
        let draft = judged(movement, seen);
        // The names of items are made up as they come, those of the machine's little world are not.
        if draft.check().is_ok() && !ITEMS.iter().any(|(sku, _)| *sku == draft.sku) {
            continue;
        }
        let sent = Sent { source, draft, broken: None };
        let resolved = resolve(&sent, &world.memory);
        lines.push((sent, resolved));
        if number % 3 == 2 {
            post(&mut world, number, &lines, seen);
            lines.clear();
        }
    }
    post(&mut world, request.movements.len(), &lines, seen);
    invariants::check(&world.memory, &world.oracle);
    seen.paths(&world.memory);
}

fn post(world: &mut World, number: usize, lines: &[Line], seen: &mut Behaviours) {
    let now = Timestamp(NOW.0 + number as i64 * SLOT);
    let mut tally = Tally::new();
    let outcomes = world.record(now, lines, &mut tally);
    seen.outcomes(&outcomes);
    tally.keys().for_each(|name| seen.saw(name));
}

/// The static rules; the same movement is judged the same and has the same fingerprint.
fn judged(movement: &Movement, seen: &mut Behaviours) -> Draft {
    let draft = Draft::from(movement.clone());
    let sent_again = Draft::from(Movement::from(draft.clone()));
    assert_eq!(sent_again, draft, "it can be kept and sent again");
    assert_eq!(sent_again.fingerprint(), draft.fingerprint());
    match draft.check() {
        Ok(kind) => seen.saw(format!("good {}", kind.name())),
        Err(refusal) => {
            assert_eq!(refusal.class(), Class::InvalidArgument, "{refusal:?}");
            seen.saw(format!("bad {} {:?}", refusal.reason(), field_of(&refusal.metadata())));
        }
    }
    draft
}

fn field_of(metadata: &[(&str, String)]) -> String {
    let field = metadata.iter().find(|(name, _)| *name == "field");
    field.map(|(_, value)| value.clone()).unwrap_or_default()
}
