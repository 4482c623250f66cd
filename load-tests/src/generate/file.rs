//! Lines of the file, in the order in which they reach the ledger.
use std::{
    fmt::Write as _,
    io::{self, BufWriter, Write},
    path::Path,
};

use jiff::Timestamp;

const HEADER: &str = "key,kind,location_id,sku,quantity,occurred_at,utc_offset_minutes,channel_id,\
                      reason,document,document_line,from_state,to_state,to_location_id,\
                      original_source,original_key,expected_at,group\n";
/// What `import csv` calls a file without a column `source`.
const SOURCE: &str = "csv";
const COMPRESSION_LEVEL: i32 = 3;

/// A line before it is written. No value needs quotes.
#[derive(Default)]
pub(super) struct Row<'a> {
    pub(super) key: &'a str,
    pub(super) kind: &'a str,
    pub(super) location: &'a str,
    pub(super) sku: &'a str,
    pub(super) quantity: i64,
    /// Milliseconds since 1970.
    pub(super) at_ms: i64,
    pub(super) offset_minutes: i32,
    pub(super) channel: &'a str,
    pub(super) reason: &'a str,
    pub(super) document: &'a str,
    pub(super) document_line: u32,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) to_location: &'a str,
    pub(super) original: &'a str,
    /// Milliseconds since 1970.
    pub(super) expected_ms: Option<i64>,
    pub(super) group: &'a str,
}

#[derive(Clone, Copy)]
struct Line {
    /// When it arrives, and a lot that decides among those that arrive together. Lines of one group
    /// share both, and stay in the order in which they were added.
    arrival: (i64, u32),
    start: usize,
    end: usize,
}

/// All lines.
#[derive(Default)]
pub(super) struct File {
    text: String,
    lines: Vec<Line>,
}

impl File {
    /// Adds a line.
    pub(super) fn add(&mut self, arrival: (i64, u32), row: &Row<'_>) {
        let start = self.text.len();
        self.render(row);
        self.lines.push(Line { arrival, start, end: self.text.len() });
    }

    /// The line added last once more, with another lot.
    pub(super) fn repeat_last(&mut self, lot: u32) {
        if let Some(&Line { arrival, start, end }) = self.lines.last() {
            self.lines.push(Line { arrival: (arrival.0, lot), start, end });
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Writes everything, and says how many lines.
    pub(super) fn write(mut self, path: &Path) -> io::Result<u64> {
        self.lines.sort_by_key(|line| line.arrival);
        let file = BufWriter::with_capacity(1 << 18, std::fs::File::create(path)?);
        if path.extension().is_some_and(|extension| extension == "zst") {
            let mut encoder = zstd::Encoder::new(file, COMPRESSION_LEVEL)?;
            self.write_to(&mut encoder)?;
            encoder.finish()?.flush()?;
        } else {
            let mut file = file;
            self.write_to(&mut file)?;
            file.flush()?;
        }
        Ok(self.len())
    }

    fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(HEADER.as_bytes())?;
        for line in &self.lines {
            out.write_all(&self.text.as_bytes()[line.start..line.end])?;
        }
        Ok(())
    }

    fn render(&mut self, row: &Row<'_>) {
        let original_source = if row.original.is_empty() { "" } else { SOURCE };
        let document_line = number_or_empty(row.document_line);
        let expected = row.expected_ms.map(time).unwrap_or_default();
        // Writing into a string cannot fail.
        let _ = writeln!(
            self.text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            row.key,
            row.kind,
            row.location,
            row.sku,
            row.quantity,
            time(row.at_ms),
            row.offset_minutes,
            row.channel,
            row.reason,
            row.document,
            document_line,
            row.from,
            row.to,
            row.to_location,
            original_source,
            row.original,
            expected,
            row.group,
        );
    }
}

fn number_or_empty(number: u32) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}

fn time(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map(|at| at.to_string()).unwrap_or_default()
}
