//! The list of rejected movements: kept, mended, dismissed.

use std::time::Duration;

use rustc_hash::FxHashMap;
use stockroom::{
    api::proto::{
        DismissRejectedMovementRequest, ListRejectedMovementsRequest, Movement, MovementResult,
        RejectedMovement, RejectedMovementState, ResubmitMovementRequest,
    },
    ledger::{
        Ledger, Options,
        queries::EntryFilter,
        rejected::{RejectedFilter, State},
    },
    stock::ids::Partition,
};
use tonic::Code;
use uuid::Uuid;

use crate::harness::{
    errors::explained,
    movements::{Became as _, sale},
    server::{SOURCE, Server},
};

/// A server with one rejected sale in a shop that nobody has put yet.
async fn rejected() -> (Server, RejectedMovement) {
    let server = Server::start().await;
    server.put_locations(&["paris"]).await;
    server.record_one(sale("s", "berlin", "A", 2)).await.rejected("LOCATION_UNKNOWN");
    let row = server.rejected().await.remove(0);
    (server, row)
}

async fn resubmit(
    server: &Server,
    row: &RejectedMovement,
    movement: Option<Movement>,
) -> MovementResult {
    let request = ResubmitMovementRequest {
        rejected_movement_id: row.rejected_movement_id.clone(),
        movement,
        actor: "erin".into(),
    };
    let response = server.ledger().resubmit_movement(request).await.unwrap().into_inner();
    response.result.unwrap()
}

async fn list(server: &Server, filter: ListRejectedMovementsRequest) -> Vec<RejectedMovement> {
    let response = server.ledger().list_rejected_movements(filter).await.unwrap();
    response.into_inner().rejected_movements
}

async fn in_state(server: &Server, state: RejectedMovementState) -> Vec<RejectedMovement> {
    list(server, ListRejectedMovementsRequest { state: state as i32, ..Default::default() }).await
}

#[tokio::test]
async fn a_row_says_everything_about_what_was_rejected() {
    let (_server, row) = rejected().await;
    assert_eq!(row.source, SOURCE);
    assert_eq!(row.movement, Some(sale("s", "berlin", "A", 2)));
    let error = row.error.unwrap();
    assert_eq!((&*error.reason, error.code), ("LOCATION_UNKNOWN", 5));
    assert_eq!(error.metadata["location_id"], "berlin");
    assert_eq!((row.attempts, row.state), (1, RejectedMovementState::Open as i32));
    assert!(row.rejected_at.is_some());
}

#[tokio::test]
async fn resubmitting_after_the_cause_is_mended_records_it() {
    let (server, row) = rejected().await;
    resubmit(&server, &row, None).await.rejected("LOCATION_UNKNOWN");
    assert_eq!(server.rejected().await[0].attempts, 2, "the same row, tried again");
    server.put_locations(&["berlin"]).await;
    resubmit(&server, &row, None).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, -2);
    assert_eq!(server.entries().await[0].actor, "erin", "who decided");
    assert_eq!(server.rejected().await, []);
    let resolved = in_state(&server, RejectedMovementState::Resolved).await;
    assert_eq!((resolved.len(), &*resolved[0].actor), (1, "erin"));
    server.record_one(sale("s", "berlin", "A", 2)).await.duplicate();
    let request = ResubmitMovementRequest {
        rejected_movement_id: row.rejected_movement_id,
        ..Default::default()
    };
    let status = server.ledger().resubmit_movement(request).await.unwrap_err();
    explained(&status, Code::FailedPrecondition, "ALREADY_DECIDED");
}

#[tokio::test]
async fn a_mended_movement_is_recorded_instead() {
    let (server, row) = rejected().await;
    let worse = sale("s", "berlin", "A", 0);
    resubmit(&server, &row, Some(worse.clone())).await.rejected("QUANTITY_OUT_OF_RANGE");
    let open = server.rejected().await.remove(0);
    assert_eq!(open.rejected_movement_id, row.rejected_movement_id, "the row stays");
    assert_eq!(open.error.unwrap().reason, "QUANTITY_OUT_OF_RANGE", "with the new reason");
    resubmit(&server, &row, Some(sale("s", "paris", "A", 2))).await.recorded();
    assert_eq!(server.sellable("paris", "A").await, -2);
    assert_eq!(server.rejected().await, []);
}

