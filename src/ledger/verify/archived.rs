//! What is archived: entries are folded from the files, and the balances and outcomes that they left behind
//! are compared.

use std::{collections::HashMap, path::Path};

use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        archive::{
            file::{FileError, Reading},
            slices,
        },
        audit::walk::Walk,
        chain::Chain,
        fault::{Defect, Fault, chain},
        rows::{self, Stored},
        verify::{PAGE_ROWS, Stop, corrections_fit, differs, entry_name, fold::Fold, read},
    },
    stock::{
        entry::{Entry, Flags},
        ids::{Partition, Seq},
        kind::Kind,
    },
};

/// How many slices there are, of all partitions: entries that are archived meanwhile are missed.
pub(super) async fn count(ledger: &Ledger) -> Result<usize, Fault> {
    let mut count = 0;
    for &partition in ledger.partitions().await? {
        count += ledger.archived_slices(partition).await?.len();
    }
    Ok(count)
}

/// Folds what of a partition is archived.
pub(super) async fn take(
    ledger: &Ledger,
    fold: &mut Fold,
    folder: Option<&Path>,
    sources: &HashMap<i32, String>,
) -> Result<(), Stop> {
    let connection = &mut *ledger.reader().await?;
    let slices = slices(&mut *connection, fold.partition, i64::MAX).await?;
    let Some(last) = slices.last().map(|slice| slice.last) else { return Ok(()) };
    let needed = || Fault::defect("verify", Defect::ArchiveNeeded);
    let folder = folder.ok_or_else(needed)?;
    let mut walk = Walk::new(fold.partition, Chain::default(), &[]);
    for slice in &slices {
        let differs = |error: FileError| Stop::Differs(chain(&error));
        let mut reading = Reading::open(folder, slice).map_err(differs)?;
        let mut taken = Taken::default();
        while let Some(stored) = reading.next(&mut walk).map_err(differs)? {
            fold.take(&stored, sources)?;
            taken.note(&stored);
            if taken.outcomes.len() >= PAGE_ROWS as usize {
                std::mem::take(&mut taken).fits(connection, fold.partition).await?;
            }
        }
        taken.fits(connection, fold.partition).await?;
    }
    carried_fit(connection, fold).await?;
    match read::entry_until(connection, fold.partition, last).await? {
        None => Ok(()),
        Some(seq) => {
            let name = entry_name(fold.partition, seq);
            Err(Stop::Differs(format!("{name}: it is archived, and this row is there still")))
        }
    }
}

/// What is compared page by page.
#[derive(Default)]
struct Taken {
    outcomes: Vec<Entry<'static>>,
    corrections: Vec<(Entry<'static>, Seq)>,
}

impl Taken {
    fn note(&mut self, Stored { entry, .. }: &Stored) {
        if !entry.flags.has(Flags::SECONDARY) || entry.counter.is_some() {
            self.outcomes.push(outcome_of(entry));
        }
        if let (Kind::Correct, Some(corrected)) = (entry.kind, entry.refers_to) {
            self.corrections.push((entry.clone(), corrected));
        }
    }

    async fn fits(self, connection: &mut PgConnection, partition: Partition) -> Result<(), Stop> {
        outcomes_fit(connection, partition, self.outcomes).await?;
        corrections_fit(connection, partition, &self.corrections).await
    }
}

/// What is kept of an archived entry.
fn outcome_of(entry: &Entry<'static>) -> Entry<'static> {
    Entry {
        key: "".into(),
        channel: None,
        actor: "".into(),
        reason: "".into(),
        document: "".into(),
        document_line: 0,
        note: "".into(),
        hold_id: "".into(),
        original_source: "".into(),
        original_key: "".into(),
        group: "".into(),
        refers_to: None,
        expected_at: None,
        occurred_at: entry.effective_at,
        utc_offset_minutes: 0,
        flags: entry.flags.with(Flags::ARCHIVED),
        ..entry.clone()
    }
}

async fn outcomes_fit(
    connection: &mut PgConnection,
    partition: Partition,
    outcomes: Vec<Entry<'static>>,
) -> Result<(), Stop> {
    let seqs: Vec<_> = outcomes.iter().map(|entry| entry.seq).collect();
    let kept = rows::entries(connection, partition, &seqs).await?;
    let kept: HashMap<_, _> = kept.into_iter().map(|kept| (kept.entry.seq, kept.entry)).collect();
    match outcomes.into_iter().find(|outcome| kept.get(&outcome.seq) != Some(outcome)) {
        None => Ok(()),
        Some(outcome) => {
            let (Partition(partition), seq) = (partition, outcome.seq);
            let name = format!("archived_entry partition={partition} seq={seq}");
            Err(Stop::Differs(format!("{name}: it is not what the archive says")))
        }
    }
}

/// The balances that are carried forward are those of the fold, and there are no others.
async fn carried_fit(connection: &mut PgConnection, fold: &Fold) -> Result<(), Stop> {
    let (mut last, mut seen) = ((i32::MIN, i32::MIN), 0);
    loop {
        let rows = read::carried_behind(connection, fold.partition, last, PAGE_ROWS).await?;
        let Some(row) = rows.last() else { break };
        last = (row.location, row.item);
        seen += rows.len();
        for row in rows {
            let Partition(partition) = fold.partition;
            let (location, item) = (row.location, row.item);
            let name = || {
                format!("carried_position partition={partition} location={location} item={item}")
            };
            let Some(sums) = fold.positions.get(&(location, item)) else {
                return Err(Stop::Differs(format!("{}: no entry explains this row", name())));
            };
            let [sellable, staged, blocked, in_transit, expected] = sums.balances;
            let columns = [
                ("sellable", Some(row.sellable), Some(sellable)),
                ("staged", Some(row.staged), Some(staged)),
                ("blocked", Some(row.blocked), Some(blocked)),
                ("in_transit", Some(row.in_transit), Some(in_transit)),
                ("expected", Some(row.expected), Some(expected)),
                ("reserved", Some(row.reserved), Some(sums.reserved)),
                ("seq", Some(row.seq), Some(sums.seq)),
            ];
            differs(name, &columns)?;
        }
    }
    if seen == fold.positions.len() {
        return Ok(());
    }
    let Partition(partition) = fold.partition;
    Err(Stop::Differs(format!("carried_position partition={partition}: a row is missing")))
}
