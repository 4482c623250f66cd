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
        Ledger,
        archive::{Batches, Entries, Slice},
        audit::{anchor::HashText, walk::Walk},
        chain::Link,
        fault::Fault,
        rows::{Row, Stored},
    },
    stock::{
        hash::Hash,
        ids::{Partition, Seq},
    },
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
    /// What is to be written cannot be read.
    #[error(transparent)]
    Ledger(#[from] Fault),
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

/// The name of a file.
pub(super) fn name(Partition(partition): Partition, first: Seq, last: Seq) -> String {
    format!("stockroom-{partition:05}-{first:012}-{last:012}.jsonl.zst")
}

/// Writes batches with their entries into a folder, durably, reads them back, and says what was written:
/// only what can be read again, and is what the chain says, may leave the ledger.
///
/// # Errors
/// The folder cannot be written to, or has another file of that name; what was read is not what the chain
/// says; the database is away.
pub async fn write(
    folder: &Path,
    ledger: &Ledger,
    Batches { mut slice, links }: Batches,
) -> Result<Slice, FileError> {
    let path = folder.join(&slice.file_name);
    let within = |source| FileError::Io { path: path.clone(), source };
    let unfinished = folder.join(format!("{}.tmp", slice.file_name));
    let mut lines = Lines::create(&unfinished).map_err(within)?;
    lines.push(&Line::Slice(SliceLine::of(&slice))).map_err(within)?;
    let mut entries = Entries::of(ledger, &slice);
    for link in &links {
        lines.push(&Line::Batch(BatchLine::of(link))).map_err(within)?;
        while let Some(row) = entries.next(link.last).await? {
            slice.recorded_at = row.recorded_at.0;
            lines.push(&Line::Entry(Box::new(row))).map_err(within)?;
        }
    }
    lines.finish().map_err(within)?;
    slice.file_sha256 = sha256_of(&unfinished).map_err(within)?;
    let mut walk = Walk::new(slice.partition, slice.from(), &[]);
    let mut reading = Reading::of(unfinished.clone(), &slice)?;
    while reading.next(&mut walk)?.is_some() {}
    // One of a run that did not come to its end is the same. Another one may be all that somebody has.
    if path.try_exists().map_err(within)? && sha256_of(&path).map_err(within)? != slice.file_sha256
    {
        let what = "there is another file of this name, of another ledger or from before a restore";
        return Err(FileError::Differs { path, what: what.to_owned() });
    }
    fs::rename(&unfinished, &path).map_err(within)?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(within)?;
    Ok(slice)
}

/// A file that is being written.
struct Lines(zstd::Encoder<'static, File>);

impl Lines {
    fn create(path: &Path) -> io::Result<Lines> {
        Ok(Lines(zstd::Encoder::new(File::create(path)?, LEVEL)?))
    }

    fn push(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
    }

    fn finish(self) -> io::Result<()> {
        self.0.finish()?.sync_all()
    }
}

/// Walks along a file: it must be the one that the ledger knows, and its entries those of the chain.
pub(in crate::ledger) fn walk_along(
    folder: &Path,
    slice: &Slice,
    walk: &mut Walk,
) -> Result<(), FileError> {
    let mut reading = Reading::open(folder, slice)?;
    while reading.next(walk)?.is_some() {}
    Ok(())
}

/// A file that is being read, and audited along the way.
pub(in crate::ledger) struct Reading<'s> {
    slice: &'s Slice,
    path: PathBuf,
    reader: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    line: Vec<u8>,
    /// Whether it has said that it is of this slice.
    named: bool,
}

impl Reading<'_> {
    /// Opens the file of a slice, which must be the one that was written.
    pub(in crate::ledger) fn open<'s>(
        folder: &Path,
        slice: &'s Slice,
    ) -> Result<Reading<'s>, FileError> {
        Reading::of(folder.join(&slice.file_name), slice)
    }

    fn of(path: PathBuf, slice: &Slice) -> Result<Reading<'_>, FileError> {
        let within = |source| FileError::Io { path: path.clone(), source };
        if sha256_of(&path).map_err(within)? != slice.file_sha256 {
            let what = "it is not the file that was written: its SHA-256 differs".to_owned();
            return Err(FileError::Differs { path, what });
        }
        let decoder = File::open(&path).and_then(zstd::Decoder::new).map_err(within)?;
        let reader = BufReader::new(decoder);
        Ok(Reading { slice, path, reader, line: Vec::new(), named: false })
    }

    /// The next entry, which the chain has just so. `None`: that was the last one.
    pub(in crate::ledger) fn next(&mut self, walk: &mut Walk) -> Result<Option<Stored>, FileError> {
        while let Some(line) = self.next_line()? {
            match line {
                Line::Slice(line) => self.named = line == SliceLine::of(self.slice),
                Line::Batch(line) => {
                    walk.follow(vec![line.link().map_err(|what| self.differs(what))?]);
                }
                Line::Entry(row) => {
                    let (seq, stored) = (row.seq, row.stored(self.slice.partition));
                    let read = stored.as_ref().map(|stored| (&stored.entry, stored.checksum));
                    let read = read.map_err(|fault| fault.source.to_string());
                    walk.take(seq, read).map_err(|what| self.differs(what.to_string()))?;
                    return Ok(Some(stored?));
                }
            }
        }
        match self.named && (walk.chain(), walk.seq()) == (self.slice.chain(), self.slice.last) {
            true => Ok(None),
            false => Err(self.differs("it is of another slice".to_owned())),
        }
    }

    fn next_line(&mut self) -> Result<Option<Line>, FileError> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut self.line);
        read.map_err(|source| FileError::Io { path: self.path.clone(), source })?;
        if self.line.is_empty() {
            return Ok(None);
        }
        let line = serde_json::from_slice(&self.line);
        line.map(Some).map_err(|error| self.differs(format!("a line makes no sense: {error}")))
    }

    fn differs(&self, what: String) -> FileError {
        FileError::Differs { path: self.path.clone(), what }
    }
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
