//! F19 and F20: counts of a whole location, and feeds that break.

use stockroom::api::proto::{
    ApplySnapshotRequest, Movement, MovementKind, SnapshotHeader, SnapshotRow, SnapshotRows,
    SnapshotVariance, apply_snapshot_request::Part,
};
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::harness::{
    errors::explained,
    movements::{Became as _, at, count, receipt, sale},
    server::Server,
    snapshots::{header, part, rows, snapshot},
};

const NOON: &str = "2024-03-01T12:00:00Z";

fn occurred(when: &str, movement: Movement) -> Movement {
    Movement { occurred_at: Some(at(when)), ..movement }
}

/// A location with `items` items of 5 each, since the morning.
async fn shop(items: usize) -> Server {
    let server = Server::start().await;
    server.put_locations(&["shop"]).await;
    let opening = (0..items).map(|item| {
        let sku = format!("i{item:03}");
        occurred("2024-03-01T08:00:00Z", receipt(&sku, "shop", &sku, 5))
    });
    for result in server.record(opening.collect()).await.results {
        result.recorded();
    }
    server
}

/// `zeros` items counted as nothing, the others up to `items` as they are.
fn counted(items: usize, zeros: usize) -> Vec<SnapshotRow> {
    let row = |item| (format!("i{item:03}"), if item < zeros { 0 } else { 5 });
    rows(&(0..items).map(row).collect::<Vec<_>>())
}

fn variance(sku: &str, ledger_quantity: i64, counted_quantity: i64) -> SnapshotVariance {
    SnapshotVariance { sku: sku.to_owned(), ledger_quantity, counted_quantity }
}

#[tokio::test]
async fn f19_a_snapshot_of_the_past_does_not_undo_what_was_sold_since() {
    let server = shop(1).await;
    // 5, one sold: 4. Minutes later the feed says 9, as of a moment before the sale.
    let sold = occurred("2024-03-01T12:05:00Z", sale("s", "shop", "i000", 1));
    server.record_one(sold).await.recorded();
    let sent = snapshot(header("k", "shop", NOON, 1), &rows(&[("i000", 9)]));
    let response = server.apply(sent).await.unwrap();
    assert_eq!(response.variances, [variance("i000", 5, 9)], "compared as of the cut-off");
    assert_eq!(server.sellable("shop", "i000").await, 8, "9 at noon, one sold since");
}

#[tokio::test]
async fn f19_what_happened_before_the_cutoff_and_arrives_later_is_in_the_count() {
    let server = shop(2).await;
    let sent = snapshot(header("k", "shop", NOON, 1), &rows(&[("i000", 3)]));
    let response = server.apply(sent).await.unwrap();
    assert_eq!((response.items_compared, response.items_to_zero), (2, 1), "one is not listed");
    let late = [
        occurred("2024-03-01T11:00:00Z", sale("a", "shop", "i000", 2)),
        occurred("2024-03-01T11:30:00Z", sale("b", "shop", "i001", 1)),
        occurred("2024-03-01T13:00:00Z", sale("c", "shop", "i000", 1)),
    ];
    server.record(late.to_vec()).await;
    assert_eq!(server.sellable("shop", "i000").await, 2, "3 at noon, one sold in the afternoon");
    assert_eq!(server.sellable("shop", "i001").await, 0, "it was counted as nothing");
}

