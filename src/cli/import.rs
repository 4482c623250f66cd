//! `stockroom import`: takes a file of movements to a server, like any till would.
//!
//! Every line has a key that comes from the file alone. A run that was cut off is simply started
//! again: what is in the ledger already is answered as a duplicate.
#![expect(clippy::disallowed_types, reason = "a client of the interface, in gRPC like any other")]

mod click_and_collect;
mod completejourney;
mod feed;
mod opening;
mod order;
mod read;
mod register;
mod retry;
mod send;
mod table;
mod tally;
mod uci;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressStyle};

pub use self::{click_and_collect::ClickAndCollect, opening::OpeningRule};
use self::{
    click_and_collect::{Plan, replay},
    feed::{Feed, Lines},
    opening::Opening,
    order::{lanes, plan},
    register::register,
    retry::Patience,
    send::{Connections, send},
    tally::Summary,
};
pub use super::client::ClientConfig;
use crate::api::proto::Movement;

/// Sends a file of movements to a server.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportArgs {
    /// Which kind of file.
    #[command(subcommand)]
    pub file: ImportFile,
    /// How it is sent.
    #[command(flatten)]
    pub options: ImportOptions,
}

/// The kinds of files.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ImportFile {
    /// The UCI Online Retail file: one web and wholesale shop.
    Uci {
        /// Plain or Zstandard.
        file: PathBuf,
    },
    /// The Complete Journey: a year of tills of 457 grocery shops.
    Completejourney {
        /// Plain or Zstandard.
        transactions: PathBuf,
        /// The catalogue, plain or Zstandard.
        products: PathBuf,
        /// What of it is ordered first and collected later.
        #[command(flatten)]
        orders: ClickAndCollect,
    },
    /// A table with the fields of a movement as columns, of which key, kind, location_id, sku and
    /// quantity are mandatory; kinds and states by their names without prefix, times in RFC 3339.
    Csv {
        /// Plain or Zstandard.
        file: PathBuf,
        /// Source of the lines that name none in a column `source`.
        #[arg(long, default_value = "csv")]
        source: String,
        /// IANA time zone of the locations that the import creates.
        #[arg(long, default_value = "Etc/UTC")]
        time_zone: String,
    },
}

/// How a file is sent.
#[derive(Debug, Clone, clap::Args)]
pub struct ImportOptions {
    /// Which server.
    #[command(flatten)]
    pub client: ClientConfig,
    /// How long to try again, counted from the last progress, when the server goes away.
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s")]
    #[arg(value_parser = duration)]
    pub retry_for: Duration,
    /// Sends the lines in an order drawn by this seed instead of that of the file.
    #[arg(long, global = true, value_name = "SEED")]
    pub shuffle: Option<u64>,
    /// Sends this share of the lines a second time, at random later places.
    #[arg(long, global = true, value_parser = percent, default_value = "0", value_name = "PERCENT")]
    pub duplicate: f64,
    /// Opening stock that is received before the first line.
    #[arg(long, global = true, value_enum, default_value = "none")]
    pub opening: OpeningRule,
    /// Receives so many per cent of that opening stock.
    #[arg(long, global = true, default_value_t = 100, value_name = "PERCENT")]
    #[arg(value_parser = RangedU64ValueParser::<u8>::new().range(0..=100))]
    pub stock_percent: u8,
    /// Streams at once; a location stays on one.
    #[arg(long, global = true, default_value_t = 4)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub streams: usize,
    /// Prints the result as one JSON object.
    #[arg(long, global = true)]
    pub json: bool,
}

/// How an import ended that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every line was posted, or rejected with a reason.
    Complete,
    /// Some lines could not be read and were never sent.
    Unreadable,
    /// Some reservations are not in a final state, or have units set aside.
    Unsettled,
}

impl Outcome {
    /// What the process should exit with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Unreadable | Self::Unsettled => 1,
        }
    }
}

/// Reads the file, sends it, and prints what became of it on standard output.
///
/// # Errors
/// When the file is not what the command expects, when the server refuses for a reason that does
/// not pass by itself, or when it stayed away for longer than `--retry-for`. What was sent until
/// then is in the ledger; the same import may be run again.
pub async fn run(args: ImportArgs) -> anyhow::Result<Outcome> {
    let ImportArgs { file, options } = args;
    let feed = tokio::task::spawn_blocking(move || read_file(&file)).await??;
    let summary = transfer(feed, &options).await?;
    if options.json {
        println!("{}", summary.to_json());
    } else {
        println!("{}", summary.to_text());
    }
    Ok(match &summary.orders {
        _ if !summary.unreadable.is_empty() => Outcome::Unreadable,
        Some(orders) if !orders.is_settled() => Outcome::Unsettled,
        _ => Outcome::Complete,
    })
}

