//! The tills of such a chain in the form of the Complete Journey: two tables, of what households
//! bought and of what there is to buy, for `stockroom import completejourney`.
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::value_parser;
use jiff::Timestamp;
use rand::Rng as _;

use super::chain::{Chain, Moment};

/// The file of the tills, in the folder that is written to.
const TRANSACTIONS: &str = "transactions.csv";
/// The file of the catalogue.
const PRODUCTS: &str = "products.csv";
/// Of a thousand baskets, those that a household buys in another shop than its own.
const ELSEWHERE_PER_MILLE: u32 = 200;
/// Of how many items one is sold by the gallon, of which no stock is kept.
const FUEL_EVERY: u32 = 200;

/// What to generate.
#[derive(Debug, Clone, clap::Args)]
pub struct TillsArgs {
    /// The same seed gives the same files.
    #[arg(long)]
    seed: u64,
    /// Folder to write `transactions.csv` and `products.csv` to.
    #[arg(long)]
    out: PathBuf,
    /// Lines, about.
    #[arg(long, default_value_t = 300_000,
        value_parser = value_parser!(u32).range(100..=20_000_000))]
    lines: u32,
    /// Shops.
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(2..=10_000))]
    shops: u32,
    /// Items.
    #[arg(long, default_value_t = 6_000, value_parser = value_parser!(u32).range(10..=1_000_000))]
    items: u32,
    /// Households.
    #[arg(long, default_value_t = 2_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    households: u32,
}

/// A basket before it has a number.
struct Basket {
    moment: Moment,
    household: u32,
    shop: u32,
    lines: Vec<(u32, u32)>,
}

/// Writes both files.
///
/// # Errors
/// When they cannot be written, or the machine has no time zone data.
pub fn run(args: &TillsArgs) -> anyhow::Result<()> {
    let mut chain = Chain::new(args.seed, args.shops, args.items)?;
    let mut baskets = baskets(&mut chain, args);
    baskets.sort_by_key(|basket| basket.moment);
    let lines = write_transactions(&args.out.join(TRANSACTIONS), &chain, &baskets)?;
    write_products(&args.out.join(PRODUCTS), args.items)?;
    println!("{}", serde_json::json!({ "lines": lines, "baskets": baskets.len() }));
    Ok(())
}

fn baskets(chain: &mut Chain, args: &TillsArgs) -> Vec<Basket> {
    let homes: Vec<u32> = (0..args.households).map(|_| chain.shop()).collect();
    let mut baskets = Vec::new();
    let mut left = i64::from(args.lines);
    while left > 0 {
        let household = chain.random.random_range(0..args.households);
        let home = homes[household as usize];
        let elsewhere = chain.per_mille(ELSEWHERE_PER_MILLE);
        let shop = if elsewhere { chain.another_shop(home) } else { home };
        let items: BTreeSet<u32> = (0..chain.basket_lines()).map(|_| chain.item()).collect();
        let units = |item| (item, 1 + u32::from(chain.random.random_range(0..5) == 0));
        let lines: Vec<_> = items.into_iter().map(units).collect();
        left -= i64::try_from(lines.len()).unwrap_or(i64::MAX);
        baskets.push(Basket { moment: chain.moment(), household, shop, lines });
    }
    baskets
}

/// Numbers the baskets from 1 on.
fn write_transactions(path: &Path, chain: &Chain, baskets: &[Basket]) -> anyhow::Result<usize> {
    let mut out = BufWriter::new(File::create(path)?);
    let mut lines = 0;
    writeln!(out, "household_id,store_id,basket_id,product_id,quantity,ts")?;
    for (number, basket) in (1..).zip(baskets) {
        let Basket { household, shop, .. } = basket;
        let at = Timestamp::from_second(chain.seconds(basket.moment))?;
        let at = at.strftime("%Y-%m-%dT%H:%M:%S");
        for (item, units) in &basket.lines {
            writeln!(out, "{household},{},{number},{},{units},{at}", shop + 1, item + 1)?;
            lines += 1;
        }
    }
    out.flush()?;
    Ok(lines)
}

fn write_products(path: &Path, items: u32) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "product_id,department,product_category,product_type")?;
    for item in 1..=items {
        let department = if item.is_multiple_of(FUEL_EVERY) { "FUEL" } else { "GROCERY" };
        writeln!(out, "{item},{department},{department},{department}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn generated(seed: u64) -> [String; 2] {
        let name = format!("stockroom-tills-{}-{seed}", std::process::id());
        let out = std::env::temp_dir().join(name);
        fs::create_dir_all(&out).unwrap();
        let args = TillsArgs {
            seed,
            out: out.clone(),
            lines: 5_000,
            shops: 10,
            items: 500,
            households: 50,
        };
        run(&args).unwrap();
        let files = [TRANSACTIONS, PRODUCTS].map(|name| fs::read_to_string(out.join(name)));
        fs::remove_dir_all(out).unwrap();
        files.map(Result::unwrap)
    }

    #[test]
    fn baskets_are_numbered_in_the_order_of_their_time() {
        let [transactions, products] = generated(1);
        assert_eq!([transactions.clone(), products.clone()], generated(1));
        assert_ne!(transactions, generated(2)[0]);
        assert_eq!(products.lines().count(), 1 + 500);
        let rows: Vec<Vec<&str>> =
            transactions.lines().skip(1).map(|row| row.split(',').collect()).collect();
        assert!(rows.len() >= 5_000);
        assert!(rows.is_sorted_by_key(|row| row[2].parse::<u32>().unwrap()));
        assert!(rows.is_sorted_by_key(|row| row[5]));
        let lines: BTreeSet<_> = rows.iter().map(|row| (row[2], row[3])).collect();
        assert_eq!(lines.len(), rows.len(), "a basket holds a product once");
    }
}
