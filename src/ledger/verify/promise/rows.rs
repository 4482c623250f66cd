//! The rows of reservations, as the verifier reads them: pages in order of their numbers, or some.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    ledger::{fault::Fault, sql_time::At},
    stock::ids::{Partition, Seq},
};

/// Everything that is stored under one number.
#[derive(Default)]
pub(super) struct Rows {
    pub reservation: Option<ReservationRow>,
    /// In order.
    pub lines: Vec<LineRow>,
    /// In order.
    pub versions: Vec<VersionRow>,
}

/// A row of `reservation` but for its partition.
pub(super) struct ReservationRow {
    pub no: i64,
    pub epoch: i64,
    pub version: i64,
    pub code_hash: i64,
    pub created_at: At,
    pub ready_by: At,
    pub changed_at: At,
    pub answer_by: Option<At>,
    pub paid_at: Option<At>,
    pub location: i32,
    pub channel: Option<i32>,
    pub state: i16,
    pub settlement: i16,
    pub cancelled_by: Option<i16>,
    pub hold: Option<Uuid>,
    pub held_as: Option<Uuid>,
    pub order_ref: Option<String>,
    pub customer_ref: Option<String>,
    pub reason: Option<String>,
    pub successor: Option<String>,
    pub predecessor: Option<String>,
}

/// A row of `reservation_line` but for its partition.
pub(super) struct LineRow {
    pub no: i64,
    pub line: i16,
    pub item: i32,
    pub quantity: i64,
    pub picked: i64,
    pub collected: i64,
    pub shelved: i64,
}

/// A row of `reservation_version` but for its partition.
pub(super) struct VersionRow {
    pub no: i64,
    pub version: i64,
    pub snapshot: String,
}

/// One list of columns for every way to choose reservations.
macro_rules! select_reservations {
    ($filter:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            ReservationRow,
            r#"select no, epoch, version, code_hash, created_at as "created_at: At",
                   ready_by as "ready_by: At", changed_at as "changed_at: At",
                   answer_by as "answer_by: At", paid_at as "paid_at: At", location, channel,
                   state, settlement, cancelled_by, hold, held_as, order_ref, customer_ref, reason,
                   successor, predecessor
               from reservation "# + $filter,
            $($argument),+
        )
    };
}

/// The next reservations behind number `after`, with everything between them: also what belongs to
/// no reservation. The other number is where the page ends.
pub(super) async fn page_behind(
    connection: &mut PgConnection,
    partition: Partition,
    after: Seq,
    rows_max: i64,
) -> Result<(Seq, BTreeMap<Seq, Rows>), Fault> {
    let chosen = select_reservations!(
        "where partition = $1 and no > $2 order by no limit $3",
        partition.0,
        after,
        rows_max
    );
    let reservations = chosen.fetch_all(&mut *connection).await;
    let reservations = reservations.map_err(Fault::doing("read reservations in order"))?;
    let full = reservations.len() as i64 == rows_max;
    let until = reservations.last().filter(|_| full).map_or(Seq::MAX, |last| last.no);
    let lines = sqlx::query_as!(
        LineRow,
        "select no, line, item, quantity, picked, collected, shelved from reservation_line
         where partition = $1 and no > $2 and no <= $3 order by no, line",
        partition.0,
        after,
        until,
    );
    let lines = lines.fetch_all(&mut *connection).await;
    let versions = sqlx::query_as!(
        VersionRow,
        r#"select no, version, snapshot::text as "snapshot!" from reservation_version
           where partition = $1 and no > $2 and no <= $3 order by no, version"#,
        partition.0,
        after,
        until,
    );
    let versions = versions.fetch_all(connection).await;
    let lines = lines.map_err(Fault::doing("read lines of reservations in order"))?;
    let versions = versions.map_err(Fault::doing("read versions of reservations in order"))?;
    Ok((until, by_no(reservations, lines, versions)))
}

/// What is stored under these numbers.
pub(super) async fn under(
    connection: &mut PgConnection,
    partition: Partition,
    numbers: &[Seq],
) -> Result<BTreeMap<Seq, Rows>, Fault> {
    let chosen =
        select_reservations!("where partition = $1 and no = any($2)", partition.0, numbers);
    let reservations = chosen.fetch_all(&mut *connection).await;
    let lines = sqlx::query_as!(
        LineRow,
        "select no, line, item, quantity, picked, collected, shelved from reservation_line
         where partition = $1 and no = any($2) order by no, line",
        partition.0,
        numbers,
    );
    let lines = lines.fetch_all(&mut *connection).await;
    let versions = sqlx::query_as!(
        VersionRow,
        r#"select no, version, snapshot::text as "snapshot!" from reservation_version
           where partition = $1 and no = any($2) order by no, version"#,
        partition.0,
        numbers,
    );
    let versions = versions.fetch_all(connection).await;
    let reservations = reservations.map_err(Fault::doing("read reservations again"))?;
    let lines = lines.map_err(Fault::doing("read lines of reservations again"))?;
    let versions = versions.map_err(Fault::doing("read versions of reservations again"))?;
    Ok(by_no(reservations, lines, versions))
}

fn by_no(
    reservations: Vec<ReservationRow>,
    lines: Vec<LineRow>,
    versions: Vec<VersionRow>,
) -> BTreeMap<Seq, Rows> {
    let mut rows: BTreeMap<Seq, Rows> = BTreeMap::new();
    for row in reservations {
        let no = row.no;
        rows.entry(no).or_default().reservation = Some(row);
    }
    for line in lines {
        rows.entry(line.no).or_default().lines.push(line);
    }
    for version in versions {
        rows.entry(version.no).or_default().versions.push(version);
    }
    rows
}
