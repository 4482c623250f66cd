//! The connection to PostgreSQL breaks, PostgreSQL is away, a row will not be written.
#![expect(clippy::disallowed_types, reason = "looks at statuses as a client does")]

use std::time::Duration;

use stockroom::api::proto::{
    ListEntriesRequest, Movement, MovementStatus, ResubmitMovementRequest,
};
use tonic::{Code, Status};

use crate::harness::{
    databases::execute,
    errors::explained,
    movements::{Became as _, movement, put_request, receipt, sale},
    proxy::{Cut, Proxy},
    server::{SOURCE, Server, migrated_database},
};

const LOCATIONS: [&str; 4] = ["berlin", "paris", "rome", "madrid"];

/// A server that reaches its database through a proxy, with shops and a known source.
async fn behind_a_proxy() -> (Server, Proxy) {
    let url = migrated_database().await;
    let proxy = Proxy::start(&url).await;
    let server = Server::start_through(&url, &proxy.url(&url)).await;
    server.put_locations(&LOCATIONS).await;
    server.record_one(receipt("r", "berlin", "A", 10)).await.recorded();
    (server, proxy)
}

async fn refused(server: &Server, source: &str, line: Movement) -> Status {
    server.movements().record_movements(put_request(source, vec![line])).await.unwrap_err()
}

#[tokio::test]
async fn a_batch_whose_commit_was_lost_is_executed_again_with_one_effect() {
    for cut in [Cut::Before, Cut::After] {
        let (server, proxy) = behind_a_proxy().await;
        proxy.trap("COMMIT", cut, 1);
        let posted = server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
        assert_eq!(proxy.sprung(), 1, "{cut:?}");
        assert_eq!(server.sellable("berlin", "A").await, 9, "{cut:?}");
        assert_eq!(server.entries().await.len(), 2, "{cut:?}");
        assert_eq!(server.record_one(sale("s", "berlin", "A", 1)).await.duplicate(), posted);
    }
}

#[tokio::test]
async fn a_batch_that_is_unlucky_again_and_again_still_has_one_effect() {
    let (server, proxy) = behind_a_proxy().await;
    proxy.trap("COMMIT", Cut::After, 3);
    let lines: Vec<_> = LOCATIONS.iter().map(|place| sale("s", place, "A", 1)).collect();
    let response = server.record([lines.clone(), lines].concat()).await;
    assert_eq!(proxy.sprung(), 3);
    let statuses: Vec<_> = response.results.iter().map(|result| result.status()).collect();
    assert_eq!(statuses[..4], [MovementStatus::Recorded; 4], "by this request");
    assert_eq!(statuses[4..], [MovementStatus::Duplicate; 4], "the same line once more");
    assert_eq!(server.entries().await.len(), 5);
}

#[tokio::test]
async fn a_transfer_whose_commit_was_lost_is_shipped_once() {
    let (server, proxy) = behind_a_proxy().await;
    proxy.trap("COMMIT", Cut::After, 1);
    let ship = Movement {
        to_location_id: "paris".into(),
        ..movement(stockroom::api::proto::MovementKind::TransferShip, "t", "berlin", "A", 4)
    };
    server.record_one(ship).await.recorded();
    assert_eq!(proxy.sprung(), 1);
    assert_eq!(server.sellable("berlin", "A").await, 6);
    assert_eq!(server.position("paris", "A").await.in_transit, 4);
}

#[tokio::test]
async fn connections_that_break_before_anything_was_written_go_unnoticed() {
    for text in ["begin; set local lock_timeout", "ledger_head"] {
        let (server, proxy) = behind_a_proxy().await;
        proxy.trap(text, Cut::Before, 1);
        // A statement that is prepared on this connection is named by a number: use them all.
        let lines: Vec<_> = LOCATIONS.iter().map(|place| sale("s", place, "A", 1)).collect();
        for result in server.record(lines).await.results {
            result.recorded();
        }
        assert_eq!(proxy.sprung(), 1, "{text}");
        assert_eq!(server.entries().await.len(), 5, "{text}");
    }
}

