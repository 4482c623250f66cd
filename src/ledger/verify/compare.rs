//! Stored rows against the fold. A row that another writer moved meanwhile is no difference: it is
//! put aside and looked at again when the fold has caught up.

use rustc_hash::FxHashMap;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    ledger::{
        Ledger,
        verify::{
            PAGE_ROWS, Stop,
            across::Across,
            differs,
            fold::{Asked, Fold, PositionId, RequestId, Sums},
            position_name,
            promise::compare as promises,
            read::{self, PositionRow, RequestRow},
            text,
        },
    },
    stock::{
        ids::{Partition, Seq},
        time::Timestamp,
    },
};

/// Rows of one partition that differed when they were looked at last.
#[derive(Default)]
pub(super) struct Suspects {
    positions: Vec<PositionId>,
    requests: Vec<RequestId>,
    reservations: Vec<Seq>,
}

impl Suspects {
    pub(super) fn len(&self) -> usize {
        self.positions.len() + self.requests.len() + self.reservations.len()
    }
}

/// Looks at every row of a partition once and returns those that do not fit.
pub(super) async fn look_at_all(
    ledger: &Ledger,
    fold: &mut Fold,
    across: &Across,
) -> Result<Suspects, Stop> {
    let mut suspects = Suspects::default();
    let mut last = (i32::MIN, i32::MIN);
    loop {
        let connection = &mut *ledger.reader().await?;
        let rows = read::positions_behind(connection, fold.partition, last, PAGE_ROWS).await?;
        let Some(row) = rows.last() else { break };
        last = (row.location, row.item);
        for row in rows {
            let id = (row.location, row.item);
            if position_differs(fold, id, Some(&row)).is_err() {
                suspects.positions.push(id);
            }
            fold.positions.entry(id).and_modify(|sums| sums.seen = true);
        }
    }
    let mut last = (Uuid::nil(), i32::MIN);
    loop {
        let connection = &mut *ledger.reader().await?;
        let rows = read::requests_behind(connection, fold.partition, last, PAGE_ROWS).await?;
        let Some(row) = rows.last() else { break };
        last = (row.digest, row.location);
        for row in rows {
            let id = (row.digest, row.location);
            if request_differs(fold, across, id, Some(&row)).is_err() {
                suspects.requests.push(id);
            }
            fold.requests.entry(id).and_modify(|asked| asked.seen = true);
        }
    }
    let positions = fold.positions.iter().filter(|(_, sums)| !sums.seen);
    suspects.positions.extend(positions.map(|(id, _)| *id));
    let requests = fold.requests.iter().filter(|(_, asked)| !asked.seen);
    suspects.requests.extend(requests.map(|(id, _)| *id));
    suspects.reservations = promises::look_at_all(ledger, fold, &across.successions).await?;
    Ok(suspects)
}

/// Looks at suspects again and returns those that still do not fit, and the first difference.
pub(super) async fn look_again(
    connection: &mut PgConnection,
    fold: &Fold,
    across: &Across,
    suspects: &Suspects,
) -> Result<(Suspects, Option<String>), Stop> {
    let mut left = Suspects::default();
    let mut first = None;
    for ids in suspects.positions.chunks(PAGE_ROWS as usize) {
        let rows = read::positions_of(connection, fold.partition, ids).await?;
        let rows: FxHashMap<_, _> = by_id(rows, |row| (row.location, row.item));
        for &id in ids {
            if let Err(difference) = position_differs(fold, id, rows.get(&id)) {
                left.positions.push(id);
                first = first.or(Some(difference));
            }
        }
    }
    for ids in suspects.requests.chunks(PAGE_ROWS as usize) {
        let digests: Vec<_> = ids.iter().map(|(digest, _)| *digest).collect();
        let rows = read::requests_of(connection, fold.partition, &digests).await?;
        let rows: FxHashMap<_, _> = by_id(rows, |row| (row.digest, row.location));
        for &id in ids {
            if let Err(difference) = request_differs(fold, across, id, rows.get(&id)) {
                left.requests.push(id);
                first = first.or(Some(difference));
            }
        }
    }
    let reservations = &suspects.reservations;
    let (reservations, difference) =
        promises::look_again(connection, fold, &across.successions, reservations).await?;
    left.reservations = reservations;
    Ok((left, first.or(difference)))
}

fn by_id<K: Eq + std::hash::Hash, R>(rows: Vec<R>, id: impl Fn(&R) -> K) -> FxHashMap<K, R> {
    rows.into_iter().map(|row| (id(&row), row)).collect()
}

fn position_differs(fold: &Fold, id: PositionId, row: Option<&PositionRow>) -> Result<(), String> {
    let name = || position_name(fold.partition, id);
    let sums = fold.positions.get(&id);
    let (row, sums) = both(row, sums, name)?;
    let Sums { balances, reserved, seq, fact_at, doubtful_at, .. } = sums;
    let [sellable, staged, blocked, in_transit, expected] = *balances;
    let (count, folded) = sums.fold(&fold.corrections);
    let fact_at = fact_at.unwrap_or(Timestamp::Y2000);
    let columns = [
        ("sellable", Some(row.sellable), Some(sellable)),
        ("staged", Some(row.staged), Some(staged)),
        ("blocked", Some(row.blocked), Some(blocked)),
        ("in_transit", Some(row.in_transit), Some(in_transit)),
        ("expected", Some(row.expected), Some(expected)),
        ("reserved", Some(row.reserved), Some(*reserved)),
        ("seq", Some(row.seq), Some(*seq)),
        ("fact_at", Some(row.fact_at.0.0), Some(fact_at.0)),
        ("doubtful_at", row.doubtful_at.map(|at| at.0.0), doubtful_at.map(|at| at.0)),
        ("count_at", row.count_at.map(|at| at.0.0), count.map(|(at, _)| at.0)),
        ("count_seq", row.count_seq, count.map(|(_, seq)| seq)),
        ("sellable", Some(row.sellable), Some(folded)),
    ];
    text(differs(name, &columns))
}

fn request_differs(
    fold: &Fold,
    across: &Across,
    id: RequestId,
    row: Option<&RequestRow>,
) -> Result<(), String> {
    let name = || {
        let (Partition(partition), (digest, location)) = (fold.partition, id);
        format!("request partition={partition} digest={digest} location={location}")
    };
    let asked: Option<&Asked> = fold.requests.get(&id);
    let (row, asked) = both(row, asked, name)?;
    let corrected: Option<Seq> = match asked.seq {
        Some(seq) => fold.corrections.get(&seq).copied(),
        None => fold.waiting.get(&id).copied(),
    };
    let returned = across.returned.get(&(fold.partition, id)).copied().filter(|units| *units != 0);
    let columns = [
        ("seq", row.seq, asked.seq),
        ("returned", row.returned, returned),
        ("corrected_seq", row.corrected_seq, corrected),
    ];
    text(differs(name, &columns))
}

/// Both, or neither where there is nothing and nothing should be.
fn both<'r, R, F>(
    row: Option<&'r R>,
    folded: Option<&'r F>,
    name: impl Fn() -> String,
) -> Result<(&'r R, &'r F), String> {
    match (row, folded) {
        (Some(row), Some(folded)) => Ok((row, folded)),
        (None, _) => Err(format!("{}: row is missing", name())),
        (Some(_), None) => Err(format!("{}: no entry explains this row", name())),
    }
}
