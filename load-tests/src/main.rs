//! Loads for Stockroom, and what they must end in. The last line on standard output is one JSON
//! object.
mod expect;
mod generate;

use clap::Parser;

#[derive(Parser)]
#[command(about, version)]
enum Command {
    /// Writes a year of tills of a chain of shops, the same for the same seed.
    Generate(generate::GenerateArgs),
    /// Works out by itself what a file for `stockroom import csv` must end in.
    Expect(expect::ExpectArgs),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Generate(args) => generate::run(&args),
        Command::Expect(args) => expect::run(&args),
    }
}
