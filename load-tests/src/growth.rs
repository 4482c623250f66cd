//! `growth`: the same load on a small and on a large ledger in turns, and how long a first load and
//! a rebuild of Redis take.
//!
//! Both servers run side by side, so that whatever else the machine does meets both.
#![expect(clippy::disallowed_types, reason = "lets PostgreSQL settle after a bulk load")]

mod visitor;

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use self::visitor::{Visit, Visitor};
use crate::{
    fill, raw_redis,
    reserve::shopper,
    sales,
    server::{self, Server},
    stats::rounded,
    stretch::{Caller, Cpu, p99_ms, per_s},
    usage::Processes,
};

/// Clients of each load, each with a connection of its own.
const CLIENTS: usize = 64;
/// More than everything takes but writing rows and the measured stretches.
const SPARE: Duration = Duration::from_secs(900);
/// What a slow machine writes in a second.
const LINES_PER_S_MIN: u64 = 2_000;
/// Positions of the small ledger.
const SMALL_POSITIONS: u64 = 10_000;
/// What of the throughput on the small ledger must be left on a large one.
const RATIO_MIN: f64 = 0.8;
const FIRST_LOAD_SECONDS_MAX: f64 = 60.0;
const REBUILD_SECONDS_MAX: f64 = 30.0;

/// How large.
#[derive(Debug, Clone, clap::Args)]
pub struct GrowthArgs {
    /// Positions of the large ledger, one size after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 10_000_000],
        value_parser = clap::value_parser!(u64).range(16_000..=20_000_000))]
    positions: Vec<u64>,
    /// Entries of a small ledger, and of a large one with as few positions.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 20_000_000],
        value_parser = clap::value_parser!(u64).range(16_000..=100_000_000))]
    entries: Vec<u64>,
    /// Seconds of every stretch; there are six in a round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    seconds: u32,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=30))]
    rounds: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    small_positions: u64,
    ratio_min: f64,
    /// By size, from the smallest on.
    by_positions: Vec<Comparison>,
    by_entries: Vec<Comparison>,
    /// The lowest of all ratios.
    ratio_lowest: f64,
    first_load: Timed,
    rebuild: Timed,
}

/// Something that was done to many positions.
#[derive(Clone, Copy, Debug, Serialize)]
struct Timed {
    positions: u64,
    seconds: f64,
    /// The aim for a million of them.
    seconds_max: f64,
}

