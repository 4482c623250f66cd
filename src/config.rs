//! Every setting once: flag, environment, unit, default, sentence.

mod audit;
mod callers;
mod connections;
mod credentials;
mod databases;
pub(crate) mod secret;
mod telemetry;
mod tls;

use std::{net::SocketAddr, num::NonZero, path::PathBuf, time::Duration};

use self::secret::SecretError;
pub use self::{
    audit::AuditConfig,
    callers::CallerConfig,
    connections::ConnectionConfig,
    credentials::{CredentialConfig, KeySource, TokenConfig},
    databases::DatabaseConfig,
    secret::Secret,
    telemetry::TelemetryConfig,
    tls::{TlsConfig, TlsFiles},
};
use crate::{
    embedded::EmbeddedError,
    feed::deliver::{self, backoff::Backoff, stream::StreamOptions},
    stock::{ids::is_identifier, snapshot::DropLimits, time::SECOND},
};

/// Partitions of a new ledger if nothing is said.
const PARTITIONS_LEAST: u16 = 2;
const PARTITIONS_MOST: u16 = 16;
/// `sysexits.h`: the command was used wrongly.
pub const EXIT_USAGE: u8 = 64;

/// How a ledger is laid out when it is created.
#[derive(Clone, Debug, clap::Args)]
pub struct NewLedgerConfig {
    /// Partitions of a ledger that is created now; an existing one keeps its own. Default: one for each
    /// core of this machine, at least 2 and at most 16
    #[arg(long, env = "STOCKROOM_PARTITIONS", value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    partitions: Option<u16>,
}

impl NewLedgerConfig {
    /// How many partitions a new ledger has. More lanes than cores make batches smaller, and what a
    /// batch costs whatever its size is most of a small one.
    pub fn partitions(&self) -> u16 {
        let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
        let each = || u16::try_from(cores()).unwrap_or(u16::MAX);
        self.partitions.unwrap_or_else(|| each().clamp(PARTITIONS_LEAST, PARTITIONS_MOST))
    }
}

/// How a server runs.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeConfig {
    /// Which databases.
    #[command(flatten)]
    pub databases: DatabaseConfig,
    /// Address for gRPC and gRPC-Web
    #[arg(
        long,
        env = "STOCKROOM_LISTEN",
        default_value = "127.0.0.1:7777",
        value_name = "HOST:PORT"
    )]
    pub listen: String,
    /// Address for /metrics, /live and /ready over HTTP. Default: none
    #[arg(long, env = "STOCKROOM_HTTP_LISTEN", value_name = "HOST:PORT")]
    pub http_listen: Option<String>,
    /// Listens on other addresses than loopback although nothing is encrypted, or nobody is asked who calls
    #[arg(long, env = "STOCKROOM_INSECURE")]
    pub insecure: bool,
    /// How callers say who they are.
    #[command(flatten)]
    pub credentials: CredentialConfig,
    /// Which certificates are shown, and asked for.
    #[command(flatten)]
    pub tls: TlsConfig,
    /// How a new ledger is laid out.
    #[command(flatten)]
    pub ledger: NewLedgerConfig,
    /// Share of the items that have stock, in per cent, that a snapshot may drop to zero without a
    /// confirmation
    #[arg(long, env = "STOCKROOM_SNAPSHOT_DROP_PERCENT", value_name = "PERCENT")]
    #[arg(default_value_t = DropLimits::default().percent)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100))]
    pub snapshot_drop_percent: u32,
    /// Items that a snapshot may drop to zero without a confirmation whatever their share
    #[arg(long, env = "STOCKROOM_SNAPSHOT_DROP_ITEMS", value_name = "N")]
    #[arg(default_value_t = DropLimits::default().items)]
    pub snapshot_drop_items: u32,
    /// Pages of this origin (scheme, host and port) may call from a browser; several with commas. Default:
    /// of none
    #[arg(long, env = "STOCKROOM_CORS_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    #[arg(value_parser = origin)]
    pub cors_origin: Vec<String>,
    /// How logs are written
    #[arg(long, env = "STOCKROOM_LOG_FORMAT", value_enum, default_value = "human")]
    pub log_format: LogFormat,
    /// Short for --log-format json; `doctor` prints one JSON object
    #[arg(long)]
    pub json: bool,
    /// Which logs are written, as a filter of the tracing crate
    #[arg(long, env = "STOCKROOM_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// What operators see.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    /// How events go out.
    #[command(flatten)]
    pub events: EventConfig,
    /// What a caller may do.
    #[command(flatten)]
    pub callers: CallerConfig,
    /// What connections may cost.
    #[command(flatten)]
    pub connections: ConnectionConfig,
    /// How the hash chain is anchored.
    #[command(flatten)]
    pub audit: AuditConfig,
    /// Seconds that calls under way are given when the server is told to stop
    #[arg(long, env = "STOCKROOM_DRAIN_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub drain_seconds: u64,
    /// Seconds that the server goes on serving after it said that it is not ready, so that load balancers
    /// send nothing more before connections are told to end
    #[arg(
        long,
        env = "STOCKROOM_DRAIN_DELAY_SECONDS",
        default_value_t = 0,
        value_name = "SECONDS"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=600))]
    pub drain_delay_seconds: u64,
}

