//! `stockroom verify`: works the whole ledger out again and compares.

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    cli::connect,
    config::DatabaseConfig,
    ledger::{Ledger, verify::Verified},
};

/// Which ledger.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
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
        .verify(|entries| {
            // What is written meanwhile is verified too.
            bar.set_length(bar.length().unwrap_or(0).max(entries));
            bar.set_position(entries);
        })
        .await?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", as_json(&verified));
    } else {
        print!("{}", as_text(&verified));
    }
    Ok(verified.difference.is_none())
}

async fn entries(ledger: &Ledger) -> anyhow::Result<u64> {
    let mut entries = 0;
    for &partition in ledger.partitions().await? {
        let seq = ledger.head(partition).await?.map_or(0, |(_, seq)| seq);
        entries += u64::try_from(seq).unwrap_or(0);
    }
    Ok(entries)
}

fn as_json(verified: &Verified) -> serde_json::Value {
    let mut object = json!({
        "ok": verified.difference.is_none(),
        "partitions": verified.partitions,
        "positions": verified.positions,
        "entries": verified.entries,
        "sellable": verified.sellable,
        "on_hand": verified.on_hand,
    });
    if let Some(difference) = &verified.difference {
        object["difference"] = json!(difference);
    }
    object
}

fn as_text(verified: &Verified) -> String {
    let Verified { partitions, positions, entries, sellable, on_hand, difference } = verified;
    let found = match difference {
        None => "everything fits".to_owned(),
        Some(difference) => format!("first difference: {difference}"),
    };
    format!(
        "{entries} entries in {partitions} partitions, {positions} positions\n\
         {sellable} units sellable, {on_hand} on hand\n\
         {found}\n"
    )
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("verify {bar:40} {human_pos}/{human_len} entries {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
