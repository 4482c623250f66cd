//! Torture: several servers on one PostgreSQL and one Redis, clients that try again until they
//! know, and a supervisor that breaks everything by a schedule that a seed decides. At the end
//! everything has to heal, and the history of all calls is checked.

mod client;
mod heal;
mod inject;
mod place;
mod postgres;
mod proxy;
mod redis;
mod schedule;
mod server;
pub mod soak;
mod tally;
mod volume;
mod wire;

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};
use stockroom::ledger::Ledger;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::{
    client::{Client, Common, Pace},
    heal::Stores,
    inject::Supervisor,
    place::Place,
    postgres::Postgres,
    redis::Redis,
    schedule::{Kind, Planned, SKIPPED},
    server::Server,
    tally::Tally,
    wire::Wire,
};
use crate::{
    check::{self, load::History},
    history::{Healing, Record, Recorder, dump},
    server::block_on,
};

/// Faults begin at least this far from each other.
const APART: Duration = Duration::from_millis(2_100);
/// How long the load goes on after the last fault, so that it can be seen to come back.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Of what was acknowledged before, so much is to be acknowledged again.
const GOODPUT_BACK: f64 = 0.9;
/// Witnesses of each violated invariant.
const WITNESSES: usize = 5;

/// How to torture.
#[derive(Clone, Debug, clap::Args)]
pub struct TortureArgs {
    /// Seconds of load
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3_600))]
    duration: u64,
    /// Decides what happens when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=8))]
    servers: u64,
    /// Clients
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
    /// Calls a second of all clients together, while they are answered at once
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    rate: u32,
    /// Lets new sources and items appear all the time
    #[arg(long)]
    newcomers: bool,
    /// Faults that may happen, by name; `none`: none. Default: all
    #[arg(long, value_delimiter = ',')]
    faults: Vec<String>,
    /// Where the history goes; default: a temporary file, which is kept if something is violated
    #[arg(long)]
    history: Option<PathBuf>,
    /// Keeps the folder with the logs of all processes
    #[arg(long)]
    keep: bool,
}

impl TortureArgs {
    /// The same clients for a soak, which says itself how fast they are and what is broken.
    fn of_soak(duration: u64, seed: u64, servers: u64, clients: u32) -> TortureArgs {
        let (rate, newcomers, faults) = (1, false, Vec::new());
        TortureArgs {
            duration,
            seed,
            servers,
            clients,
            rate,
            newcomers,
            faults,
            history: None,
            keep: false,
        }
    }
}

/// Tortures; the last line that it prints is the result.
///
/// # Errors
/// Something that is needed cannot be had, or an invariant is violated.
pub fn run(args: &TortureArgs) -> anyhow::Result<()> {
    let kinds = kinds(&args.faults)?;
    let default = std::env::temp_dir().join(format!("stockroom-torture-{}.jsonl", args.seed));
    let path = args.history.clone().unwrap_or(default);
    let mut result = block_on(stoppable(torture(args, &kinds, &path)))?;
    let violations = violations(&path, args.history.is_some())?;
    result["violations"] = json!(violations);
    println!("{result}");
    anyhow::ensure!(violations == 0, "{violations} violations");
    Ok(())
}

/// Checks a history, and removes it unless it is to be kept or something is violated.
fn violations(path: &Path, keep: bool) -> anyhow::Result<u64> {
    let history = History::read(BufReader::new(File::open(path)?))?;
    let verdicts = check::judge(&history, WITNESSES);
    print!("{}", verdicts.as_text());
    let violations = verdicts.violations();
    if violations == 0 && !keep {
        std::fs::remove_file(path)?;
    } else {
        eprintln!("the history is in '{}'", path.display());
    }
    Ok(violations)
}

/// A signal ends it in good order: nothing that was started is left.
async fn stoppable<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupted.recv() => anyhow::bail!("interrupted"),
        _ = terminated.recv() => anyhow::bail!("terminated"),
    }
}

