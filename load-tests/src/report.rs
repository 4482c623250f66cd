//! What a run came to: as JSON, and as one page that needs no other file.

pub mod chart;
pub mod html;

use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    machine::Machine,
    open::{Counts, Record, Window},
    scenario::check::Check,
    stats::rounded,
    usage::{CpuPerOperation, Usage},
};

/// The percentiles of the curve.
const PERCENTS: [f64; 12] =
    [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.99, 100.0];

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the file.
    pub scenario: String,
    /// What it is.
    pub about: String,
    /// Where it ran.
    pub machine: Machine,
    /// How long it was measured.
    pub seconds: f64,
    /// How long each point of a series stands for.
    pub slot_seconds: f64,
    /// By kind of call.
    pub flows: Vec<FlowReport>,
    /// CPU and memory.
    pub resources: Resources,
    /// What held at its end.
    pub checks: Vec<Check>,
}

/// Calls of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct FlowReport {
    /// Of the file.
    pub name: String,
    /// By what became of them.
    pub counts: Counts,
    /// Calls that were due, each second.
    pub due_per_s: f64,
    /// Calls that were answered within their deadline, each second.
    pub good_per_s: f64,
    /// Percentiles of the time from the moment at which a call was due to its answer: per cent,
    /// milliseconds.
    pub percentiles_ms: Vec<(f64, f64)>,
    /// What 99 of 100 refusals for overload did not exceed, from their sending, in milliseconds.
    pub turned_away_p99_ms: f64,
    /// Over time.
    pub series: Vec<Point>,
}

/// What was due in one slot.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Its beginning, in seconds.
    pub at_s: f64,
    /// As in [`FlowReport`].
    pub due_per_s: f64,
    /// As in [`FlowReport`].
    pub good_per_s: f64,
    /// The median.
    pub p50_ms: f64,
    /// What 99 of 100 did not exceed.
    pub p99_ms: f64,
}

/// CPU and memory.
#[derive(Clone, Debug, Serialize)]
pub struct Resources {
    /// Of each call that was answered in time.
    pub cpu: CpuPerOperation,
    /// CPU time a second, over time: server, PostgreSQL, Redis, load; 1 is a core.
    pub cores: Vec<[f64; 4]>,
    /// Of the server, in MiB, at the beginning and the end of each slot.
    pub memory_mib: Vec<f64>,
}

impl FlowReport {
    /// What a record says.
    pub fn new(name: &str, record: &Record, window: Window) -> FlowReport {
        let (slot, measured) = (window.slot().as_secs_f64(), window.measured.as_secs_f64());
        let percentiles_ms =
            PERCENTS.iter().map(|&percent| (percent, record.latency.percentile_ms(percent)));
        let point = |(number, part): (usize, &crate::open::Slot)| {
            let at_s = number as f64 * slot;
            // The last one may be shorter.
            let lasted = slot.min(measured - at_s);
            Point {
                at_s,
                due_per_s: rounded(part.counts.due as f64 / lasted, 1),
                good_per_s: rounded(part.counts.good as f64 / lasted, 1),
                p50_ms: part.latency.percentile_ms(50.0),
                p99_ms: part.latency.percentile_ms(99.0),
            }
        };
        FlowReport {
            name: name.to_owned(),
            counts: record.counts,
            due_per_s: rounded(record.counts.due as f64 / measured, 1),
            good_per_s: rounded(record.counts.good as f64 / measured, 1),
            percentiles_ms: percentiles_ms.collect(),
            turned_away_p99_ms: record.turned_away.percentile_ms(99.0),
            series: record.slots.iter().enumerate().map(point).collect(),
        }
    }

    /// What `percent` of the calls did not exceed; 0 for a per cent that is not on the curve.
    pub fn percentile_ms(&self, percent: f64) -> f64 {
        let found = self.percentiles_ms.iter().find(|(known, _)| *known == percent);
        found.map_or(0.0, |&(_, ms)| ms)
    }
}

impl Resources {
    /// From samples at equal distances, but for the last one, and the calls answered between them.
    pub fn new(samples: &[(Duration, Usage)], operations: u64) -> Resources {
        let mib = |bytes: u64| rounded(bytes as f64 / 1_048_576.0, 1);
        let cores = samples.windows(2).map(|pair| {
            let ((then, before), (now, after)) = (&pair[0], &pair[1]);
            let spent = (*now - *then).as_secs_f64();
            let cores = |used: fn(&Usage) -> Duration| {
                rounded(used(after).saturating_sub(used(before)).as_secs_f64() / spent, 3)
            };
            [cores(|u| u.server), cores(|u| u.postgres), cores(|u| u.redis), cores(|u| u.load)]
        });
        let cpu = match (samples.first(), samples.last()) {
            (Some((_, first)), Some((_, last))) => last.since(first, operations),
            _ => CpuPerOperation { server_us: 0.0, postgres_us: 0.0, redis_us: 0.0, load_us: 0.0 },
        };
        let memory_mib = samples.iter().map(|(_, usage)| mib(usage.memory)).collect();
        Resources { cpu, cores: cores.collect(), memory_mib }
    }
}

impl Report {
    /// Writes both files into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let written = || {
            fs::create_dir_all(folder)?;
            let path = |end: &str| folder.join(format!("{}.{end}", self.scenario));
            fs::write(path("json"), serde_json::to_vec_pretty(self)?)?;
            fs::write(path("html"), html::page(self))?;
            anyhow::Ok(())
        };
        written().with_context(|| format!("cannot write to {}", folder.display()))
    }

    /// In a few numbers.
    pub fn summary(&self) -> Value {
        let flows = self.flows.iter().map(|flow| {
            let counts = flow.counts;
            let numbers = json!({
                "due_per_s": flow.due_per_s,
                "good_per_s": flow.good_per_s,
                "p50_ms": flow.percentile_ms(50.0),
                "p99_ms": flow.percentile_ms(99.0),
                "p999_ms": flow.percentile_ms(99.9),
                "max_ms": flow.percentile_ms(100.0),
                "refused": counts.refused,
                "lost": counts.lost(),
            });
            (flow.name.clone(), numbers)
        });
        json!({
            "scenario": self.scenario,
            "seconds": self.seconds,
            "flows": flows.collect::<serde_json::Map<_, _>>(),
            "cpu_us": self.resources.cpu,
            "memory_mib_max": self.memory_mib_max(),
            "checks": self.checks.len(),
            "lost_percent": rounded(self.lost_percent(), 3),
        })
    }

    /// The most memory that the server had at any sample.
    pub fn memory_mib_max(&self) -> f64 {
        self.resources.memory_mib.iter().copied().fold(0.0, f64::max)
    }

    /// How many of 100 calls were not answered in full.
    pub fn lost_percent(&self) -> f64 {
        let due: u64 = self.flows.iter().map(|flow| flow.counts.due).sum();
        let lost: u64 = self.flows.iter().map(|flow| flow.counts.lost()).sum();
        lost as f64 * 100.0 / due.max(1) as f64
    }
}

#[cfg(test)]
mod tests;
