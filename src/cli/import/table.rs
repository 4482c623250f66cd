//! Any system's movements as a table: one column per field of `Movement`, one line per movement.
mod line;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, io::Read, sync::Arc};

use csv::ByteRecord;

use self::line::{FIELDS, GROUP, MANDATORY, parse};
use super::{
    feed::{Change, Effect, Feed, Lines, Names, Unreadable},
    read::ReadError,
};
use crate::api::proto::{Location, Movement, MovementKind, StockState};

/// A message takes at most this many movements, and a group must fit into one.
const GROUP_LINES_MAX: usize = 1_000;
/// Longer than any line that a server could accept; keeps a message of 1,000 lines below 4 MiB.
const LINE_BYTES_MAX: usize = 3_000;
/// Between the fields of a kept line. A control character: no field that is accepted holds one.
const SEPARATOR: char = '\u{1f}';
/// Locations and channels with this prefix are never created, so that a file can hold lines that
/// must be rejected.
const UNKNOWN_PREFIX: &str = "unknown-";
/// 2000-01-01, before which no fact is accepted.
const EARLIEST_SECONDS: i64 = 946_684_800;

/// Reads the file. `source` is for lines that name none, `time_zone` for the locations it creates.
///
/// # Errors
/// When it is no table, or its header lacks a mandatory column or has one that means nothing.
pub(crate) fn read(file: impl Read, source: &str, time_zone: &str) -> Result<Feed, ReadError> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let columns = columns(reader.byte_headers()?)?;
    let mut table = Table::new(source);
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        table.add(&record, &columns);
    }
    table.close_block();
    let locations = table.places.iter().filter(|id| is_created(id)).map(|id| Location {
        location_id: id.clone(),
        time_zone: time_zone.to_owned(),
        ..Location::default()
    });
    Ok(Feed {
        locations: locations.collect(),
        channels: table.channels.iter().filter(|id| is_created(id)).cloned().collect(),
        unstocked: Vec::new(),
        dropped: None,
        unreadable: std::mem::take(&mut table.unreadable),
        compress: None,
        lines: Arc::new(table),
    })
}

/// For each field of a line, the column of the file that holds it.
type Columns = [Option<usize>; FIELDS.len()];

fn columns(header: &ByteRecord) -> Result<Columns, ReadError> {
    let mut columns = [None; FIELDS.len()];
    for (column, name) in header.iter().enumerate() {
        let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let field = FIELDS.iter().position(|field| *field == name);
        columns[field.ok_or(ReadError::UnknownColumn { name })?] = Some(column);
    }
    for name in MANDATORY {
        if !FIELDS.iter().zip(columns).any(|(field, column)| *field == name && column.is_some()) {
            return Err(ReadError::NoColumn { name });
        }
    }
    Ok(columns)
}

fn is_created(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
        && !id.starts_with(UNKNOWN_PREFIX)
}

struct Row {
    /// Where the line begins in `Table::text`.
    start: usize,
    location: u32,
    sku: u32,
    source: u32,
    /// Lines from this one to the end of its block.
    block: u16,
}

/// The lines of one group that follow each other, while they are read.
#[derive(Default)]
struct Block {
    first_row: usize,
    /// Line of the file for each row.
    lines: Vec<u64>,
    group: String,
    /// One of its lines cannot be read, so that none may be sent: they stand or fall together.
    spoiled: bool,
}

struct Table {
    text: String,
    rows: Vec<Row>,
    open: Block,
    locations: Names,
    skus: Names,
    source_numbers: Names,
    sources: Vec<String>,
    places: BTreeSet<String>,
    channels: BTreeSet<String>,
    starts_at: Option<i64>,
    unreadable: Vec<Unreadable>,
}

impl Table {
    fn new(source: &str) -> Self {
        let mut source_numbers = Names::default();
        source_numbers.number(source);
        Self {
            text: String::new(),
            rows: Vec::new(),
            open: Block::default(),
            locations: Names::default(),
            skus: Names::default(),
            source_numbers,
            sources: vec![source.to_owned()],
            places: BTreeSet::new(),
            channels: BTreeSet::new(),
            starts_at: None,
            unreadable: Vec::new(),
        }
    }

    /// Keeps the line, or notes why it cannot be read.
    fn add(&mut self, record: &ByteRecord, columns: &Columns) {
        let line = record.position().map_or(0, csv::Position::line);
        let start = self.text.len();
        let read = self.keep(record, columns).and_then(|()| parse(self.fields(start)));
        match read {
            Ok((source, movement)) => self.push(start, line, &source, &movement),
            Err(problem) => {
                self.text.truncate(start);
                self.unreadable.push(Unreadable { line, problem });
                self.spoil(record, columns);
            }
        }
    }

    /// The group of a line that cannot be read.
    fn spoil(&mut self, record: &ByteRecord, columns: &Columns) {
        let group = columns[GROUP].and_then(|column| record.get(column)).unwrap_or_default();
        let group = String::from_utf8_lossy(group).into_owned();
        if group.is_empty() || group != self.open.group {
            self.close_block();
            self.open.group = group;
        }
        self.open.spoiled = !self.open.group.is_empty();
    }