#[tokio::test]
async fn while_postgresql_is_down_calls_are_unavailable_and_recover_by_themselves() {
    let (server, proxy) = behind_a_proxy().await;
    proxy.close();
    let unheard = refused(&server, "unheard-of", sale("s", "berlin", "A", 1));
    let known = refused(&server, SOURCE, sale("s", "berlin", "A", 1));
    let mut ledger = server.ledger();
    let read = ledger.list_entries(ListEntriesRequest::default());
    let (unheard, known, read) = tokio::join!(unheard, known, read);
    for status in [unheard, known, read.unwrap_err()] {
        explained(&status, Code::Unavailable, "LEDGER_UNAVAILABLE");
    }
    proxy.open();
    server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 9);
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_says_so_and_a_retry_finds_it() {
    let (server, proxy) = behind_a_proxy().await;
    proxy.trap("COMMIT", Cut::AfterAndClose, 1);
    let status = refused(&server, SOURCE, sale("s", "berlin", "A", 1)).await;
    explained(&status, Code::Unavailable, "OUTCOME_UNKNOWN");
    proxy.open();
    server.record_one(sale("s", "berlin", "A", 1)).await.duplicate();
    assert_eq!(server.sellable("berlin", "A").await, 9);
}

/// Nothing arrives any more, and nothing says so: the connection stays open.
#[tokio::test]
async fn a_database_that_falls_silent_in_a_commit_is_given_up() {
    let (server, proxy) = behind_a_proxy().await;
    proxy.trap("COMMIT", Cut::Hold, 1);
    let mut request = tonic::Request::new(put_request(SOURCE, vec![sale("s", "berlin", "A", 1)]));
    request.set_timeout(Duration::from_secs(1));
    let status = server.movements().record_movements(request).await.unwrap_err();
    explained(&status, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    assert_eq!(proxy.sprung(), 1);
    server.record_one(sale("s", "berlin", "A", 1)).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 9);
    assert_eq!(server.entries().await.len(), 2);
}

#[tokio::test]
async fn reads_of_a_database_that_fell_silent_end_and_give_their_connections_back() {
    let (server, proxy) = behind_a_proxy().await;
    // Text that only lists send; the feed reads entries, too.
    proxy.trap("($3::int is null or location = $3)", Cut::Hold, 4);
    let lists = (0..4).map(async |_| {
        let mut ledger = server.ledger();
        ledger.list_entries(ListEntriesRequest::default()).await
    });
    for read in futures::future::join_all(lists).await {
        explained(&read.unwrap_err(), Code::Unavailable, "LEDGER_UNAVAILABLE");
    }
    assert_eq!(proxy.sprung(), 4, "one for each connection that reads");
    assert_eq!(server.entries().await.len(), 1);
}

#[tokio::test]
async fn a_line_that_the_database_will_not_take_costs_no_other_one() {
    let server = Server::start().await;
    server.put_locations(&LOCATIONS).await;
    let poison = "alter table ledger_entry add constraint no_poison
        check (note is distinct from 'poison')";
    execute(&server.database_url, poison).await;
    let mut lines: Vec<_> =
        (0..25).map(|number| sale(&format!("s{number}"), "berlin", "A", 1)).collect();
    lines[17].note = "poison".into();
    let results = server.record(lines.clone()).await.results;
    for (number, result) in results.iter().enumerate() {
        if number == 17 {
            let error = result.rejected("INTERNAL");
            assert_eq!(error.code, 13);
            assert!(!error.message.contains("constraint"), "{error:?}");
        } else {
            result.recorded();
        }
    }
    let seqs: Vec<_> = server.entries().await.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=24).collect::<Vec<_>>(), "dense");
    let kept = server.rejected().await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].movement.as_ref(), Some(&lines[17]));

    execute(&server.database_url, "alter table ledger_entry drop constraint no_poison").await;
    let rejected_movement_id = kept[0].rejected_movement_id.clone();
    let request = ResubmitMovementRequest { rejected_movement_id, ..Default::default() };
    let response = server.ledger().resubmit_movement(request).await.unwrap().into_inner();
    response.result.unwrap().recorded();
    assert_eq!(server.sellable("berlin", "A").await, -25);
}