fn read_file(file: &ImportFile) -> anyhow::Result<Feed> {
    let open = |path: &Path| {
        read::open(path).with_context(|| format!("`{}` cannot be opened", path.display()))
    };
    let (path, feed) = match file {
        ImportFile::Uci { file } => (file, uci::read(open(file)?)),
        ImportFile::Completejourney { transactions, products, orders } => {
            let feed = completejourney::read(open(transactions)?, open(products)?);
            (transactions, feed.map(|feed| orders.of(feed)))
        }
        ImportFile::Csv { file, source, time_zone } => {
            (file, table::read(open(file)?, source, time_zone))
        }
    };
    feed.with_context(|| format!("`{}` cannot be imported", path.display()))
}

/// What is read of a table of movements: the movements, and the lines of the file that are none.
/// Only for programs that check how tables are read.
///
/// # Errors
/// When it is no table, or its header lacks a mandatory column or has one that means nothing.
#[doc(hidden)]
pub fn read_table(file: impl std::io::Read) -> anyhow::Result<(Vec<Movement>, Vec<u64>)> {
    let Feed { lines, unreadable, .. } = table::read(file, "table", "Etc/UTC")?;
    let movements = (0..lines.count()).map(|line| lines.movement(line)).collect();
    Ok((movements, unreadable.into_iter().map(|unreadable| unreadable.line).collect()))
}

/// Registers, sends the opening stock and waits until it is acknowledged, then sends the lines.
async fn transfer(feed: Feed, options: &ImportOptions) -> anyhow::Result<Summary> {
    let connections = Connections::new(&options.client, options.streams)?;
    let patience = Patience::new(options.retry_for);
    register(&connections, &feed, &patience).await?;
    let orders = feed.compress.map(|compress| (compress, Plan::new(feed.lines.as_ref())));
    let orders = orders.as_ref();
    let stock = stock(&feed, orders.map(|(_, orders)| orders), options);
    let opening = open_stock(&connections, stock, options, &patience).await?;
    let steps = plan(feed.lines.as_ref(), options.shuffle, options.duplicate);
    let progress = progress_bar("lines", &steps, feed.lines.as_ref());
    let (tally, orders) = if let Some((compress, orders)) = orders {
        let done = replay(&connections, &feed, orders, *compress, &patience, &progress).await?;
        (done.0, Some(done.1))
    } else {
        let lanes = lanes(feed.lines.as_ref(), &steps, options.streams);
        drop(steps);
        let lines = Arc::clone(&feed.lines);
        (send(&connections, lines, lanes, &patience, &progress).await?, None)
    };
    progress.finish_and_clear();
    let left_out = feed.dropped.unwrap_or_default() + feed.unreadable.len() as u64;
    Ok(Summary {
        lines: feed.lines.count() as u64 + left_out,
        tally,
        opening,
        dropped: feed.dropped,
        unreadable: feed.unreadable,
        orders,
    })
}

/// What must be there before the first line, if anything must.
fn stock(feed: &Feed, orders: Option<&Plan>, options: &ImportOptions) -> Option<Opening> {
    let (rule, lines) = (options.opening, Arc::clone(&feed.lines));
    let opening = match orders {
        _ if rule == OpeningRule::None => return None,
        Some(orders) => Opening::with_effects(rule, lines, orders.effects(feed.lines.as_ref())),
        None => Opening::new(rule, lines),
    };
    Some(opening.keep_percent(options.stock_percent))
}

async fn open_stock(
    connections: &Connections,
    opening: Option<Opening>,
    options: &ImportOptions,
    patience: &Patience,
) -> anyhow::Result<Option<(tally::Tally, i64)>> {
    let Some(opening) = opening else { return Ok(None) };
    let units = opening.units();
    let opening: Arc<dyn Lines> = Arc::new(opening);
    let steps = plan(opening.as_ref(), None, 0.0);
    let progress = progress_bar("opening stock", &steps, opening.as_ref());
    let lanes = lanes(opening.as_ref(), &steps, options.streams);
    let tally = send(connections, opening, lanes, patience, &progress).await?;
    progress.finish_and_clear();
    Ok(Some((tally, units)))
}

/// On standard error, and only where that is a terminal.
fn progress_bar(what: &'static str, steps: &[order::Step], lines: &dyn Lines) -> ProgressBar {
    let length = |step: &order::Step| lines.block_end(step.line as usize) - step.line as usize;
    let total: usize = steps.iter().map(length).sum();
    let template = "{prefix} {bar:30} {human_pos}/{human_len} {per_sec} {eta} left";
    let style = ProgressStyle::with_template(template);
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total as u64).with_style(style).with_prefix(what)
}

fn duration(text: &str) -> Result<Duration, String> {
    let say = || format!("{text:?} is not a duration such as 60s or 5m");
    let duration: jiff::SignedDuration = text.parse().map_err(|_| say())?;
    Duration::try_from(duration).map_err(|_| say())
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(format!("{text:?} is not a share of 0 to 100 per cent")),
    }
}