#[tokio::test]
async fn f19_a_snapshot_is_compared_with_the_facts_until_its_cutoff() {
    let server = shop(4).await;
    let facts = [
        // Counted since: what the snapshot says is older, and changes nothing now.
        occurred("2024-03-01T10:00:00Z", sale("a", "shop", "i000", 1)),
        occurred("2024-03-01T13:00:00Z", count("b", "shop", "i000", 7)),
        // Reported after the later count, but from before the cut-off.
        occurred("2024-03-01T11:00:00Z", sale("c", "shop", "i000", 1)),
        occurred("2024-03-01T10:00:00Z", count("d", "shop", "i001", 2)),
        occurred("2024-03-01T11:00:00Z", receipt("e", "shop", "i001", 2)),
        occurred("2024-03-01T12:30:00Z", sale("f", "shop", "i001", 1)),
        occurred("2024-03-01T12:30:00Z", sale("g", "shop", "i002", 5)),
    ];
    for result in server.record(facts.to_vec()).await.results {
        result.recorded();
    }
    let listed = rows(&[("i000", 4), ("i001", 4), ("i002", 5), ("i003", 5)]);
    let dry = SnapshotHeader { dry_run: true, ..header("k", "shop", NOON, 4) };
    let response = server.apply(snapshot(dry, &listed)).await.unwrap();
    assert_eq!(response.variances, [variance("i000", 3, 4)]);
    assert_eq!((response.items_equal, response.items_with_stock), (3, 4));
    assert_eq!((response.recorded, &*response.token), (0, ""), "it was only compared");
    let before = server.entries().await.len();
    server.apply(snapshot(header("k", "shop", NOON, 4), &listed)).await.unwrap();
    assert_eq!(server.sellable("shop", "i000").await, 7, "the later count stands");
    assert_eq!(server.sellable("shop", "i001").await, 3);
    assert_eq!(server.sellable("shop", "i002").await, 0);
    let entries = server.entries().await.split_off(before);
    let counts = entries.iter().filter(|entry| entry.kind() == MovementKind::Count);
    assert_eq!(counts.count(), 4, "what agrees was counted too");
    assert!(entries.iter().all(|entry| entry.document == "k"), "{entries:?}");
}

#[tokio::test]
async fn f20_a_snapshot_of_zeros_is_refused_until_somebody_confirms_it() {
    let server = shop(50).await;
    let before = server.entries().await.len();
    for (listed, to_zero) in
        [(counted(50, 11), "11"), (counted(39, 0), "11"), (counted(0, 0), "50")]
    {
        let sent = snapshot(header("k", "shop", NOON, listed.len()), &listed);
        let status = server.apply(sent).await.unwrap_err();
        let metadata = explained(&status, Code::FailedPrecondition, "SNAPSHOT_DROPS_TOO_MUCH");
        assert_eq!((&*metadata["to_zero"], &*metadata["with_stock"]), (to_zero, "50"));
    }
    assert_eq!(server.entries().await.len(), before, "nothing was applied");
    let few = snapshot(header("few", "shop", NOON, 50), &counted(50, 10));
    let response = server.apply(few).await.unwrap();
    assert_eq!((response.items_to_zero, response.recorded), (10, 50), "a fifth is no break");
    // What was refused did not use up its key.
    let all = SnapshotHeader { confirm_zeros: true, ..header("k", "shop", NOON, 0) };
    let response = server.apply(snapshot(all, &[])).await.unwrap();
    assert_eq!((response.items_to_zero, response.recorded), (40, 40));
    assert_eq!(server.sellable("shop", "i049").await, 0);
}

#[tokio::test]
async fn f20_a_snapshot_that_was_cut_short_is_refused_as_a_whole() {
    let server = shop(3).await;
    let before = server.entries().await.len();
    let whole = snapshot(header("k", "shop", NOON, 3), &counted(3, 1));
    let without_end = whole[..2].to_vec();
    let mut unsure = whole.clone();
    let end = unsure.last_mut().unwrap();
    *end = part(Part::End(stockroom::api::proto::SnapshotEnd { complete: false }));
    let too_few = snapshot(header("k", "shop", NOON, 3), &counted(2, 0));
    let too_many = snapshot(header("k", "shop", NOON, 2), &counted(3, 0));
    for sent in [without_end, unsure, too_few, too_many] {
        let status = server.apply(sent).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "SNAPSHOT_INCOMPLETE");
    }
    let twice = rows(&[("A", 1), ("B", 1), ("A", 1)]);
    let (ahead, broken) = (rows(&[("A", -1)]), rows(&[("A  B", 1)]));
    for (listed, reason) in
        [(twice, "SKU_REPEATED"), (ahead, "QUANTITY_OUT_OF_RANGE"), (broken, "SKU_INVALID")]
    {
        let sent = snapshot(header("k", "shop", NOON, listed.len()), &listed);
        let status = server.apply(sent).await.unwrap_err();
        explained(&status, Code::InvalidArgument, reason);
    }
    assert_eq!(server.entries().await.len(), before);
    assert_eq!(server.rejected().await, []);
}

