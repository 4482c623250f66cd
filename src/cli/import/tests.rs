//! Whole imports against a server that keeps keys and breaks on demand, and the real files.
use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf, time::Duration};

use super::{
    ClickAndCollect, ClientConfig, ImportFile, ImportOptions, OpeningRule,
    fake::{Fake, Fault},
    feed::{Feed, Lines as _},
    opening::Opening,
    read_file, table, transfer,
};
use crate::api::proto::MovementKind;

const ANY_PORT: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn options(addr: std::net::SocketAddr) -> ImportOptions {
    ImportOptions {
        client: ClientConfig::plain(format!("http://{addr}")),
        retry_for: Duration::from_secs(60),
        shuffle: None,
        duplicate: 0.0,
        opening: OpeningRule::None,
        stock_percent: 100,
        streams: 4,
        json: true,
    }
}

/// Sales of 10 items in 8 shops, and one line for a shop that does not exist.
fn shops(lines: usize) -> Feed {
    let mut text = "key,kind,location_id,sku,quantity,occurred_at\n".to_owned();
    for line in 0..lines {
        let (shop, item) = (line % 8, line % 10);
        writeln!(text, "k{line},SALE,shop-{shop},item-{item},2,2026-01-01T10:00:00Z").unwrap();
    }
    text.push_str("bad,SALE,unknown-1,item-1,2,2026-01-01T10:00:00Z\n");
    table::read(text.as_bytes(), "csv", "Europe/Paris").unwrap()
}

#[tokio::test]
async fn every_line_is_posted_once_or_rejected_with_a_reason() {
    let fake = Fake::default();
    let server = fake.serve(ANY_PORT);
    let summary = transfer(shops(20_000), &options(server.at)).await.unwrap();
    assert_eq!(summary.lines, 20_001);
    assert_eq!(summary.tally.posted, 20_000);
    assert_eq!(summary.tally.duplicates, 0);
    assert_eq!(summary.tally.by_kind, BTreeMap::from([("SALE", 20_000)]));
    assert_eq!(summary.tally.rejected, BTreeMap::from([("LOCATION_NOT_FOUND".to_owned(), 1)]));
    {
        let state = fake.state();
        assert_eq!(state.facts.len(), 20_000);
        assert_eq!(state.locations["shop-3"].time_zone, "Europe/Paris");
        assert_eq!(state.locations.len(), 8);
        let keys: Vec<String> = (0..20_000).skip(3).step_by(8).map(|k| format!("k{k}")).collect();
        assert_eq!(state.order["shop-3"], keys, "a location keeps its order");
        assert!(state.sizes.iter().all(|&size| size <= 1_000));
    }
    let again = transfer(shops(20_000), &options(server.at)).await.unwrap();
    assert_eq!((again.tally.posted, again.tally.duplicates), (20_000, 20_000));
}

#[tokio::test]
async fn broken_streams_lose_nothing_and_post_nothing_twice() {
    let faults = [Fault::AfterRecording, Fault::BeforeRecording, Fault::EarlyEnd];
    let fake = Fake::default();
    fake.state().faults = (3..30).step_by(3).zip(faults.into_iter().cycle()).collect();
    let server = fake.serve(ANY_PORT);
    let options = ImportOptions {
        duplicate: 5.0,
        shuffle: Some(7),
        opening: OpeningRule::Sum,
        ..options(server.at)
    };
    let summary = transfer(shops(40_000), &options).await.unwrap();
    assert_eq!(summary.tally.posted, 40_000);
    assert_eq!(summary.tally.rejected.values().sum::<u64>(), 1);
    assert!(summary.tally.duplicates >= 2_000, "5 % and what was sent again");
    let (opening, units) = summary.opening.unwrap();
    assert_eq!((opening.posted, units), (40, 80_002));
    assert_eq!(opening.rejected.values().sum::<u64>(), 1, "the shop that is not there");
    let state = fake.state();
    assert!(state.faults.is_empty(), "all faults were met");
    assert_eq!(state.facts.len(), 40_000 + 40);
    assert_eq!(state.units(), 0);
}

