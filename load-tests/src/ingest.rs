//! `ingest`: movements a second through SyncMovements, against the same rows by bulk SQL.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde::Serialize;
use stockroom::api::proto::{
    Movement, SyncMovementsRequest, movement_service_client::MovementServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::{
    baseline::{
        self, Totals,
        bulk::{Bulk, How},
    },
    cpu,
    latency::Latency,
    sales::{self, ITEMS, LOCATIONS, OPENING_UNITS, Sale},
    server::{self, Server},
    stats::{median, rounded},
};

/// Sources, each on a stream and a connection of its own.
const SOURCES: usize = 8;
/// Lines of one message: what the contract allows.
pub const MESSAGE_LINES: usize = 1_000;
/// Messages of a stream without an answer.
const WINDOW: usize = 8;
/// More than everything but the measured stretches takes.
const SPARE: Duration = Duration::from_secs(240);

/// How long to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct IngestArgs {
    /// Seconds of every stretch, about; there are four in a round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Rounds; the medians count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Lines of the first round, from whose rate the others are sized.
    #[arg(long, default_value_t = 100_000,
        value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    warm_up_lines: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    lines_per_s: f64,
    raw_lines_per_s: f64,
    copy_lines_per_s: f64,
    ratio: f64,
    copy_ratio: f64,
    raw_postgres_cpu_us_per_line: f64,
    copy_postgres_cpu_us_per_line: f64,
    server_cpu_us_per_line: f64,
    postgres_cpu_us_per_line: f64,
}

/// Measures and prints.
///
/// # Errors
/// Something failed, or the lines do not add up.
pub fn run(args: &IngestArgs) -> anyhow::Result<()> {
    let most = SPARE + Duration::from_secs(u64::from(args.seconds * args.rounds) * 16);
    let work = async |server: &Server| measure(server, args).await;
    let report = server::block_on(server::with(most, work))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(server: &Server, args: &IngestArgs) -> anyhow::Result<Report> {
    let mut ours = Ours::start(server).await?;
    let raw_url = baseline::prepare(&server.database_url, &ours.partitions).await?;
    let mut bulk = Bulk::connect(&raw_url, &ours.partitions).await?;
    let warm_up_lines = args.warm_up_lines as usize;
    let first = ours.stretch(warm_up_lines).await?;
    let mut raw = Raw { postmaster: ours.postmaster, ..Raw::default() };
    raw.stretch(&mut bulk, warm_up_lines, 1, How::Insert).await?;
    let lines = (first.lines_per_s * f64::from(args.seconds)) as usize;
    let mut stretches = Vec::new();
    let mut raws = [Vec::new(), Vec::new(), Vec::new()];
    for round in 1..=args.rounds {
        raws[0].push(raw.stretch(&mut bulk, lines, 1, How::Insert).await?);
        let stretch = ours.stretch(lines).await?;
        raws[1].push(raw.stretch(&mut bulk, lines, 2, How::Insert).await?);
        raws[2].push(raw.stretch(&mut bulk, lines, 2, How::Copy).await?);
        eprintln!("round {round}: {stretch}");
        let last = |raw: &Vec<RawStretch>| raw.last().map_or(0.0, |raw| raw.lines_per_s);
        let [one, two, copy] = raws.each_ref().map(last);
        eprintln!(
            "  raw: {one:.0}/s over one connection, {two:.0}/s over two, {copy:.0}/s by copy"
        );
        stretches.push(stretch);
    }
    let (sent, opening) = (&ours.sent, (LOCATIONS * ITEMS) as i64);
    sent.check(Totals::read(&server.database_url).await?, opening)?;
    raw.sent.check(Totals::read(&raw_url).await?, 0)?;
    let of = |value: fn(&Stretch) -> f64| median(&stretches.iter().map(value).collect::<Vec<_>>());
    let lines_per_s = of(|stretch| stretch.lines_per_s);
    let [one, two, copy] = raws.each_ref().map(|raws| medians(raws));
    let raw = if one.lines_per_s > two.lines_per_s { one } else { two };
    Ok(Report {
        lines_per_s: lines_per_s.round(),
        raw_lines_per_s: raw.lines_per_s.round(),
        copy_lines_per_s: copy.lines_per_s.round(),
        ratio: rounded(lines_per_s / raw.lines_per_s, 3),
        copy_ratio: rounded(lines_per_s / copy.lines_per_s, 3),
        raw_postgres_cpu_us_per_line: rounded(raw.postgres_us, 2),
        copy_postgres_cpu_us_per_line: rounded(copy.postgres_us, 2),
        server_cpu_us_per_line: rounded(of(|stretch| stretch.server_us), 2),
        postgres_cpu_us_per_line: rounded(of(|stretch| stretch.postgres_us), 2),
    })
}

/// What was sent so far.
#[derive(Debug, Default)]
struct Sent {
    lines: i64,
    units: i64,
}

impl Sent {
    fn add<'s>(&mut self, sales: impl IntoIterator<Item = &'s Sale>) {
        for sale in sales {
            self.lines += 1;
            self.units += sale.quantity;
        }
    }

    /// Every line must have left one entry and one key, and every unit must be gone.
    fn check(&self, totals: Totals, opening_entries: i64) -> anyhow::Result<()> {
        let entries = opening_entries + self.lines;
        let sellable = (LOCATIONS * ITEMS) as i64 * OPENING_UNITS - self.units;
        let expected = Totals { entries, requests: entries, sellable };
        ensure!(totals == expected, "the ledger has {totals:?} instead of {expected:?}");
        Ok(())
    }
}

