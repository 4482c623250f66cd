//! `stockroom archive`: moves old entries into files, batch by batch, and removes their rows once each file
//! was read back and fits the chain.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::{
    cli::{
        connect,
        show::{parse_time, time_text},
    },
    config::DatabaseConfig,
    ledger::{Ledger, archive::file},
    stock::{ids::Partition, time::Timestamp},
};

/// What is archived, and where to.
#[derive(Clone, Debug, clap::Args)]
pub struct ArchiveArgs {
    #[command(flatten)]
    databases: DatabaseConfig,
    /// Archives entries that were recorded before this moment, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    before: Timestamp,
    /// Folder of the archive: all files of one ledger, and of no other
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// What was archived.
#[derive(Debug, Default)]
struct Archived {
    files: u64,
    entries: u64,
    /// When the newest of them was recorded.
    until: Option<Timestamp>,
}

/// Archives, and prints how much.
///
/// # Errors
/// The database is away, the role may not delete entries, or a file cannot be written or does not fit what
/// was recorded. What was archived until then stays archived.
pub async fn run(args: ArchiveArgs) -> anyhow::Result<()> {
    let now = Timestamp(jiff::Timestamp::now().as_microsecond());
    ensure!(args.before <= now, "--before is in the future");
    make(&args.to).with_context(|| format!("cannot make the folder {}", args.to.display()))?;
    let ledger = connect(&args.databases)?;
    let _archiving = ledger.archiving().await?.context("somebody else is archiving")?;
    let mut archived = Archived::default();
    for &partition in ledger.partitions().await? {
        archive(&ledger, partition, &args, &mut archived).await?;
    }
    let until = archived.until.map(time_text);
    let Archived { files, entries, .. } = archived;
    if args.json {
        println!("{}", json!({ "files": files, "entries": entries, "recorded_until": until }));
    } else {
        println!("archived {entries} entries in {files} files");
    }
    Ok(())
}

/// Makes a folder that is there after a power cut too.
fn make(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    match folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

async fn archive(
    ledger: &Ledger,
    partition: Partition,
    args: &ArchiveArgs,
    archived: &mut Archived,
) -> anyhow::Result<()> {
    while let Some(batches) = ledger.batches_to_archive(partition, args.before).await? {
        let written = file::write(&args.to, ledger, batches).await;
        let slice = written.context("cannot write the archive")?;
        ledger.put_away(&slice).await?;
        archived.files += 1;
        archived.entries += (slice.last - slice.first + 1).unsigned_abs();
        archived.until = archived.until.max(Some(slice.recorded_at));
    }
    Ok(())
}
