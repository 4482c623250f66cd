//! Reads a history.

use std::io::BufRead;

use anyhow::{Context as _, bail, ensure};

use crate::history::{
    Fault, Healing, Record, Run,
    call::Call,
    ledger::{Entry, Head, Item, Location, Position, Reservation},
};

/// A whole history, in the order in which it was written.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub run: Run,
    pub calls: Vec<Call>,
    pub faults: Vec<Fault>,
    pub healing: Option<Healing>,
    pub locations: Vec<Location>,
    pub items: Vec<Item>,
    pub heads: Vec<Head>,
    /// By partition and sequence number.
    pub entries: Vec<Entry>,
    pub positions: Vec<Position>,
    pub reservations: Vec<Reservation>,
}

impl History {
    /// Reads one.
    ///
    /// # Errors
    /// A line is no record, or the last one is missing.
    pub fn read(lines: impl BufRead) -> anyhow::Result<History> {
        let mut history = History::default();
        let mut records = 0;
        for line in lines.lines() {
            let record = serde_json::from_str(&line.context("cannot be read")?);
            let record = record.with_context(|| format!("line {} is no record", records + 1))?;
            if let Record::End { records: written } = record {
                ensure!(written == records, "{records} records instead of {written}");
                return Ok(history);
            }
            history.take(record);
            records += 1;
        }
        bail!("the history was cut off after {records} records");
    }

    /// Takes the next record.
    pub fn take(&mut self, record: Record) {
        match record {
            Record::Run(run) => self.run = run,
            Record::Call(call) => self.calls.push(*call),
            Record::Fault(fault) => self.faults.push(fault),
            Record::Healing(healing) => self.healing = Some(healing),
            Record::Location(location) => self.locations.push(location),
            Record::Item(item) => self.items.push(item),
            Record::Head(head) => self.heads.push(head),
            Record::Entry(entry) => self.entries.push(*entry),
            Record::Position(position) => self.positions.push(position),
            Record::Reservation(reservation) => self.reservations.push(reservation),
            Record::End { .. } => {}
        }
    }
}
