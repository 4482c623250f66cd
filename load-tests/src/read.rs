//! `read`: reads of availability, against a bare server that answers a constant of the same shape.

use std::{collections::BTreeMap, time::Duration};

use anyhow::ensure;
use rand::{SeedableRng as _, seq::index::sample};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use stockroom::api::proto::{
    CheckAvailabilityRequest, availability_service_client::AvailabilityServiceClient,
};
use tonic::transport::Channel;

use crate::{
    bare::{Bare, Sample},
    load::Client,
    sales::{self, CHANNEL, ITEMS, LOCATIONS, OPENING_UNITS},
    scenario,
    server::{self, Server},
    stats::rounded,
    stretch::{Caller, Cpu, cpu_us, per_s},
};

/// Clients, each with a connection of its own.
const CLIENTS: usize = 64;
/// More than everything but the measured stretches takes.
const SPARE: Duration = Duration::from_secs(180);
/// What is read at once: its name, items, locations.
const SHAPES: [(&str, usize, usize); 2] = [("one", 1, 1), ("many", 20, 5)];

/// How long to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct ReadArgs {
    /// Seconds of every stretch; there are two in a round of each shape.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    per_s: f64,
    bare_per_s: f64,
    ratio: f64,
    cpu_us: f64,
    bare_cpu_us: f64,
    cpu_ratio: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or an answer is wrong.
pub fn run(args: &ReadArgs) -> anyhow::Result<()> {
    let stretch = Duration::from_secs(args.seconds.into());
    let most = SPARE + stretch * args.rounds * 8;
    let rounds = args.rounds;
    let work = async |server: &Server| {
        sales::open_shops(&server.connect().await?).await?;
        let units = (ITEMS * LOCATIONS) as i64 * OPENING_UNITS;
        scenario::wait_until_projected(server, units).await?;
        let mut reports = BTreeMap::new();
        for (name, items, locations) in SHAPES {
            eprintln!("{name}: {items} x {locations}");
            let report = measure(server, (items, locations), stretch, rounds).await?;
            reports.insert(name, report);
        }
        Ok(reports)
    };
    let reports = server::block_on(server::with(most, work))?;
    println!("{}", serde_json::to_string(&reports)?);
    Ok(())
}

async fn measure(
    server: &Server,
    shape: (usize, usize),
    stretch: Duration,
    rounds: u32,
) -> anyhow::Result<Report> {
    let mut reader = Reader::new(server.connect().await?, 0, shape);
    let request = reader.request();
    let answer = reader.client.check_availability(request).await;
    let bare = Bare::start(&Sample::of(&answer)).await?;
    let (mut readers, mut bare_readers) = (Vec::new(), Vec::new());
    for number in 0..CLIENTS {
        readers.push(Reader::new(server.connect().await?, number, shape));
        bare_readers.push(Reader::new(bare.connect().await?, number, shape));
    }
    let mut ours = Caller::new("ours", readers, Cpu::Process(server.pid));
    let mut theirs = Caller::new("bare", bare_readers, Cpu::Process(bare.pid));
    for round in 0..=rounds {
        ours.stretch(round, stretch).await?;
        theirs.stretch(round, stretch).await?;
    }
    bare.stop().await?;
    let degraded: u64 = ours.clients().iter().map(|reader| reader.degraded).sum();
    eprintln!("  {degraded} of {} answers were degraded", ours.calls);
    let (rate, bare_rate) = (ours.median(per_s), theirs.median(per_s));
    Ok(Report {
        per_s: rate.round(),
        bare_per_s: bare_rate.round(),
        ratio: rounded(rate / bare_rate, 3),
        cpu_us: rounded(ours.median(cpu_us), 2),
        bare_cpu_us: rounded(theirs.median(cpu_us), 2),
        cpu_ratio: rounded(ours.median(cpu_us) / theirs.median(cpu_us), 3),
    })
}

/// A client with a connection of its own.
struct Reader {
    client: AvailabilityServiceClient<Channel>,
    rng: ChaCha8Rng,
    items: usize,
    locations: usize,
    degraded: u64,
}

impl Reader {
    fn new(channel: Channel, number: usize, (items, locations): (usize, usize)) -> Reader {
        let client = AvailabilityServiceClient::new(channel);
        let rng = ChaCha8Rng::seed_from_u64(number as u64);
        Reader { client, rng, items, locations, degraded: 0 }
    }

    /// Other items and locations every time.
    fn request(&mut self) -> CheckAvailabilityRequest {
        let locations = sample(&mut self.rng, LOCATIONS, self.locations);
        CheckAvailabilityRequest {
            channel_id: CHANNEL.to_owned(),
            skus: sample(&mut self.rng, ITEMS, self.items).iter().map(sales::sku).collect(),
            location_ids: locations.iter().map(sales::location_id).collect(),
            ..CheckAvailabilityRequest::default()
        }
    }
}

impl Client for Reader {
    async fn call(&mut self) -> anyhow::Result<()> {
        let request = self.request();
        let answer = self.client.check_availability(request).await?.into_inner();
        self.degraded += u64::from(answer.degraded);
        let pairs = answer.availability.len();
        ensure!(pairs == self.items * self.locations, "{pairs} pairs were answered");
        let wrong = answer.availability.iter().find(|one| one.available != OPENING_UNITS);
        ensure!(wrong.is_none(), "wrong: {wrong:?}");
        Ok(())
    }
}
