//! Stored reservations against their fold.
//!
//! Deadlines, references and the hash of the pickup code are in no entry. What of them never changes
//! must at least be the same in every version.

use std::ops::Bound::{Excluded, Included};

use rustc_hash::FxHashMap;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Line, Promise, image, reservation_name,
    rows::{LineRow, ReservationRow, Rows, VersionRow, page_behind, under},
};
use crate::{
    ledger::{
        Ledger,
        entry_row::stated,
        verify::{Stop, differs, fold::Fold, text},
    },
    stock::{
        ids::{Partition, Seq},
        reservation::{CancelledBy, Reservation, ReservationId, State},
    },
};

/// Reservations of one page: each has a few lines and versions.
const PAGE_RESERVATIONS: i64 = 1_000;

/// What continues each reservation that was moved, and what it continues.
#[derive(Default)]
pub(in crate::ledger::verify) struct Successions {
    pub successors: FxHashMap<(Partition, Seq), ReservationId>,
    pub predecessors: FxHashMap<(Partition, Seq), ReservationId>,
}

/// Looks at all reservations of a partition once and returns the numbers of those that do not fit.
pub(in crate::ledger::verify) async fn look_at_all(
    ledger: &Ledger,
    fold: &Fold,
    successions: &Successions,
) -> Result<Vec<Seq>, Stop> {
    let mut suspects = Vec::new();
    let mut after = Seq::MIN;
    while after < Seq::MAX {
        let connection = &mut *ledger.reader().await?;
        let page = page_behind(connection, fold.partition, after, PAGE_RESERVATIONS).await?;
        let (until, mut rows) = page;
        for (no, _) in fold.promises.by_no.range((Excluded(after), Included(until))) {
            rows.entry(*no).or_default();
        }
        let differing = rows
            .into_iter()
            .filter(|(no, rows)| reservation_differs(fold, successions, *no, rows).is_err());
        suspects.extend(differing.map(|(no, _)| no));
        after = until;
    }
    Ok(suspects)
}

/// Looks at suspects again and returns those that still do not fit, and the first difference.
pub(in crate::ledger::verify) async fn look_again(
    connection: &mut PgConnection,
    fold: &Fold,
    successions: &Successions,
    suspects: &[Seq],
) -> Result<(Vec<Seq>, Option<String>), Stop> {
    let (mut left, mut first) = (Vec::new(), None);
    for numbers in suspects.chunks(PAGE_RESERVATIONS as usize) {
        let mut rows = under(connection, fold.partition, numbers).await?;
        for &no in numbers {
            let rows = rows.remove(&no).unwrap_or_default();
            if let Err(difference) = reservation_differs(fold, successions, no, &rows) {
                left.push(no);
                first = first.or(Some(difference));
            }
        }
    }
    Ok((left, first))
}

fn reservation_differs(
    fold: &Fold,
    successions: &Successions,
    no: Seq,
    rows: &Rows,
) -> Result<(), String> {
    let partition = fold.partition;
    let promise = fold.promises.by_no.get(&no);
    let name = || reservation_name(partition, no);
    match (promise, &rows.reservation) {
        (Some(promise), Some(row)) => {
            row_differs(promise, successions, row)?;
            lines_differ(promise, &rows.lines)?;
            versions_differ(promise, row, &rows.versions)
        }
        (Some(_), None) => Err(format!("{}: row is missing", name())),
        (None, Some(_)) => Err(format!("{}: no entry explains this row", name())),
        (None, None) => {
            let line = rows.lines.first().map(|line| line_name(partition, no, line.line));
            let version = rows.versions.first().map(|row| version_name(partition, no, row.version));
            let stray = line.or(version);
            stray.map_or(Ok(()), |stray| Err(format!("{stray}: no entry explains this row")))
        }
    }
}

fn row_differs(
    promise: &Promise,
    successions: &Successions,
    row: &ReservationRow,
) -> Result<(), String> {
    let partition = promise.id.place.partition;
    let name = || reservation_name(partition, promise.id.no);
    let columns = [
        ("epoch", Some(row.epoch), Some(promise.id.epoch)),
        ("location", Some(row.location.into()), Some(promise.id.place.location.0.into())),
        ("state", Some(row.state.into()), Some(promise.state as i64)),
        ("version", Some(row.version), Some(promise.version)),
        ("created_at", Some(row.created_at.0.0), Some(promise.created_at.0)),
        ("changed_at", Some(row.changed_at.0.0), Some(promise.changed_at.0)),
        ("channel", row.channel.map(i64::from), promise.channel.map(i64::from)),
    ];
    text(differs(name, &columns))?;
    let digest = promise.hold.map(|hold| Uuid::from_u128(hold.0));
    let (held_as, hold) = if promise.held { (digest, None) } else { (None, digest) };
    let key = (partition, promise.id.no);
    let told = |id: Option<&ReservationId>| id.map(ReservationId::to_string);
    let texts = [
        ("hold", row.hold.map(|hold| hold.to_string()), hold.map(|hold| hold.to_string())),
        ("held_as", row.held_as.map(|hold| hold.to_string()), held_as.map(|hold| hold.to_string())),
        ("successor", row.successor.clone(), told(successions.successors.get(&key))),
        ("predecessor", row.predecessor.clone(), told(successions.predecessors.get(&key))),
    ];
    for (column, found, expected) in texts {
        if found != expected {
            let [found, expected] =
                [found, expected].map(|text| text.unwrap_or_else(|| "null".to_owned()));
            return Err(format!("{}: {column} is {found}, expected {expected}", name()));
        }
    }
    match senseless(promise, row) {
        Some(column) => Err(format!(
            "{}: {column} makes no sense of one that is {}",
            name(),
            promise.state.name()
        )),
        None => Ok(()),
    }
}

