//! What callers are answered when entries are archived.

use prost_types::Timestamp;
use stockroom::{
    api::proto::{GetPositionRequest, GetReportRequest, ReportGrouping, SnapshotHeader},
    ledger::Ledger,
    stock::time as stock,
};
use tonic::Code;

use super::{archive_before, now};
use crate::{
    audit::{command::stockroom, connect, numbers},
    harness::{
        databases,
        errors::explained,
        movements::{count, receipt, sale},
        redis::Redis,
        reports::everything,
        secured::{Roles, secured},
        server::{Server, migrated_database},
        snapshots::{header, rows, snapshot},
    },
};

fn time(at: jiff::Timestamp) -> Option<Timestamp> {
    Some(Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() })
}

fn as_of(at: jiff::Timestamp) -> GetPositionRequest {
    let (location_id, sku) = ("berlin".to_owned(), "A".to_owned());
    GetPositionRequest { location_id, sku, as_of: time(at), ..GetPositionRequest::default() }
}

async fn sellable(server: &Server, request: GetPositionRequest) -> i64 {
    server.ledger().get_position(request).await.unwrap().into_inner().position.unwrap().sellable
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_before_is_archived_and_what_came_after_is_as_it_was() {
    let server = Server::start_honest().await;
    server.put_locations(&["berlin"]).await;
    let began = now();
    server.record(vec![receipt("r", "berlin", "A", 100), receipt("q", "berlin", "B", 3)]).await;
    let made = server.reserve("k1", "berlin", "A", 2).await.unwrap();
    let id = made.reservation_id.clone();
    server.start_picking("k2", &id).await.unwrap();
    server.mark_ready("k3", &id).await.unwrap();
    let open = server.reserve("k4", "berlin", "A", 5).await.unwrap();
    let long_past = || {
        let header = header("c0", "berlin", &began.to_string(), 0);
        snapshot(SnapshotHeader { confirm_zeros: true, ..header }, &[])
    };
    let compared = server.apply(long_past()).await.unwrap();
    let cut = now();
    server.record(vec![sale("s", "berlin", "A", 10)]).await;
    let later = now();
    server.collect("k5", &id).await.unwrap();
    server.record(vec![sale("s2", "berlin", "B", 3), count("n", "berlin", "A", 60)]).await;
    let until = time(now());
    let everything = || everything(ReportGrouping::Total);
    let report = || GetReportRequest { from: time(cut), until, ..everything() };
    let reported = server.report(report()).await.unwrap();
    assert_eq!(reported.reservations[0].collected, 1);
    assert!(reported.reservations[0].time_to_collect.is_some());
    let stood = sellable(&server, as_of(later)).await;
    let there = async || {
        server.ledger.directory().find_locations(&["berlin"]).await.unwrap();
        let place = server.ledger.directory().known().place("berlin").unwrap();
        let at = stock::Timestamp(later.as_microsecond());
        server.ledger.stock_as_of(place, at, 10).await.unwrap()
    };
    let known = there().await;
    assert_eq!(known, [("A".to_owned(), 88), ("B".to_owned(), 3)]);

    let folder = tempfile::tempdir().unwrap();
    let told = archive_before(&server.database_url, folder.path(), cut);
    assert!(told["entries"].as_u64() > Some(5), "{told}");
    let reported_again = server.report(report()).await.unwrap();
    assert_eq!(reported_again.reservations, reported.reservations);
    assert_eq!(reported_again.stock, reported.stock);
    assert_eq!(sellable(&server, as_of(later)).await, stood);
    assert_eq!(there().await, known);

    let again = server.apply(long_past()).await.unwrap();
    assert_eq!(again.items_compared, compared.items_compared);

    // Requests are answered as before, and what is open goes on.
    let same = server.reserve("k1", "berlin", "A", 2).await.unwrap();
    assert_eq!(same, made);
    let changed = server.reserve("k1", "berlin", "A", 3).await.unwrap_err();
    explained(&changed, Code::AlreadyExists, "KEY_REUSED");
    server.start_picking("k6", &open.reservation_id).await.unwrap();
    server.mark_ready("k7", &open.reservation_id).await.unwrap();
    server.collect("k8", &open.reservation_id).await.unwrap();

    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    let refused = server.ledger().get_position(as_of(long_ago)).await.unwrap_err();
    let metadata = explained(&refused, Code::FailedPrecondition, "ENTRIES_ARCHIVED");
    assert!(metadata["until_us"].parse::<i64>().unwrap() < cut.as_microsecond(), "{metadata:?}");
    let refused = server.report(everything()).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "ENTRIES_ARCHIVED");
    let before = snapshot(header("c2", "berlin", "2020-01-01T00:00:00Z", 1), &rows(&[("A", 1)]));
    let refused = server.apply(before).await.unwrap_err();
    explained(&refused, Code::FailedPrecondition, "ENTRIES_ARCHIVED");
    let verified = server.ledger.verify(Some(folder.path()), |_| ()).await.unwrap();
    assert_eq!(verified.difference, None);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_missed_what_is_archived_is_made_anew() {
    let (url, redis_url) = (migrated_database().await, databases::redis_url().await);
    let server = Server::start_with(&url, &url, Redis::Real.reach(&redis_url).await).await;
    server.put_locations(&["berlin"]).await;
    server.record(vec![receipt("r1", "berlin", "A", 5)]).await;
    assert_eq!(server.available("berlin", "A").await, 5);
    server.stop().await;

    let without = Server::start_with(&url, &url, Redis::Absent.reach(&redis_url).await).await;
    without.record(vec![receipt("r2", "berlin", "A", 2)]).await;
    without.record(vec![sale("s1", "berlin", "A", 1)]).await;
    without.stop().await;
    let folder = tempfile::tempdir().unwrap();
    archive_before(&url, folder.path(), now());

    let server = Server::start_with(&url, &url, Redis::Real.reach(&redis_url).await).await;
    assert_eq!(server.available("berlin", "A").await, 6);
    server.stop().await;
}

#[tokio::test]
async fn only_the_owner_may_archive() {
    let Roles { owner, application, reader, .. } = &secured().await.database_with_roles().await;
    let server = Server::start_with(owner, application, Redis::Absent.reach("").await).await;
    server.put_locations(&["berlin"]).await;
    server.record(vec![receipt("r", "berlin", "A", 5)]).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    let archive = |url: &str| {
        let before = now().to_string();
        stockroom(&["archive", "--database-url", url, "--before", &before, "--to", to])
    };
    for role in [reader, application] {
        let (code, text) = archive(role);
        assert!(code == 1 && text.contains("permission denied"), "{text}");
    }
    let entries = "select count(*) from ledger_entry";
    assert_eq!(numbers(&mut connect(owner).await, entries).await, [1]);
    let (code, text) = archive(owner);
    assert_eq!((code, &*text), (0, "archived 1 entries in 1 files\n"));
    // The servers of the application go on.
    server.record(vec![sale("s", "berlin", "A", 1)]).await;
    let again = server.record(vec![receipt("r", "berlin", "A", 5)]).await;
    assert!(again.results[0].error.is_none(), "{again:?}");
    let ledger: &Ledger = &server.ledger;
    assert_eq!(ledger.verify(Some(folder.path()), |_| ()).await.unwrap().difference, None);
    server.stop().await;
}