#[tokio::test]
async fn a_server_that_restarts_is_waited_for() {
    let fake = Fake::default();
    let server = fake.serve(ANY_PORT);
    let import = tokio::spawn({
        let options = options(server.at);
        async move { transfer(shops(200_000), &options).await.unwrap() }
    });
    while fake.state().messages < 20 {
        tokio::task::yield_now().await;
    }
    let at = server.at;
    drop(server);
    let _server = fake.serve(at);
    let summary = import.await.unwrap();
    assert_eq!(summary.tally.posted, 200_000);
    assert_eq!(fake.state().facts.len(), 200_000);
    assert!(fake.state().streams > 4, "the streams were cut");
}

#[tokio::test]
async fn a_refusal_that_does_not_pass_ends_the_import_and_says_what_to_do() {
    let fake = Fake::default();
    fake.state().faults.insert(2, Fault::Invalid);
    let server = fake.serve(ANY_PORT);
    let error = transfer(shops(20_000), &options(server.at)).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no source") && text.contains("run the same import again"), "{text}");
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_import() {
    let at = Fake::default().serve(ANY_PORT).at;
    let options = ImportOptions { retry_for: Duration::from_millis(300), ..options(at) };
    let error = transfer(shops(1), &options).await.unwrap_err();
    assert!(error.to_string().contains("creating a"), "{error}");
}

/// The folder with the real files.
#[expect(clippy::disallowed_methods, reason = "where the tests' data is, not a setting")]
fn data() -> Option<PathBuf> {
    let data = std::env::var_os("DATA").map(PathBuf::from);
    if data.is_none() {
        println!("skipped: DATA not set");
    }
    data
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Classes {
    unstocked: usize,
    zero: usize,
    returns: usize,
    adjusts_out: usize,
    adjusts_in: usize,
    sales: usize,
}

fn classes(feed: &Feed) -> Classes {
    let mut classes = Classes::default();
    for line in 0..feed.lines.count() {
        let movement = feed.lines.movement(line);
        let counted = if movement.quantity == 0 {
            &mut classes.zero
        } else if feed.lines.effect(line).is_none() {
            &mut classes.unstocked
        } else {
            match (movement.kind(), movement.to_state().as_str_name()) {
                (MovementKind::Return, _) => &mut classes.returns,
                (MovementKind::Adjust, "STOCK_STATE_EXTERNAL") => &mut classes.adjusts_out,
                (MovementKind::Adjust, _) => &mut classes.adjusts_in,
                (MovementKind::Sale, _) => &mut classes.sales,
                (kind, _) => panic!("{kind:?} is not in the file"),
            }
        };
        *counted += 1;
    }
    classes
}

/// Every line within the bounds of the contract, except for its quantity, and no key twice.
fn assert_well_formed(feed: &Feed) {
    let id = |c: u8| c.is_ascii_alphanumeric() || b"._:/-".contains(&c);
    let mut keys = std::collections::HashSet::new();
    for line in 0..feed.lines.count() {
        let m = feed.lines.movement(line);
        assert!((1..=64).contains(&m.key.len()) && m.key.is_ascii(), "{m:?}");
        assert!(m.sku.split(' ').all(|part| !part.is_empty() && part.bytes().all(id)), "{m:?}");
        assert!((1..=64).contains(&m.sku.len()) && m.channel_id.bytes().all(id), "{m:?}");
        assert!(!m.note.contains(char::is_control) && m.note.chars().count() <= 500, "{m:?}");
        assert_eq!(m.reason.is_empty(), m.kind() == MovementKind::Sale, "{m:?}");
        assert!(keys.insert((m.location_id, m.key)), "line {line}");
    }
}

#[test]
fn the_uci_file_falls_into_its_classes() {
    let Some(data) = data() else { return };
    let file = ImportFile::Uci { file: data.join("uci_online_retail.csv.zst") };
    let feed = read_file(&file).unwrap();
    assert_eq!(
        classes(&feed),
        Classes {
            unstocked: 2_946,
            zero: 0,
            returns: 8_704,
            adjusts_out: 1_336,
            adjusts_in: 1_128,
            sales: 34 + 527_761,
        }
    );
    assert_well_formed(&feed);
    let opening = Opening::new(OpeningRule::Minimal, feed.lines.clone());
    assert_eq!((opening.count(), opening.units()), (3_886, 5_646_104));
    let first = feed.lines.movement(0);
    assert_eq!(first.key, "536365-1");
    // 2010-12-01 08:26 in London, in winter.
    assert_eq!(first.occurred_at.unwrap().seconds, 1_291_191_960);
    assert_eq!((first.utc_offset_minutes, first.channel_id.as_str()), (0, "counter"));
    let offsets: std::collections::BTreeSet<i32> =
        (0..feed.lines.count()).map(|line| feed.lines.movement(line).utc_offset_minutes).collect();
    assert_eq!(offsets, [0, 60].into());
    assert_eq!(feed.channels.len(), 4 + 37);
}

#[test]
fn the_complete_journey_falls_into_its_classes() {
    let Some(data) = data() else { return };
    let file = ImportFile::Completejourney {
        transactions: data.join("completejourney_transactions.csv.zst"),
        products: data.join("completejourney_products.csv.zst"),
        orders: ClickAndCollect { click_and_collect: false, compress: 1 },
    };
    let feed = read_file(&file).unwrap();
    assert_eq!(
        classes(&feed),
        Classes { unstocked: 14_697 + 3_833, zero: 4_065, sales: 1_441_876, ..Classes::default() }
    );
    assert_eq!(feed.dropped, Some(4_836));
    assert_eq!((feed.locations.len(), feed.unstocked.len()), (457, 627));
    assert_well_formed(&feed);
    let opening = Opening::new(OpeningRule::Sum, feed.lines.clone());
    let sold: i64 =
        (0..feed.lines.count()).filter_map(|line| feed.lines.effect(line)).map(|e| e.sold).sum();
    assert_eq!(opening.count(), 627_727);
    assert_eq!(opening.units(), sold);
}

#[test]
fn the_command_line_is_read() {
    use clap::Parser as _;

    use super::ImportArgs;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        import: ImportArgs,
    }
    let parse = |line: &str| {
        let command = Command::try_parse_from(std::iter::once("import").chain(line.split(' ')));
        command.map(|command| command.import)
    };
    let line = "csv year.csv.zst --addr http://h:1 --retry-for 2m --shuffle 7 --duplicate 5 \
                --opening minimal --streams 2 --json --source till";
    let args = parse(line).unwrap();
    assert_eq!(args.options.retry_for, Duration::from_secs(120));
    assert_eq!((args.options.shuffle, args.options.streams), (Some(7), 2));
    assert!((args.options.duplicate - 5.0).abs() < f64::EPSILON && args.options.json);
    assert_eq!(args.options.opening, OpeningRule::Minimal);
    assert!(matches!(args.file, ImportFile::Csv { source, .. } if source == "till"));
    assert!(parse("completejourney transactions products").is_ok());
    let orders = "completejourney t p --click-and-collect";
    assert!(parse(&format!("{orders} --compress 604800 --stock-percent 90")).is_ok());
    for wrong in ["--shuffle 1", "--duplicate 5", "--compress 604801", "--stock-percent 101"] {
        assert!(parse(&format!("{orders} {wrong}")).is_err(), "{wrong}");
    }
    for wrong in ["uci", "uci f --duplicate 101", "uci f --retry-for soon", "uci f --streams 0"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
