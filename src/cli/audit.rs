//! `stockroom audit`: walks the hash chain along the ledger and names the first entry that is not
//! what was recorded; compares with anchors that were exported.

mod show;

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    cli::{
        audit::show::{as_json, as_text},
        connect,
    },
    config::DatabaseConfig,
    ledger::audit::anchor::Anchor,
};

/// Which ledger, and which anchors.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// File of anchors that a server exported; may be given several times
    #[arg(long, value_name = "FILE")]
    anchors: Vec<PathBuf>,
    /// Folder of the archive: entries that are in it are audited too; without it the audit begins where the
    /// archive ends
    #[arg(long, value_name = "FOLDER")]
    archive: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Longest line of an anchor file, in bytes; those that are written have less than 250.
const LINE_BYTES_MAX: u64 = 4_096;

/// What anchor files say.
#[derive(Debug, Default)]
struct Read {
    anchors: Vec<Anchor>,
    /// Lines that are no anchors, as a power cut leaves them.
    torn: u64,
}

/// Audits and prints. Returns whether everything is as it was recorded, which decides on the exit
/// code.
///
/// # Errors
/// The database is away, or was not prepared; there is no anchor in a file.
pub async fn run(args: AuditArgs) -> anyhow::Result<bool> {
    let mut read = Read::default();
    for path in &args.anchors {
        let before = read.anchors.len();
        read.take(path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(read.anchors.len() > before, "there is no anchor in {}", path.display());
    }
    let ledger = connect(&args.databases)?;
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new_spinner().with_style(style());
    let audited = ledger
        .audit(&read.anchors, args.archive.as_deref(), |entries| bar.set_position(entries))
        .await?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", as_json(&audited, read.torn));
    } else {
        print!("{}", as_text(&audited, read.torn));
    }
    Ok(audited.differences.is_empty())
}

impl Read {
    fn take(&mut self, path: &Path) -> anyhow::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let bytes = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            match serde_json::from_slice(&line) {
                _ if bytes == 0 => return Ok(()),
                Ok(anchor) => self.anchors.push(anchor),
                Err(_) if line.trim_ascii().is_empty() => {}
                Err(_) => self.torn += 1,
            }
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("audit {spinner} {human_pos} entries {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
