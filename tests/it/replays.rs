//! Whole files through the real program: server, importer and check as processes of their own.
//! Runs that need the real data are skipped, and say so, where DATA names no folder with it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::process::{Program, run_json};

/// Units over all positions after the UCI file, and its classes (Chen, D. (2015), Online Retail, UCI
/// Machine Learning Repository, doi 10.24432/C5BW33).
const UCI_UNITS: i64 = 174_343;
const UCI_POSTED: i64 = 538_963;
const UCI_NOT_STOCK: i64 = 2_946;

fn data(file: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "DATA belongs to the tests, not to the program")]
    let path = std::env::var_os("DATA").map(|folder| Path::new(&folder).join(file));
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: no {file} in DATA");
    }
    found
}

fn import(server: &Program, arguments: &[&str]) -> Value {
    run_json(&[&["import"], arguments, &["--addr", &server.addr(), "--json"]].concat())
}

fn verify(server: &Program) -> Value {
    let verified = run_json(&["verify", "--json", "--data-dir", server.data_dir()]);
    assert_eq!(verified["ok"], true, "{verified}");
    verified
}

fn assert_uci(summary: &Value) {
    assert_eq!(summary["posted"], UCI_POSTED, "{summary}");
    assert_eq!(summary["rejected"]["NOT_A_STOCK_ITEM"], UCI_NOT_STOCK, "{summary}");
    assert_eq!(summary["rejected"].as_object().unwrap().len(), 1, "{summary}");
}

fn uci(variant: &[&str]) {
    let Some(file) = data("uci_online_retail.csv.zst") else { return };
    let server = Program::serve();
    let arguments = [&["uci", file.to_str().unwrap(), "--opening", "minimal"], variant].concat();
    assert_uci(&import(&server, &arguments));
    assert_eq!(verify(&server)["sellable"], UCI_UNITS);
}

#[test]
fn uci_in_the_order_of_the_file() {
    uci(&[]);
}

#[test]
fn uci_shuffled_and_with_resends() {
    uci(&["--shuffle", "7", "--duplicate", "5"]);
}

/// The server is killed in the middle of the import and started again; the import, cut off as well, is
/// run a second time.
#[test]
fn uci_after_kill_9_of_the_server_in_the_middle() {
    let Some(file) = data("uci_online_retail.csv.zst") else { return };
    let mut server = Program::serve();
    let addr = server.addr();
    let arguments = ["import", "uci", file.to_str().unwrap(), "--opening", "minimal"];
    let arguments = [&arguments[..], &["--addr", &addr, "--retry-for", "1s", "--json"]].concat();
    let mut first = Program::start(&arguments);
    server.wait_for_entries(100_000);
    server.kill_9();
    assert!(!first.wait().success(), "the first import outlived its server");
    server.restart();
    let summary = import(&server, &["uci", file.to_str().unwrap(), "--opening", "minimal"]);
    assert_uci(&summary);
    assert!(summary["duplicates"].as_i64().unwrap() > 90_000, "{summary}");
    assert_eq!(verify(&server)["sellable"], UCI_UNITS);
}

/// Complete Journey 2.0, 84.51 degrees, CC0.
#[test]
fn the_complete_journey_year() {
    let (Some(transactions), Some(products)) = (
        data("completejourney_transactions.csv.zst"),
        data("completejourney_products.csv.zst"),
    ) else {
        return;
    };
    let server = Program::serve();
    let files = ["completejourney", transactions.to_str().unwrap(), products.to_str().unwrap()];
    let summary = import(&server, &[&files[..], &["--opening", "sum"]].concat());
    assert_eq!(summary["by_kind"], serde_json::json!({ "SALE": 1_441_876 }), "{summary}");
    assert_eq!(summary["dropped"], 4_836, "{summary}");
    let rejected =
        serde_json::json!({ "NOT_A_STOCK_ITEM": 14_697 + 3_833, "QUANTITY_OUT_OF_RANGE": 4_065 });
    assert_eq!(summary["rejected"], rejected, "{summary}");
    assert_eq!(verify(&server)["sellable"], 0);
}
