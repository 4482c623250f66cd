//! `bench`: runs the comparisons one after the other, each of which takes its own turns, and writes
//! `docs/benchmarks.md` from what they say.
//!
//! Every part is a program of its own: its result is kept in a file, so that one that failed can be
//! run again alone, and the document is made of all that are there.

mod template;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use crate::server::block_on;

/// A part that was told to stop has a server to stop.
const STOP_MAX: Duration = Duration::from_secs(120);
/// The longest result that is read.
const RESULT_BYTES_MAX: u64 = 1_048_576;
/// The part that comes first, and fills the head of the document.
const MACHINE: &str = "machine";

/// What to run, and where to write.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Only these parts; `all` for those too that take long; `none` to write the document anew.
    parts: Vec<String>,
    /// Runs everything for a moment: whether it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Folder of the parts and their sections.
    #[arg(long, default_value = "load-tests/benchmarks")]
    sections: PathBuf,
    /// Folder of results [default: target/bench, or target/bench-quick].
    #[arg(long)]
    results: Option<PathBuf>,
    /// The document [default: docs/benchmarks.md, or benchmarks.md beside quick results].
    #[arg(long)]
    out: Option<PathBuf>,
}

/// All parts, as the file names them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    part: Vec<Part>,
}

/// A program and its section of the document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    /// Its arguments.
    call: String,
    /// Its arguments where only whether it works is asked.
    quick: String,
    /// Longer than it ever takes.
    minutes_max: u64,
    /// Whether it takes so long that it is only run if it is named.
    #[serde(default)]
    long: bool,
}

/// Runs the parts, keeps their results and writes the document.
///
/// # Errors
/// A part is unknown or has failed; the others are run all the same, and the document stays as it
/// is.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let parts = read(&args.sections)?;
    let chosen = chosen(&parts, &args.parts)?;
    let quick = Path::new("target/bench-quick");
    let results = match (&args.results, args.quick) {
        (Some(results), _) => results.clone(),
        (None, true) => quick.to_owned(),
        (None, false) => "target/bench".into(),
    };
    let out = match (&args.out, args.quick) {
        (Some(out), _) => out.clone(),
        (None, true) => results.join("benchmarks.md"),
        (None, false) => "docs/benchmarks.md".into(),
    };
    fs::create_dir_all(&results)?;
    let mut failed = Vec::new();
    for part in chosen {
        eprintln!("== {}", part.name);
        let path = path_of(&results, part);
        // What a part said before is not what it says of this program.
        if path.exists() {
            fs::remove_file(&path)?;
        }
        match block_on(measured(part, args.quick)) {
            Ok(result) => fs::write(&path, serde_json::to_vec_pretty(&result)?)?,
            Err(error) => {
                eprintln!("{} failed: {error:#}", part.name);
                failed.push(part.name.as_str());
            }
        }
    }
    let again = failed.join(" ");
    ensure!(failed.is_empty(), "failed; once mended run again: make bench PARTS=\"{again}\"");
    let mut found = BTreeMap::new();
    for part in &parts {
        let path = path_of(&results, part);
        if path.exists() {
            found.insert(part.name.clone(), serde_json::from_slice(&fs::read(path)?)?);
        }
    }
    fs::write(&out, document(&args.sections, &parts, &found)?)?;
    eprintln!("{}", out.display());
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}

/// The parts of a folder, the machine first.
fn read(sections: &Path) -> anyhow::Result<Vec<Part>> {
    let path = sections.join("parts.toml");
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    let parts: Parts = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
    let [name, call, quick] = [MACHINE; 3].map(str::to_owned);
    let machine = Part { name, call, quick, minutes_max: 5, long: false };
    Ok([vec![machine], parts.part].concat())
}

fn chosen<'p>(parts: &'p [Part], names: &[String]) -> anyhow::Result<Vec<&'p Part>> {
    let named = |name: &str| names.iter().any(|known| known == name);
    let known = |name: &String| parts.iter().any(|part| part.name == *name);
    let unknown =
        names.iter().find(|name| !matches!(name.as_str(), "all" | "none") && !known(name));
    ensure!(unknown.is_none(), "there is no part {unknown:?}");
    let is_chosen = |part: &&Part| match names {
        [] => !part.long,
        _ => named("all") || named(&part.name) || (part.name == MACHINE && !named("none")),
    };
    Ok(parts.iter().filter(is_chosen).collect())
}

fn path_of(results: &Path, part: &Part) -> PathBuf {
    results.join(format!("{}.json", part.name))
}

/// What a part says on its last line, and when.
async fn measured(part: &Part, quick: bool) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let call = if quick { &part.quick } else { &part.call };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(call.split(' ')).stdin(Stdio::null()).stdout(Stdio::piped());
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
        "call": call,
    });
    Ok(result)
}

/// The head, and the section of every part that has a result.
fn document(
    sections: &Path,
    parts: &[Part],
    results: &BTreeMap<String, Value>,
) -> anyhow::Result<String> {
    ensure!(results.contains_key(MACHINE), "nothing is known of the machine");
    let mut filled = Vec::new();
    for part in parts {
        let Some(result) = results.get(&part.name) else { continue };
        let section = fs::read_to_string(sections.join(format!("{}.md", part.name)));
        let section = section.map_err(Into::into).and_then(|text| template::fill(&text, result));
        filled.push(section.with_context(|| format!("in the section of {}", part.name))?);
    }
    Ok(filled.join("\n"))
}

#[cfg(test)]
mod tests;