/// A column that cannot be worked out and contradicts what can.
fn senseless(promise: &Promise, row: &ReservationRow) -> Option<&'static str> {
    let untouched = promise.lines.iter().all(|line| line.picked == 0);
    let cancelled = match promise.state {
        State::Cancelled => row.cancelled_by.and_then(CancelledBy::of).is_some(),
        State::Rejected => row.cancelled_by.is_none_or(|by| by == CancelledBy::Store as i16),
        _ => row.cancelled_by.is_none(),
    };
    let open = super::is_open(promise.state);
    let paid = row.paid_at.as_ref().is_none_or(|at| {
        let since = row.predecessor.is_some() || at.0 >= promise.created_at;
        since && at.0 <= promise.changed_at
    });
    let columns = [
        ("code_hash", (row.code_hash == 0) == promise.held),
        ("cancelled_by", cancelled),
        ("answer_by", row.answer_by.is_none() || promise.state == State::Reserved && untouched),
        ("paid_at", paid),
        ("ready_by", row.ready_by.0 >= promise.created_at),
        ("reason", row.reason.is_none() || !open),
        ("reason", !is_empty(&row.reason)),
        ("order_ref", !is_empty(&row.order_ref)),
        ("customer_ref", !is_empty(&row.customer_ref)),
    ];
    columns.into_iter().find(|(_, makes_sense)| !makes_sense).map(|(column, _)| column)
}

/// What a null says is never written in another way.
fn is_empty(text: &Option<String>) -> bool {
    text.as_deref() == Some("")
}

fn lines_differ(promise: &Promise, rows: &[LineRow]) -> Result<(), String> {
    let (partition, no) = (promise.id.place.partition, promise.id.no);
    for (line, number) in promise.lines.iter().zip(0i16..) {
        let name = || line_name(partition, no, number);
        let Some(row) = rows.iter().find(|row| row.line == number) else {
            return Err(format!("{}: row is missing", name()));
        };
        let columns = [
            ("item", Some(row.item.into()), Some(line.item.into())),
            ("quantity", Some(row.quantity), Some(line.quantity)),
            ("picked", Some(row.picked), Some(line.picked)),
            ("collected", Some(row.collected), Some(line.collected)),
            ("shelved", Some(row.shelved), Some(line.shelved)),
        ];
        text(differs(name, &columns))?;
    }
    let known = |row: &&LineRow| (0..promise.lines.len() as i16).contains(&row.line);
    match rows.iter().find(|row| !known(row)) {
        Some(row) => {
            Err(format!("{}: no entry explains this row", line_name(partition, no, row.line)))
        }
        None => Ok(()),
    }
}

fn versions_differ(
    promise: &Promise,
    reservation: &ReservationRow,
    rows: &[VersionRow],
) -> Result<(), String> {
    let (partition, no) = (promise.id.place.partition, promise.id.no);
    for (version, expected) in &promise.superseded {
        let name = || version_name(partition, no, *version);
        let Some(row) = rows.iter().find(|row| row.version == *version) else {
            return Err(format!("{}: row is missing", name()));
        };
        let snapshot: Reservation = serde_json::from_str(&row.snapshot)
            .map_err(|_| format!("{}: snapshot is no reservation", name()))?;
        let lines = snapshot.lines.iter().map(|line| Line {
            item: line.item.0,
            quantity: line.quantity,
            picked: line.picked,
            collected: line.collected,
            shelved: line.shelved,
        });
        let found = image(snapshot.version, snapshot.state, snapshot.changed_at, lines);
        if snapshot.id != promise.id || found != *expected {
            return Err(format!("{}: snapshot is not what the entries say", name()));
        }
        if let Some(column) = changed(&snapshot, reservation) {
            let name = reservation_name(partition, no);
            return Err(format!("{name}: {column} was another in version {version}"));
        }
    }
    let known =
        |row: &VersionRow| promise.superseded.iter().any(|(known, _)| *known == row.version);
    match rows.iter().find(|row| !known(row)) {
        Some(row) => {
            Err(format!("{}: no entry explains this row", version_name(partition, no, row.version)))
        }
        None => Ok(()),
    }
}

/// A column that no step changes, or in one direction only, and that is another than it was.
fn changed(snapshot: &Reservation, row: &ReservationRow) -> Option<&'static str> {
    let columns = [
        ("code_hash", row.code_hash == snapshot.code_hash),
        ("ready_by", row.ready_by.0 >= snapshot.ready_by),
        ("settlement", row.settlement == snapshot.settlement as i16),
        ("order_ref", row.order_ref.as_deref() == stated(&snapshot.order_ref)),
        ("customer_ref", row.customer_ref.as_deref() == stated(&snapshot.customer_ref)),
    ];
    columns.into_iter().find(|(_, same)| !same).map(|(column, _)| column)
}

fn line_name(Partition(partition): Partition, no: Seq, line: i16) -> String {
    format!("reservation_line partition={partition} no={no} line={line}")
}

fn version_name(Partition(partition): Partition, no: Seq, version: Seq) -> String {
    format!("reservation_version partition={partition} no={no} version={version}")
}