/// The same load on both.
#[derive(Debug, Serialize)]
struct Comparison {
    positions: u64,
    entries: u64,
    small_entries: u64,
    reservations: Ratio,
    reads: Ratio,
    sales: Ratio,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Ratio {
    small_per_s: f64,
    large_per_s: f64,
    small_p99_ms: f64,
    large_p99_ms: f64,
    ratio: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or sizes do not grow.
pub fn run(args: &GrowthArgs) -> anyhow::Result<()> {
    ensure!(args.positions.is_sorted(), "the sizes must grow");
    ensure!(
        args.entries.is_sorted() && args.entries.len() == 2,
        "two sizes, the smaller one first"
    );
    let report = server::block_on(async {
        let first = args.entries.first().copied().unwrap_or(0);
        let stretches = args.seconds * (args.rounds + 1) * 6 * (args.positions.len() as u32 + 1);
        let lines = args.entries.iter().chain(&args.positions).sum::<u64>();
        let most = SPARE
            + Duration::from_secs(u64::from(stretches) * 2)
            + Duration::from_secs((lines + first) / LINES_PER_S_MIN);
        server::with(most, async |small: &Server| {
            let mut bench =
                Bench { small, small_entries: 0, seconds: args.seconds, rounds: args.rounds };
            bench.prepare(first).await?;
            let grown = server::with(most, async |large: &Server| {
                bench.by_positions(large, &args.positions).await
            });
            let (by_positions, first_load, rebuild) = grown.await?;
            let grown = server::with(most, async |large: &Server| {
                bench.by_entries(large, &args.entries).await
            });
            let by_entries = grown.await?;
            let all = by_positions.iter().chain(&by_entries);
            let ratios = all.flat_map(|one| [one.reservations, one.reads, one.sales]);
            let ratio_lowest = ratios.map(|ratio| ratio.ratio).fold(f64::INFINITY, f64::min);
            let (small_positions, ratio_min) = (SMALL_POSITIONS, RATIO_MIN);
            Ok(Report {
                small_positions,
                ratio_min,
                by_positions,
                by_entries,
                ratio_lowest,
                first_load,
                rebuild,
            })
        })
        .await
    })?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The small ledger, and how long it is measured.
struct Bench<'s> {
    small: &'s Server,
    small_entries: u64,
    seconds: u32,
    rounds: u32,
}

impl Bench<'_> {
    /// Gives the small ledger its positions, and sales up to `entries`.
    async fn prepare(&mut self, entries: u64) -> anyhow::Result<()> {
        open(self.small).await?;
        fill::receive(self.small, 0..SMALL_POSITIONS).await?;
        let sales = entries.saturating_sub(SMALL_POSITIONS);
        fill::sell(self.small, SMALL_POSITIONS, 0..sales).await?;
        self.small_entries = SMALL_POSITIONS + sales;
        settle(self.small, SMALL_POSITIONS).await
    }

    /// Lets a ledger grow in positions, and compares it at each size.
    async fn by_positions(
        &self,
        large: &Server,
        sizes: &[u64],
    ) -> anyhow::Result<(Vec<Comparison>, Timed, Timed)> {
        open(large).await?;
        let mut compared = Vec::new();
        let (mut first_load, mut rebuilt, mut before) = (None, None, 0);
        for &positions in sizes {
            let wrote = fill::receive(large, before..positions).await?;
            let lagged = fill::wait_until_in_redis(large, positions).await?;
            let took = wrote + lagged;
            eprintln!("{positions} positions, the new ones in {:.1} s", took.as_secs_f64());
            let timed = |took: Duration, seconds_max| Timed {
                positions,
                seconds: rounded(took.as_secs_f64(), 1),
                seconds_max,
            };
            first_load.get_or_insert(timed(took, FIRST_LOAD_SECONDS_MAX));
            settle(large, positions).await?;
            if rebuilt.is_none() {
                let took = rebuild(large, positions).await?;
                rebuilt = Some(timed(took, REBUILD_SECONDS_MAX));
            }
            compared.push(self.compare(large, positions, positions).await?);
            before = positions;
        }
        let (first_load, rebuilt) = first_load.zip(rebuilt).unwrap_or_default();
        Ok((compared, first_load, rebuilt))
    }

    /// Lets a ledger with few positions grow in entries, and compares it at its end.
    async fn by_entries(&self, large: &Server, sizes: &[u64]) -> anyhow::Result<Vec<Comparison>> {
        open(large).await?;
        fill::receive(large, 0..SMALL_POSITIONS).await?;
        let entries = sizes.last().copied().unwrap_or(0).max(SMALL_POSITIONS);
        let took = fill::sell(large, SMALL_POSITIONS, 0..entries - SMALL_POSITIONS).await?;
        eprintln!("{entries} entries in {:.1} s", took.as_secs_f64());
        settle(large, SMALL_POSITIONS).await?;
        Ok(vec![self.compare(large, SMALL_POSITIONS, entries).await?])
    }

    async fn compare(
        &self,
        large: &Server,
        positions: u64,
        entries: u64,
    ) -> anyhow::Result<Comparison> {
        let name = format!("{positions}-{entries}");
        Ok(Comparison {
            positions,
            entries,
            small_entries: self.small_entries,
            reservations: self.ratio(large, positions, Visit::Reserve, &name).await?,
            reads: self.ratio(large, positions, Visit::Read, &name).await?,
            sales: self.ratio(large, positions, Visit::Sell, &name).await?,
        })
    }

    async fn ratio(
        &self,
        large: &Server,
        positions: u64,
        visit: Visit,
        name: &str,
    ) -> anyhow::Result<Ratio> {
        let stretch = Duration::from_secs(self.seconds.into());
        let mut little = callers("small", self.small, visit, SMALL_POSITIONS, name).await?;
        let mut much = callers("large", large, visit, positions, name).await?;
        eprintln!("{visit:?}");
        for round in 0..=self.rounds {
            little.stretch(round, stretch).await?;
            much.stretch(round, stretch).await?;
        }
        Ok(Ratio {
            small_per_s: little.median(per_s).round(),
            large_per_s: much.median(per_s).round(),
            small_p99_ms: rounded(little.median(p99_ms), 2),
            large_p99_ms: rounded(much.median(p99_ms), 2),
            ratio: rounded(much.median(per_s) / little.median(per_s), 3),
        })
    }
}

impl Default for Timed {
    fn default() -> Timed {
        Timed { positions: 0, seconds: 0.0, seconds_max: 0.0 }
    }
}

async fn callers(
    side: &'static str,
    server: &Server,
    visit: Visit,
    positions: u64,
    name: &str,
) -> anyhow::Result<Caller<Visitor>> {
    let mut visitors = Vec::with_capacity(CLIENTS);
    for number in 0..CLIENTS {
        let key = format!("{name}-{number:02}");
        visitors.push(Visitor::new(server.connect().await?, visit, positions, key, number as u64));
    }
    Ok(Caller::new(side, visitors, Cpu::Service(Processes::of(server).await?)))
}

async fn open(server: &Server) -> anyhow::Result<()> {
    sales::open_empty_shops(&server.connect().await?).await?;
    Ok(())
}

/// Waits until nothing of a bulk load is left to be done by anybody.
async fn settle(server: &Server, positions: u64) -> anyhow::Result<()> {
    fill::wait_until_in_redis(server, positions).await?;
    let mut connection = PgConnection::connect(&server.database_url).await?;
    for statement in ["vacuum analyze", "checkpoint"] {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    Ok(())
}

/// Empties Redis and waits until holds are taken in it again; then it must have every position.
async fn rebuild(server: &Server, positions: u64) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    raw_redis::flush(&server.redis_url).await?;
    shopper::wait_until_held(server, fill::place).await?;
    let took = begun.elapsed();
    eprintln!("Redis was empty, and was made anew in {:.1} s", took.as_secs_f64());
    let rows = raw_redis::rows(&server.redis_url).await?;
    ensure!(rows == positions, "Redis has {rows} rows of {positions} positions");
    Ok(took)
}