/// One stretch of ours.
#[derive(Debug)]
struct Stretch {
    lines_per_s: f64,
    server_us: f64,
    postgres_us: f64,
    load_us: f64,
    /// Of a message, from its sending to its answer.
    latency: Latency,
}

impl std::fmt::Display for Stretch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stretch { lines_per_s, server_us, postgres_us, load_us, latency } = self;
        write!(
            f,
            "{lines_per_s:.0}/s; CPU a line: server {server_us:.2} us, PostgreSQL {postgres_us:.2} \
             us, load {load_us:.2} us; a message: {latency}"
        )
    }
}

/// The streams, and the processes that serve them.
struct Ours {
    clients: Vec<MovementServiceClient<Channel>>,
    partitions: Vec<i16>,
    server: u32,
    postmaster: u32,
    /// Next basket of every source.
    baskets: Vec<u64>,
    sent: Sent,
}

impl Ours {
    async fn start(server: &Server) -> anyhow::Result<Ours> {
        let mut clients = Vec::with_capacity(SOURCES);
        for _ in 0..SOURCES {
            clients.push(MovementServiceClient::new(server.connect().await?));
        }
        Ok(Ours {
            clients,
            partitions: sales::open_shops(&server.connect().await?).await?,
            server: server.pid,
            postmaster: baseline::postmaster(&server.database_url).await?,
            baskets: vec![0; SOURCES],
            sent: Sent::default(),
        })
    }

    async fn stretch(&mut self, lines: usize) -> anyhow::Result<Stretch> {
        let mut streams = Vec::with_capacity(SOURCES);
        let mut lines_sent = 0;
        for (source, client) in self.clients.iter().enumerate() {
            let number = &mut self.baskets[source];
            let sales = sales::sales(source, SOURCES, number, lines / SOURCES);
            self.sent.add(&sales);
            lines_sent += sales.len();
            streams.push(stream(client.clone(), messages(source, sales).into_iter()));
        }
        let cpu = || {
            let load = cpu::of_process(std::process::id())?;
            anyhow::Ok([cpu::of_process(self.server)?, cpu::of_family(self.postmaster)?, load])
        };
        let before = cpu()?;
        let started = Instant::now();
        let streams = streams.into_iter().map(tokio::spawn);
        let streams = try_join_all(streams).await.context("a stream panicked")?;
        let elapsed = started.elapsed();
        let after = cpu()?;
        let mut latency = Latency::new()?;
        for stream in streams {
            latency.add(&stream?)?;
        }
        let us = |index: usize| {
            (after[index] - before[index]).as_secs_f64() * 1_000_000.0 / lines_sent as f64
        };
        Ok(Stretch {
            lines_per_s: lines_sent as f64 / elapsed.as_secs_f64(),
            server_us: us(0),
            postgres_us: us(1),
            load_us: us(2),
            latency,
        })
    }
}

