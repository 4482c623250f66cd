//! `reserve`: reservations and holds of one unit each from many clients at once, against the naive
//! way on the same PostgreSQL and against a bare server that answers a constant of the same shape.

pub mod shopper;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, ensure};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use stockroom::api::proto::{
    GetPositionRequest, Position, ledger_service_client::LedgerServiceClient,
};

use crate::{
    bare::Bare,
    baseline,
    naive::{self, Naive},
    sales::{self, ITEMS, LOCATIONS},
    server::{self, Server},
    stats::rounded,
    stretch::{Caller, Cpu, cpu_us, p99_ms, per_s},
};
use shopper::{Shopper, Wish};

/// Clients, and connections of the naive way.
const FEW: usize = 64;
const MANY: usize = 256;
/// Connections of PostgreSQL: one for each client of the naive way, and some for the server.
pub const CONNECTIONS: u32 = 400;
/// More than everything but the measured stretches takes.
const SPARE: Duration = Duration::from_secs(300);

/// How long to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct ReserveArgs {
    /// Seconds of every stretch; there are three in a round of each scenario.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    seconds: u32,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=30))]
    rounds: u32,
    /// Only this scenario.
    #[arg(long)]
    only: Option<String>,
}

/// What clients want one unit of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goods {
    /// One item of which there is plenty.
    Hot,
    /// 10,000 items in 16 locations, with plenty of each.
    Spread,
    /// One item of which nothing is left.
    SoldOut,
}

impl Goods {
    /// Whether a wish is granted.
    pub fn are_there(self) -> bool {
        self != Goods::SoldOut
    }

    /// What decides the choices of client `number`.
    pub fn choices(self, number: usize) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(number as u64)
    }

    /// Shop and item of the next wish.
    pub fn choose(self, rng: &mut ChaCha8Rng) -> (usize, usize) {
        match self {
            Goods::Hot => (0, 0),
            Goods::Spread => (rng.random_range(0..LOCATIONS), rng.random_range(0..ITEMS)),
            Goods::SoldOut => (1, 0),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    goods: Goods,
    wish: Wish,
    clients: usize,
}

/// In the order in which they run: selling out comes after everything that needs stock everywhere.
const SCENARIOS: [Scenario; 6] = [
    Scenario { name: "hot", goods: Goods::Hot, wish: Wish::Reservation, clients: FEW },
    Scenario { name: "spread", goods: Goods::Spread, wish: Wish::Reservation, clients: FEW },
    Scenario { name: "hot_256", goods: Goods::Hot, wish: Wish::Reservation, clients: MANY },
    Scenario { name: "spread_256", goods: Goods::Spread, wish: Wish::Reservation, clients: MANY },
    Scenario { name: "sold_out", goods: Goods::SoldOut, wish: Wish::Reservation, clients: FEW },
    Scenario { name: "hold", goods: Goods::Hot, wish: Wish::Hold, clients: FEW },
];

#[derive(Debug, Serialize)]
struct Report {
    per_s: f64,
    p99_ms: f64,
    naive_per_s: f64,
    ratio: f64,
    bare_ratio: f64,
    cpu_us: f64,
    bare_cpu_us: f64,
    naive_cpu_us: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or what was granted does not add up.
pub fn run(args: &ReserveArgs) -> anyhow::Result<()> {
    let stretch = Duration::from_secs(args.seconds.into());
    let most = SPARE + stretch * (args.rounds + 1) * 6 * SCENARIOS.len() as u32;
    let work = async |server: &Server| {
        let mut bench = Bench::open(server, stretch, args.rounds).await?;
        let mut reports = BTreeMap::new();
        for scenario in SCENARIOS {
            if args.only.as_deref().is_none_or(|only| only == scenario.name) {
                eprintln!("{}: {} clients", scenario.name, scenario.clients);
                reports.insert(scenario.name, bench.measure(scenario).await?);
            }
        }
        Ok(reports)
    };
    let reports = server::block_on(server::with_connections(Some(CONNECTIONS), most, work))?;
    ensure!(!reports.is_empty(), "no scenario has this name");
    println!("{}", serde_json::to_string(&reports)?);
    Ok(())
}

/// What all scenarios share.
struct Bench<'s> {
    server: &'s Server,
    partitions: Vec<i16>,
    naive_url: String,
    postmaster: u32,
    stretch: Duration,
    rounds: u32,
}

/// What clients were granted up to some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Granted {
    /// Units reserved in the ledger.
    units: i64,
    /// Lines of reservations.
    lines: i64,
    /// Units reserved the naive way.
    naive: i64,
}

