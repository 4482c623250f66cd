//! The simulation: the production code that decides, over databases, clocks and clients that do whatever
//! a seed says, in one thread. `simulation [seeds] [first seed]`.
#![expect(clippy::unwrap_used, reason = "what is shared with the other tests does so")]

mod call;
mod check;
mod client;
mod database;
mod link;
#[expect(dead_code, reason = "shared with the property tests, which use all of it")]
#[path = "../it/stock/memory.rs"]
mod memory;
mod mutants;
mod redis;
mod run;
mod stage;
mod trouble;
mod world;

use std::{collections::BTreeMap, process::ExitCode};

use crate::run::{Scenario, run};

fn main() -> ExitCode {
    run::catch_panics();
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (seeds, first) = (arguments.next().unwrap_or(20), arguments.next().unwrap_or(1));
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = 0;
    for seed in first..first + seeds {
        let prints = std::env::args().any(|argument| argument == "--trace");
        let report = run(Scenario { seed, mutant: None, rewrite: None, prints });
        for (what, times) in report.seen {
            *seen.entry(what).or_default() += times;
        }
        for violation in &report.violations {
            println!("seed {seed}: {violation}");
        }
        failed += u64::from(!report.violations.is_empty());
    }
    println!("{seeds} seeds, {failed} failed: {seen:#?}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
