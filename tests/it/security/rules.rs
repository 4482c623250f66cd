//! Each method is closed to who has no scope of it, also where messages come as a stream.
#![expect(clippy::disallowed_types, reason = "clients that send streams")]

use futures::stream;
use stockroom::{
    access::{METHODS, Scope},
    api::proto::{
        ApplySnapshotRequest, Movement, SnapshotEnd, SnapshotHeader, SyncMovementsRequest,
        WatchReservationsRequest, apply_snapshot_request::Part,
    },
};
use tonic::{Code, Status};

use crate::{
    harness::{
        errors::explained,
        movements::{count, sale, sync_request},
        raw,
    },
    security::scene::{Client, SHOPS, SKU, Scene},
};

async fn snapshot(client: &Client, source: &str, location_id: &str) -> Result<(), Status> {
    let header = SnapshotHeader {
        source: source.to_owned(),
        key: "s".to_owned(),
        location_id: location_id.to_owned(),
        cutoff: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        dry_run: true,
        ..SnapshotHeader::default()
    };
    let end = SnapshotEnd { complete: true };
    let parts = [Part::Header(header), Part::End(end)];
    let messages = parts.map(|part| ApplySnapshotRequest { part: Some(part) });
    client.movements().apply_snapshot(stream::iter(messages)).await.map(|_| ())
}

/// The reasons of the lines of one message of a stream; empty: recorded.
async fn synced(client: &Client, message: SyncMovementsRequest) -> Result<Vec<String>, Status> {
    let answers = client.movements().sync_movements(stream::iter([message])).await?;
    let answer = answers.into_inner().message().await?.unwrap();
    let errors = answer.results.into_iter().map(|result| result.error);
    Ok(errors.map(|error| error.map_or_else(String::new, |error| error.reason)).collect())
}

#[tokio::test]
async fn every_method_is_closed_to_who_has_none_of_its_scopes() {
    let scene = Scene::start().await;
    for (number, scope) in [Scope::ReportsRead, Scope::NetworkRead].into_iter().enumerate() {
        let caller = scene.caller(&format!("c{number}"), &[scope], None, None).await;
        for (method, scopes) in METHODS.iter().filter(|(_, scopes)| !scopes.contains(&scope)) {
            let path = format!("/stockroom.v1.{method}");
            let answer = raw::call(caller.0.clone(), &path, Vec::new()).await;
            let metadata = explained(&answer.unwrap_err(), Code::PermissionDenied, "SCOPE_MISSING");
            let named = scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>();
            for scope in metadata["scope"].split(' ') {
                assert!(named.contains(&scope), "{method}: {metadata:?}");
            }
        }
        for (method, _) in METHODS.iter().filter(|(_, scopes)| scopes.contains(&scope)) {
            let path = format!("/stockroom.v1.{method}");
            let answer = raw::call(caller.0.clone(), &path, Vec::new()).await;
            let code = answer.err().map(|status| status.code());
            assert_ne!(code, Some(Code::PermissionDenied), "{method}");
        }
    }
    let caller = scene.caller("c", &[Scope::ReportsRead], None, None).await;
    let answer =
        raw::call(caller.0.clone(), "/stockroom.v1.LedgerService/Forget", Vec::new()).await;
    explained(&answer.unwrap_err(), Code::PermissionDenied, "METHOD_FORBIDDEN");
    scene.server.stop().await;
}

#[tokio::test]
async fn streams_are_held_to_the_scopes_and_the_reach_of_their_caller() {
    let scene = Scene::start().await;
    let [alpha, beta] = SHOPS;
    let scopes = [Scope::MovementsWrite, Scope::ReservationsRead];
    let shop = scene.caller("shop", &scopes, Some(&[alpha]), None).await;
    let lines: Vec<Movement> =
        vec![sale("1", alpha, SKU, 1), sale("2", beta, SKU, 1), count("3", alpha, SKU, 1)];
    let reasons = synced(&shop, sync_request("shop", lines)).await.unwrap();
    assert_eq!(reasons, ["", "LOCATION_UNKNOWN", "SCOPE_MISSING"]);
    let refused = synced(&shop, sync_request("stockroom", Vec::new())).await.unwrap_err();
    explained(&refused, Code::PermissionDenied, "SOURCE_FORBIDDEN");
    let refused = snapshot(&shop, "shop", alpha).await.unwrap_err();
    explained(&refused, Code::PermissionDenied, "SCOPE_MISSING");

    let counter = scene.caller("counter", &[Scope::CountsWrite], Some(&[alpha]), None).await;
    snapshot(&counter, "counter", alpha).await.unwrap();
    let refused = snapshot(&counter, "counter", beta).await.unwrap_err();
    explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");

    let request = WatchReservationsRequest { location_id: beta.to_owned() };
    let refused = shop.reservations().watch_reservations(request).await.unwrap_err();
    explained(&refused, Code::NotFound, "LOCATION_UNKNOWN");
    scene.server.stop().await;
}

#[tokio::test]
async fn where_a_source_goes_on_is_told_to_who_sent_it_and_moved_by_nobody_else() {
    let scene = Scene::start().await;
    let [alpha, _] = SHOPS;
    let till = scene.caller("till-7", &[Scope::MovementsWrite], None, None).await;
    let other = scene.caller("other", &[Scope::MovementsWrite], None, None).await;
    let resume_key = async |client: &Client, key: Option<&str>| {
        let lines = key.map(|key| sale(key, alpha, SKU, 1)).into_iter().collect();
        let message = stream::iter([sync_request("till-7", lines)]);
        let answers = client.movements().sync_movements(message).await.unwrap();
        answers.into_inner().message().await.unwrap().unwrap().resume_key
    };
    assert_eq!(resume_key(&till, Some("k5")).await, "k5");
    assert_eq!(resume_key(&other, None).await, "");
    assert_eq!(resume_key(&other, Some("k9")).await, "k9");
    assert_eq!(resume_key(&till, None).await, "k5");
    assert_eq!(resume_key(&other, None).await, "k9");
    scene.server.stop().await;
}
