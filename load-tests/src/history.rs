//! A history: what clients asked and were answered on one clock, the faults meanwhile, and the
//! ledger as it was at the end. One JSON object a line, which `check` reads.

pub mod call;
pub mod dump;
pub mod ledger;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use self::{
    call::Call,
    ledger::{Entry, Head, Item, Location, Position, Reservation},
};

/// Microseconds since the history began, by a clock that never goes back.
pub type Micros = i64;

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first line.
    Run(Run),
    /// A call and its answer, written when it was answered.
    Call(Box<Call>),
    /// Something that was broken on purpose.
    Fault(Fault),
    /// How the service came back after the last fault.
    Healing(Healing),
    /// A location of the ledger.
    Location(Location),
    /// An item of the ledger.
    Item(Item),
    /// A partition's head at the end.
    Head(Head),
    /// An entry.
    Entry(Box<Entry>),
    /// A position at the end.
    Position(Position),
    /// A reservation, or a hold that the ledger kept, at the end.
    Reservation(Reservation),
    /// The last line: without it the history was cut off.
    End {
        /// Lines before it.
        records: u64,
    },
}

/// Under which conditions a history was recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// What its schedule and its clients follow.
    pub seed: u64,
    /// When its clock stood at zero, in microseconds since 1970: the ledger's times are of that
    /// kind.
    pub began_at_us: i64,
}

/// Something that was broken on purpose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What.
    pub kind: String,
    /// When it began.
    pub at_us: Micros,
    /// When it was over.
    pub until_us: Micros,
    /// What it does to what was acknowledged or seen before.
    pub effect: Effect,
}

/// What a fault may undo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing.
    #[default]
    None,
    /// Redis went back to an earlier state, or lost everything: holds of class MEMORY.
    RedisRolledBack,
    /// Redis was made to say what never was.
    RedisLies,
    /// A standby took over that had everything of class REPLICATED.
    PromotedReplicated,
    /// A standby took over that lacked the tail.
    PromotedBehind,
}

/// How the service came back after the last fault.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Healing {
    /// From the end of the last fault until Redis was what the ledger says; none: it never was.
    pub equal_after_us: Option<Micros>,
    /// From the end of the last fault until as much was acknowledged as before the first one; none:
    /// it never was.
    pub goodput_after_us: Option<Micros>,
    /// Acknowledged a second before the first fault.
    pub before_per_s: f64,
    /// Acknowledged in the best second after the last one.
    pub after_per_s: f64,
    /// Holds that Redis still counted when all of them had ended.
    pub stale_holds: u64,
    /// What Redis or the ledger's own verification differed in at the end; empty: nothing.
    pub difference: String,
}

/// Writes a history. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    began: Instant,
    /// When its clock stood at zero, in microseconds since 1970.
    pub began_at_us: i64,
    out: Arc<Mutex<Out>>,
}

#[derive(Debug)]
struct Out {
    file: BufWriter<File>,
    records: u64,
    failed: Option<io::Error>,
}

impl Recorder {
    /// Begins a history in a new file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: &Path, seed: u64) -> anyhow::Result<Recorder> {
        let file =
            File::create(path).with_context(|| format!("cannot create '{}'", path.display()))?;
        let out = Out { file: BufWriter::new(file), records: 0, failed: None };
        let (began, began_at_us) = (Instant::now(), jiff::Timestamp::now().as_microsecond());
        let recorder = Recorder { began, began_at_us, out: Arc::new(Mutex::new(out)) };
        recorder.write(&Record::Run(Run { seed, began_at_us }));
        Ok(recorder)
    }

    /// The time on the history's clock.
    pub fn now_us(&self) -> Micros {
        i64::try_from(self.began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    /// Appends a line; [`Recorder::finish`] tells what went wrong.
    pub fn write(&self, record: &Record) {
        let line = serde_json::to_string(record).map_err(io::Error::from);
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let written = line.and_then(|line| writeln!(out.file, "{line}"));
        match written {
            Ok(()) => out.records += 1,
            Err(error) => out.failed = out.failed.take().or(Some(error)),
        }
    }

    /// Writes the last line.
    ///
    /// # Errors
    /// Something could not be written, now or earlier.
    pub fn finish(&self) -> anyhow::Result<()> {
        let records = self.out.lock().unwrap_or_else(PoisonError::into_inner).records;
        self.write(&Record::End { records });
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = out.failed.take().map_or(Ok(()), Err);
        failed.and_then(|()| out.file.flush()).context("the history was not written")
    }
}
