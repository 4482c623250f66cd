//! Anchors, and what a restore takes away.

use std::{fs, time::Duration};

use stockroom::{
    feed::anchoring::{AnchorOptions, Anchoring},
    ledger::audit::anchor::Anchor,
    stock::ids::Partition,
};

use super::{assert_holds, audit, busy, difference, filled, go_on};
use crate::harness::{
    databases::{copy_of, execute},
    mixture::Mixture,
    server::eventually,
};

fn read(path: &std::path::Path) -> Vec<Anchor> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[tokio::test]
async fn what_a_restore_lost_is_told_as_lost_and_not_as_altered() {
    let (url, mixture) = filled().await;
    let before = mixture.ledger.anchors().await.unwrap();
    mixture.ledger.close().await;
    drop(mixture);
    let backup = copy_of(&url).await;
    let mixture = Mixture::new(&url).await;
    go_on(&mixture, "lost").await;
    let lost = mixture.ledger.anchors().await.unwrap();
    assert!(lost.len() >= 2, "{lost:?}");

    let restored = Mixture::new(&backup).await;
    let anchors = [before.clone(), lost.clone()].concat();
    let named = difference(&restored, &anchors, "a lost end, with nobody to say so").await;
    assert!(named.contains("the chain ends before it; the last anchor that fits"), "{named}");

    let epoch = restored.ledger.bump_epoch().await.unwrap();
    for round in ["after", "much after"] {
        let audited = audit(&restored, &anchors).await;
        assert_eq!(audited.differences, []);
        let found = || audited.partitions.iter().map(|(_, found)| found);
        assert_eq!(found().map(|found| found.anchors).sum::<u64>(), before.len() as u64);
        let told: Vec<_> = found().flat_map(|found| &found.lost).collect();
        assert_eq!(told.len(), lost.len());
        assert!(told.iter().all(|lost| lost.until == epoch && lost.epoch < epoch), "{told:?}");
        go_on(&restored, round).await;
    }
    let anchors = [anchors, restored.ledger.anchors().await.unwrap()].concat();
    assert_holds(&restored, &anchors).await;
}

#[tokio::test]
async fn an_end_that_was_cut_off_is_found_by_an_anchor() {
    let (url, mixture) = filled().await;
    let (Partition(partition), last) = busy(&url).await;
    let short = mixture.ledger.anchors().await.unwrap();
    go_on(&mixture, "cut").await;
    let anchors = mixture.ledger.anchors().await.unwrap();
    super::as_before(&url, Partition(partition), last).await;
    execute(
        &url,
        &format!("delete from ledger_entry where partition = {partition} and seq > {last}"),
    )
    .await;
    let checksum = format!(
        "update ledger_head set seq = {last}, recorded_at = (select recorded_at from ledger_entry e
         where e.partition = {partition} and e.seq = {last}) where partition = {partition}"
    );
    execute(&url, &checksum).await;
    let head = mixture.ledger.heads().await.unwrap();
    let head = head.heads.iter().find(|head| head.partition.0 == partition).unwrap();
    let checksum = head.checksum();
    execute(
        &url,
        &format!("update ledger_head set checksum = {checksum} where partition = {partition}"),
    )
    .await;
    assert_holds(&mixture, &short).await;
    let named = difference(&mixture, &anchors, "a cut end").await;
    assert!(named.starts_with(&format!("ledger_batch partition={partition} last_seq=")), "{named}");
    assert!(named.contains("the chain ends before it"), "{named}");
}

#[tokio::test]
async fn anchors_are_appended_to_their_file_and_only_if_something_moved() {
    let (_, mixture) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anchors.jsonl");
    // As a power cut leaves it.
    fs::write(&path, "{\"partition\":0,\"ep").unwrap();
    let options = |file| AnchorOptions { every: Some(Duration::from_millis(20)), file: Some(file) };
    let anchoring = Anchoring::start(mixture.ledger.clone(), options(path.clone())).unwrap();
    let first = eventually("they are exported", || async {
        Some(read(&path)).filter(|anchors| !anchors.is_empty())
    });
    let first = first.await;
    go_on(&mixture, "more").await;
    eventually("they are exported again", || async {
        Some(read(&path)).filter(|anchors| anchors.len() > first.len())
    })
    .await;
    anchoring.stop().await;
    let all = read(&path);
    let stopped = mixture.ledger.anchors().await.unwrap();
    for anchor in &stopped {
        assert_eq!(all.iter().filter(|told| told.says_the_same(anchor)).count(), 1, "{all:?}");
    }
    assert!(assert_holds(&mixture, &all).await >= (first.len() + stopped.len()) as u64);
    let nowhere = options(folder.path().join("no/such/folder"));
    assert!(Anchoring::start(mixture.ledger.clone(), nowhere).is_err());
}
