//! How the hash chain is anchored.

use std::{path::PathBuf, time::Duration};

use crate::feed::anchoring::AnchorOptions;

/// How the hash chain is anchored.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditConfig {
    /// Seconds from one export of the hash chains' ends to the next: a log line each, and a line of
    /// --anchor-file. 0: never
    #[arg(long, env = "STOCKROOM_ANCHOR_EVERY_SECONDS", default_value_t = 300)]
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub anchor_every_seconds: u64,
    /// File that anchors are appended to, out of reach of whoever writes to the database. Default:
    /// none
    #[arg(long, env = "STOCKROOM_ANCHOR_FILE", value_name = "PATH")]
    pub anchor_file: Option<PathBuf>,
}

impl AuditConfig {
    /// How often, and where to.
    pub fn anchors(&self) -> AnchorOptions {
        let every = Duration::from_secs(self.anchor_every_seconds);
        let every = Some(every).filter(|every| !every.is_zero());
        AnchorOptions { every, file: self.anchor_file.clone() }
    }
}
