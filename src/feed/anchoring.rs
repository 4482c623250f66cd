//! Exports where the hash chains end, at intervals: to the log, and to a file that is synced before
//! it counts. Every server does so; what did not move since it last said so is left out.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::oneshot, task::JoinHandle, time::MissedTickBehavior};

use crate::{
    ledger::{Ledger, audit::anchor::Anchor},
    telemetry,
};

/// How often, and where to.
#[derive(Clone, Debug, Default)]
pub struct AnchorOptions {
    /// From one export to the next; `None`: there are none.
    pub every: Option<Duration>,
    /// The file; `None`: to the log only.
    pub file: Option<PathBuf>,
}

/// The file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("cannot append to the anchor file {path:?}")]
pub struct NoAnchorFile {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Goes on until it is stopped, or its owner is gone.
#[derive(Debug)]
pub struct Anchoring {
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What was exported last, of each partition.
struct Exporter {
    ledger: Ledger,
    file: Option<PathBuf>,
    last: Vec<Anchor>,
}

impl Anchoring {
    /// Begins with an export, and goes on with one every so often.
    ///
    /// # Errors
    /// The file cannot be appended to.
    pub fn start(ledger: Ledger, options: AnchorOptions) -> Result<Anchoring, NoAnchorFile> {
        let AnchorOptions { every: Some(every), file } = options else {
            return Ok(Anchoring { running: None });
        };
        if let Some(path) = &file {
            append(path, "").map_err(|source| NoAnchorFile { path: path.clone(), source })?;
        }
        let (stop, stopped) = oneshot::channel();
        let exporter = Exporter { ledger, file, last: Vec::new() };
        let task = tokio::spawn(exporter.export_until(stopped, every));
        Ok(Anchoring { running: Some((stop, task)) })
    }

    /// Exports a last time, and ends.
    pub async fn stop(self) {
        if let Some((stop, task)) = self.running {
            // Whoever does not listen any more has ended already.
            let _ = stop.send(());
            let _ = task.await;
        }
    }
}

impl Exporter {
    async fn export_until(mut self, mut stopped: oneshot::Receiver<()>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stops = tokio::select! {
                _ = ticks.tick() => false,
                _ = &mut stopped => true,
            };
            self.export().await;
            if stops {
                return;
            }
        }
    }

    async fn export(&mut self) {
        let anchors = match self.ledger.anchors().await {
            Ok(anchors) => anchors,
            Err(fault) => {
                tracing::warn!(fault = fault.chain(), "no anchors were exported");
                telemetry::anchors_exported(false);
                return;
            }
        };
        let said = |anchor: &Anchor| self.last.iter().any(|last| last.says_the_same(anchor));
        let new: Vec<_> = anchors.iter().filter(|anchor| !said(anchor)).copied().collect();
        for Anchor { partition, epoch, seq, hash, time } in &new {
            tracing::info!(partition, epoch, seq, %hash, %time, "anchor");
        }
        let written = self.write(&new).await;
        telemetry::anchors_exported(written.is_ok());
        match written {
            Ok(()) => self.last = anchors,
            Err(error) => tracing::error!(%error, "anchors could not be written to their file"),
        }
    }

    async fn write(&self, anchors: &[Anchor]) -> io::Result<()> {
        let Some(file) = self.file.clone().filter(|_| !anchors.is_empty()) else { return Ok(()) };
        let mut lines = String::new();
        for anchor in anchors {
            lines.push_str(&serde_json::to_string(anchor)?);
            lines.push('\n');
        }
        let written = tokio::task::spawn_blocking(move || append(&file, &lines)).await;
        written.map_err(io::Error::other)?
    }
}

/// Appends and syncs. The file is opened each time, so that it may be moved away.
fn append(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    // What a power cut left of a line must not spoil the next one.
    if !ends_with_a_line(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}

fn ends_with_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
