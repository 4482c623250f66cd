//! `bench`: runs the comparisons one after the other, each of which takes its own turns, and writes
//! `docs/benchmarks.md` from what they say.
//!
//! Every part is a program of its own: its result is kept in a file, so that one that failed can be run
//! again alone, and the document is made of all that are there.

mod template;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use crate::server::block_on;

/// A part that was told to stop has a server to stop.
const STOP_MAX: Duration = Duration::from_secs(120);
/// The longest result that is read.
const RESULT_BYTES_MAX: u64 = 1_048_576;
/// What the document begins with.
const HEAD: &str = include_str!("../benchmarks/head.md");

/// A program and its section of the document.
#[derive(Clone, Copy, Debug)]
struct Part {
    name: &'static str,
    /// How it is called.
    args: &'static [&'static str],
    /// Filled with its result.
    section: &'static str,
    /// Longer than it ever takes.
    minutes_max: u64,
    /// Whether it takes so long that it is only run if it is named.
    long: bool,
}

/// In the order of the document.
const PARTS: [Part; 14] = [
    part("machine", &["machine"], "", 5),
    part(
        "ingest",
        &["ingest", "--seconds", "4", "--rounds", "3"],
        include_str!("../benchmarks/ingest.md"),
        10,
    ),
    part(
        "single",
        &["single", "--seconds", "3", "--rounds", "3"],
        include_str!("../benchmarks/single.md"),
        8,
    ),
    part(
        "read",
        &["read", "--seconds", "3", "--rounds", "3"],
        include_str!("../benchmarks/read.md"),
        8,
    ),
    part(
        "reserve",
        &["reserve", "--seconds", "2", "--rounds", "3"],
        include_str!("../benchmarks/reserve.md"),
        15,
    ),
    part(
        "patterns",
        &["patterns", "--seconds", "2", "--rounds", "3"],
        include_str!("../benchmarks/patterns.md"),
        20,
    ),
    part("till-day", &["load", "till-day"], include_str!("../benchmarks/till-day.md"), 30),
    part(
        "black-friday",
        &["load", "black-friday"],
        include_str!("../benchmarks/black-friday.md"),
        30,
    ),
    part("flash-sale", &["load", "flash-sale"], include_str!("../benchmarks/flash-sale.md"), 30),
    part(
        "warehouse-night",
        &["load", "warehouse-night"],
        include_str!("../benchmarks/warehouse-night.md"),
        30,
    ),
    part(
        "offline-shop-returns",
        &["load", "offline-shop-returns"],
        include_str!("../benchmarks/offline-shop-returns.md"),
        30,
    ),
    long("size", &["size"], include_str!("../benchmarks/size.md"), 30),
    long("growth", &["growth"], include_str!("../benchmarks/growth.md"), 180),
    long("overload", &["overload"], include_str!("../benchmarks/overload.md"), 30),
];

const fn part(
    name: &'static str,
    args: &'static [&'static str],
    section: &'static str,
    minutes_max: u64,
) -> Part {
    Part { name, args, section, minutes_max, long: false }
}

const fn long(
    name: &'static str,
    args: &'static [&'static str],
    section: &'static str,
    minutes_max: u64,
) -> Part {
    Part { long: true, ..part(name, args, section, minutes_max) }
}

/// What to run, and where to write.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Only these parts; `all` for those too that take long; `none` to write the document anew.
    parts: Vec<String>,
    /// Folder of results.
    #[arg(long, default_value = "target/bench")]
    results: PathBuf,
    /// The document.
    #[arg(long, default_value = "docs/benchmarks.md")]
    out: PathBuf,
}

/// Runs the parts, keeps their results and writes the document.
///
/// # Errors
/// A part is unknown or has failed; the others are run all the same, and the document stays as it is.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let parts = chosen(&args.parts)?;
    fs::create_dir_all(&args.results)?;
    let mut failed = Vec::new();
    for part in &parts {
        eprintln!("== {}", part.name);
        let path = path_of(&args.results, part);
        // What a part said before is not what it says of this program.
        if path.exists() {
            fs::remove_file(&path)?;
        }
        match block_on(measured(part)) {
            Ok(result) => fs::write(&path, serde_json::to_vec_pretty(&result)?)?,
            Err(error) => {
                eprintln!("{} failed: {error:#}", part.name);
                failed.push(part.name);
            }
        }
    }
    let again = failed.join(" ");
    ensure!(failed.is_empty(), "failed; once mended run again: make bench PARTS=\"{again}\"");
    let mut results = serde_json::Map::new();
    for part in &PARTS {
        let path = path_of(&args.results, part);
        if path.exists() {
            results.insert(part.name.to_owned(), serde_json::from_slice(&fs::read(path)?)?);
        }
    }
    fs::write(&args.out, document(&results)?)?;
    eprintln!("{}", args.out.display());
    println!("{}", Value::Object(results));
    Ok(())
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<Part>> {
    let named = |name: &str| names.iter().any(|known| known == name);
    let unknown = names.iter().find(|name| {
        !matches!(name.as_str(), "all" | "none") && PARTS.iter().all(|part| part.name != **name)
    });
    ensure!(unknown.is_none(), "there is no part {unknown:?}");
    let is_chosen = |part: &&Part| match names {
        [] => !part.long,
        _ => named("all") || named(part.name) || (part.name == "machine" && !named("none")),
    };
    Ok(PARTS.iter().filter(is_chosen).copied().collect())
}

fn path_of(results: &Path, part: &Part) -> PathBuf {
    results.join(format!("{}.json", part.name))
}

/// What a part says on its last line, and when.
async fn measured(part: &Part) -> anyhow::Result<Value> {
    let begun = std::time::Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(part.args).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cannot start it")?;
    let mut output = child.stdout.take().context("it has no output")?.take(RESULT_BYTES_MAX);
    let mut said = String::new();
    let ending = async {
        output.read_to_string(&mut said).await?;
        anyhow::Ok(child.wait().await?)
    };
    let ended = timeout(Duration::from_secs(part.minutes_max * 60), ending).await;
    let Ok(ended) = ended else {
        if let Some(pid) = child.id() {
            Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status().await?;
        }
        let stopped = timeout(STOP_MAX, child.wait()).await;
        anyhow::bail!("not done within {} minutes ({stopped:?})", part.minutes_max);
    };
    let status = ended?;
    ensure!(status.success(), "it ended with {status}");
    let line = said.lines().last().context("it said nothing")?;
    let mut result: Value = serde_json::from_str(line).context("its last line is no JSON")?;
    result["measured"] = json!({
        "day": jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        "seconds": begun.elapsed().as_secs(),
        "command": part.args.join(" "),
    });
    Ok(result)
}

/// The head, and the section of every part that has a result.
fn document(results: &serde_json::Map<String, Value>) -> anyhow::Result<String> {
    let machine = results.get("machine").context("nothing is known of the machine")?;
    let mut document = template::fill(HEAD, machine)?;
    for part in &PARTS {
        let Some(result) = results.get(part.name).filter(|_| !part.section.is_empty()) else {
            continue;
        };
        let section = template::fill(part.section, result);
        document.push('\n');
        document += &section.with_context(|| format!("in the section of {}", part.name))?;
    }
    Ok(document)
}

#[cfg(test)]
mod tests;
