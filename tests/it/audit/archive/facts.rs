//! What arrives about archived entries.

use stockroom::{
    stock::{draft::Draft, kind::Kind, refusal::Refusal, time::Timestamp},
    writer::Verdict,
};

use super::{archive, holds, keys, ledger, now};
use crate::harness::mixture::{Mixture, about, correct, draft};

/// What becomes of one draft.
async fn one(mixture: &Mixture, draft: Draft) -> Verdict {
    mixture.report(vec![draft]).await.remove(0)
}

async fn is_archived(mixture: &Mixture, draft: Draft) {
    let verdict = one(mixture, draft).await;
    assert!(matches!(verdict, Verdict::Refused(Refusal::Archived { .. })), "{verdict:?}");
}

async fn is_recorded(mixture: &Mixture, draft: Draft) {
    let verdict = one(mixture, draft).await;
    assert!(matches!(verdict, Verdict::Recorded(_)), "{verdict:?}");
}

fn at(time: Timestamp, draft: Draft) -> Draft {
    Draft { occurred_at: Some(time), ..draft }
}

fn moment() -> Timestamp {
    Timestamp(now().as_microsecond())
}

/// Sellable and expected of an item at the first shop.
async fn balances(mixture: &Mixture, item: usize) -> (i64, i64) {
    let mut keys = keys(&mixture.ledger).await;
    keys.sort_by_key(|key| key.item.0);
    let positions = mixture.ledger.positions(&keys).await.unwrap();
    let position = &positions[&keys[item]];
    (position.sellable, position.expected)
}