impl Bench<'_> {
    async fn open(server: &Server, stretch: Duration, rounds: u32) -> anyhow::Result<Bench<'_>> {
        let partitions = sales::open_different_shops(&server.connect().await?).await?;
        let naive_url = naive::prepare(&server.database_url, &partitions).await?;
        let postmaster = baseline::postmaster(&server.database_url).await?;
        shopper::wait_until_held_in_memory(server).await?;
        Ok(Bench { server, partitions, naive_url, postmaster, stretch, rounds })
    }

    async fn measure(&mut self, scenario: Scenario) -> anyhow::Result<Report> {
        let Scenario { name, goods, wish, clients } = scenario;
        if !goods.are_there() {
            self.sell_out().await?;
        }
        let (location, item) = goods.choose(&mut goods.choices(0));
        let opening = position(self.server, location, item).await?;
        let before = self.granted().await?;
        let mut first = Shopper::new(self.server.connect().await?, name, goods, wish, clients);
        let bare = Bare::start(&first.sample().await?).await?;
        let (mut shoppers, mut bare_shoppers, mut lockers) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..clients {
            let [ours, theirs] = [self.server.connect().await?, bare.connect().await?];
            shoppers.push(Shopper::new(ours, name, goods, wish, number));
            bare_shoppers.push(Shopper::new(theirs, name, goods, wish, number));
            let url = &self.naive_url;
            lockers.push(Naive::connect(url, &self.partitions, goods, number).await?);
        }
        let mut ours = Caller::new("ours", shoppers, Cpu::Process(self.server.pid));
        let mut naive = Caller::new("naive", lockers, Cpu::Family(self.postmaster));
        let mut theirs = Caller::new("bare", bare_shoppers, Cpu::Process(bare.pid));
        for round in 0..=self.rounds {
            ours.stretch(round, self.stretch).await?;
            naive.stretch(round, self.stretch).await?;
            theirs.stretch(round, self.stretch).await?;
        }
        bare.stop().await?;
        // The sample was a wish too.
        let answers = i64::try_from(ours.calls)? + 1;
        self.check(scenario, before, answers, i64::try_from(naive.calls)?).await?;
        if wish == Wish::Hold {
            shopper::expect_held(self.server, &opening, answers).await?;
            let in_ledger: u64 = ours.clients().iter().map(|shopper| shopper.in_ledger).sum();
            eprintln!("  {in_ledger} of {answers} holds were taken in the ledger");
        }
        let (rate, naive_rate) = (ours.median(per_s), naive.median(per_s));
        Ok(Report {
            per_s: rate.round(),
            p99_ms: rounded(ours.median(p99_ms), 3),
            naive_per_s: naive_rate.round(),
            ratio: rounded(rate / naive_rate, 3),
            bare_ratio: rounded(rate / theirs.median(per_s), 3),
            cpu_us: rounded(ours.median(cpu_us), 2),
            bare_cpu_us: rounded(theirs.median(cpu_us), 2),
            naive_cpu_us: rounded(naive.median(cpu_us), 2),
        })
    }

    /// Promises all that is left of one item, in both ledgers.
    async fn sell_out(&self) -> anyhow::Result<()> {
        let (location, item) = Goods::SoldOut.choose(&mut Goods::SoldOut.choices(0));
        let position = position(self.server, location, item).await?;
        let left = position.sellable - position.reserved;
        shopper::reserve(self.server, (location, item), left).await?;
        naive::sell_out(&self.naive_url, &self.partitions, (location, item)).await
    }

    async fn granted(&self) -> anyhow::Result<Granted> {
        let (units, lines) = baseline::granted(&self.server.database_url).await?;
        Ok(Granted { units, lines, naive: naive::granted(&self.naive_url).await? })
    }

    /// Where there was plenty every wish must have been granted, and where nothing was left none.
    async fn check(
        &self,
        Scenario { goods, wish, .. }: Scenario,
        mut expected: Granted,
        answers: i64,
        naive_answers: i64,
    ) -> anyhow::Result<()> {
        if goods.are_there() {
            expected.naive += naive_answers;
            if wish == Wish::Reservation {
                expected.units += answers;
                expected.lines += answers;
            }
        }
        let granted = self.granted().await?;
        ensure!(granted == expected, "{granted:?} was granted instead of {expected:?}");
        Ok(())
    }
}

async fn position(server: &Server, location: usize, item: usize) -> anyhow::Result<Position> {
    let request = GetPositionRequest {
        location_id: sales::location_id(location),
        sku: sales::own_sku(location, item),
        ..GetPositionRequest::default()
    };
    let mut ledger = LedgerServiceClient::new(server.connect().await?);
    let answer = ledger.get_position(request).await?.into_inner();
    answer.position.context("no position was answered")
}
