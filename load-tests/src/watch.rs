//! `watch`: many who watch some positions each while movements are recorded at half of the rate that is
//! possible without them. How long it takes until a watcher knows of what was answered as recorded.

mod listen;
mod write;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde::Serialize;
use tokio::sync::watch;

use self::{
    listen::{Heard, Listener},
    write::Written,
};
use crate::{
    latency::Latency,
    sales,
    server::{self, Server},
    stats::rounded,
    usage::Processes,
};

/// Watchers that share a connection.
const PER_CONNECTION: usize = 100;
/// Clients that record movements.
const WRITERS: usize = 4;
/// After the last movement every watcher must know of it within this time.
const QUIET_MAX: Duration = Duration::from_secs(20);
/// More than opening the shops and the streams takes.
const SPARE: Duration = Duration::from_secs(300);

/// How many watch, and what is recorded meanwhile.
#[derive(Debug, Clone, clap::Args)]
pub struct WatchArgs {
    /// Who watch.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    watchers: u32,
    /// Positions that each of them watches, out of 10,000.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=625))]
    positions: u32,
    /// Movements a second; default: half of what is possible.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Seconds of recording.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// The 99th percentile above which this fails, in milliseconds; 0: none.
    #[arg(long, default_value_t = 100.0)]
    p99_ms_max: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    watchers: usize,
    positions_each: u32,
    capacity_per_s: f64,
    movements_per_s: f64,
    movements: u64,
    messages: u64,
    states: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    server_us_per_state: f64,
    server_mib: f64,
}

/// Measures, checks and prints.
///
/// # Errors
/// Something failed, a watcher was told something wrong, or too late.
pub fn run(args: &WatchArgs) -> anyhow::Result<()> {
    let lasting = SPARE + 3 * Duration::from_secs(args.seconds.into());
    let report =
        server::block_on(server::with(lasting, async |server| measure(args, server).await))?;
    println!("{}", serde_json::to_string(&report)?);
    let (p99, most) = (report.p99_ms, args.p99_ms_max);
    ensure!(most == 0.0 || p99 <= most, "p99 is {p99} ms, above {most} ms");
    Ok(())
}

async fn measure(args: &WatchArgs, server: &Server) -> anyhow::Result<Report> {
    let channel = server.connect().await?;
    sales::open_shops(&channel).await?;
    let stretch = Duration::from_secs(args.seconds.into());
    let alone = write(server, "alone", None, stretch.min(Duration::from_secs(5))).await?;
    let capacity = alone.iter().map(|written| written.movements).sum::<u64>() as f64
        / stretch.min(Duration::from_secs(5)).as_secs_f64();
    let rate = args.rate.map_or(capacity / 2.0, f64::from);
    eprintln!("{capacity:.0} movements a second are possible; {rate:.0} are recorded");

    let (stop, stopped) = watch::channel(false);
    let listening = listen(args, server, &stopped).await?;
    let processes = Processes::of(server).await?;
    let before = processes.usage()?;
    let written = write(server, "watched", Some(rate), stretch).await?;
    let after = processes.usage()?;
    let last = written.iter().flat_map(Written::last).collect::<Vec<_>>();
    stop.send_replace(true);
    let mut heard = Vec::new();
    for listener in listening {
        heard.push(listener.await.context("a watcher panicked")??);
    }
    let latency = compare(&written, &heard, &last)?;
    let states = heard.iter().map(|heard| heard.states.len() as u64).sum();
    let movements = written.iter().map(|written| written.movements).sum::<u64>();
    Ok(Report {
        watchers: heard.len(),
        positions_each: args.positions,
        capacity_per_s: rounded(capacity, 0),
        movements_per_s: rounded(movements as f64 / stretch.as_secs_f64(), 0),
        movements,
        messages: heard.iter().map(|heard| heard.messages).sum(),
        states,
        p50_ms: rounded(latency.percentile_ms(50.0), 1),
        p99_ms: rounded(latency.percentile_ms(99.0), 1),
        max_ms: rounded(latency.max_ms(), 1),
        server_us_per_state: after.since(&before, states).server_us,
        server_mib: rounded(after.memory as f64 / f64::from(1 << 20), 0),
    })
}

type Listening = Vec<tokio::task::JoinHandle<anyhow::Result<Heard>>>;

/// Opens every stream, and waits until each was told what there is.
async fn listen(
    args: &WatchArgs,
    server: &Server,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Listening> {
    let started = Instant::now();
    let mut listening = Vec::new();
    let numbers: Vec<_> = (0..args.watchers as usize).collect();
    for part in numbers.chunks(PER_CONNECTION) {
        let channel = server.connect().await?;
        let open = part.iter().map(|&number| {
            Listener::open(channel.clone(), number, args.positions as usize, stopped.clone())
        });
        for listener in try_join_all(open).await? {
            listening.push(tokio::spawn(listener.listen(QUIET_MAX)));
        }
    }
    eprintln!("{} watchers in {:.1} s", listening.len(), started.elapsed().as_secs_f64());
    Ok(listening)
}

async fn write(
    server: &Server,
    name: &str,
    rate: Option<f64>,
    stretch: Duration,
) -> anyhow::Result<Vec<Written>> {
    let mut writing = Vec::new();
    for writer in 0..WRITERS {
        let channel = server.connect().await?;
        let rate = rate.map(|rate| rate / WRITERS as f64);
        writing.push(tokio::spawn(write::write(channel, name.to_owned(), writer, rate, stretch)));
    }
    let mut written = Vec::new();
    for done in try_join_all(writing).await.context("a writer panicked")? {
        written.push(done?);
    }
    Ok(written)
}

/// How long after its answer each movement was known to each who watches its position; what was known
/// before its answer counts as nothing. Whoever ended with another state than the last one is told.
fn compare(written: &[Written], heard: &[Heard], last: &[(usize, u64)]) -> anyhow::Result<Latency> {
    let mut answered: Vec<Vec<(u64, Instant)>> = vec![Vec::new(); sales::LOCATIONS * sales::ITEMS];
    for answer in written.iter().flat_map(|written| &written.answers) {
        if let Some(position) = answered.get_mut(answer.position) {
            position.push((answer.version, answer.at));
        }
    }
    answered.iter_mut().for_each(|position| position.sort_unstable());
    let mut newest = vec![0; answered.len()];
    for &(position, version) in last {
        newest[position] = version.max(newest[position]);
    }
    let mut latency = Latency::new()?;
    let answered = Arc::new(answered);
    for heard in heard {
        for (&position, states) in &heard.by_position() {
            let known = states.last().map_or(0, |state| state.0);
            let newest = newest.get(position).copied().unwrap_or(0);
            ensure!(
                known >= newest,
                "position {position}: told {known}, but {newest} was the last"
            );
            let mut states = states.iter().peekable();
            for &(version, at) in answered.get(position).map_or(&[][..], Vec::as_slice) {
                while states.next_if(|state| state.0 < version).is_some() {}
                if let Some((_, told_at)) = states.peek() {
                    latency.record(told_at.saturating_duration_since(at));
                }
            }
        }
    }
    Ok(latency)
}
