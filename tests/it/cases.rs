//! Cases that others wrote for their own stock: their inputs and results, in our terms.
//!
//! The tables are text files, one per project. A row is a case: a title, where it comes from, and
//! steps with what each must be answered. Where Stockroom answers differently on purpose the row
//! says why under `differs`, and is held to Stockroom's answer. [`table`] reads them, [`run`]
//! carries them out over gRPC against a real server, and `docs/proof.md` counts them.

mod run;
mod table;

use std::collections::BTreeSet;

use table::Case;

use crate::harness::server::Server;

/// Fewer would say little of how others think.
const CASES_MIN: usize = 100;

/// A project, as `docs/proof.md` calls it, and its table.
const TABLES: [(&str, &str); 6] = [
    ("TigerBeetle", include_str!("cases/tigerbeetle.txt")),
    ("Saleor", include_str!("cases/saleor.txt")),
    ("Spree", include_str!("cases/spree.txt")),
    ("Magento MSI", include_str!("cases/magento.txt")),
    ("Medusa", include_str!("cases/medusa.txt")),
    ("Vendure", include_str!("cases/vendure.txt")),
];

fn cases(project: &str) -> Vec<Case<'static>> {
    let (_, text) = TABLES.iter().find(|(name, _)| *name == project).unwrap();
    table::read(text)
}

/// Carries out every case of a project, and tells all that went wrong.
async fn run_all(project: &str) {
    let server = Server::start_honest().await;
    let mut wrong = Vec::new();
    for (number, case) in cases(project).iter().enumerate() {
        if let Err(what) = run::run(&server, number, case).await {
            wrong.push(format!("{project}, \"{}\": {what}", case.title));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.stop().await;
}

#[tokio::test]
async fn tigerbeetle_cases() {
    run_all("TigerBeetle").await;
}

#[tokio::test]
async fn saleor_cases() {
    run_all("Saleor").await;
}

#[tokio::test]
async fn spree_cases() {
    run_all("Spree").await;
}

#[tokio::test]
async fn magento_cases() {
    run_all("Magento MSI").await;
}

#[tokio::test]
async fn medusa_cases() {
    run_all("Medusa").await;
}

#[tokio::test]
async fn vendure_cases() {
    run_all("Vendure").await;
}

/// Each is wrong in another way.
const WRONG: &str = "
case a refusal that does not come
from nowhere | 1
  receive r a x:5
  reserve k a x:5 -> INSUFFICIENT_STOCK
case a grant that does not come
from nowhere | 2
  reserve k a x:5
case another refusal than expected
from nowhere | 3
  reserve k a x:5 -> LOCATION_UNKNOWN
case another value than expected
from nowhere | 4
  receive r a x:2
  reserve k a x:5 -> INSUFFICIENT_STOCK available=3
case another balance than expected
from nowhere | 5
  receive r a x:2
  is a x sellable=3
case another state than expected
from nowhere | 6
  receive r a x:2
  reserve k a x:2
  state k READY
case other entries than expected
from nowhere | 7
  receive r a x:2
  entries a x RECEIPT:3
case another number of winners than expected
from nowhere | 8
  race 2 reserve k a x:1 -> granted=1 refused=INSUFFICIENT_STOCK
case a duplicate that is not told
from nowhere | 9
  receive r a x:2
  receive r a x:2
case a verb that nobody knows
from nowhere | 10
  frobnicate k a x:2
";

#[tokio::test]
async fn a_case_that_is_wrong_is_caught() {
    let server = Server::start_honest().await;
    for (number, case) in table::read(WRONG).iter().enumerate() {
        let found = run::run(&server, number, case).await;
        assert!(found.is_err(), "{} was not caught", case.title);
    }
    server.stop().await;
}

#[test]
fn there_are_enough_cases_and_each_has_an_origin_of_its_own() {
    let mut origins = BTreeSet::new();
    let mut titles = BTreeSet::new();
    for (project, _) in TABLES {
        for case in cases(project) {
            assert!(origins.insert((project, case.origin)), "{project}: {} twice", case.origin);
            assert!(titles.insert((project, case.title)), "{project}: {} twice", case.title);
            assert!(case.expects(), "{project}, {}: nothing can go wrong", case.title);
        }
    }
    assert!(origins.len() >= CASES_MIN, "{} cases", origins.len());
}

#[test]
fn proof_md_counts_the_cases_of_each_project() {
    let document = include_str!("../../docs/proof.md");
    for (project, _) in TABLES {
        let cases = cases(project);
        let differing = cases.iter().filter(|case| case.differs.is_some()).count();
        let row = format!("| {project} | {} | {differing} |", cases.len());
        assert!(document.contains(&row), "docs/proof.md should say {row}");
    }
}