async fn torture(args: &TortureArgs, kinds: &[Kind], path: &Path) -> anyhow::Result<Value> {
    let place = Arc::new(Place::new(true).await?);
    let tortured = torture_at(&place, args, kinds, path).await;
    if args.keep || tortured.is_err() {
        place.keep.store(true, Ordering::Relaxed);
        eprintln!("logs are in '{}'", place.folder.display());
    }
    tortured
}

async fn torture_at(
    place: &Arc<Place>,
    args: &TortureArgs,
    kinds: &[Kind],
    path: &Path,
) -> anyhow::Result<Value> {
    let recorder = Recorder::create(path, args.seed)?;
    let mut supervisor = start(place, args.servers, &recorder).await?;
    let pace = Pace::of(args.clients, f64::from(args.rate));
    let load = Load::start(args, pace, &supervisor, &recorder).await?;
    let volume = place.volume.is_ok();
    let possible = kinds.iter().copied().filter(|kind| volume || *kind != Kind::FullVolume);
    let plan = plan(args, &possible.collect::<Vec<_>>());
    supervisor.ahead = plan.iter().map(|fault| fault.kind).collect();
    supervisor.keep_in_step().await?;
    let began = Instant::now();
    let before = load.tally.elapsed();
    let mut calm_per_s = 0.0;
    for (number, fault) in plan.iter().enumerate() {
        sleep_until(began + fault.at).await;
        if number == 0 {
            calm_per_s = load.tally.per_s(before, load.tally.elapsed());
        }
        supervisor.ahead.remove(0);
        supervisor.inject(*fault).await?;
    }
    let calm_per_s = (!plan.is_empty()).then_some(calm_per_s);
    let end = began + Duration::from_secs(args.duration);
    let (tally, heal_s) = heal_and_dump(&supervisor, load, &recorder, end, calm_per_s).await?;
    let mut result = result(args, &tally, &supervisor, heal_s);
    if let Err(why) = &place.volume {
        result["skipped"][Kind::FullVolume.name()] = json!(why);
    }
    Ok(result)
}

/// After the last fault: how the service comes back to so much acknowledged a second (`None`: nothing was
/// broken), until `end` at least, and what the ledger then is. Returns how many seconds that took.
async fn heal_and_dump(
    supervisor: &Supervisor,
    load: Load,
    recorder: &Recorder,
    end: Instant,
    calm_per_s: Option<f64>,
) -> anyhow::Result<(Arc<Tally>, Option<f64>)> {
    let healed_from = load.tally.elapsed();
    let stores = Stores::new(&supervisor.postgres.url(), &redis_url(supervisor))?;
    let (equal_after, mut difference) = stores.equal_after().await?;
    let end = end.max(Instant::now());
    let enough = Instant::now() + AFTERWARDS.saturating_sub(load.tally.elapsed() - healed_from);
    sleep_until(if calm_per_s.is_none() { end } else { end.max(enough) }).await;
    let tally = load.stop().await?;
    let least_per_s = calm_per_s.unwrap_or(0.0) * GOODPUT_BACK;
    let (best_per_s, back) = tally.back(healed_from, least_per_s);
    let stale_holds = stores.stale_holds().await?;
    if difference.is_empty() {
        difference = heal::verify(&supervisor.postgres.url(), &redis_url(supervisor)).await?;
    }
    let micros = |after: Duration| i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
    let back = match calm_per_s {
        None => Some(Duration::ZERO),
        Some(_) => back.map(|back| back.saturating_sub(healed_from)),
    };
    recorder.write(&Record::Healing(Healing {
        equal_after_us: equal_after.map(micros),
        goodput_after_us: back.map(micros),
        before_per_s: calm_per_s.unwrap_or(best_per_s),
        after_per_s: best_per_s,
        stale_holds,
        difference,
    }));
    dump::dump(&supervisor.postgres.url(), recorder).await?;
    recorder.finish()?;
    let heal_s = equal_after.zip(back).map(|(equal, back)| equal.max(back).as_secs_f64());
    Ok((tally, heal_s))
}

