//! `load`: runs a scenario from a file against a server of its own, checks what is left behind, and
//! writes a report.

pub mod check;
pub mod file;
pub mod flow;
pub mod schedule;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::ensure;
use stockroom::api::proto::{
    CheckAvailabilityRequest, availability_service_client::AvailabilityServiceClient,
};
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;

use self::{
    file::Scenario,
    flow::Caller,
    schedule::{Schedule, Spacing},
};
use crate::{
    machine::Machine,
    open::{self, Flow, Window},
    report::{FlowReport, Report, Resources},
    sales::{self, CHANNEL, ITEMS, LOCATIONS},
    server::{self, Server},
    usage::{Processes, Usage},
};

/// Connections of a run, which all flows share.
const CONNECTIONS: usize = 64;
/// More than everything but the load takes.
const SPARE: Duration = Duration::from_secs(1_200);
/// How long the reservation layer may take until it has the opening stock.
const PROJECTED_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What to run.
#[derive(Debug, Clone, clap::Args)]
pub struct ScenarioArgs {
    /// A name in load-tests/scenarios, or a file.
    #[arg(default_value = "till-day")]
    scenario: String,
    /// Calls a second of all flows together, in place of the file's.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of all phases together, in place of the file's.
    #[arg(long)]
    duration: Option<f64>,
    /// Folder of the report.
    #[arg(long, default_value = "target/load")]
    out: PathBuf,
}

/// Runs, checks and reports.
///
/// # Errors
/// The file is refused, something that must hold does not, or too many calls were lost.
pub fn run(args: &ScenarioArgs) -> anyhow::Result<()> {
    let path = path_of(&args.scenario);
    let scenario = Scenario::read(&path)?.adjusted(args.rate, args.duration)?;
    let name = path.file_stem().map_or_else(String::new, |name| name.display().to_string());
    let lasting = Duration::from_secs_f64(scenario.seconds() + scenario.warm_up_seconds);
    let work = async |server: &Server| measure(server, &name, &scenario).await;
    let report = server::block_on(server::with(SPARE + lasting * 2, work))?;
    report.write(&args.out)?;
    eprintln!("{}", args.out.join(format!("{name}.html")).display());
    println!("{}", serde_json::to_string(&report.summary())?);
    let lost = report.lost_percent();
    let most = scenario.failed_percent_max;
    ensure!(lost <= most, "{lost:.3} % of the calls were lost, more than {most} %");
    Ok(())
}

/// What looks like a path is one.
fn path_of(scenario: &str) -> PathBuf {
    match scenario.contains(['/', '.']) {
        true => PathBuf::from(scenario),
        false => Path::new("load-tests/scenarios").join(format!("{scenario}.toml")),
    }
}

async fn measure(server: &Server, name: &str, scenario: &Scenario) -> anyhow::Result<Report> {
    let of_item = |item| scenario.stock.of(item);
    sales::open_shops_with(&server.connect().await?, of_item).await?;
    wait_until_projected(server, (0..ITEMS).map(of_item).sum::<i64>() * LOCATIONS as i64).await?;
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        channels.push(server.connect().await?);
    }
    let callers = callers(scenario, &channels);
    let window = Window {
        warm_up: Duration::from_secs_f64(scenario.warm_up_seconds),
        measured: Duration::from_secs_f64(scenario.seconds()),
    };
    let started = Instant::now();
    let processes = Processes::of(server).await?;
    let sampling = tokio::spawn(sample(processes, window, started));
    let flows = (0..).zip(&scenario.flows).zip(&callers).map(|((number, spec), caller)| Flow {
        work: Arc::clone(caller),
        schedule: Schedule::new(scenario.stretches(spec), spacing(spec.even, number)),
        deadline: Duration::from_millis(spec.deadline_ms.into()),
    });
    let records = open::run(flows.collect(), window, started).await?;
    let samples = sampling.await??;
    let callers: Vec<_> = callers.iter().map(AsRef::as_ref).collect();
    for (spec, caller) in scenario.flows.iter().zip(&callers) {
        if let Some(surprise) = caller.effects.surprise.get() {
            eprintln!("{}: {surprise}", spec.name);
        }
    }
    let flows = scenario.flows.iter().zip(&records);
    let flows = flows.map(|(spec, record)| FlowReport::new(&spec.name, record, window));
    Ok(Report {
        scenario: name.to_owned(),
        about: scenario.about.clone(),
        machine: Machine::look(server).await?,
        seconds: scenario.seconds(),
        slot_seconds: window.slot().as_secs_f64(),
        resources: Resources::new(&samples, records.iter().map(|record| record.counts.good).sum()),
        flows: flows.collect(),
        checks: check::check(server, scenario, &callers).await?,
    })
}

fn spacing(even: bool, number: u64) -> Spacing {
    if even { Spacing::Even } else { Spacing::Random(number) }
}

fn callers(scenario: &Scenario, channels: &[Channel]) -> Vec<Arc<Caller>> {
    let flows = (0..).zip(&scenario.flows);
    let caller = |(number, spec): (u64, &file::FlowSpec)| {
        Arc::new(Caller::new(scenario, spec.clone(), number, channels.to_vec()))
    };
    flows.map(caller).collect()
}

/// What the processes used by the beginning of what is measured, and by the end of each slot.
async fn sample(
    processes: Processes,
    window: Window,
    started: Instant,
) -> anyhow::Result<Vec<(Duration, Usage)>> {
    let slots = (window.measured.as_secs_f64() / window.slot().as_secs_f64()).ceil() as u32;
    let mut samples = Vec::with_capacity(slots as usize + 1);
    for slot in 0..=slots {
        let end = (window.slot() * slot).min(window.measured);
        sleep_until(started + window.warm_up + end).await;
        samples.push((started.elapsed(), processes.usage()?));
    }
    Ok(samples)
}

/// Waits until a read of every position is answered in full.
///
/// # Errors
/// That takes too long.
pub async fn wait_until_projected(server: &Server, units: i64) -> anyhow::Result<()> {
    let mut client = AvailabilityServiceClient::new(server.connect().await?);
    let looking = async {
        loop {
            let request = CheckAvailabilityRequest {
                channel_id: CHANNEL.to_owned(),
                skus: (0..ITEMS).map(sales::sku).collect(),
                ..CheckAvailabilityRequest::default()
            };
            let answer = client.check_availability(request).await?.into_inner();
            let found: i64 = answer.availability.iter().map(|one| one.available).sum();
            if !answer.degraded && found == units {
                return anyhow::Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PROJECTED_MAX, looking).await?
}
