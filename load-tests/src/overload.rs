//! `overload`: what is left of throughput when more is asked than a server can do, how fast it
//! turns away what it cannot, and how soon all is well afterwards.
//!
//! The load shares the machine with the server: to ask ten times as much as it can do, a request
//! must cost the server much more than the load, so each reserves a basket of many lines.

mod basket;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::ensure;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use self::basket::{Basket, Customer, Prepared};
use crate::{
    baseline,
    latency::Latency,
    open::{self, Flow, Record, Window},
    reserve::shopper,
    sales,
    scenario::schedule::{Schedule, Spacing, Stretch},
    server::{self, Server},
    stats::rounded,
    stretch::{Caller, Cpu, per_s},
    usage::{Processes, Usage},
};

const CONNECTIONS: usize = 64;
/// More than everything but the measured stretches takes.
const SPARE: Duration = Duration::from_secs(900);
/// How long the whole ledger may take to be worked out again.
const VERIFY_MAX: Duration = Duration::from_secs(600);
/// How long clients wait that only ask for more once they are answered.
const PATIENCE: Duration = Duration::from_secs(60);
/// What of the capacity is asked afterwards.
const AFTERWARDS: f64 = 0.5;
const AFTERWARDS_SECONDS: u32 = 15;
/// From this share of what is due on, all is well.
const WELL: f64 = 0.99;
/// How often the memory of the server is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const REFUSAL_MS_MAX: f64 = 5.0;
const NORMAL_SECONDS_MAX: u32 = 5;

/// How much is asked.
#[derive(Debug, Clone, clap::Args)]
pub struct OverloadArgs {
    /// Seconds of overload, each time.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=300))]
    seconds: u32,
    /// Lines of every reservation.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=200))]
    lines: u32,
    /// What an answer may take, in milliseconds.
    #[arg(long, default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(10..=60_000))]
    deadline_ms: u32,
    /// Reservations a second that the server can do, instead of measuring it.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    capacity: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Report {
    lines: u32,
    deadline_ms: u32,
    capacity_per_s: f64,
    memory_mib_before: f64,
    refusal_ms_max: f64,
    normal_seconds_max: u32,
    twice: Overload,
    tenfold: Overload,
}

#[derive(Debug, Serialize)]
struct Overload {
    due_per_s: f64,
    /// Answered within the deadline, counted from the moment at which it was due.
    good_per_s: f64,
    /// Of the capacity.
    goodput: f64,
    goodput_min: f64,
    /// Of what was answered.
    p99_ms: f64,
    turned_away_per_s: f64,
    /// Of what was turned away, from its sending.
    turned_away_p50_ms: f64,
    turned_away_p99_ms: f64,
    late_per_s: f64,
    failed_per_s: f64,
    /// The load itself had no room for more.
    unsent_per_s: f64,
    /// Until all was well for good; none: not within what was measured.
    normal_after_s: Option<u32>,
    /// Part of all CPU time that the load itself took from the server, its databases included.
    load_cpu_share: f64,
    memory_mib_max: f64,
}

