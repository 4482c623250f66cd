//! Files of the archive: JSON lines, compressed with zstd. The first line says which slice it is; then
//! comes each batch, as the chain has it, and behind it the entries of that batch.
//!
//! A file is checked by walking the chain along it, as the audit does, so that it is known to hold what
//! was recorded before any row of it is removed.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    ledger::{
        archive::{Batches, Slice},
        audit::{Difference, anchor::HashText, walk::Walk},
        chain::Link,
        rows::{Row, Stored},
    },
    stock::{hash::Hash, ids::Seq, time::Timestamp},
};

/// Compression: the level at which zstd is as fast as what feeds it.
const LEVEL: i32 = 3;
/// Longest line: a batch has some bytes for each of its entries.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not the file that the ledger knows.
    #[error("{}: {what}", path.display())]
    Differs {
        /// Which.
        path: PathBuf,
        /// In what.
        what: String,
    },
}

/// A line of a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Slice(SliceLine),
    Batch(BatchLine),
    Entry(Box<Row>),
}

#[derive(PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceLine {
    partition: i16,
    first: Seq,
    last: Seq,
    previous: HashText,
    hash: HashText,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchLine {
    first: Seq,
    last: Seq,
    epoch: i64,
    previous: HashText,
    hash: HashText,
    /// Base64; `None`: its entries were recorded by servers that keep no chain.
    digests: Option<String>,
}

/// Writes batches into a folder, durably, and says what was written. A file of the same name that a run
/// left which did not come to its end is replaced.
///
/// # Errors
/// The folder cannot be written to.
pub fn write(folder: &Path, batches: &Batches) -> Result<Option<Slice>, FileError> {
    let (Some(first), Some(last)) = (batches.links.first(), batches.links.last()) else {
        return Ok(None);
    };
    let recorded_at = batches.rows.last().map_or(Timestamp::MIN, |row| row.recorded_at.0);
    let mut slice = Slice {
        partition: batches.partition,
        first: first.first,
        last: last.last,
        epoch: last.epoch,
        recorded_at,
        previous: batches.from.hash,
        hash: last.hash,
        file_name: format!(
            "stockroom-{:05}-{:012}-{:012}.jsonl.zst",
            batches.partition.0, first.first, last.last
        ),
        file_sha256: Hash::default(),
    };
    let path = folder.join(&slice.file_name);
    let within = |source| FileError::Io { path: path.clone(), source };
    let unfinished = folder.join(format!("{}.tmp", slice.file_name));
    write_lines(&unfinished, &slice, batches).map_err(within)?;
    fs::rename(&unfinished, &path).map_err(within)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(within)?;
    slice.file_sha256 = sha256_of(&path).map_err(within)?;
    Ok(Some(slice))
}

fn write_lines(path: &Path, slice: &Slice, batches: &Batches) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(File::create(path)?, LEVEL)?;
    let mut line = |line: &Line| {
        serde_json::to_writer(&mut encoder, line)?;
        encoder.write_all(b"\n")
    };
    line(&Line::Slice(SliceLine::of(slice)))?;
    let mut rows = batches.rows.iter().peekable();
    for link in &batches.links {
        line(&Line::Batch(BatchLine::of(link)))?;
        while let Some(row) = rows.next_if(|row| row.seq <= link.last) {
            line(&Line::Entry(Box::new(row.clone())))?;
        }
    }
    encoder.finish()?.sync_all()
}

/// Reads a file back that was written: only what can be read again, and is what the chain says, may leave
/// the ledger.
///
/// # Errors
/// It cannot, or is not.
pub fn read_back(folder: &Path, slice: &Slice) -> Result<(), FileError> {
    let mut walk = Walk::new(slice.partition, slice.from(), &[]);
    check(folder, slice, &mut walk, |_| Ok(()))
}

/// Walks along a file: it must be the one that the ledger knows, and its entries those of the chain.
/// `taken` is told every entry, in order.
///
/// # Errors
/// It is another file, or cannot be read.
pub(in crate::ledger) fn check(
    folder: &Path,
    slice: &Slice,
    walk: &mut Walk,
    mut taken: impl FnMut(&Stored) -> Result<(), String>,
) -> Result<(), FileError> {
    let path = folder.join(&slice.file_name);
    let differs = |what: String| FileError::Differs { path: path.clone(), what };
    let within = |source| FileError::Io { path: path.clone(), source };
    if sha256_of(&path).map_err(within)? != slice.file_sha256 {
        return Err(differs("it is not the file that was written: its SHA-256 differs".to_owned()));
    }
    let altered = |difference: Difference| differs(difference.to_string());
    let decoder = zstd::Decoder::new(File::open(&path).map_err(within)?).map_err(within)?;
    let mut reader = BufReader::new(decoder);
    let mut text = Vec::new();
    let mut named = false;
    while next_line(&mut reader, &mut text).map_err(within)? {
        let line = serde_json::from_slice(&text);
        let line =
            line.map_err(|error| differs(format!("a line is not of an archive: {error}")))?;
        match line {
            Line::Slice(line) => named = line == SliceLine::of(slice),
            Line::Batch(line) => walk.follow(vec![line.link().map_err(differs)?]),
            Line::Entry(row) => {
                let seq = row.seq;
                match row.stored(slice.partition) {
                    Ok(stored) => {
                        walk.take(seq, Ok((&stored.entry, stored.checksum))).map_err(altered)?;
                        taken(&stored).map_err(differs)?;
                    }
                    Err(fault) => {
                        walk.take(seq, Err(fault.source.to_string())).map_err(altered)?;
                    }
                }
            }
        }
    }
    if !named || walk.chain() != slice.chain() {
        return Err(differs("it is of another slice".to_owned()));
    }
    Ok(())
}

fn next_line(reader: &mut impl io::BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    reader.take(LINE_BYTES_MAX).read_until(b'\n', line)?;
    Ok(!line.is_empty())
}

fn sha256_of(path: &Path) -> io::Result<Hash> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(hash.finalize().into())
}

impl SliceLine {
    fn of(slice: &Slice) -> SliceLine {
        SliceLine {
            partition: slice.partition.0,
            first: slice.first,
            last: slice.last,
            previous: HashText(slice.previous),
            hash: HashText(slice.hash),
        }
    }
}

impl BatchLine {
    fn of(link: &Link) -> BatchLine {
        BatchLine {
            first: link.first,
            last: link.last,
            epoch: link.epoch,
            previous: HashText(link.previous),
            hash: HashText(link.hash),
            digests: link.digests.as_ref().map(|digests| STANDARD.encode(digests)),
        }
    }

    fn link(self) -> Result<Link, String> {
        let digests = self.digests.map(|digests| STANDARD.decode(digests)).transpose();
        Ok(Link {
            first: self.first,
            last: self.last,
            epoch: self.epoch,
            previous: self.previous.0,
            hash: self.hash.0,
            digests: digests.map_err(|error| format!("a batch has no digests: {error}"))?,
        })
    }
}
