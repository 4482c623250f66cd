//! A year of tills of a chain of shops, for `stockroom import csv`.
//!
//! It has the shape of real tills: many small baskets and few large ones, items and shops of very
//! different weight, deliveries that differ from their announcements, a shop that is offline every
//! Saturday afternoon, counts that arrive late, and now and then a line that must be rejected.
mod chain;
mod facts;
mod file;
pub mod tills;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::value_parser;

use self::{chain::Chain, facts::Facts};

/// What to generate.
#[derive(Debug, Clone, clap::Args)]
pub struct GenerateArgs {
    /// The same seed gives the same file.
    #[arg(long)]
    seed: u64,
    /// Compressed if it ends in .zst.
    #[arg(long)]
    out: PathBuf,
    /// Lines, about.
    #[arg(long, default_value_t = 1_470_000,
        value_parser = value_parser!(u32).range(100..=20_000_000))]
    lines: u32,
    /// Shops.
    #[arg(long, default_value_t = 457, value_parser = value_parser!(u32).range(2..=10_000))]
    shops: u32,
    /// Items.
    #[arg(long, default_value_t = 60_000, value_parser = value_parser!(u32).range(10..=1_000_000))]
    items: u32,
}

/// Writes the file.
///
/// # Errors
/// When it cannot be written, or the machine has no time zone data.
pub fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let facts = generate(args)?;
    let lines = facts.write(&args.out)?;
    println!("{}", serde_json::json!({ "lines": lines, "seed": args.seed, "out": args.out }));
    Ok(())
}

fn generate(args: &GenerateArgs) -> anyhow::Result<file::File> {
    let chain = Chain::new(args.seed, args.shops, args.items)?;
    Ok(Facts::new(chain).year(u64::from(args.lines)))
}