/// What was seen of the processes.
struct Seen {
    memory_max: u64,
    load_cpu_share: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or what was granted does not add up.
pub fn run(args: &OverloadArgs) -> anyhow::Result<()> {
    let most = SPARE + Duration::from_secs(u64::from(args.seconds) * 12);
    let work = async |server: &Server| measure(server, args).await;
    let report = server::block_on(server::with(most, work))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(server: &Server, args: &OverloadArgs) -> anyhow::Result<Report> {
    sales::open_different_shops(&server.connect().await?).await?;
    shopper::wait_until_held_in_memory(server).await?;
    let processes = Processes::of(server).await?;
    let memory_before = processes.usage()?.memory;
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        channels.push(server.connect().await?);
    }
    let prepared = Prepared::new(args.lines);
    let basket = |name, deadline| Basket {
        name,
        channels: channels.clone(),
        lines: args.lines,
        prepared: prepared.clone(),
        deadline,
        granted: AtomicI64::new(0),
        unknown: AtomicI64::new(0),
    };
    let closed = Arc::new(basket("capacity", PATIENCE));
    let deadline = Duration::from_millis(args.deadline_ms.into());
    let capacity = match args.capacity {
        Some(capacity) => f64::from(capacity),
        None => capacity(&closed, processes, args.seconds).await?,
    };
    eprintln!("capacity: {capacity:.0} reservations of {} lines a second", args.lines);
    let mut baskets = vec![closed];
    let mut overloads = Vec::new();
    for (name, factor, goodput_min) in [("twice", 2.0, 0.9), ("tenfold", 10.0, 0.8)] {
        let basket = Arc::new(basket(name, deadline));
        let asked = (capacity, factor, args.seconds);
        overloads.push(overload(&basket, processes, asked, goodput_min).await?);
        baskets.push(basket);
    }
    check(server, &baskets).await?;
    let tenfold = overloads.pop();
    let (Some(twice), Some(tenfold)) = (overloads.pop(), tenfold) else {
        anyhow::bail!("not everything was measured")
    };
    Ok(Report {
        lines: args.lines,
        deadline_ms: args.deadline_ms,
        capacity_per_s: capacity.round(),
        memory_mib_before: mib(memory_before),
        refusal_ms_max: REFUSAL_MS_MAX,
        normal_seconds_max: NORMAL_SECONDS_MAX,
        twice,
        tenfold,
    })
}

/// What clients that wait for their answers are given, at most.
async fn capacity(basket: &Arc<Basket>, processes: Processes, seconds: u32) -> anyhow::Result<f64> {
    let count = CONNECTIONS as u64;
    let customer = |number| Customer { basket: Arc::clone(basket), next: number, step: count };
    let customers = (0..count).map(customer).collect();
    let mut caller = Caller::new("closed loop", customers, Cpu::Service(processes));
    let stretch = Duration::from_secs(u64::from(seconds).div_ceil(3));
    for round in 0..=3 {
        caller.stretch(round, stretch).await?;
    }
    Ok(caller.median(per_s))
}

async fn overload(
    basket: &Arc<Basket>,
    processes: Processes,
    (capacity, factor, seconds): (f64, f64, u32),
    goodput_min: f64,
) -> anyhow::Result<Overload> {
    let stretch =
        |seconds: u32, share: f64| Stretch { seconds: f64::from(seconds), per_s: capacity * share };
    let stretches = vec![stretch(seconds, factor), stretch(AFTERWARDS_SECONDS, AFTERWARDS)];
    let flow = Flow {
        work: Arc::clone(basket),
        schedule: Schedule::new(stretches, Spacing::Even),
        deadline: basket.deadline,
    };
    let measured = Duration::from_secs((seconds + AFTERWARDS_SECONDS).into());
    let window = Window { warm_up: Duration::ZERO, measured };
    let started = Instant::now();
    let overloaded = started + Duration::from_secs(seconds.into());
    let watching = tokio::spawn(watch(processes, overloaded, started + measured));
    let records = open::run(vec![flow], window, started).await?;
    let seen = watching.await??;
    let record = records.first().ok_or_else(|| anyhow::anyhow!("nothing was recorded"))?;
    let report = Overload {
        goodput_min,
        memory_mib_max: mib(seen.memory_max),
        load_cpu_share: rounded(seen.load_cpu_share, 2),
        ..summed(record, window, capacity, seconds)?
    };
    eprintln!("{report:?}");
    Ok(report)
}

/// What a record says of its first `seconds`, and of what follows.
fn summed(
    record: &Record,
    window: Window,
    capacity: f64,
    seconds: u32,
) -> anyhow::Result<Overload> {
    let slot_seconds = window.slot().as_secs_f64();
    let overloaded = (f64::from(seconds) / slot_seconds).ceil() as usize;
    let (during, after) = record.slots.split_at(overloaded.min(record.slots.len()));
    let mut latency = Latency::coarse()?;
    for slot in during {
        latency.add(&slot.latency)?;
    }
    let per_s = |count: fn(&open::Counts) -> u64| {
        let sum: u64 = during.iter().map(|slot| count(&slot.counts)).sum();
        rounded(sum as f64 / (during.len() as f64 * slot_seconds), 1)
    };
    let good_per_s = per_s(|counts| counts.good);
    let unwell = |slot: &open::Slot| (slot.counts.good as f64) < slot.counts.due as f64 * WELL;
    let last_unwell = after.iter().rposition(unwell);
    let slots = last_unwell.map_or(0, |slot| slot + 1);
    let well = slots < after.len();
    Ok(Overload {
        due_per_s: per_s(|counts| counts.due),
        good_per_s,
        goodput: rounded(good_per_s / capacity, 3),
        goodput_min: 0.0,
        p99_ms: latency.percentile_ms(99.0),
        turned_away_per_s: per_s(|counts| counts.overloaded),
        turned_away_p50_ms: record.turned_away.percentile_ms(50.0),
        turned_away_p99_ms: record.turned_away.percentile_ms(99.0),
        late_per_s: per_s(|counts| counts.late),
        failed_per_s: per_s(|counts| counts.failed),
        unsent_per_s: per_s(|counts| counts.unsent),
        normal_after_s: well.then_some((slots as f64 * slot_seconds).ceil() as u32),
        load_cpu_share: 0.0,
        memory_mib_max: 0.0,
    })
}

/// Looks at memory until the end, and at CPU time as long as there is too much to do.
async fn watch(processes: Processes, overloaded: Instant, until: Instant) -> anyhow::Result<Seen> {
    let before = processes.usage()?;
    let (mut memory_max, mut last) = (before.memory, before);
    while Instant::now() < until {
        let usage = processes.usage()?;
        memory_max = memory_max.max(usage.memory);
        if Instant::now() < overloaded {
            last = usage;
        }
        sleep_until(Instant::now() + LOOK_EVERY).await;
    }
    let load = (last.load - before.load).as_secs_f64();
    let all = |usage: Usage| usage.server + usage.postgres + usage.redis + usage.load;
    Ok(Seen { memory_max, load_cpu_share: load / (all(last) - all(before)).as_secs_f64() })
}

fn mib(bytes: u64) -> f64 {
    rounded(bytes as f64 / 1_048_576.0, 1)
}

/// Everything that was granted must be in the ledger, once.
async fn check(server: &Server, baskets: &[Arc<Basket>]) -> anyhow::Result<()> {
    let sum = |of: fn(&Basket) -> &AtomicI64| {
        baskets.iter().map(|basket| of(basket).load(Ordering::Relaxed)).sum::<i64>()
    };
    let (least, unknown) = (sum(|basket| &basket.granted), sum(|basket| &basket.unknown));
    let (units, _) = baseline::granted(&server.database_url).await?;
    let fits = (least..=least + unknown).contains(&units);
    ensure!(fits, "{units} units are reserved, not {least} and {unknown} more at most");
    server.verify(VERIFY_MAX).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::{Counts, Slot};

    fn slot(due: u64, good: u64) -> Slot {
        let counts = Counts { due, done: good, good, late: due - good, ..Counts::default() };
        Slot { counts, latency: Latency::coarse().unwrap() }
    }

    fn record(slots: Vec<Slot>) -> Record {
        let (latency, turned_away) = (Latency::new().unwrap(), Latency::new().unwrap());
        Record { counts: Counts::default(), latency, turned_away, slots }
    }

    fn window(slots: usize) -> Window {
        Window { warm_up: Duration::ZERO, measured: Duration::from_secs(slots as u64) }
    }

    #[test]
    fn what_follows_an_overload_does_not_count_for_it() {
        let slots = vec![slot(20, 8), slot(20, 10), slot(5, 0), slot(5, 5), slot(5, 5)];
        let overload = summed(&record(slots), window(5), 10.0, 2).unwrap();
        assert_eq!([overload.due_per_s, overload.good_per_s], [20.0, 9.0]);
        assert_eq!(overload.goodput, 0.9);
        assert_eq!(overload.normal_after_s, Some(1));
    }

    #[test]
    fn all_is_well_only_once_it_stays_so() {
        let after = |slots: &[(u64, u64)]| {
            let slots = [(9, 9)].iter().chain(slots).map(|&(due, good)| slot(due, good));
            let slots: Vec<_> = slots.collect();
            let window = window(slots.len());
            summed(&record(slots), window, 9.0, 1).unwrap().normal_after_s
        };
        assert_eq!(after(&[(5, 5), (5, 5)]), Some(0));
        assert_eq!(after(&[(5, 5), (5, 0), (5, 5)]), Some(2));
        assert_eq!(after(&[(5, 5), (5, 0)]), None);
    }
}