/// How events go out.
#[derive(Clone, Debug, clap::Args)]
pub struct EventConfig {
    /// The source that every event names: a URI or a path
    #[arg(long, env = "STOCKROOM_EVENT_SOURCE", default_value = "/stockroom", value_name = "URI")]
    pub event_source: String,
    /// Attempts before an event becomes a dead letter
    #[arg(long, env = "STOCKROOM_EVENT_ATTEMPTS", default_value_t = 20, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub event_attempts: u32,
    /// Milliseconds before the second attempt; they double with each
    #[arg(long, env = "STOCKROOM_EVENT_RETRY_MS", default_value_t = 1_000, value_name = "MS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    pub event_retry_ms: u32,
    /// Seconds between attempts at most, also where a receiver asks for more
    #[arg(long, env = "STOCKROOM_EVENT_RETRY_MAX_SECONDS", default_value_t = 3_600)]
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub event_retry_max_seconds: u32,
    /// Seconds that an attempt may take
    #[arg(long, env = "STOCKROOM_EVENT_TIMEOUT_SECONDS", default_value_t = 10)]
    #[arg(value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub event_timeout_seconds: u32,
    /// Sends webhooks to private addresses and over plain HTTP too: for tests and development
    #[arg(long, env = "STOCKROOM_WEBHOOK_ALLOW_PRIVATE")]
    pub webhook_allow_private: bool,
    /// Publishes all events to NATS JetStream too, as nats://user:password@host:port. Default: does not
    #[arg(long, env = "STOCKROOM_NATS_URL", hide_env_values = true, value_name = "URL")]
    pub nats_url: Option<Secret>,
    /// File that holds what --nats-url would say
    #[arg(long, env = "STOCKROOM_NATS_URL_FILE", value_name = "FILE")]
    pub nats_url_file: Option<PathBuf>,
    /// What every subject begins with; type and location follow
    #[arg(long, env = "STOCKROOM_NATS_SUBJECT_PREFIX", default_value = "stockroom")]
    #[arg(value_name = "TEXT", value_parser = subject_prefix)]
    pub nats_subject_prefix: String,
    /// The stream of these subjects, which is created where there is none. Default: it is there already
    #[arg(long, env = "STOCKROOM_NATS_STREAM", value_name = "NAME", value_parser = stream_name)]
    pub nats_stream: Option<String>,
    /// So many available units, and fewer, are low to the readers of NATS; 0: never
    #[arg(long, env = "STOCKROOM_NATS_LOW_STOCK_UNITS", default_value_t = 0, value_name = "N")]
    pub nats_low_stock_units: u32,
}

