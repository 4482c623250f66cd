//! A server killed in the middle of a snapshot, and the same snapshot once more.

use stockroom::{
    api::proto::movement_service_client::MovementServiceClient,
    stock::{snapshot::Snapshot, time::Timestamp},
};

use crate::harness::{
    binary::Binary,
    proxy::{Cut, Proxy},
    server::{Server, eventually},
    snapshots::{ERP, header, rows, snapshot},
};

const ROWS: usize = 2_500;

/// The key of the count of an item.
fn key_of(sku: &str) -> String {
    let snapshot = Snapshot {
        source: ERP.to_owned(),
        key: "k".to_owned(),
        location_id: "shop".to_owned(),
        cutoff: Timestamp::Y2000,
        utc_offset_minutes: 0,
        rows: Vec::new(),
    };
    snapshot.draft(sku, 7).key
}

#[tokio::test]
async fn a_snapshot_cut_short_by_a_crash_is_completed_when_it_is_sent_again() {
    let watcher = Server::start().await;
    watcher.put_locations(&["shop"]).await;
    let listed: Vec<_> = (0..ROWS).map(|row| (format!("i{row:05}"), 7)).collect();
    let sent = snapshot(header("k", "shop", "2024-03-01T12:00:00Z", ROWS), &rows(&listed));
    let proxy = Proxy::start(&watcher.database_url).await;
    let mut server = Binary::start(&proxy.url(&watcher.database_url)).await;
    // In the middle of the second of three batches, whose rows are written and not committed.
    proxy.trap(&key_of("i01500"), Cut::Hold, 1);
    let connection = server.connection();
    let doomed = sent.clone();
    let call = tokio::spawn(async move {
        MovementServiceClient::new(connection).apply_snapshot(tokio_stream::iter(doomed)).await
    });
    eventually("a batch under way", || async { (proxy.sprung() > 0).then_some(()) }).await;
    server.kill();
    assert!(call.await.unwrap().is_err());
    assert_eq!(watcher.sellable("shop", "i00999").await, 7);
    assert_eq!(watcher.sellable("shop", "i01000").await, 0);

    let response =
        eventually("the head is free again", || async { watcher.apply(sent.clone()).await.ok() })
            .await;
    let all = ROWS as u32;
    assert_eq!((response.recorded, response.duplicates), (all - 1_000, 1_000));
    assert_eq!(response.items_different, all, "the first answer");
    let again = watcher.apply(sent).await.unwrap();
    assert_eq!((again.recorded, again.duplicates), (0, all));
    assert_eq!(watcher.sellable("shop", "i02499").await, 7);
    assert_eq!(watcher.ledger.verify(None, |_| ()).await.unwrap().difference, None);
}