    fn keep(&mut self, record: &ByteRecord, columns: &Columns) -> Result<(), String> {
        let expected = columns.iter().flatten().count();
        if record.len() != expected {
            return Err(format!("{} fields instead of {expected}", record.len()));
        }
        if record.as_slice().len() > LINE_BYTES_MAX {
            return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
        }
        for column in columns {
            let field = column.and_then(|column| record.get(column)).unwrap_or_default();
            let field = std::str::from_utf8(field).map_err(|_| "not UTF-8".to_owned())?;
            if field.contains(SEPARATOR) {
                return Err("holds the control character U+001F".to_owned());
            }
            self.text.push_str(field);
            self.text.push(SEPARATOR);
        }
        Ok(())
    }

    fn fields(&self, start: usize) -> impl Iterator<Item = &str> {
        self.text[start..].split(SEPARATOR)
    }

    fn push(&mut self, start: usize, line: u64, source: &str, movement: &Movement) {
        let location = self.locations.number(&movement.location_id);
        let sku = self.skus.number(&movement.sku);
        let source = if source.is_empty() { 0 } else { self.source_number(source) };
        for place in [&movement.location_id, &movement.to_location_id] {
            if !self.places.contains(place) {
                self.places.insert(place.clone());
            }
        }
        if !self.channels.contains(&movement.channel_id) {
            self.channels.insert(movement.channel_id.clone());
        }
        let at = movement.occurred_at.map(|at| at.seconds).filter(|at| *at > EARLIEST_SECONDS);
        self.starts_at = [self.starts_at, at].into_iter().flatten().min();
        let joins = !movement.group.is_empty()
            && movement.group == self.open.group
            && self.rows[self.open.first_row..].iter().all(|row| row.source == source);
        if !joins {
            self.close_block();
            self.open.group.clone_from(&movement.group);
        }
        self.open.lines.push(line);
        self.rows.push(Row { start, location, sku, source, block: 1 });
    }

    fn source_number(&mut self, name: &str) -> u32 {
        let number = self.source_numbers.number(name);
        if self.sources.len() <= number as usize {
            self.sources.push(name.to_owned());
        }
        number
    }

    /// Gives the rows since the last block their place in the block, or drops a block that cannot
    /// be sent as a whole.
    fn close_block(&mut self) {
        let Block { first_row, lines, spoiled, .. } = std::mem::take(&mut self.open);
        let problem = if spoiled {
            Some("a line of its group cannot be read".to_owned())
        } else {
            (lines.len() > GROUP_LINES_MAX).then(|| {
                format!("one of {} lines of one group; {GROUP_LINES_MAX} is the most", lines.len())
            })
        };
        if let Some(problem) = problem {
            self.rows.truncate(first_row);
            let unreadable = |line| Unreadable { line, problem: problem.clone() };
            self.unreadable.extend(lines.into_iter().map(unreadable));
        }
        for (left, row) in (1..).zip(self.rows[first_row..].iter_mut().rev()) {
            row.block = left;
        }
        self.open.first_row = self.rows.len();
    }
}

impl Lines for Table {
    fn count(&self) -> usize {
        self.rows.len()
    }

    fn movement(&self, line: usize) -> Movement {
        // It was read once already, when the file was.
        parse(self.fields(self.rows[line].start)).map(|(_, movement)| movement).unwrap_or_default()
    }

    fn location(&self, line: usize) -> u32 {
        self.rows[line].location
    }

    fn effect(&self, line: usize) -> Option<Effect> {
        let row = &self.rows[line];
        let movement = self.movement(line);
        let (sold, change) = sellable_change(&movement)?;
        Some(Effect { position: (row.location, row.sku), sold, change })
    }

    fn location_id(&self, location: u32) -> &str {
        self.locations.name(location)
    }

    fn sku(&self, sku: u32) -> &str {
        self.skus.name(sku)
    }

    fn sources(&self) -> &[String] {
        &self.sources
    }

    fn source(&self, line: usize) -> u32 {
        self.rows[line].source
    }

    fn block_end(&self, line: usize) -> usize {
        line + usize::from(self.rows[line].block)
    }

    fn starts_at(&self) -> Option<i64> {
        self.starts_at
    }
}

/// Units sold, and what happens to SELLABLE of the line's own position. A CORRECT is left out: what
/// it takes back is not known here, and an opening without it is at most too large.
fn sellable_change(movement: &Movement) -> Option<(i64, Change)> {
    use MovementKind::{
        Adjust, Block, Count, Receipt, Return, Sale, ShipOut, TransferReceive, TransferShip,
        Unblock,
    };
    let units = movement.quantity.max(0);
    let (from, to) = (movement.from_state(), movement.to_state());
    let leaves = matches!(from, StockState::Unspecified | StockState::Sellable);
    let arrives = matches!(to, StockState::Unspecified | StockState::Sellable);
    match movement.kind() {
        Sale | ShipOut => Some((units, Change::By(if leaves { -units } else { 0 }))),
        Receipt | Return if arrives => Some((0, Change::By(units))),
        TransferShip | Block => Some((0, Change::By(-units))),
        TransferReceive | Unblock => Some((0, Change::By(units))),
        Adjust if from == StockState::Sellable || (to == StockState::External && leaves) => {
            Some((0, Change::By(-units)))
        }
        Adjust if to == StockState::Sellable || (from == StockState::External && arrives) => {
            Some((0, Change::By(units)))
        }
        Count => Some((0, Change::To(units))),
        _ => None,
    }
}
