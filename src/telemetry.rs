//! What operators see: logs through tracing, metrics and traces.
//!
//! [`metrics`] is the table of all metrics, `told` what the rest of the program tells, [`calls`] what
//! is known of calls, and [`traces`] are spans.

pub mod calls;
mod handles;
mod logs;
pub mod metrics;
mod told;
pub mod traces;

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

pub use self::told::*;
use crate::config::LogFormat;

/// Writes logs to standard error.
///
/// # Errors
/// The filter is malformed, or logs are written already.
pub fn log(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).context("cannot read the log filter")?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Human => logs.finish().try_init(),
        LogFormat::Json => {
            traces::name_in_logs();
            logs.json().map_event_format(logs::Named).finish().try_init()
        }
    };
    installed.context("cannot write logs")
}
