//! A database that is not the one that wrote last begins a new epoch before anything is written.

use stockroom::api::proto::GetPositionRequest;

use crate::harness::{
    databases::{execute, number},
    movements::{Became as _, receipt, sale},
    server::Server,
};

async fn moves_the_epoch(change: &str) {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    let token = server.record(vec![receipt("r", "berlin", "A", 10)]).await.token;
    let epochs = "select count(distinct epoch) * 1000 + count(*) from ledger_head";
    let newest = "select max(epoch) from ledger_head";
    assert_eq!(number(&server.database_url, epochs).await, 1_004);
    let before = number(&server.database_url, newest).await;
    execute(&server.database_url, &format!("update ledger_head set {change}")).await;

    server.record_one(sale("s", "paris", "A", 1)).await.recorded();

    assert_eq!(number(&server.database_url, epochs).await, 1_004, "all partitions move at once");
    assert!(number(&server.database_url, newest).await > before);
    let (location_id, sku) = ("berlin".to_owned(), "A".to_owned());
    let request = GetPositionRequest { location_id, sku, token, ..GetPositionRequest::default() };
    let response = server.ledger().get_position(request).await.unwrap().into_inner();
    assert!(response.degraded, "the token is of the epoch before");
    assert_eq!(response.position.unwrap().sellable, 10);
    assert_eq!(server.ledger.verify(|_| ()).await.unwrap().difference, None);
}

#[tokio::test]
async fn another_timeline_moves_the_epoch() {
    moves_the_epoch("timeline = timeline + 1 where partition = 3").await;
}

#[tokio::test]
async fn another_system_moves_the_epoch() {
    moves_the_epoch("system_identifier = system_identifier + 1").await;
}
