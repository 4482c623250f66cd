//! Scenarios as files: TOML, in `load-tests/scenarios`. Whatever a run could not keep is refused
//! when the file is read.

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::schedule::Stretch;
use crate::sales::{ITEMS, LOCATIONS};

/// Seconds of the longest run.
pub const SECONDS_MAX: f64 = 86_400.0;
/// Calls of the largest run: keys and counters have room for them.
const CALLS_MAX: f64 = 200_000_000.0;
/// Calls a second of all flows together, in the busiest phase.
const PER_S_MAX: f64 = 1_000_000.0;
const FLOWS_MAX: usize = 16;
/// Lines of one call.
const LINES_MAX: u32 = 1_000;
/// The longest life of a hold.
const HOLD_SECONDS_MAX: u32 = 3_600;

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is, in a sentence.
    pub about: String,
    /// Rates apply for this long before anything is measured.
    #[serde(default)]
    pub warm_up_seconds: f64,
    /// Of what calls that were not answered in full there may be, per cent.
    #[serde(default)]
    pub failed_percent_max: f64,
    /// What the shops open with.
    pub stock: Stock,
    /// One after the other.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// All at once.
    #[serde(rename = "flow")]
    pub flows: Vec<FlowSpec>,
}

/// What every one of the shops opens with.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stock {
    /// Units of each item.
    pub units: i64,
    /// How many items there are less of.
    #[serde(default)]
    pub scarce_items: usize,
    /// Units of these.
    #[serde(default)]
    pub scarce_units: i64,
}

impl Stock {
    /// Units of an item in each shop.
    pub fn of(&self, item: usize) -> i64 {
        if item < self.scarce_items { self.scarce_units } else { self.units }
    }
}

/// A time in which rates are what they are times a factor.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How long it is.
    pub seconds: f64,
    /// Of the rate of every flow.
    #[serde(default = "one")]
    pub factor: f64,
}

/// Calls of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowSpec {
    /// Tells it from the others.
    pub name: String,
    /// What a call is.
    pub does: Does,
    /// Calls a second.
    pub per_s: f64,
    /// Which items.
    #[serde(default)]
    pub choice: Choice,
    /// Whether calls come at equal distances.
    #[serde(default)]
    pub even: bool,
    /// An answer that takes longer, from the moment at which its call was due, is of no use.
    #[serde(default = "deadline_ms")]
    pub deadline_ms: u32,
}

/// What a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Does {
    /// CheckAvailability.
    Read {
        /// How many items.
        items: usize,
        /// In how many shops.
        locations: usize,
    },
    /// HoldStock of one unit.
    Hold {
        /// How long it lasts.
        seconds: u32,
    },
    /// CreateReservation of one unit.
    Reserve {},
    /// RecordMovements: the basket of a till.
    Sell {
        /// Of the largest one.
        lines_max: u32,
    },
    /// RecordMovements: what a warehouse sends in bulk, receipts and write-offs.
    Receive {
        /// Of every call.
        lines: u32,
    },
    /// RecordMovements: what a till sold while it was offline, newest first.
    CatchUp {
        /// Of every call.
        lines: u32,
        /// How long it was offline.
        hours: u32,
        /// How many calls of 100 are sent a second time.
        twice_percent: u32,
    },
}

/// Which items are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// All alike.
    #[default]
    Even,
    /// Few of them most of the time: half of the calls go to an eighth of the items.
    Skewed,
    /// Only those of which there is little.
    Scarce,
}

impl Scenario {
    /// Reads a file.
    ///
    /// # Errors
    /// There is none, it is not understood, or it asks for what a run cannot do.
    pub fn read(path: &Path) -> anyhow::Result<Scenario> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Scenario::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Scenario> {
        let scenario: Scenario = toml::from_str(text).context("not a scenario")?;
        scenario.check()?;
        Ok(scenario)
    }

    /// With `per_s` calls a second in place of what the file says, in the same proportions, and
    /// with phases that last `seconds` together.
    ///
    /// # Errors
    /// That is more than a run can do.
    pub fn adjusted(mut self, per_s: Option<f64>, seconds: Option<f64>) -> anyhow::Result<Self> {
        if let Some(per_s) = per_s {
            let factor = per_s / self.flows.iter().map(|flow| flow.per_s).sum::<f64>();
            self.flows.iter_mut().for_each(|flow| flow.per_s *= factor);
        }
        if let Some(seconds) = seconds {
            let factor = seconds / self.seconds();
            self.phases.iter_mut().for_each(|phase| phase.seconds *= factor);
        }
        self.check()?;
        Ok(self)
    }

