//! What a file for `import csv` must end in, worked out the plain way: put the facts of each
//! position in the order in which they happened, and add them up; a count assigns.
//!
//! It shares no code with the server or the importer, and knows only files of `generate`: rows are
//! judged by the few rules that those break.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

/// What to work out.
#[derive(Debug, Clone, clap::Args)]
pub struct ExpectArgs {
    /// Plain or Zstandard.
    file: PathBuf,
    /// Writes `location_id,sku,sellable,blocked` of every position to this file, in order.
    #[arg(long)]
    positions: Option<PathBuf>,
}

/// Prints the result.
///
/// # Errors
/// When the file cannot be read, or is not one of `generate`.
pub fn run(args: &ExpectArgs) -> anyhow::Result<()> {
    let file = open(&args.file).with_context(|| format!("`{}`", args.file.display()))?;
    let expected = expect(file)?;
    if let Some(path) = &args.positions {
        write_positions(path, &expected.positions)?;
    }
    println!("{}", expected.to_json());
    Ok(())
}

/// The end of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) lines: u64,
    pub(crate) posted: u64,
    pub(crate) rejected: u64,
    pub(crate) duplicates: u64,
    pub(crate) by_kind: BTreeMap<String, u64>,
    /// SELLABLE and BLOCKED by location and item.
    pub(crate) positions: BTreeMap<(String, String), (i64, i64)>,
}

impl Expected {
    fn to_json(&self) -> serde_json::Value {
        let sellable: i64 = self.positions.values().map(|(sellable, _)| sellable).sum();
        let blocked: i64 = self.positions.values().map(|(_, blocked)| blocked).sum();
        serde_json::json!({
            "lines": self.lines,
            "posted": self.posted,
            "rejected": self.rejected,
            "duplicates": self.duplicates,
            "by_kind": self.by_kind,
            "positions": self.positions.len(),
            "sellable": sellable,
            "on_hand": sellable + blocked,
        })
    }
}

/// Reads and works out everything.
///
/// # Errors
/// When a line cannot be read.
pub(crate) fn expect(file: impl Read) -> anyhow::Result<Expected> {
    let rows: Vec<Row> = csv::Reader::from_reader(file).deserialize().collect::<Result<_, _>>()?;
    let mut expected = Expected { lines: rows.len() as u64, ..Expected::default() };
    let spoiled: HashSet<&str> =
        rows.iter().filter(|row| !row.is_good()).map(|row| row.group.as_str()).collect();
    let mut facts: Vec<&Row> = Vec::new();
    let mut keys = HashSet::new();
    for row in &rows {
        if !row.is_good() || (!row.group.is_empty() && spoiled.contains(row.group.as_str())) {
            expected.rejected += 1;
            continue;
        }
        expected.posted += 1;
        *expected.by_kind.entry(row.kind.clone()).or_default() += 1;
        if keys.insert((&row.location_id, &row.key)) {
            facts.push(row);
        } else {
            expected.duplicates += 1;
        }
    }
    expected.positions = positions(&facts);
    Ok(expected)
}

#[derive(Debug, Deserialize)]
struct Row {
    key: String,
    kind: String,
    location_id: String,
    sku: String,
    quantity: i64,
    occurred_at: Timestamp,
    reason: String,
    from_state: String,
    to_state: String,
    to_location_id: String,
    original_key: String,
    group: String,
}

impl Row {
    fn is_good(&self) -> bool {
        let count = matches!(self.kind.as_str(), "COUNT" | "CORRECT");
        let explained = match self.kind.as_str() {
            "ADJUST" | "CORRECT" => !self.reason.is_empty(),
            "RETURN" => !self.reason.is_empty() || !self.original_key.is_empty(),
            _ => true,
        };
        let least = i64::from(!count);
        !self.kind.is_empty()
            && (least..=1_000_000_000).contains(&self.quantity)
            && explained
            && !self.location_id.starts_with("unknown-")
            // 2000-01-01.
            && self.occurred_at.as_second() >= 946_684_800
    }

