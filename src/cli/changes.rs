//! `stockroom changes`: who changed the network, newest first.

use serde_json::json;

use crate::{
    cli::{
        connect,
        show::{table, time_text},
    },
    config::DatabaseConfig,
    ledger::PAGE_ROWS_MAX,
};

/// Which changes.
#[derive(Clone, Debug, clap::Args)]
pub struct ChangesArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Only of the location, channel, item or webhook with this id
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists changes.
///
/// # Errors
/// The database is away.
pub async fn run(args: ChangesArgs) -> anyhow::Result<()> {
    let ledger = connect(&args.databases)?;
    let mut shown = Vec::new();
    let mut before = i64::MAX;
    while shown.len() < args.limit {
        let rows_max = PAGE_ROWS_MAX.min((args.limit - shown.len()) as i64);
        let page = ledger.network_changes(args.subject.as_deref(), before, rows_max).await?;
        let Some(last) = page.last() else { break };
        before = last.revision;
        shown.extend(page);
    }
    if args.json {
        let changes: Vec<_> = shown
            .iter()
            .map(|change| {
                json!({
                    "revision": change.revision,
                    "changed_at": time_text(change.changed_at),
                    "what": change.what,
                    "subject": change.subject,
                    "actor": change.actor,
                    "role": change.role,
                    "detail": change.detail,
                })
            })
            .collect();
        println!("{}", json!({ "changes": changes }));
        return Ok(());
    }
    let mut table = table(&["changed_at", "what", "subject", "actor", "role", "detail"]);
    for change in &shown {
        let changed_at = time_text(change.changed_at);
        let who = [&change.actor, &change.role];
        let what = [&changed_at, &change.what, &change.subject];
        table.add_row(what.into_iter().chain(who).chain([&change.detail]));
    }
    println!("{table}");
    Ok(())
}
