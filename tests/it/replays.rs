//! Whole files through the real program: server, importer and check as processes of their own.
//! Runs that need the real data are skipped, and say so, where DATA names no folder with it.

#![expect(clippy::disallowed_types, reason = "looks into the database while a replay runs")]

mod click_and_collect;
mod pickup_points;

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use stockroom::ledger::Ledger;

use crate::harness::{binary::Binary, databases::fresh_database, server::eventually_within};

/// What an unoptimised program takes for a file on a machine that does other things too.
const IMPORT_MAX: Duration = Duration::from_secs(300);

/// Units over all positions after the UCI file, and its classes (Chen, D. (2015), Online Retail, UCI
/// Machine Learning Repository, doi 10.24432/C5BW33).
const UCI_UNITS: i64 = 174_343;
const UCI_POSTED: i64 = 538_963;
const UCI_NOT_STOCK: i64 = 2_946;

fn data(file: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "DATA belongs to the tests, not to the program")]
    let path = std::env::var_os("DATA").map(|folder| Path::new(&folder).join(file));
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: no {file} in DATA");
    }
    found.map(|path| path.to_str().unwrap().to_owned())
}

/// Runs a command of the real program to its end; its last line on standard output.
async fn run(arguments: &[&str]) -> (bool, Value) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockroom"));
    for variable in ["DATABASE_URL", "REDIS_URL", "STOCKROOM_DATA_DIR"] {
        command.env_remove(variable);
    }
    let output = command.args(arguments).stderr(Stdio::inherit()).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    (output.status.success(), last.unwrap_or_default())
}

async fn import(addr: &str, arguments: &[&str]) -> Value {
    let (ok, summary) = run(&[&["import"], arguments, &["--addr", addr, "--json"]].concat()).await;
    assert!(ok, "{summary}");
    summary
}

async fn verify(database_url: &str) -> Value {
    let (ok, verified) = run(&["verify", "--json", "--database-url", database_url]).await;
    assert!(ok && verified["ok"] == true, "{verified}");
    verified
}

/// A server on a new database, and where it listens.
async fn serve() -> (Binary, String, String) {
    let database_url = fresh_database().await;
    Ledger::migrate(&database_url, 4).await.unwrap();
    let server = Binary::start(&database_url).await;
    let addr = format!("http://{}", server.address);
    (server, database_url, addr)
}

fn assert_uci(summary: &Value) {
    assert_eq!(summary["posted"], UCI_POSTED, "{summary}");
    assert_eq!(summary["rejected"]["NOT_A_STOCK_ITEM"], UCI_NOT_STOCK, "{summary}");
    assert_eq!(summary["rejected"].as_object().unwrap().len(), 1, "{summary}");
}

async fn uci(variant: &[&str]) {
    let Some(file) = data("uci_online_retail.csv.zst") else { return };
    let (_server, database_url, addr) = serve().await;
    let arguments = [&["uci", &*file, "--opening", "minimal"], variant].concat();
    assert_uci(&import(&addr, &arguments).await);
    assert_eq!(verify(&database_url).await["sellable"], UCI_UNITS);
}

#[tokio::test(flavor = "multi_thread")]
async fn uci_in_the_order_of_the_file() {
    uci(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uci_shuffled_and_with_resends() {
    uci(&["--shuffle", "7", "--duplicate", "5"]).await;
}

/// The server is killed in the middle of the import and started again; the import, cut off as well, is
/// run a second time.
#[tokio::test(flavor = "multi_thread")]
async fn uci_after_kill_9_of_the_server_in_the_middle() {
    let Some(file) = data("uci_online_retail.csv.zst") else { return };
    let (mut server, database_url, addr) = serve().await;
    let arguments = ["uci", &*file, "--opening", "minimal"];
    let cut_off = [&["import"], &arguments[..], &["--addr", &addr, "--retry-for", "1s"]].concat();
    let (first, ()) = tokio::join!(run(&cut_off), async {
        eventually_within(IMPORT_MAX, "a part is in the ledger", || async {
            (entries(&database_url).await > 100_000).then_some(())
        })
        .await;
        server.kill();
    });
    assert!(!first.0, "the import outlived its server");
    assert!(entries(&database_url).await < UCI_POSTED, "nothing was left to import");
    let server = Binary::start(&database_url).await;
    let summary = import(&format!("http://{}", server.address), &arguments).await;
    assert_uci(&summary);
    assert!(summary["duplicates"].as_i64().unwrap() > 90_000, "{summary}");
    assert_eq!(verify(&database_url).await["sellable"], UCI_UNITS);
}

/// Complete Journey 2.0, 84.51 degrees, CC0.
#[tokio::test(flavor = "multi_thread")]
async fn the_complete_journey_year() {
    let (Some(transactions), Some(products)) =
        (data("completejourney_transactions.csv.zst"), data("completejourney_products.csv.zst"))
    else {
        return;
    };
    let (_server, database_url, addr) = serve().await;
    let arguments = ["completejourney", &*transactions, &*products, "--opening", "sum"];
    let summary = import(&addr, &arguments).await;
    assert_eq!(summary["by_kind"], json!({ "SALE": 1_441_876 }), "{summary}");
    assert_eq!(summary["dropped"], 4_836, "{summary}");
    let rejected = json!({ "NOT_A_STOCK_ITEM": 14_697 + 3_833, "QUANTITY_OUT_OF_RANGE": 4_065 });
    assert_eq!(summary["rejected"], rejected, "{summary}");
    assert_eq!(verify(&database_url).await["sellable"], 0);
}

async fn entries(database_url: &str) -> i64 {
    let mut connection = PgConnection::connect(database_url).await.unwrap();
    let query = "select coalesce(sum(seq), 0)::bigint from ledger_head";
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}
