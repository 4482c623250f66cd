use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{GenerateArgs, run};
use crate::expect::expect;

fn generated(seed: u64, lines: u32, shops: u32, items: u32) -> String {
    let name = format!("stockroom-generate-{}-{seed}-{lines}.csv", std::process::id());
    let out = std::env::temp_dir().join(name);
    run(&GenerateArgs { seed, out: out.clone(), lines, shops, items }).unwrap();
    let text = fs::read_to_string(&out).unwrap();
    fs::remove_file(out).unwrap();
    text
}

/// Columns of the file that the tests look at.
fn column(row: &str, number: usize) -> &str {
    row.split(',').nth(number).unwrap()
}

#[test]
fn a_seed_is_a_file() {
    let text = generated(1, 5_000, 20, 500);
    assert_eq!(text, generated(1, 5_000, 20, 500));
    assert_ne!(text, generated(2, 5_000, 20, 500));
}

#[test]
fn the_smallest_chain_can_be_generated() {
    assert!(generated(5, 100, 2, 10).lines().count() > 100);
}

#[test]
fn baskets_and_items_are_as_uneven_as_in_real_tills() {
    let text = generated(3, 300_000, 457, 60_000);
    let mut baskets: BTreeMap<&str, usize> = BTreeMap::new();
    let mut items: BTreeMap<&str, usize> = BTreeMap::new();
    for row in text.lines().filter(|row| matches!(column(row, 1), "SALE" | "SHIP_OUT")) {
        if column(row, 0).starts_with('b') {
            *baskets.entry(column(row, 9)).or_default() += 1;
        }
        *items.entry(column(row, 3)).or_default() += 1;
    }
    let mut sizes: Vec<usize> = baskets.into_values().collect();
    sizes.sort_unstable();
    let total: usize = sizes.iter().sum();
    let mean_tenths = total * 10 / sizes.len();
    assert!((90..=98).contains(&mean_tenths), "{mean_tenths}");
    let at = |per_mille: usize| sizes[sizes.len() * per_mille / 1_000];
    assert_eq!(at(500), 5);
    assert!((20..=26).contains(&at(900)), "{}", at(900));
    assert!((50..=65).contains(&at(990)), "{}", at(990));
    assert!(sizes.last().unwrap() <= &161);
    let hottest = items.values().max().unwrap() * 1_000 / items.values().sum::<usize>();
    assert!((4..=12).contains(&hottest), "{hottest} per mille");
}

#[test]
fn every_kind_and_fault_occurs_and_all_but_the_bad_lines_are_posted() {
    let text = generated(4, 60_000, 40, 2_000);
    let expected = expect(text.as_bytes()).unwrap();
    let kinds: Vec<&str> = expected.by_kind.keys().map(String::as_str).collect();
    let all = [
        "ADJUST",
        "BLOCK",
        "CORRECT",
        "COUNT",
        "EXPECT",
        "RECEIPT",
        "RETURN",
        "SALE",
        "SHIP_OUT",
        "TRANSFER_RECEIVE",
        "TRANSFER_SHIP",
        "UNBLOCK",
    ];
    assert_eq!(kinds, all);
    assert_eq!(expected.posted + expected.rejected, expected.lines);
    let bad_per_mille = expected.rejected * 1_000 / expected.lines;
    assert!((2..=4).contains(&bad_per_mille), "{bad_per_mille}");
    assert!(expected.duplicates > 0);
    assert!((60_000..62_000).contains(&expected.lines), "{}", expected.lines);
}

#[test]
fn a_shop_without_network_delivers_at_eight_in_the_evening_and_out_of_order() {
    let text = generated(4, 60_000, 5, 2_000);
    let mut latest: BTreeMap<&str, &str> = BTreeMap::new();
    let mut late: BTreeMap<&str, usize> = BTreeMap::new();
    for row in text.lines().skip(1).filter(|row| column(row, 1) == "SALE") {
        let (shop, at) = (column(row, 2), column(row, 5));
        let last = latest.entry(shop).or_insert(at);
        if at < *last && !at.starts_with("1995") {
            *late.entry(shop).or_default() += 1;
            let day: jiff::civil::Date = at[..10].parse().unwrap();
            assert_eq!(day.weekday(), jiff::civil::Weekday::Saturday, "{row}");
        }
        *last = at.max(*last);
    }
    assert_eq!(late.keys().copied().collect::<Vec<_>>(), ["shop-0001"]);
    assert!(late["shop-0001"] > 500, "{late:?}");
}

#[test]
fn an_exchange_stays_together() {
    let text = generated(4, 60_000, 40, 2_000);
    let groups: Vec<&str> = text.lines().skip(1).map(|row| column(row, 17)).collect();
    let mut ended = BTreeSet::new();
    for pair in groups.windows(2).filter(|pair| pair[0] != pair[1]) {
        assert!(pair[1].is_empty() || !ended.contains(pair[1]), "{} is in two parts", pair[1]);
        ended.insert(pair[0]);
    }
}
