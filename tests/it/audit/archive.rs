//! Old entries leave the ledger for files. Whoever asks the ledger is answered as before, or is told that
//! what they ask for is archived.

mod asked;
mod damage;
mod facts;

use std::{fs, path::Path};

use serde_json::Value;
use stockroom::{
    ledger::{Ledger, verify::Verified},
    stock::{ids::PositionKey, kind::Kind, time::Timestamp},
};
use tempfile::TempDir;

use super::{
    as_before, assert_holds, busy, command::stockroom, connect, filled, go_on, ledger, numbers, run,
};
use crate::harness::mixture::{Mixture, draft};

fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Archives what was recorded before a moment, and says how much that was.
fn archive_before(url: &str, folder: &Path, before: jiff::Timestamp) -> Value {
    let (before, to) = (before.to_string(), folder.to_str().unwrap());
    let command = ["archive", "--database-url", url, "--before", &before, "--to", to, "--json"];
    let (code, text) = stockroom(&command);
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Archives everything that was recorded until now.
fn archive(url: &str, folder: &TempDir) -> Value {
    archive_before(url, folder.path(), now())
}

async fn verify(mixture: &Mixture, folder: &TempDir) -> Verified {
    mixture.ledger.verify(Some(folder.path()), |_| ()).await.unwrap()
}

/// Nothing differs, along the files too. Returns the numbers of entries and anchors of the audit.
async fn holds(mixture: &Mixture, folder: &TempDir) -> (u64, u64) {
    assert_eq!(verify(mixture, folder).await.difference, None);
    assert_holds(mixture, &[]).await;
    let anchors = mixture.ledger.anchors().await.unwrap();
    let audited = mixture.ledger.audit(&anchors, Some(folder.path()), |_| ()).await.unwrap();
    assert_eq!(audited.differences, []);
    let sum = |of: fn(&stockroom::ledger::audit::Found) -> u64| {
        audited.partitions.iter().map(|(_, found)| of(found)).sum()
    };
    (sum(|found| found.entries), sum(|found| found.anchors))
}

async fn rows(url: &str, table: &str) -> i64 {
    let count = format!("select count(*) from {table}");
    numbers(&mut connect(url).await, &count).await[0]
}

/// Every position that there is.
async fn keys(ledger: &Ledger) -> Vec<PositionKey> {
    let mut keys = Vec::new();
    for &partition in ledger.partitions().await.unwrap() {
        let first =
            (stockroom::stock::ids::LocationNo(i32::MIN), stockroom::stock::ids::ItemNo(i32::MIN));
        let page = ledger.balances_behind(partition, first, 1_000).await.unwrap();
        keys.extend(page.into_iter().map(|row| row.key));
    }
    keys
}

#[tokio::test]
async fn what_is_archived_is_verified_and_audited_from_its_files() {
    let (url, mixture) = filled().await;
    let before = mixture.ledger.verify(None, |_| ()).await.unwrap();
    let positions = mixture.ledger.positions(&keys(&mixture.ledger).await).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = archive(&url, &folder);
    assert_eq!(told["entries"], before.entries);
    assert_eq!(told["files"], fs::read_dir(folder.path()).unwrap().count());
    assert_eq!((rows(&url, "ledger_entry").await, rows(&url, "ledger_batch").await), (0, 0));

    assert_eq!(verify(&mixture, &folder).await, before);
    let (entries, anchors) = holds(&mixture, &folder).await;
    assert_eq!((entries, anchors), (before.entries, told["files"].as_u64().unwrap()));
    let same = mixture.ledger.positions(&keys(&mixture.ledger).await).await.unwrap();
    assert_eq!(same, positions);
    let (code, text) = stockroom(&["verify", "--database-url", &url]);
    assert!(code == 1 && text.contains("--archive"), "{text}");
    let folder_text = folder.path().to_str().unwrap();
    let (code, text) = stockroom(&["audit", "--database-url", &url, "--archive", folder_text]);
    assert_eq!(code, 0, "{text}");

    go_on(&mixture, "more").await;
    let (more, _) = holds(&mixture, &folder).await;
    assert_eq!(more, before.entries + 4);
    assert_eq!(archive(&url, &folder)["entries"], 4);
    assert_eq!(archive(&url, &folder)["entries"], 0, "nothing is left");
    go_on(&mixture, "again").await;
    assert_eq!(holds(&mixture, &folder).await.0, before.entries + 8);
}

#[tokio::test]
async fn as_of_the_time_behind_the_archive_everything_is_as_it_was() {
    let (url, mixture) = filled().await;
    let cut = now();
    let ledger = &mixture.ledger;
    go_on(&mixture, "first").await;
    let keys = keys(ledger).await;
    let mut stood = Vec::new();
    for &partition in ledger.partitions().await.unwrap() {
        let seq = ledger.head(partition).await.unwrap().unwrap().1;
        stood.push((partition, seq, ledger.positions_at(&keys, partition, seq).await.unwrap()));
    }
    go_on(&mixture, "second").await;
    let folder = tempfile::tempdir().unwrap();
    let told = archive_before(&url, folder.path(), cut);
    assert!(told["entries"].as_u64() > Some(100), "{told}");
    let mut archived = 0;
    for (partition, seq, positions) in stood {
        assert_eq!(ledger.positions_at(&keys, partition, seq).await.unwrap(), positions);
        if ledger.archived_slices(partition).await.unwrap().is_empty() {
            continue;
        }
        archived += 1;
        let error = ledger.positions_at(&keys, partition, 1).await.unwrap_err();
        assert!(error.to_string().ends_with("is archived"), "{error}");
        let error = ledger.seq_at(partition, Timestamp::Y2000).await.unwrap_err();
        assert!(error.to_string().ends_with("is archived"), "{error}");
    }
    assert!(archived >= 2);
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn writers_go_on_while_entries_are_archived() {
    let (url, mixture) = ledger().await;
    let folder = tempfile::tempdir().unwrap();
    let [shop, ..] = &mixture.shops;
    let mut entries = 0;
    for round in 0..4 {
        let posts = (0..60).map(|number| {
            let key = format!("r{round}-{number}");
            mixture.report(vec![draft(Kind::Receipt, &key, shop, "tea", 1)])
        });
        let (posted, told) = tokio::join!(futures::future::join_all(posts), async {
            let (url, folder) = (url.clone(), folder.path().to_owned());
            tokio::task::spawn_blocking(move || archive_before(&url, &folder, now())).await.unwrap()
        });
        assert_eq!(posted.len(), 60);
        entries += told["entries"].as_i64().unwrap();
    }
    entries += archive(&url, &folder)["entries"].as_i64().unwrap();
    assert_eq!((entries, rows(&url, "ledger_entry").await), (240, 0));
    assert_eq!(holds(&mixture, &folder).await.0, 240);
}

#[tokio::test]
async fn what_somebody_must_still_be_told_of_stays() {
    let (url, mixture) = ledger().await;
    for number in 0..5 {
        let key = format!("r{number}");
        mixture.post(vec![draft(Kind::Receipt, &key, &mixture.shops[0], "tea", 1)]).await;
    }
    let connection = &mut connect(&url).await;
    let behind = "insert into event_cursor (partition, sink, seq, told_until, lease_until, replays)
        select partition, 7, 3, now(), now(), 0 from ledger_head where seq > 0";
    run(connection, behind).await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(archive(&url, &folder)["entries"], 3);
    run(connection, "update event_cursor set seq = 5").await;
    let undelivered = "insert into undelivered_event
        select 5, null, now(), now(), 1, 1, 7, 20, 500, partition, 1, 2, 'e', null, '{}'
        from ledger_head where seq > 0";
    run(connection, undelivered).await;
    assert_eq!(archive(&url, &folder)["entries"], 1);
    run(connection, "delete from undelivered_event").await;
    assert_eq!(archive(&url, &folder)["entries"], 1);
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn entries_from_before_the_chain_began_are_one_batch_however_many_they_are() {
    let (url, mixture) = ledger().await;
    for report in 0..52 {
        let line =
            |line| draft(Kind::Receipt, &format!("{report}-{line}"), &mixture.shops[0], "tea", 1);
        let verdicts = mixture.report((0..100).map(line).collect()).await;
        assert_eq!(verdicts.len(), 100);
    }
    let (partition, last) = busy(&url).await;
    assert_eq!(last, 5_200);
    as_before(&url, partition, 0).await;
    go_on(&mixture, "more").await;
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(archive(&url, &folder)["entries"], 5_204);
    assert_eq!(holds(&mixture, &folder).await.0, 5_204);
}
