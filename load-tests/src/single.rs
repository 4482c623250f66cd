//! `single`: one sale of one hot item at a time from each of many tills, against row locks.

use std::time::Duration;

use anyhow::ensure;
use serde::Serialize;
use stockroom::api::proto::{Movement, movement_service_client::MovementServiceClient};
use tonic::transport::Channel;

use crate::{
    baseline::{self, RowLocker, Totals},
    load::Client,
    sales::{self, ITEMS, LOCATIONS, OPENING_UNITS, Sale},
    server::{self, Server},
    stats::rounded,
    stretch::{Caller, Cpu, cpu_us, p99_ms, per_s},
    usage::Processes,
};

/// Tills, and connections of the naive way.
const CLIENTS: usize = 64;
/// More than everything but the measured stretches takes.
const SPARE: Duration = Duration::from_secs(180);

/// How long to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct SingleArgs {
    /// Seconds of every stretch; there are two in a round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    per_s: f64,
    p99_ms: f64,
    /// Of the server and both databases.
    cpu_us: f64,
    naive_per_s: f64,
    naive_p99_ms: f64,
    /// Of the databases.
    naive_cpu_us: f64,
    ratio: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or the sales do not add up.
pub fn run(args: &SingleArgs) -> anyhow::Result<()> {
    let stretch = Duration::from_secs(args.seconds.into());
    let most = SPARE + stretch * args.rounds * 4;
    let rounds = args.rounds;
    let work = async |server: &Server| measure(server, stretch, rounds).await;
    let report = server::block_on(server::with(most, work))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(server: &Server, stretch: Duration, rounds: u32) -> anyhow::Result<Report> {
    let partitions = sales::open_shops(&server.connect().await?).await?;
    let naive_url = baseline::prepare(&server.database_url, &partitions).await?;
    let (mut tills, mut lockers) = (Vec::new(), Vec::new());
    for number in 0..CLIENTS {
        let client = MovementServiceClient::new(server.connect().await?);
        tills.push(Till { client, number, sales: 0 });
        lockers.push(RowLocker::connect(&naive_url, partitions[0], number as i32 + 1).await?);
    }
    let processes = Processes::of(server).await?;
    let mut ours = Caller::new("ours", tills, Cpu::Service(processes));
    let mut naive = Caller::new("row locks", lockers, Cpu::Databases(processes));
    for round in 0..=rounds {
        ours.stretch(round, stretch).await?;
        naive.stretch(round, stretch).await?;
    }
    let opening = (LOCATIONS * ITEMS) as i64;
    check(&server.database_url, ours.calls, opening).await?;
    check(&naive_url, naive.calls, 0).await?;
    let (rate, naive_rate) = (ours.median(per_s), naive.median(per_s));
    Ok(Report {
        per_s: rate.round(),
        p99_ms: rounded(ours.median(p99_ms), 2),
        cpu_us: rounded(ours.median(cpu_us), 1),
        naive_per_s: naive_rate.round(),
        naive_p99_ms: rounded(naive.median(p99_ms), 2),
        naive_cpu_us: rounded(naive.median(cpu_us), 1),
        ratio: rounded(rate / naive_rate, 3),
    })
}

/// Every sale must have left one entry and taken one unit.
async fn check(url: &str, sold: u64, opening_entries: i64) -> anyhow::Result<()> {
    let totals = Totals::read(url).await?;
    let sold = i64::try_from(sold)?;
    let units = (LOCATIONS * ITEMS) as i64 * OPENING_UNITS - sold;
    let adds_up = totals.entries == opening_entries + sold && totals.sellable == units;
    ensure!(adds_up, "{sold} sales do not add up to {totals:?}");
    Ok(())
}

/// A till with a connection of its own.
struct Till {
    client: MovementServiceClient<Channel>,
    number: usize,
    sales: u64,
}

impl Client for Till {
    async fn call(&mut self) -> anyhow::Result<()> {
        self.sales += 1;
        let document = format!("R{:02}-{:08}", self.number, self.sales);
        let sale = Sale {
            location: 0,
            item: 0,
            quantity: 1,
            key: format!("{document}-1"),
            document,
            document_line: 1,
            occurred_at: jiff::Timestamp::now().as_microsecond(),
        };
        let source = format!("till-{:02}", self.number);
        sales::record(&mut self.client, &source, vec![Movement::from(sale)]).await
    }
}