fn messages(source: usize, sales: Vec<Sale>) -> Vec<SyncMovementsRequest> {
    let mut movements = sales.into_iter().map(Movement::from);
    let mut messages = Vec::new();
    loop {
        let movements: Vec<_> = movements.by_ref().take(MESSAGE_LINES).collect();
        if movements.is_empty() {
            return messages;
        }
        let source = format!("shops-{source}");
        messages.push(SyncMovementsRequest { source, sent_at: None, movements });
    }
}

/// Sends messages over one stream and waits for the answer to each.
///
/// # Errors
/// The stream ends early, or a line is not recorded.
pub async fn stream(
    mut client: MovementServiceClient<Channel>,
    mut messages: impl Iterator<Item = SyncMovementsRequest>,
) -> anyhow::Result<Latency> {
    let mut latency = Latency::new()?;
    let (requests, receiver) = mpsc::channel(WINDOW);
    let mut window = VecDeque::with_capacity(WINDOW);
    for message in messages.by_ref().take(WINDOW) {
        window.push_back((Instant::now(), message.movements.len()));
        requests.send(message).await?;
    }
    let answers = client.sync_movements(ReceiverStream::new(receiver)).await?;
    let mut answers = answers.into_inner();
    while let Some((sent, lines)) = window.pop_front() {
        let answer = answers.message().await?.context("the stream ended early")?;
        latency.record(sent.elapsed());
        sales::check(lines, &answer.results)?;
        if let Some(message) = messages.next() {
            window.push_back((Instant::now(), message.movements.len()));
            requests.send(message).await?;
        }
    }
    Ok(latency)
}

/// The bulk load, and what it wrote.
#[derive(Debug, Default)]
struct Raw {
    postmaster: u32,
    basket: u64,
    sent: Sent,
}

/// Lines a second of a stretch of the bulk load, and the CPU time of PostgreSQL for a line.
#[derive(Clone, Copy, Debug)]
struct RawStretch {
    lines_per_s: f64,
    postgres_us: f64,
}

/// The medians of stretches.
fn medians(stretches: &[RawStretch]) -> RawStretch {
    let of =
        |value: fn(&RawStretch) -> f64| median(&stretches.iter().map(value).collect::<Vec<_>>());
    RawStretch { lines_per_s: of(|one| one.lines_per_s), postgres_us: of(|one| one.postgres_us) }
}

impl Raw {
    async fn stretch(
        &mut self,
        bulk: &mut Bulk,
        lines: usize,
        connections: usize,
        how: How,
    ) -> anyhow::Result<RawStretch> {
        let mut sales = Vec::new();
        let next = self.basket;
        for source in 0..SOURCES {
            let mut number = next;
            sales.extend(sales::sales(source, SOURCES, &mut number, lines / SOURCES));
            self.basket = self.basket.max(number);
        }
        self.sent.add(&sales);
        let before = cpu::of_family(self.postmaster)?;
        let took = bulk.write(&sales, connections, how).await?;
        let used = cpu::of_family(self.postmaster)?.saturating_sub(before);
        let lines = sales.len() as f64;
        let postgres_us = used.as_secs_f64() * 1_000_000.0 / lines;
        Ok(RawStretch { lines_per_s: lines / took.as_secs_f64(), postgres_us })
    }
}
