//! Soak: a load well below what can be done, for long, with a fault now and then. Nothing but what the
//! ledger is for may grow: not memory, not connections, not a table, not a key.

mod page;
mod sample;
mod verdict;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use self::{
    sample::Sampler,
    verdict::{Series, Verdict},
};
use super::{
    Load, TortureArgs,
    client::Pace,
    heal_and_dump,
    inject::Supervisor,
    place::Place,
    schedule::{self, Kind, Planned},
    start, stoppable, violations,
};
use crate::{history::Recorder, server::block_on, stats::rounded};

/// Looked at so often.
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// A share of what can be done: room for the work that a fault leaves behind.
const LOAD: f64 = 0.6;
/// The capacity is measured for a tenth of the time, and for a minute at most.
const CAPACITY_MAX: Duration = Duration::from_secs(60);
/// How fast clients try to go meanwhile.
const UNBOUNDED_PER_S: f64 = 1e6;
const CLIENTS: u32 = 256;
/// The first one is never killed: what it takes is what is judged.
const SERVERS: u64 = 3;

/// How to soak.
#[derive(Clone, Debug, clap::Args)]
pub struct SoakArgs {
    /// Seconds of load
    #[arg(long, default_value_t = 1_200)]
    #[arg(value_parser = clap::value_parser!(u64).range(60..=86_400))]
    duration: u64,
    /// Seconds between faults
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=3_600))]
    fault_every: u64,
    /// Decides what happens when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Calls a second; default: 60 % of the capacity, which is measured first
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    rate: Option<u32>,
    /// Where the report goes
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
    /// Keeps the folder with the logs of all processes
    #[arg(long)]
    keep: bool,
}

/// What a soak came to.
struct Soaked {
    capacity_per_s: Option<f64>,
    rate_per_s: f64,
    series: Vec<Series>,
    result: Value,
}

/// Soaks; the last line that it prints is the result.
///
/// # Errors
/// Something that is needed cannot be had, an invariant is violated, or something grows.
pub fn run(args: &SoakArgs) -> anyhow::Result<()> {
    let path = std::env::temp_dir().join(format!("stockroom-soak-{}.jsonl", args.seed));
    let soaked = block_on(stoppable(soak(args, &path)))?;
    let verdicts: Vec<Verdict> = soaked.series.iter().map(verdict::judge).collect();
    page::write(&args.out, &soaked, &verdicts)?;
    print!("{}", verdict::as_text(&verdicts));
    let violations = violations(&path, false)?;
    let growing: Vec<_> = verdicts.iter().filter(|verdict| verdict.grows).collect();
    let mut result = soaked.result;
    result["growing"] = growing.iter().map(|verdict| json!(verdict.name)).collect();
    result["violations"] = json!(violations);
    println!("{result}");
    ensure!(violations == 0, "{violations} violations");
    ensure!(growing.is_empty(), "{} series grow", growing.len());
    Ok(())
}

async fn soak(args: &SoakArgs, path: &Path) -> anyhow::Result<Soaked> {
    let place = Arc::new(Place::new(false).await?);
    let soaked = soak_at(&place, args, path).await;
    if args.keep || soaked.is_err() {
        place.keep.store(true, Ordering::Relaxed);
        eprintln!("logs are in '{}'", place.folder.display());
    }
    soaked
}

