//! The simulation: the production code that decides, over databases, clocks and clients that do whatever
//! a seed says, in one thread each.
//!
//! `simulation [seeds] [first seed]` runs seeds, `simulation mutants` shows that each deliberate defect
//! is found, `--trace` tells everything that happens.
#![expect(clippy::unwrap_used, reason = "what is shared with the other tests does so")]

mod call;
mod check;
mod client;
mod database;
mod layer;
mod link;
#[expect(dead_code, reason = "shared with the property tests, which use all of it")]
#[path = "../it/stock/memory.rs"]
mod memory;
mod mutants;
mod redis;
mod run;
mod stage;
mod tail;
mod trouble;
mod world;

use std::{
    collections::BTreeMap,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    run::{Scenario, run},
    world::lock,
};

/// What every hundred seeds must have reached.
const REACHED: [&str; 41] = [
    "basket granted",
    "bisected",
    "checkpoint late",
    "checkpoint of another epoch",
    "clock moves",
    "clocks in doubt",
    "commit late",
    "commit lost",
    "commit slow",
    "commit unknown",
    "contended",
    "database away",
    "database fails over",
    "database restarts",
    "held in the ledger",
    "hold consumed",
    "hold expired",
    "hold in use",
    "hold key reused",
    "key reused",
    "lock timeout",
    "lock wait",
    "rebuild begun",
    "rebuild finished",
    "rebuild interrupted",
    "rebuild page",
    "redis answer lost",
    "redis away",
    "redis call lost",
    "redis flushed",
    "redis lies",
    "redis restarts",
    "redis rolled back",
    "reservation expired",
    "rollback late",
    "sent again",
    "server killed",
    "server stopped",
    "several heads",
    "short",
    "short heard",
];
/// So many seeds reach everything.
const SEEDS_FOR_ALL: u64 = 100;

fn main() -> ExitCode {
    run::catch_panics();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let prints = arguments.iter().any(|argument| argument == "--trace");
    if arguments.first().is_some_and(|first| first == "mutants") {
        return hunt(arguments.get(1).map(String::as_str));
    }
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse().ok());
    simulate(numbers.next().unwrap_or(20), numbers.next().unwrap_or(1), prints)
}

/// Runs seeds, and the first one twice.
fn simulate(seeds: u64, first: u64, prints: bool) -> ExitCode {
    let begin = Instant::now();
    let scenario = |seed| Scenario { seed, mutant: None, rewrite: None, prints };
    let numbers: Vec<u64> = (first..first + seeds).collect();
    let mut reports = in_parallel(&numbers, |&seed| {
        [run(scenario(seed)), layer::run(scenario(seed)), tail::run(scenario(seed))]
    });
    let again = run(Scenario { prints: false, ..scenario(first) });
    let differs = reports[0][0].digest != again.digest;
    if differs {
        let digest = reports[0][0].digest;
        reports[0][0].violations.push(format!("first {digest:?}, then {:?}", again.digest));
    }
    let (mut seen, mut failed) = (BTreeMap::new(), Vec::new());
    for (seed, reports) in numbers.iter().zip(&reports) {
        reports.iter().for_each(|report| mutants::sum(&mut seen, report));
        let violations = || reports.iter().flat_map(|report| &report.violations);
        violations().for_each(|violation| println!("seed {seed}: {violation}"));
        if violations().next().is_some() {
            failed.push(*seed);
        }
    }
    let events: u64 = reports.iter().flatten().map(|report| report.digest.0).sum();
    seen.iter().for_each(|(what, times)| println!("{times:>9} {what}"));
    let missed = REACHED.iter().filter(|what| !seen.contains_key(**what));
    let missed: Vec<_> = missed.filter(|_| seeds >= SEEDS_FOR_ALL).collect();
    for what in &missed {
        println!("never reached: {what}");
    }
    for seed in failed.iter().take(5) {
        println!("replay with: make simulate SEEDS=1 SEED={seed}");
    }
    let (seconds, failed) = (begin.elapsed().as_secs(), failed.len());
    println!(
        r#"{{"seeds": {seeds}, "events": {events}, "failed": {failed}, "seconds": {seconds}}}"#
    );
    if failed == 0 && missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Hunts every defect, or one.
fn hunt(name: Option<&str>) -> ExitCode {
    let mut defects = mutants::all();
    defects.retain(|defect| name.is_none_or(|name| name == defect.name));
    let caught = in_parallel(&defects, |defect| {
        let caught = defect.hunt();
        match &caught {
            Some(caught) => {
                let by: String = caught.by.chars().take(100).collect();
                println!("{} caught by seed {}: {by}", defect.name, caught.seed);
            }
            None => println!("{} SURVIVED", defect.name),
        }
        caught.is_some()
    });
    let survivors = defects.iter().zip(&caught).filter(|(_, caught)| !**caught);
    let survivors: Vec<_> = survivors.map(|(defect, _)| &*defect.name).collect();
    let found = caught.len() - survivors.len();
    println!(r#"{{"mutants": {}, "caught": {found}, "survivors": {survivors:?}}}"#, caught.len());
    if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Does something with each of many on every processor; what comes of them in their order.
fn in_parallel<T: Sync, R: Send>(many: &[T], something: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((at, one)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            many.get(at).map(|one| (at, one))
        } {
            let result = something(one);
            lock(&done).insert(at, result);
        }
    };
    std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        for _ in 0..processors {
            scope.spawn(work);
        }
    });
    std::mem::take(&mut *lock(&done)).into_values().collect()
}