fn result(
    args: &TortureArgs,
    tally: &Tally,
    supervisor: &Supervisor,
    heal_s: Option<f64>,
) -> Value {
    let number = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut skipped: BTreeMap<&str, &str> = SKIPPED.into();
    for missed in &supervisor.missed {
        if !supervisor.faults.contains_key(missed) {
            skipped.insert(missed, "the moment did not come in time");
        }
    }
    json!({
        "seed": args.seed,
        "operations": number(&tally.operations),
        "acknowledged": number(&tally.acknowledged),
        "refused": number(&tally.refused),
        "unknown": number(&tally.unknown),
        "faults": supervisor.faults,
        "skipped": skipped,
        "heal_s": heal_s,
    })
}

fn redis_url(supervisor: &Supervisor) -> String {
    format!("redis://{}/", supervisor.redis.address())
}

async fn start(place: &Arc<Place>, count: u64, recorder: &Recorder) -> anyhow::Result<Supervisor> {
    let mut redis = Redis::start(Arc::clone(place)).await?;
    redis.add_replica().await?;
    let mut postgres = Postgres::start(Arc::clone(place)).await?;
    Ledger::migrate(&postgres.url(), 4).await?;
    postgres.add_standby().await?;
    let mut servers = Vec::new();
    for number in 0..usize::try_from(count)? {
        let mut server = Server::new(place, number, postgres.address(), redis.address()).await?;
        server.spawn()?;
        servers.push(server);
    }
    for server in &mut servers {
        server.listens().await?;
    }
    Ok(Supervisor {
        servers,
        postgres,
        redis,
        recorder: recorder.clone(),
        faults: BTreeMap::new(),
        ahead: Vec::new(),
        missed: Default::default(),
    })
}

/// Clients that are at it.
struct Load {
    clients: JoinSet<()>,
    tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn start(
        args: &TortureArgs,
        pace: Pace,
        supervisor: &Supervisor,
        recorder: &Recorder,
    ) -> anyhow::Result<Load> {
        let began_at_us = recorder.began_at_us;
        let wires = supervisor.servers.iter().map(|server| Wire::new(server.address, began_at_us));
        let wires: Vec<Wire> = wires.collect::<anyhow::Result<_>>()?;
        let first = wires.first().context("there is no server")?;
        wire::open_shops(first, &client::location_ids()).await?;
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::new()));
        let common = Common {
            seed: args.seed,
            wires,
            recorder: recorder.clone(),
            tally: Arc::clone(&tally),
            stop: Arc::clone(&stop),
            pace,
            newcomers: args.newcomers,
        };
        let mut opening = Client::new(u32::MAX, common.clone());
        for location in 0..client::LOCATIONS {
            opening.receive(location).await?;
        }
        let mut clients = JoinSet::new();
        for number in 0..args.clients {
            clients.spawn(Client::new(number, common.clone()).run());
        }
        Ok(Load { clients, tally, stop })
    }

    async fn stop(mut self) -> anyhow::Result<Arc<Tally>> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.context("a client panicked")?;
        }
        Ok(self.tally)
    }
}

/// The load is calm for a tenth of the time, and for a fifth at the end.
fn plan(args: &TortureArgs, kinds: &[Kind]) -> Vec<Planned> {
    let lasting = Duration::from_secs(args.duration);
    let range = (lasting / 10, lasting - lasting / 5);
    let servers = usize::try_from(args.servers).unwrap_or(1);
    schedule::plan(args.seed, kinds, range, APART, servers)
}

fn kinds(names: &[String]) -> anyhow::Result<Vec<Kind>> {
    match names {
        [] => Ok(Kind::ALL.to_vec()),
        [none] if none == "none" => Ok(Vec::new()),
        names => names
            .iter()
            .map(|name| {
                let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
                found.with_context(|| format!("there is no fault {name:?}"))
            })
            .collect(),
    }
}
