//! A database that is not the one that wrote last begins a new epoch before anything is written.

use stockroom::api::proto::{GetPositionRequest, Movement};
use tonic::Code;

use crate::harness::{
    databases::{execute, number},
    errors::explained,
    movements::{Became as _, put_request, receipt, sale},
    server::{SOURCE, Server, eventually},
};

/// Sends a line again with the same key while its names are looked up anew.
async fn record_at_last(server: &Server, line: Movement) {
    let request = put_request(SOURCE, vec![line]);
    let response = eventually("it is recorded", || async {
        match server.movements().record_movements(request.clone()).await {
            Ok(response) => Some(response.into_inner()),
            Err(status) => {
                explained(&status, Code::Unavailable, "LEDGER_UNAVAILABLE");
                None
            }
        }
    });
    response.await.results[0].recorded();
}

async fn moves_the_epoch(change: &str) {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    let token = server.record(vec![receipt("r", "berlin", "A", 10)]).await.token;
    let epochs = "select count(distinct epoch) * 1000 + count(*) from ledger_head";
    let newest = "select max(epoch) from ledger_head";
    assert_eq!(number(&server.database_url, epochs).await, 1_004);
    let before = number(&server.database_url, newest).await;
    execute(&server.database_url, &format!("update ledger_head set {change}")).await;

    record_at_last(&server, sale("s", "paris", "A", 1)).await;

    assert_eq!(number(&server.database_url, epochs).await, 1_004, "all partitions move at once");
    assert!(number(&server.database_url, newest).await > before);
    let (location_id, sku) = ("berlin".to_owned(), "A".to_owned());
    let request = GetPositionRequest { location_id, sku, token, ..GetPositionRequest::default() };
    let response = server.ledger().get_position(request).await.unwrap().into_inner();
    assert!(response.degraded, "the token is of the epoch before");
    assert_eq!(response.position.unwrap().sellable, 10);
    assert_eq!(server.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}

#[tokio::test]
async fn another_timeline_moves_the_epoch() {
    moves_the_epoch("timeline = timeline + 1 where partition = 3").await;
}

#[tokio::test]
async fn another_system_moves_the_epoch() {
    moves_the_epoch("system_identifier = system_identifier + 1").await;
}

/// A fail-over loses an item together with the tail of the ledger, and another one is given its number.
#[tokio::test]
async fn names_that_a_fail_over_lost_are_looked_up_anew() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.record_one(sale("s1", "berlin", "lost", 1)).await.recorded();
    let fail_over = "update item set sku = 'other' where sku = 'lost';
        update ledger_head set timeline = timeline + 1";
    execute(&server.database_url, fail_over).await;

    record_at_last(&server, sale("s2", "berlin", "lost", 2)).await;

    assert_eq!(server.sellable("berlin", "other").await, -1, "what had its number before");
    assert_eq!(server.sellable("berlin", "lost").await, -2);
}
