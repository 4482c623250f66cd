//! GetPosition and BatchGetPositions: now, at a time, at a token.

use stockroom::api::proto::{
    BatchGetPositionsRequest, GetPositionRequest, GetPositionResponse, PositionRef,
};

use crate::harness::{
    errors::explained,
    movements::{Became as _, at, receipt, sale},
    server::Server,
};

fn of(location_id: &str, sku: &str) -> GetPositionRequest {
    let (location_id, sku) = (location_id.to_owned(), sku.to_owned());
    GetPositionRequest { location_id, sku, ..GetPositionRequest::default() }
}

async fn get(server: &Server, request: GetPositionRequest) -> GetPositionResponse {
    server.ledger().get_position(request).await.unwrap().into_inner()
}

async fn sellable(server: &Server, request: GetPositionRequest) -> i64 {
    let response = get(server, request).await;
    assert!(!response.degraded);
    response.position.unwrap().sellable
}

async fn shop() -> Server {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    server
}

#[tokio::test]
async fn as_of_a_time_is_how_the_ledger_stood() {
    let server = shop().await;
    let mut stood = vec![(at("2020-01-01T00:00:00Z"), 0)];
    let mut expected = 0;
    for number in 0..5 {
        let posted = server.record_one(receipt(&format!("r{number}"), "berlin", "A", 10)).await;
        expected += 10;
        stood.push((posted.recorded().recorded_at.unwrap(), expected));
    }
    for (as_of, expected) in stood {
        let request = GetPositionRequest { as_of: Some(as_of), ..of("berlin", "A") };
        assert_eq!(sellable(&server, request).await, expected, "inclusive: {as_of:?}");
    }
    let future = Some(at("2100-01-01T00:00:00Z"));
    let request = GetPositionRequest { as_of: future, ..of("berlin", "A") };
    assert_eq!(sellable(&server, request).await, 50);
}

#[tokio::test]
async fn a_token_names_the_state_directly_after_its_write() {
    let server = shop().await;
    let first = server.record(vec![receipt("r", "berlin", "A", 10)]).await.token;
    let second = server.record(vec![sale("s", "berlin", "A", 3)]).await.token;
    let replay = server.record(vec![receipt("r", "berlin", "A", 10)]).await.token;
    for (token, expected) in [(first, 10), (second, 7), (replay, 7)] {
        let request = GetPositionRequest { token, ..of("berlin", "A") };
        assert_eq!(sellable(&server, request).await, expected);
    }
}

#[tokio::test]
async fn a_token_covers_every_partition_that_was_written() {
    let server = shop().await;
    let lines = vec![receipt("b", "berlin", "A", 1), receipt("p", "paris", "A", 2)];
    let token = server.record(lines).await.token;
    server.record(vec![sale("s1", "berlin", "A", 1), sale("s2", "paris", "A", 1)]).await;
    let positions = ["berlin", "paris", "berlin"]
        .map(|location_id| PositionRef { location_id: location_id.into(), sku: "A".into() });
    let request =
        BatchGetPositionsRequest { positions: positions.to_vec(), token, ..Default::default() };
    let response = server.ledger().batch_get_positions(request).await.unwrap().into_inner();
    let sellable: Vec<_> = response.positions.iter().map(|position| position.sellable).collect();
    assert_eq!(sellable, [1, 2, 1], "in the order of the request");
}

#[tokio::test]
async fn a_token_of_a_dead_epoch_is_answered_from_the_present_and_says_so() {
    let server = shop().await;
    let token = server.record(vec![receipt("r", "berlin", "A", 10)]).await.token;
    server.record_one(sale("s", "berlin", "A", 3)).await.recorded();
    server.ledger.bump_epoch().await.unwrap();
    let request = GetPositionRequest { token, ..of("berlin", "A") };
    let response = get(&server, request).await;
    assert!(response.degraded);
    assert_eq!(response.position.unwrap().sellable, 7);
    let token = server.record(vec![sale("s2", "berlin", "A", 1)]).await.token;
    let request = GetPositionRequest { token, ..of("berlin", "A") };
    assert_eq!(sellable(&server, request).await, 6, "the ledger goes on");
}

#[tokio::test]
async fn a_token_of_the_future_is_not_ours() {
    let (ahead, server) = (shop().await, shop().await);
    ahead.record(vec![receipt("r1", "berlin", "A", 1), receipt("r2", "berlin", "A", 1)]).await;
    let token = ahead.record(vec![receipt("r3", "berlin", "A", 1)]).await.token;
    server.record_one(receipt("r", "berlin", "A", 1)).await.recorded();
    let request = GetPositionRequest { token, ..of("berlin", "A") };
    // Both ledgers were made from one and have its epoch; if not, the answer is flagged.
    match server.ledger().get_position(request).await {
        Err(status) => {
            explained(&status, tonic::Code::InvalidArgument, "TOKEN_INVALID");
        }
        Ok(response) => assert!(response.into_inner().degraded),
    }
}

#[tokio::test]
async fn a_pair_without_movements_has_a_position_of_zeros() {
    let server = shop().await;
    let position = get(&server, of("berlin", "never seen")).await.position.unwrap();
    assert_eq!((position.sellable, position.version), (0, 0));
    assert_eq!((&*position.location_id, &*position.sku), ("berlin", "never seen"));
}