async fn soak_at(place: &Arc<Place>, args: &SoakArgs, path: &Path) -> anyhow::Result<Soaked> {
    let recorder = Recorder::create(path, args.seed)?;
    let mut supervisor = start(place, SERVERS, &recorder).await?;
    let torture = TortureArgs::of_soak(args.duration, args.seed, SERVERS, CLIENTS);
    let pace = Pace::of(CLIENTS, args.rate.map_or(UNBOUNDED_PER_S, f64::from));
    let began = Instant::now();
    let end = began + Duration::from_secs(args.duration);
    let load = Load::start(&torture, pace.clone(), &supervisor, &recorder).await?;
    let capacity_per_s = match args.rate {
        Some(_) => None,
        None => Some(capacity(&load, Duration::from_secs(args.duration)).await),
    };
    let rate_per_s = capacity_per_s.map_or(args.rate.map_or(0.0, f64::from), |all| all * LOAD);
    pace.change(CLIENTS, rate_per_s);
    let (series, calm_per_s) = steady(args, &mut supervisor, &load, end).await?;
    let (tally, heal_s) =
        heal_and_dump(&supervisor, load, &recorder, end, Some(calm_per_s)).await?;
    let number = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let result = json!({
        "seed": args.seed,
        "seconds": args.duration,
        "capacity_per_s": capacity_per_s.map(|all| rounded(all, 0)),
        "rate_per_s": rounded(rate_per_s, 0),
        "operations": number(&tally.operations),
        "acknowledged": number(&tally.acknowledged),
        "refused": number(&tally.refused),
        "unknown": number(&tally.unknown),
        "faults": supervisor.faults,
        "missed": supervisor.missed,
        "heal_s": heal_s,
    });
    Ok(Soaked { capacity_per_s, rate_per_s, series, result })
}

/// Calls a second that are answered when clients ask as fast as they are; the first half of the time is
/// left out.
async fn capacity(load: &Load, duration: Duration) -> f64 {
    let half = (duration / 10).min(CAPACITY_MAX) / 2;
    sleep(half).await;
    let answered = || {
        let counters = [&load.tally.acknowledged, &load.tally.refused];
        counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum::<u64>()
    };
    let (before, from) = (answered(), Instant::now());
    sleep(half).await;
    (answered() - before) as f64 / from.elapsed().as_secs_f64()
}

/// The load itself: a fault now and then, a look before each and between them. Returns what was seen, and
/// what was acknowledged a second before the first fault.
async fn steady(
    args: &SoakArgs,
    supervisor: &mut Supervisor,
    load: &Load,
    end: Instant,
) -> anyhow::Result<(Vec<Series>, f64)> {
    let began = Instant::now();
    let every = Duration::from_secs(args.fault_every);
    let mut plan = plan(args, end - began).into_iter().peekable();
    supervisor.ahead = plan.clone().map(|fault| fault.kind).collect();
    supervisor.keep_in_step().await?;
    let before = load.tally.elapsed();
    let mut calm_per_s = None;
    let mut sampler = Sampler::default();
    let mut next = began + SAMPLE_EVERY;
    while next < end {
        sleep_until(next).await;
        sampler.look(began.elapsed(), supervisor, &load.tally).await.context("cannot look")?;
        if let Some(fault) = plan.next_if(|fault| began + fault.at <= Instant::now()) {
            calm_per_s = calm_per_s.or(Some(load.tally.per_s(before, load.tally.elapsed())));
            supervisor.ahead.remove(0);
            supervisor.inject(fault).await?;
        }
        // Long faults do not make up for looks that they cost.
        next = (next + SAMPLE_EVERY).max(Instant::now() + every.min(SAMPLE_EVERY) / 2);
    }
    let calm_per_s = calm_per_s.context("the time was too short for a fault")?;
    Ok((sampler.series(), calm_per_s))
}

/// Every kind in turn. The last tenth is calm, and the first server is killed by nothing.
fn plan(args: &SoakArgs, lasting: Duration) -> Vec<Planned> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::FullVolume);
    let every = Duration::from_secs(args.fault_every);
    let range = (every, lasting - lasting / 10);
    let others = usize::try_from(SERVERS - 1).unwrap_or(1);
    let kinds: Vec<_> = kinds.collect();
    let mut planned = schedule::plan(args.seed, &kinds, range, every, others);
    planned.iter_mut().for_each(|fault| fault.server += 1);
    planned
}

#[cfg(test)]
mod tests;