#[tokio::test]
async fn what_its_source_sends_again_with_success_is_resolved() {
    let (server, _) = rejected().await;
    server.record_one(sale("s", "berlin", "A", 2)).await.rejected("LOCATION_UNKNOWN");
    assert_eq!(server.rejected().await[0].attempts, 2, "one row per source and key");
    server.put_locations(&["berlin"]).await;
    server.record_one(sale("s", "berlin", "A", 2)).await.recorded();
    assert_eq!(server.rejected().await, []);
    assert_eq!(in_state(&server, RejectedMovementState::Resolved).await.len(), 1);
}

#[tokio::test]
async fn the_same_key_of_another_source_or_location_resolves_nothing() {
    let (server, _) = rejected().await;
    server.record_one(sale("s", "paris", "A", 1)).await.recorded();
    server.record_as("till-2", vec![sale("s", "paris", "A", 2)]).await.results[0].recorded();
    assert_eq!(server.rejected().await.len(), 1, "that of berlin is in no ledger");
}

#[tokio::test]
async fn a_dismissed_movement_is_kept_with_the_decision() {
    let (server, row) = rejected().await;
    let request = DismissRejectedMovementRequest {
        rejected_movement_id: row.rejected_movement_id.clone(),
        actor: "erin".into(),
        note: "a test of the till".into(),
    };
    let response = server.ledger().dismiss_rejected_movement(request.clone()).await.unwrap();
    let dismissed = response.into_inner().rejected_movement.unwrap();
    assert_eq!(dismissed.state, RejectedMovementState::Dismissed as i32);
    assert_eq!((&*dismissed.actor, &*dismissed.note), ("erin", "a test of the till"));
    assert_eq!(dismissed.movement, row.movement);
    assert_eq!(server.rejected().await, []);
    assert_eq!(in_state(&server, RejectedMovementState::Dismissed).await, [dismissed]);
    let status = server.ledger().dismiss_rejected_movement(request).await.unwrap_err();
    explained(&status, Code::FailedPrecondition, "ALREADY_DECIDED");
    server.record_one(sale("s", "berlin", "A", 2)).await.rejected("LOCATION_UNKNOWN");
    assert_eq!(server.rejected().await.len(), 1, "sent again, it is open again");
}

#[tokio::test]
async fn the_list_is_filtered_and_paged_oldest_first() {
    let (server, _) = rejected().await;
    for number in 0..5 {
        server.record_one(sale(&format!("q{number}"), "paris", "A", 0)).await;
    }
    server.record_as("till-2", vec![sale("x", "paris", "", 1)]).await;
    let filter = ListRejectedMovementsRequest::default;
    let by = |filter| list(&server, filter);
    let source = ListRejectedMovementsRequest { source: "till-2".into(), ..filter() };
    assert_eq!(by(source).await.len(), 1);
    let place = ListRejectedMovementsRequest { location_id: "berlin".into(), ..filter() };
    assert_eq!(by(place).await.len(), 1);
    let reason =
        ListRejectedMovementsRequest { reason: "QUANTITY_OUT_OF_RANGE".into(), ..filter() };
    assert_eq!(by(reason).await.len(), 5);
    let (mut keys, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListRejectedMovementsRequest { page_size: 3, page_token, ..filter() };
        let page = server.ledger().list_rejected_movements(request).await.unwrap().into_inner();
        keys.extend(page.rejected_movements.into_iter().map(|row| row.movement.unwrap().key));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(keys, ["s", "q0", "q1", "q2", "q3", "q4", "x"]);
}

/// As many callers at once as there are connections must not wait for each other's second one.
#[tokio::test]
async fn a_list_needs_one_connection_at_a_time() {
    let server = Server::start().await;
    server.record_one(sale("s", "nowhere", "A", 1)).await.rejected("LOCATION_UNKNOWN");
    let options = Options {
        url: server.database_url.clone(),
        writers_max: 1,
        readers_max: 1,
        acquire_timeout: Duration::from_secs(1),
    };
    let ledger = Ledger::new(&options).unwrap();
    let filter = RejectedFilter {
        source: None,
        location_id: None,
        location_ids: None,
        reason: None,
        state: State::Open,
    };
    let listed = ledger.list_rejected(&filter, Uuid::nil(), 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    let entries = ledger.list_entries(&EntryFilter::default(), (Partition(0), 0), 10).await;
    assert_eq!(entries.unwrap(), []);
    ledger.in_transit_since(&FxHashMap::default()).await.unwrap();
}
