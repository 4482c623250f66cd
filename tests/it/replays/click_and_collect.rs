//! A share of the baskets ordered first and collected later, on a compressed clock.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
};

use serde_json::{Value, json};
use stockroom::api::proto::{
    Entry, EntryFlag, GetPositionRequest, ListEntriesRequest, MovementKind, Position,
    ledger_service_client::LedgerServiceClient,
};

use super::{data, import, serve, verify};
use crate::harness::binary::Binary;

const PRODUCTS: &str = "product_id,department,product_category,product_type
100,GROCERY,A,A\n101,GROCERY,A,A\n110,GROCERY,A,A\n120,GROCERY,A,A\n121,GROCERY,A,A
130,GROCERY,A,A\n131,GROCERY,A,A\n140,GROCERY,A,A\n150,GROCERY,A,A\n160,GROCERY,A,A
103,GROCERY,A,A\n104,GROCERY,A,A\n900,FUEL,A,A\n";
/// A basket of every fate, each with a product of its own; household, shop, basket, product, units.
/// Households 7 and 8 buy in shop 2 next. Every tenth unit, from the first on, is missing where there
/// are 90 %: one of what basket 1060 orders, the others of what is sold at the till.
const BASKETS: [(u32, u32, u32, u32, u32); 17] = [
    (1, 1, 1060, 160, 10),
    (1, 1, 1001, 103, 11),
    (1, 1, 1000, 100, 1),
    (1, 1, 1000, 101, 1),
    (1, 1, 1000, 900, 30),
    (2, 1, 1010, 110, 1),
    (3, 1, 1020, 120, 1),
    (4, 1, 1120, 121, 1),
    (5, 1, 1030, 130, 2),
    (6, 1, 1130, 131, 1),
    (1, 1, 1002, 104, 2),
    (7, 1, 1040, 140, 1),
    (8, 1, 1050, 150, 1),
    (7, 2, 1041, 104, 1),
    (8, 2, 1051, 104, 1),
    (8, 1, 1052, 104, 1),
    (8, 2, 1053, 999, 1),
];
/// What is received for all of it: 36 units that are sold or ordered, and the unit that shop 1 must
/// have to promise what is collected in shop 2.
const UNITS: i64 = 37;
/// Seven days are six seconds then, which is long for a server that has little to do.
const COMPRESS: &str = "100800";