impl EventConfig {
    /// As the delivery takes them.
    ///
    /// # Errors
    /// The message stream is named twice, or by a file that names none.
    pub fn delivery(&self) -> Result<deliver::Options, ConfigError> {
        let (url, file) = (self.nats_url.as_ref(), self.nats_url_file.as_deref());
        let nats_url = secret::resolve("--nats-url", url, file)?;
        Ok(deliver::Options {
            source: self.event_source.clone(),
            backoff: Backoff {
                attempts_max: self.event_attempts,
                first: i64::from(self.event_retry_ms) * 1_000,
                longest: i64::from(self.event_retry_max_seconds) * SECOND,
            },
            timeout: Duration::from_secs(self.event_timeout_seconds.into()),
            allow_private: self.webhook_allow_private,
            stream: nats_url.map(|url| StreamOptions {
                url: url.reveal().to_owned(),
                subject_prefix: self.nats_subject_prefix.clone(),
                stream: self.nats_stream.clone(),
                low_units: self.nats_low_stock_units.into(),
            }),
            ..deliver::Options::default()
        })
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Human,
    /// A JSON object a line.
    Json,
}

/// Settings that contradict each other or the machine.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nothing is encrypted, so the network must not see it.
    #[error(
        "{listen} is not a loopback address; give --tls-certificate and --tls-key, or say --insecure \
         to listen there in plain text"
    )]
    Insecure {
        /// The address.
        listen: SocketAddr,
    },
    /// Everybody may do everything, so the network must not reach it.
    #[error(
        "{listen} is not a loopback address; give --api-keys, --jwks-file, --jwks-url or \
         --tls-client-ca, or say --insecure to let everybody call who reaches it"
    )]
    Anonymous {
        /// The address.
        listen: SocketAddr,
    },
    /// One setting means nothing without another.
    #[error("{given} needs {needed}")]
    Needs {
        /// What was given.
        given: &'static str,
        /// What is missing.
        needed: &'static str,
    },
    /// Two settings contradict each other.
    #[error("{given} and {other} exclude each other")]
    Excludes {
        /// One.
        given: &'static str,
        /// The other.
        other: &'static str,
    },
    /// It is no address.
    #[error("{listen:?} is not an address such as 127.0.0.1:7777")]
    NoAddress {
        /// What was said.
        listen: String,
    },
    /// A private database cannot be found.
    #[error("cannot find the databases")]
    NoDatabases(#[source] EmbeddedError),
    /// A secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Somebody believes that Redis is reached over TLS.
    #[error("--redis-ca is given, but the address of Redis does not begin with rediss://")]
    RedisCaUnused,
}

impl ConfigError {
    /// Whether the command was used wrongly.
    pub fn is_usage(&self) -> bool {
        !matches!(self, ConfigError::NoDatabases(_))
    }
}

impl ServeConfig {
    /// The address for gRPC.
    ///
    /// # Errors
    /// It is none, or it is open to the network without a word that this is wanted; or settings of TLS and
    /// of credentials contradict each other.
    pub fn listen(&self) -> Result<SocketAddr, ConfigError> {
        self.credentials.tokens()?;
        let listen = self.address(&self.listen)?;
        let anybody = !self.credentials.any() && self.tls.tls_client_ca.is_none();
        if !listen.ip().is_loopback() && !self.insecure && anybody {
            return Err(ConfigError::Anonymous { listen });
        }
        Ok(listen)
    }

    /// The address for HTTP.
    ///
    /// # Errors
    /// As [`ServeConfig::listen`].
    pub fn http_listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        self.http_listen.as_deref().map(|listen| self.address(listen)).transpose()
    }

    /// How many items a snapshot may drop to zero.
    pub fn drop_limits(&self) -> DropLimits {
        DropLimits { percent: self.snapshot_drop_percent, items: self.snapshot_drop_items }
    }

    /// How logs are written.
    pub fn log_format(&self) -> LogFormat {
        if self.json { LogFormat::Json } else { self.log_format }
    }

    fn address(&self, listen: &str) -> Result<SocketAddr, ConfigError> {
        let by_name = listen.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = by_name.as_deref().unwrap_or(listen).parse::<SocketAddr>();
        let listen = address.map_err(|_| ConfigError::NoAddress { listen: listen.to_owned() })?;
        let plain = self.tls.files()?.is_none();
        if !listen.ip().is_loopback() && !self.insecure && plain {
            return Err(ConfigError::Insecure { listen });
        }
        Ok(listen)
    }
}

/// Scheme, host and port, as browsers name the origin of a page.
fn origin(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let good = host.is_some_and(|host| !host.is_empty() && host.chars().all(fits));
    good.then(|| text.to_ascii_lowercase()).ok_or("scheme and host, like https://shop.example:8443")
}

fn subject_prefix(text: &str) -> Result<String, &'static str> {
    let good = is_identifier(text) && text.split('.').all(|part| !part.is_empty());
    good.then(|| text.to_owned()).ok_or("1 to 64 of A-Z a-z 0-9 . _ : / -, no empty part")
}

fn stream_name(text: &str) -> Result<String, &'static str> {
    let good = is_identifier(text) && !text.contains(['.', '/']);
    good.then(|| text.to_owned()).ok_or("1 to 64 of A-Z a-z 0-9 _ : -")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Create {
        #[command(flatten)]
        ledger: NewLedgerConfig,
    }

    #[test]
    fn a_ledger_has_the_partitions_that_were_asked_for_or_as_many_as_cores() {
        let partitions = |args: &[&str]| Create::parse_from(args).ledger.partitions();
        assert_eq!(partitions(&["create", "--partitions", "1"]), 1);
        assert_eq!(partitions(&["create", "--partitions", "256"]), 256);
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(usize::from(partitions(&["create"])), cores.clamp(2, 16));
    }
}