    /// How long all phases take.
    pub fn seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// The rates of a flow: warm-up and phases.
    pub fn stretches(&self, flow: &FlowSpec) -> Vec<Stretch> {
        let factor = self.phases.first().map_or(0.0, |phase| phase.factor);
        let warm_up = Phase { seconds: self.warm_up_seconds, factor };
        let phases = std::iter::once(&warm_up).chain(&self.phases);
        let per_s = |factor| flow.per_s * factor;
        phases.map(|&Phase { seconds, factor }| Stretch { seconds, per_s: per_s(factor) }).collect()
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.phases.is_empty(), "there must be a phase");
        for Phase { seconds, factor } in &self.phases {
            let right = *seconds > 0.0 && (0.0..=1_000.0).contains(factor);
            ensure!(right, "a phase lasts some time, at 0 to 1,000 times the rate");
        }
        let seconds = self.seconds() + self.warm_up_seconds;
        ensure!(self.warm_up_seconds >= 0.0, "the warm-up must not be negative");
        ensure!(seconds <= SECONDS_MAX, "{seconds} s are more than {SECONDS_MAX}");
        let percent = 0.0..=100.0;
        ensure!(percent.contains(&self.failed_percent_max), "failed_percent_max is a per cent");
        let Stock { units, scarce_items, scarce_units } = self.stock;
        let right = (1..=1_000_000_000).contains(&units) && scarce_items <= ITEMS;
        ensure!(right, "the stock has 1 to 10^9 units, and {ITEMS} items");
        let right = (scarce_items > 0) == (scarce_units > 0) && (0..=units).contains(&scarce_units);
        ensure!(right, "scarce items have some units, but not more than the others");
        let flows = self.flows.len();
        ensure!((1..=FLOWS_MAX).contains(&flows), "{flows} flows instead of 1 to {FLOWS_MAX}");
        for (number, flow) in self.flows.iter().enumerate() {
            flow.check(scarce_items).with_context(|| format!("flow {:?}", flow.name))?;
            let twice = self.flows[..number].iter().any(|other| other.name == flow.name);
            ensure!(!twice, "two flows are named {:?}", flow.name);
        }
        let per_s = self.flows.iter().map(|flow| flow.per_s).sum::<f64>();
        let busiest = self.phases.iter().map(|phase| phase.factor).fold(0.0, f64::max);
        ensure!(per_s * busiest <= PER_S_MAX, "more than {PER_S_MAX} calls a second");
        ensure!(per_s * busiest * seconds <= CALLS_MAX, "more than {CALLS_MAX} calls");
        Ok(())
    }
}

impl FlowSpec {
    fn check(&self, scarce_items: usize) -> anyhow::Result<()> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        let right = (1..=20).contains(&self.name.len()) && self.name.bytes().all(plain);
        ensure!(right, "a name is 1 to 20 of a-z and -");
        let right = self.per_s > 0.0 && self.per_s <= PER_S_MAX;
        ensure!(right, "its rate must be above 0");
        ensure!((1..=60_000).contains(&self.deadline_ms), "deadline_ms is 1 to 60,000");
        let needs_scarce = self.choice == Choice::Scarce;
        ensure!(!needs_scarce || scarce_items > 0, "no item of the stock is scarce");
        let lines = 1..=LINES_MAX;
        let right = match self.does {
            Does::Read { items, locations } => {
                (1..=ITEMS).contains(&items)
                    && (1..=LOCATIONS).contains(&locations)
                    && (self.choice == Choice::Even || items == 1)
            }
            Does::Hold { seconds } => (1..=HOLD_SECONDS_MAX).contains(&seconds),
            Does::Reserve {} => true,
            Does::Sell { lines_max } => lines.contains(&lines_max),
            Does::Receive { lines: count } => lines.contains(&count),
            Does::CatchUp { lines: count, hours, twice_percent } => {
                lines.contains(&count) && (1..=8_760).contains(&hours) && twice_percent <= 100
            }
        };
        ensure!(right, "{:?} is out of bounds", self.does);
        Ok(())
    }
}

fn one() -> f64 {
    1.0
}

fn deadline_ms() -> u32 {
    5_000
}

#[cfg(test)]
mod tests;
