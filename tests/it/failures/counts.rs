//! F23: shrinkage.

use std::collections::BTreeMap;

use stockroom::api::proto::{MovementKind, ReportGrouping, StockState};

use crate::harness::{
    movements::{Became as _, adjust, count, receipt, sale},
    reports::everything,
    server::Server,
};

/// What counts found missing, by location, as a report tells it.
async fn shrinkage(server: &Server) -> BTreeMap<String, i64> {
    let report = server.report(everything(ReportGrouping::Location)).await.unwrap();
    let rows = report.stock.into_iter().filter(|row| row.shrinkage_units != 0);
    rows.map(|row| (row.location_id, row.shrinkage_units)).collect()
}

#[tokio::test]
async fn f23_a_count_that_finds_less_becomes_a_variance() {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    server.record(vec![receipt("r1", "berlin", "A", 10), sale("s1", "berlin", "A", 2)]).await;
    let counted = server.record_one(count("c1", "berlin", "A", 5)).await.recorded();
    let entries = server.entries_of("berlin", "A").await;
    let [.., fact, variance] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((fact.kind(), fact.quantity), (MovementKind::Count, 5), "the fact itself");
    assert_eq!((fact.seq, fact.sellable_after), (counted.seq, 8), "a count moves nothing");
    assert_eq!(variance.kind(), MovementKind::CountVariance);
    assert_eq!((variance.quantity, variance.sellable_after), (3, 5));
    assert_eq!(variance.from_state(), StockState::Sellable);
    assert_eq!(variance.to_state(), StockState::External);
    assert_eq!(variance.refers_to_seq, counted.seq, "it names the count that it explains");
    assert_eq!(server.position("berlin", "A").await.version, variance.seq);
}

#[tokio::test]
async fn f23_shrinkage_is_a_figure_per_location() {
    let server = Server::start().await;
    server.put_locations(&["berlin", "paris"]).await;
    let opening = ["A", "B"].map(|sku| receipt(sku, "berlin", sku, 10));
    server.record(opening.to_vec()).await;
    server.record(vec![receipt("p", "paris", "A", 10)]).await;
    let counts = vec![
        count("c1", "berlin", "A", 7),
        count("c2", "berlin", "B", 11),
        count("c3", "paris", "A", 10),
    ];
    for result in server.record(counts).await.results {
        result.recorded();
    }
    let missing = [("berlin".to_owned(), 2)];
    assert_eq!(shrinkage(&server).await, missing.into(), "three lost, one found; paris agrees");
    let berlin = server.stock_figures("berlin").await;
    assert_eq!((berlin.counts, berlin.counts_that_differed), (2, 2), "{berlin:?}");
    assert_eq!((berlin.units_lost, berlin.units_found), (3, 1), "{berlin:?}");
    let paris = server.stock_figures("paris").await;
    assert_eq!((paris.counts, paris.counts_that_differed), (1, 0), "{paris:?}");
}

#[tokio::test]
async fn f23_known_theft_is_an_adjustment_and_no_variance() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.record_one(receipt("r", "berlin", "A", 10)).await.recorded();
    let stolen = adjust("t", "berlin", "A", 1, "theft");
    let stolen = stockroom::api::proto::Movement { from_state: 1, ..stolen };
    server.record_one(stolen).await.recorded();
    server.record_one(count("c", "berlin", "A", 9)).await.recorded();
    assert_eq!(shrinkage(&server).await, BTreeMap::new());
}

#[tokio::test]
async fn f23_a_count_of_nothing_is_a_count() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    server.record_one(receipt("r", "berlin", "A", 4)).await.recorded();
    server.record_one(count("c", "berlin", "A", 0)).await.recorded();
    assert_eq!(server.sellable("berlin", "A").await, 0);
    server.record_one(count("never seen", "berlin", "B", 0)).await.recorded();
    assert_eq!(server.entries_of("berlin", "B").await.len(), 1, "there is nothing to make up");
}