fn arguments<'a>(files: &'a [String; 2], more: &[&'a str]) -> Vec<&'a str> {
    let [transactions, products] = files;
    let arguments = ["completejourney", transactions, products, "--click-and-collect"];
    [&arguments, &["--compress", COMPRESS, "--opening", "sum"], more].concat()
}

/// The files of [`BASKETS`], one basket an hour.
fn files(folder: &Path) -> [String; 2] {
    let mut text = "household_id,store_id,basket_id,product_id,quantity,ts\n".to_owned();
    let (mut hour, mut last) = (9, BASKETS[0].2);
    for (household, shop, basket, product, units) in BASKETS {
        hour += u32::from(basket != last);
        last = basket;
        let at = format!("2017-03-01T{hour:02}:00:00");
        text.push_str(&format!("{household},{shop},{basket},{product},{units},{at}\n"));
    }
    write(folder, [&text, PRODUCTS])
}

fn write(folder: &Path, texts: [&str; 2]) -> [String; 2] {
    let paths = ["transactions.csv", "products.csv"].map(|name| folder.join(name));
    for (path, text) in paths.iter().zip(texts) {
        std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }
    paths.map(|path| path.to_str().unwrap().to_owned())
}

/// What became of the orders, by name, and how many.
fn became(summary: &Value) -> Value {
    let became = summary["click_and_collect"]["became"].as_object().unwrap();
    became.iter().map(|(end, count)| (end.clone(), count["orders"].clone())).collect()
}

fn assert_settled(summary: &Value, verified: &Value) {
    let orders = &summary["click_and_collect"];
    assert_eq!(orders["settled"], true, "{summary}");
    assert_eq!((&orders["open"], &orders["units_aside"]), (&json!(0), &json!(0)), "{summary}");
    let ends = became(summary);
    let ends = ends.as_object().unwrap().values().map(|count| count.as_u64().unwrap());
    assert_eq!(json!(ends.sum::<u64>()), orders["orders"], "{summary}");
    assert_eq!(verified["oversold"], 0, "{verified}");
    assert_eq!(verified["sellable"], orders["sellable"], "{summary}");
    assert_eq!(verified["on_hand"], verified["sellable"], "nothing is left aside: {verified}");
}

async fn position(server: &Binary, location_id: &str, sku: &str) -> Position {
    let request = GetPositionRequest {
        location_id: location_id.to_owned(),
        sku: sku.to_owned(),
        ..GetPositionRequest::default()
    };
    let mut ledger = LedgerServiceClient::new(server.connection());
    ledger.get_position(request).await.unwrap().into_inner().position.unwrap()
}

async fn entries(server: &Binary, location_id: &str, sku: &str) -> Vec<Entry> {
    let request = ListEntriesRequest {
        location_id: location_id.to_owned(),
        sku: sku.to_owned(),
        ..ListEntriesRequest::default()
    };
    let mut ledger = LedgerServiceClient::new(server.connection());
    ledger.list_entries(request).await.unwrap().into_inner().entries
}

/// The kinds of what moved or promised something.
fn kinds(entries: &[Entry]) -> Vec<MovementKind> {
    entries.iter().map(Entry::kind).filter(|kind| *kind != MovementKind::Step).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_meets_its_fate_and_a_second_import_changes_nothing() {
    use MovementKind::{Adjust, Pick, Receipt, Release, Reserve, Return, Sale, Unpick};
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let (server, database_url, addr) = serve().await;
    let summary = import(&addr, &arguments(&files, &[])).await;
    let expected = json!({
        "collected": 2, "collected_short": 1, "nothing_found": 1, "collected_moved": 1,
        "returned_elsewhere": 1, "no_show": 1, "cancelled_early": 1, "cancelled_late": 1,
    });
    assert_eq!(became(&summary), expected, "{summary}");
    assert_eq!(summary["opening"]["units"], UNITS, "{summary}");
    assert_eq!(summary["rejected"], json!({ "NOT_A_STOCK_ITEM": 1 }), "{summary}");
    assert_eq!(summary["dropped"], 1, "{summary}");
    let states = json!({
        "COLLECTED": 5, "EXPIRED": 1, "CANCELLED": 2, "REJECTED": 1, "MOVED": 1,
    });
    assert_eq!(summary["click_and_collect"]["by_state"], states, "{summary}");
    let verified = verify(&database_url).await;
    assert_settled(&summary, &verified);
    assert_eq!((&verified["below_zero"], &verified["sellable"]), (&json!(0), &json!(5)));

    for (location, sku, sellable) in [
        ("1", "100", 0),
        ("1", "110", 1),
        ("1", "120", 1),
        ("1", "121", 1),
        ("1", "130", 0),
        ("1", "131", 0),
        ("1", "140", 1),
        ("2", "140", 0),
        ("1", "150", 0),
        ("2", "150", 1),
        ("1", "160", 0),
    ] {
        let found = position(&server, location, sku).await;
        let found = (found.sellable, found.staged, found.reserved);
        assert_eq!(found, (sellable, 0, 0), "{sku} at {location}");
    }
    // Promised, picked, expired and back on the shelf.
    let no_show = kinds(&entries(&server, "1", "110").await);
    assert_eq!(no_show, [Receipt, Reserve, Pick, Unpick]);
    let short = kinds(&entries(&server, "1", "130").await);
    assert!(short.contains(&Release) && short.contains(&Adjust), "{short:?}");
    assert_eq!(kinds(&entries(&server, "1", "140").await), [Receipt, Reserve, Release]);
    let moved = kinds(&entries(&server, "2", "140").await);
    assert_eq!(moved, [Receipt, Reserve, Pick, Sale]);
    // The sale named the reservation, and the return in the other shop found the sale.
    let sold = entries(&server, "1", "150").await;
    assert_eq!(kinds(&sold), [Receipt, Reserve, Pick, Sale]);
    let sale = sold.last().unwrap();
    assert_eq!(sale.reservation_id, sold[1].reservation_id);
    let returned = entries(&server, "2", "150").await;
    assert_eq!(kinds(&returned), [Return]);
    assert_eq!(returned[0].counter_seq, sale.seq);
    let awaits = EntryFlag::AwaitsOriginal as i32;
    assert!(!returned[0].flags.contains(&awaits), "{returned:?}");

    let again = import(&addr, &arguments(&files, &[])).await;
    assert_eq!(became(&again), expected, "{again}");
    assert_eq!(again["duplicates"], again["posted"], "{again}");
    let verified_again = verify(&database_url).await;
    assert_settled(&again, &verified_again);
    assert_eq!(verified_again["entries"], verified["entries"], "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_refused_and_never_oversold() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let (server, database_url, addr) = serve().await;
    let summary = import(&addr, &arguments(&files, &["--stock-percent", "90"])).await;
    let expected = json!({
        "refused": 1, "collected": 1, "collected_short": 1, "nothing_found": 1,
        "collected_moved": 1, "returned_elsewhere": 1, "no_show": 1, "cancelled_early": 1,
        "cancelled_late": 1,
    });
    assert_eq!(became(&summary), expected, "{summary}");
    assert_eq!(summary["opening"]["units"], UNITS * 9 / 10, "{summary}");
    let verified = verify(&database_url).await;
    assert_settled(&summary, &verified);
    // Facts are never refused, and only they take what is not there.
    assert_eq!(verified["below_zero"], 2, "{verified}");
    assert_eq!(position(&server, "1", "103").await.sellable, -2);
    assert_eq!(position(&server, "1", "104").await.sellable, -1);
    assert_eq!(position(&server, "1", "160").await.sellable, 9);
}

/// A week of the real file.
const LINES: usize = 30_000;
/// Its baskets that order something.
const ORDERS: u64 = 275;

async fn week(more: &[&str]) -> Option<(Value, Value)> {
    let (transactions, products) =
        (data("completejourney_transactions.csv.zst")?, data("completejourney_products.csv.zst")?);
    let file = std::fs::File::open(transactions).unwrap();
    let lines = BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    let lines: Vec<String> = lines.take(1 + LINES).map(Result::unwrap).collect();
    let folder = tempfile::tempdir().unwrap();
    let [transactions, _] = write(folder.path(), [&lines.join("\n"), ""]);
    let files = [transactions, products];
    let (_server, database_url, addr) = serve().await;
    let summary = import(&addr, &arguments(&files, more)).await;
    assert_eq!(summary["click_and_collect"]["orders"], ORDERS, "{summary}");
    let verified = verify(&database_url).await;
    assert_settled(&summary, &verified);
    Some((summary, verified))
}

/// Complete Journey 2.0, 84.51 degrees, CC0. The numbers were worked out from the files by other
/// means, basket by basket.
#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_the_complete_journey_with_enough_stock() {
    let Some((summary, verified)) = week(&[]).await else { return };
    let expected = json!({
        "collected": 172, "collected_short": 23, "nothing_found": 2, "collected_moved": 4,
        "returned_elsewhere": 19, "no_show": 27, "cancelled_early": 16, "cancelled_late": 12,
    });
    assert_eq!(became(&summary), expected, "there was enough of everything: {summary}");
    assert_eq!(verified["below_zero"], 0, "{verified}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_the_complete_journey_with_too_little() {
    let Some((summary, verified)) = week(&["--stock-percent", "90"]).await else { return };
    let expected = json!({
        "refused": 173, "collected": 62, "collected_short": 8, "nothing_found": 2,
        "collected_unmoved": 1, "returned_elsewhere": 9, "no_show": 8, "cancelled_early": 9,
        "cancelled_late": 3,
    });
    assert_eq!(became(&summary), expected, "{summary}");
    // Facts are never refused.
    assert_eq!((&verified["below_zero"], &verified["sellable"]), (&json!(3_375), &json!(100)));
}