#[tokio::test]
async fn f20_a_header_without_cutoff_or_with_one_ahead_is_refused() {
    let server = shop(1).await;
    let none = SnapshotHeader { cutoff: None, ..header("k", "shop", NOON, 0) };
    let ahead = SnapshotHeader {
        cutoff: Some(crate::harness::movements::seconds_from_now(400)),
        ..header("k", "shop", NOON, 0)
    };
    for header in [none, ahead, header("k", "shop", "1999-12-31T23:00:00Z", 0)] {
        let status = server.apply(snapshot(header, &[])).await.unwrap_err();
        let metadata = explained(&status, Code::InvalidArgument, "FIELD_INVALID");
        assert_eq!(metadata["field"], "header.cutoff");
    }
    let nowhere = snapshot(header("k", "nowhere", NOON, 0), &[]);
    let status = server.apply(nowhere).await.unwrap_err();
    explained(&status, Code::NotFound, "LOCATION_UNKNOWN");
    for sent in [Vec::new(), vec![ApplySnapshotRequest { part: None }]] {
        let status = server.apply(sent).await.unwrap_err();
        explained(&status, Code::InvalidArgument, "SNAPSHOT_MALFORMED");
    }
}

#[tokio::test]
async fn f17_a_snapshot_sent_again_has_no_further_effect_and_another_content_is_refused() {
    let server = shop(3).await;
    let sent = snapshot(header("k", "shop", NOON, 2), &rows(&[("i001", 5), ("i000", 2)]));
    let first = server.apply(sent).await.unwrap();
    assert_eq!((first.recorded, first.duplicates), (3, 0), "two rows and one that is not listed");
    let before = server.entries().await;
    let other_order = snapshot(header("k", "shop", NOON, 2), &rows(&[("i000", 2), ("i001", 5)]));
    let again = server.apply(other_order).await.unwrap();
    assert_eq!((again.recorded, again.duplicates), (0, 2));
    assert_eq!(again.variances, first.variances, "the first answer");
    assert_eq!(again.items_to_zero, 1);
    let other = snapshot(header("k", "shop", NOON, 2), &rows(&[("i000", 3), ("i001", 5)]));
    let status = server.apply(other).await.unwrap_err();
    explained(&status, Code::AlreadyExists, "KEY_REUSED");
    assert_eq!(server.entries().await, before);
}

#[tokio::test]
async fn a_row_of_which_no_stock_is_kept_costs_no_other_one() {
    let server = shop(1).await;
    server.put_item("gift wrapping", false).await;
    let listed = rows(&[("gift wrapping", 1), ("i000", 4)]);
    let sent = snapshot(header("k", "shop", NOON, 2), &listed);
    let response = server.apply(sent).await.unwrap();
    assert_eq!((response.recorded, response.rejected), (1, 1));
    assert_eq!(server.sellable("shop", "i000").await, 4);
    assert_eq!(server.rejected().await.len(), 1);
}

#[tokio::test]
async fn a_row_that_is_malformed_ends_a_snapshot_before_more_is_kept_of_it() {
    let server = Server::start().await;
    server.put_locations(&["berlin"]).await;
    let long = [("x".repeat(3_000_000), 1)];
    let begun = [
        part(Part::Header(header("s", "berlin", "2026-01-01T00:00:00Z", 2))),
        part(Part::Rows(SnapshotRows { rows: rows(&long) })),
    ];
    // The client has not come to the end yet.
    let sent = tokio_stream::iter(begun).chain(tokio_stream::pending());
    let refused = server.movements().apply_snapshot(sent).await.unwrap_err();
    explained(&refused, Code::InvalidArgument, "SKU_INVALID");
    server.stop().await;
}