    /// What it adds to SELLABLE and to BLOCKED of its own position.
    fn adds(&self) -> (i64, i64) {
        let units = self.quantity;
        match self.kind.as_str() {
            "RECEIPT" | "RETURN" if self.to_state == "BLOCKED" => (0, units),
            "RECEIPT" | "RETURN" | "TRANSFER_RECEIVE" => (units, 0),
            "SALE" | "SHIP_OUT" | "TRANSFER_SHIP" => (-units, 0),
            "BLOCK" => (-units, units),
            "UNBLOCK" => (units, -units),
            "ADJUST" => match (self.from_state.as_str(), self.to_state.as_str()) {
                ("SELLABLE", _) => (-units, 0),
                ("BLOCKED", _) => (0, -units),
                (_, "BLOCKED") => (0, units),
                _ => (units, 0),
            },
            _ => (0, 0),
        }
    }
}

fn positions(facts: &[&Row]) -> BTreeMap<(String, String), (i64, i64)> {
    let taken_back: HashSet<(&str, &str)> = facts
        .iter()
        .filter(|row| row.kind == "CORRECT")
        .map(|row| (row.location_id.as_str(), row.original_key.as_str()))
        .collect();
    let mut histories: HashMap<(&str, &str), Vec<&Row>> = HashMap::new();
    for row in facts {
        let history = histories.entry((&row.location_id, &row.sku)).or_default();
        if !taken_back.contains(&(row.location_id.as_str(), row.key.as_str())) {
            history.push(row);
        }
        if row.kind == "TRANSFER_SHIP" {
            // On its way there, where it may be the first that is heard of the item.
            histories.entry((&row.to_location_id, &row.sku)).or_default();
        }
    }
    let balances = histories.into_iter().map(|((location, sku), mut history)| {
        history.sort_by_key(|row| row.occurred_at);
        let balance = history.iter().fold((0, 0), |(sellable, blocked), row| {
            let adds = row.adds();
            let sellable = if row.kind == "COUNT" { row.quantity } else { sellable + adds.0 };
            (sellable, blocked + adds.1)
        });
        ((location.to_owned(), sku.to_owned()), balance)
    });
    balances.collect()
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::new(File::open(path)?);
    if reader.fill_buf()?.starts_with(b"\x28\xb5\x2f\xfd") {
        return Ok(Box::new(zstd::Decoder::with_buffer(reader)?));
    }
    Ok(Box::new(reader))
}

fn write_positions(
    path: &Path,
    positions: &BTreeMap<(String, String), (i64, i64)>,
) -> io::Result<()> {
    let mut out = io::BufWriter::new(File::create(path)?);
    writeln!(out, "location_id,sku,sellable,blocked")?;
    for ((location, sku), (sellable, blocked)) in positions {
        writeln!(out, "{location},{sku},{sellable},{blocked}")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_count_when_they_happened_and_a_count_assigns() {
        let file = "key,kind,location_id,sku,quantity,occurred_at,reason,from_state,to_state,\
                    to_location_id,original_key,group
o,RECEIPT,a,x,100,2024-01-01T08:00:00Z,,,,,,
c,COUNT,a,x,95,2024-01-01T13:30:00.5Z,,,,,,
s1,SALE,a,x,2,2024-01-01T13:20:00Z,,,,,,
s2,SALE,a,x,4,2024-01-01T13:40:00Z,,,,,,
s2,SALE,a,x,4,2024-01-01T13:40:00Z,,,,,,
s3,SALE,a,x,3,2024-01-01T13:50:00Z,,,,,,
k,CORRECT,a,x,0,2024-01-01T14:00:00Z,did_not_occur,,,,s3,
z,SALE,a,x,0,2024-01-01T14:00:00Z,,,,,,
e1,RETURN,a,x,1,2024-01-01T15:00:00Z,no_receipt,,,,,e
e2,SALE,a,x,0,2024-01-01T15:00:00Z,,,,,,e
b,BLOCK,a,x,5,2024-01-01T16:00:00Z,,,,,,
t,TRANSFER_SHIP,a,x,6,2024-01-01T16:00:00Z,,,,b,,
u,SALE,unknown-1,x,6,2024-01-01T16:00:00Z,,,,,,
";
        let expected = expect(file.as_bytes()).unwrap();
        let position = |location: &str| expected.positions[&(location.into(), "x".into())];
        assert_eq!(position("a"), (95 - 4 - 5 - 6, 5));
        assert_eq!(position("b"), (0, 0));
        assert_eq!(expected.positions.len(), 2);
        assert_eq!((expected.lines, expected.posted), (13, 9));
        assert_eq!((expected.rejected, expected.duplicates), (4, 1));
        assert_eq!(expected.by_kind["SALE"], 4);
    }
}
