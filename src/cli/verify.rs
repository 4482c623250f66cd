//! `stockroom verify`: works the whole ledger out again and compares; then compares Redis with it.

use std::path::PathBuf;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    availability::Availability,
    cli::connect,
    config::DatabaseConfig,
    feed::verify::{Compared, NotCompared, PATIENCE, compare},
    ledger::{Ledger, verify::Verified},
};

/// Which ledger.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Folder of the archive, where entries are archived
    #[arg(long, value_name = "FOLDER")]
    archive: Option<PathBuf>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Verifies and prints. Returns whether everything fits, which decides on the exit code.
///
/// # Errors
/// The database is away, or was not prepared.
pub async fn run(args: VerifyArgs) -> anyhow::Result<bool> {
    let ledger = connect(&args.databases)?;
    // Hidden by itself where standard error is no terminal.
    let bar = ProgressBar::new(entries(&ledger).await?).with_style(style());
    let verified = ledger
        .verify(args.archive.as_deref(), |entries| {
            // What is written meanwhile is verified too.
            bar.set_length(bar.length().unwrap_or(0).max(entries));
            bar.set_position(entries);
        })
        .await?;
    bar.finish_and_clear();
    let redis = match verified.difference {
        None => compare_redis(&ledger, &args.databases).await?,
        Some(_) => Redis::NotCompared("the ledger differs"),
    };
    let stated = args.databases.redis_url()?.is_some();
    let ok = verified.difference.is_none() && redis.is_ok(stated);
    if args.json {
        println!("{}", as_json(&verified, &redis, ok));
    } else {
        print!("{}{}", as_text(&verified), redis.as_text());
    }
    Ok(ok)
}

/// What was found about Redis.
enum Redis {
    Compared(Compared),
    /// It does not answer.
    Away,
    NotCompared(&'static str),
}

async fn compare_redis(ledger: &Ledger, databases: &DatabaseConfig) -> anyhow::Result<Redis> {
    let Some(url) = databases.running_redis()? else {
        return Ok(Redis::NotCompared("none is known"));
    };
    let availability = Availability::open(&databases.availability(url)?)?;
    match compare(ledger, &availability, PATIENCE).await {
        Ok(compared) => Ok(Redis::Compared(compared)),
        Err(NotCompared::Redis(fault)) => {
            eprintln!("stockroom: {}", fault.chain());
            Ok(Redis::Away)
        }
        Err(NotCompared::Ledger(fault)) => Err(fault).context("cannot compare Redis"),
    }
}

impl Redis {
    /// A Redis that is away is missed only by those who named one.
    fn is_ok(&self, stated: bool) -> bool {
        match self {
            Redis::Compared(compared) => compared.difference.is_none(),
            Redis::Away => !stated,
            Redis::NotCompared(_) => true,
        }
    }

    fn as_text(&self) -> String {
        match self {
            Redis::Compared(Compared { difference: Some(difference), .. }) => {
                format!("Redis: first difference: {difference}\n")
            }
            Redis::Compared(Compared { rows, holds, .. }) => {
                format!("Redis: {rows} rows and {holds} holds fit\n")
            }
            Redis::Away => "Redis: not compared (away)\n".to_owned(),
            Redis::NotCompared(why) => format!("Redis: not compared ({why})\n"),
        }
    }

    fn as_json(&self) -> serde_json::Value {
        match self {
            Redis::Compared(Compared { rows, holds, difference }) => {
                let mut object = json!({ "compared": true, "rows": rows, "holds": holds });
                if let Some(difference) = difference {
                    object["difference"] = json!(difference);
                }
                object
            }
            Redis::Away => json!({ "compared": false, "why": "away" }),
            Redis::NotCompared(why) => json!({ "compared": false, "why": why }),
        }
    }
}

async fn entries(ledger: &Ledger) -> anyhow::Result<u64> {
    let mut entries = 0;
    for &partition in ledger.partitions().await? {
        let seq = ledger.head(partition).await?.map_or(0, |(_, seq)| seq);
        entries += u64::try_from(seq).unwrap_or(0);
    }
    Ok(entries)
}

fn as_json(verified: &Verified, redis: &Redis, ok: bool) -> serde_json::Value {
    let mut object = json!({
        "ok": ok,
        "partitions": verified.partitions,
        "positions": verified.positions,
        "entries": verified.entries,
        "sellable": verified.sellable,
        "on_hand": verified.on_hand,
        "promised": verified.promised,
        "oversold": verified.oversold,
        "below_zero": verified.below_zero,
        "redis": redis.as_json(),
    });
    if let Some(difference) = &verified.difference {
        object["difference"] = json!(difference);
    }
    object
}

fn as_text(verified: &Verified) -> String {
    let Verified { partitions, positions, entries, sellable, on_hand, .. } = verified;
    let Verified { promised, oversold, below_zero, difference, .. } = verified;
    let found = match difference {
        None => "everything fits".to_owned(),
        Some(difference) => format!("first difference: {difference}"),
    };
    format!(
        "{entries} entries in {partitions} partitions, {positions} positions\n\
         {sellable} units sellable, {on_hand} on hand, {below_zero} positions below zero\n\
         {promised} units were promised, {oversold} of them oversold\n\
         {found}\n"
    )
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("verify {bar:40} {human_pos}/{human_len} entries {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