#[tokio::test]
async fn a_key_is_answered_as_before() {
    let (url, mixture) = super::filled().await;
    let [a, b, c, _] = mixture.shops.clone();
    let ship =
        Draft { to_location_id: c.clone(), ..draft(Kind::TransferShip, "t1", &b, "tea", 10) };
    let again = || {
        vec![
            draft(Kind::Sale, "s10", &a, "tea", 4),
            ship.clone(),
            about("s10", draft(Kind::Return, "b2", &c, "tea", 2)),
            correct("t2", draft(Kind::Correct, "c-t2", &c, "tea", 5)),
        ]
    };
    let before = mixture.report(again()).await;
    assert!(before.iter().all(|it| matches!(it, Verdict::Duplicate(_))), "{before:?}");
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    let after = mixture.report(again()).await;
    assert_eq!(format!("{after:?}"), format!("{before:?}"));
    let other = one(&mixture, draft(Kind::Sale, "s10", &a, "tea", 5)).await;
    let reused = Refusal::KeyReused { field: "movement" };
    assert_eq!(format!("{other:?}"), format!("{:?}", Verdict::Refused(reused)));
    // A correction waits in the archive for a sale that comes now: it has no effect any more.
    is_recorded(&mixture, draft(Kind::Sale, "s22", &mixture.shops[3], "milk", 1)).await;
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn facts_that_come_late_are_taken_and_what_needs_the_archive_is_refused() {
    let (url, mixture) = ledger().await;
    let [a, ..] = &mixture.shops;
    let ago = |seconds, draft| Draft { occurred_at: mixture.ago(seconds), ..draft };
    mixture
        .post(vec![
            ago(900, draft(Kind::Receipt, "r", a, "tea", 100)),
            ago(500, draft(Kind::Count, "n1", a, "tea", 90)),
            ago(300, draft(Kind::Sale, "s1", a, "tea", 5)),
        ])
        .await;
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    let behind = moment();

    // What was counted stands; what came after the count counts.
    is_recorded(&mixture, ago(800, draft(Kind::Sale, "late1", a, "tea", 7))).await;
    assert_eq!(balances(&mixture, 0).await, (85, 0));
    is_recorded(&mixture, ago(400, draft(Kind::Sale, "late2", a, "tea", 2))).await;
    assert_eq!(balances(&mixture, 0).await, (83, 0));
    is_recorded(&mixture, about("s1", draft(Kind::Return, "b1", a, "tea", 6))).await;
    assert_eq!(balances(&mixture, 0).await, (89, 0));

    is_archived(&mixture, ago(200, draft(Kind::Count, "n2", a, "tea", 1))).await;
    is_archived(&mixture, correct("s1", draft(Kind::Correct, "c1", a, "tea", 5))).await;
    // The first count behind the archive cannot be taken back, as what was counted before is unknown.
    is_recorded(&mixture, draft(Kind::Count, "n3", a, "tea", 50)).await;
    is_archived(&mixture, correct("n3", draft(Kind::Correct, "c3", a, "tea", 50))).await;
    is_recorded(&mixture, draft(Kind::Count, "n4", a, "tea", 40)).await;
    is_recorded(&mixture, draft(Kind::Sale, "s2", a, "tea", 1)).await;
    is_recorded(&mixture, correct("n4", draft(Kind::Correct, "c4", a, "tea", 40))).await;
    assert_eq!(balances(&mixture, 0).await, (49, 0));
    // A count that comes late, but took effect behind the archive, and two of them in one report.
    is_recorded(&mixture, at(behind, draft(Kind::Count, "n5", a, "tea", 77))).await;
    assert_eq!(balances(&mixture, 0).await, (49, 0));
    let twice = vec![
        at(behind, draft(Kind::Count, "n6", a, "tea", 76)),
        at(Timestamp(behind.0 - 1), draft(Kind::Count, "n7", a, "tea", 75)),
    ];
    let verdicts = mixture.report(twice).await;
    assert!(verdicts.iter().all(|it| matches!(it, Verdict::Recorded(_))), "{verdicts:?}");
    let whole = moment();
    is_recorded(&mixture, draft(Kind::Sale, "s3", a, "tea", 1)).await;
    is_recorded(&mixture, at(whole, draft(Kind::Count, "n8", a, "tea", 20))).await;
    assert_eq!(balances(&mixture, 0).await, (19, 0));
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn announcements_are_settled_across_the_archive() {
    let (url, mixture) = ledger().await;
    let [a, ..] = &mixture.shops;
    let line = |document: &str, draft: Draft| Draft {
        document: document.to_owned(),
        document_line: 1,
        expected_at: (draft.kind == Kind::Expect as i32).then_some(Timestamp::Y2000),
        ..draft
    };
    mixture
        .post(vec![
            line("open", draft(Kind::Expect, "e1", a, "tea", 20)),
            line("done", draft(Kind::Expect, "e2", a, "tea", 8)),
            line("done", draft(Kind::Receipt, "r2", a, "tea", 8)),
            line("corrected", draft(Kind::Expect, "e3", a, "tea", 4)),
        ])
        .await;
    mixture.post(vec![correct("e3", draft(Kind::Correct, "c3", a, "tea", 0))]).await;
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    assert_eq!(balances(&mixture, 0).await, (8, 20));
    is_recorded(&mixture, line("open", draft(Kind::Expect, "e4", a, "tea", 3))).await;
    assert_eq!(balances(&mixture, 0).await, (8, 23));
    is_recorded(&mixture, line("done", draft(Kind::Receipt, "r3", a, "tea", 1))).await;
    assert_eq!(balances(&mixture, 0).await, (9, 23));
    archive(&url, &folder);
    is_recorded(&mixture, line("open", draft(Kind::Receipt, "r4", a, "tea", 15))).await;
    assert_eq!(balances(&mixture, 0).await, (24, 0));
    is_recorded(&mixture, correct("r4", draft(Kind::Correct, "c4", a, "tea", 15))).await;
    assert_eq!(balances(&mixture, 0).await, (9, 23));
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn an_item_that_came_after_the_archive_has_all_of_its_history() {
    let (url, mixture) = ledger().await;
    let [a, ..] = &mixture.shops;
    mixture.post(vec![draft(Kind::Receipt, "r", a, "tea", 10)]).await;
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    let behind = moment();
    is_recorded(&mixture, draft(Kind::Receipt, "r1", a, "milk", 10)).await;
    is_recorded(&mixture, at(behind, draft(Kind::Count, "n0", a, "milk", 4))).await;
    assert_eq!(balances(&mixture, 1).await, (14, 0));
    is_recorded(&mixture, draft(Kind::Count, "n1", a, "milk", 9)).await;
    is_recorded(&mixture, correct("n1", draft(Kind::Correct, "c1", a, "milk", 9))).await;
    is_recorded(&mixture, correct("n0", draft(Kind::Correct, "c0", a, "milk", 4))).await;
    assert_eq!(balances(&mixture, 1).await, (10, 0));
    holds(&mixture, &folder).await;
}

#[tokio::test]
async fn stock_as_of_a_moment_knows_what_came_late_although_a_later_count_stands() {
    let (url, mixture) = ledger().await;
    let [a, ..] = &mixture.shops;
    mixture.post(vec![draft(Kind::Receipt, "r", a, "tea", 10)]).await;
    let folder = tempfile::tempdir().unwrap();
    archive(&url, &folder);
    let (sold, then) = (moment(), moment());
    is_recorded(&mixture, draft(Kind::Count, "n", a, "tea", 7)).await;
    is_recorded(&mixture, at(sold, draft(Kind::Sale, "s", a, "tea", 2))).await;
    mixture.ledger.directory().find_locations(&[a]).await.unwrap();
    let place = mixture.ledger.directory().known().place(a).unwrap();
    let there = mixture.ledger.stock_as_of(place, then, 10).await.unwrap();
    assert_eq!(there, [("tea".to_owned(), 8)]);
    let now = mixture.ledger.stock_as_of(place, moment(), 10).await.unwrap();
    assert_eq!(now, [("tea".to_owned(), 7)]);
}
