//! Reservations: what a batch reads and writes of them under the lock, and how they are found.

mod find;
mod row;

use sqlx::{PgConnection, types::Json};
use uuid::Uuid;

pub use self::find::{Due, Filter, PromiseOrder};
pub(crate) use self::row::ReservationRow;
use self::row::{Row, assemble};
use crate::{
    ledger::{batch_rows::LineRow, fault::Fault},
    stock::{
        book::{Book, HoldKey, HoldUse},
        ids::{EntryRef, Partition, Place, Seq},
        machine::Plan,
        reservation::Reservation,
    },
};

/// One list of columns for every way to choose reservations, a row a line.
macro_rules! select_reservations {
    ($from:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"select r.no, r.epoch, r.version, r.code_hash, r.created_at as "created_at: At",
                   r.ready_by as "ready_by: At", r.expires_at as "expires_at: At",
                   r.changed_at as "changed_at: At", r.answer_by as "answer_by: At",
                   r.paid_at as "paid_at: At", r.location, r.channel, r.state, r.settlement,
                   r.cancelled_by, r.ttl_given, r.hold, r.held_as, r.order_ref, r.customer_ref,
                   r.reason, r.successor, r.predecessor, l.item, l.quantity, l.picked, l.collected,
                   l.shelved "# + $from,
            $($argument),+
        )
    };
}
pub(crate) use select_reservations;

use crate::ledger::sql_time::At;

/// What the ledger knows of holds.
pub(crate) async fn load_holds(
    connection: &mut PgConnection,
    partition: Partition,
    keys: &[&HoldKey],
    book: &mut Book,
) -> Result<(), Fault> {
    let digests: Vec<_> = keys.iter().map(|key| Uuid::from_u128(key.digest.0)).collect();
    let rows = sqlx::query!(
        r#"select wanted.digest as "digest!", held.no as "held?", consuming.no as "consumed_by?"
           from unnest($2::uuid[]) as wanted (digest)
           left join lateral (
               select no from reservation
               where partition = $1 and held_as = wanted.digest offset 0
           ) as held on true
           left join lateral (
               select no from reservation
               where partition = $1 and hold = wanted.digest offset 0
           ) as consuming on true"#,
        partition.0,
        &digests,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read holds"))?;
    let at = |no: Option<Seq>| no.map(|seq| EntryRef { partition, seq });
    for row in rows {
        let digest = crate::stock::hash::Digest(row.digest.as_u128());
        let used = HoldUse { held: at(row.held), consumed_by: at(row.consumed_by) };
        book.holds.insert(HoldKey { partition, digest }, used);
    }
    Ok(())
}

/// Open reservations of a location, and when each is ready. Those of which that was before this quarter of
/// an hour are in nobody's way.
pub(crate) async fn load_pickups(
    connection: &mut PgConnection,
    place: Place,
    book: &mut Book,
) -> Result<(), Fault> {
    let rows = sqlx::query!(
        r#"select no, ready_by as "ready_by: At" from reservation
           where partition = $1 and location = $2 and state in (1, 2, 3) and held_as is null
               and ready_by >= clock_timestamp() - interval '15 minutes'"#,
        place.partition.0,
        place.location.0,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read when reservations of a location are ready"))?;
    let at = |seq| EntryRef { partition: place.partition, seq };
    let rows = rows.into_iter().map(|row| (at(row.no), row.ready_by.0));
    book.pickups.insert(place, rows.collect());
    Ok(())
}

/// Reservations as they are now.
pub(crate) async fn load_reservations(
    connection: &mut PgConnection,
    partition: Partition,
    made: &[&EntryRef],
    book: &mut Book,
) -> Result<(), Fault> {
    let numbers: Vec<_> = made.iter().map(|at| at.seq).collect();
    book.reservations.extend(made.iter().map(|&&at| (at, None)));
    for reservation in by_number(connection, partition, &numbers).await? {
        book.reservations.insert(reservation.at(), Some(reservation));
    }
    Ok(())
}

/// The reservations with these numbers, as they are now.
pub(crate) async fn by_number(
    connection: &mut PgConnection,
    partition: Partition,
    numbers: &[Seq],
) -> Result<Vec<Reservation>, Fault> {
    let chosen = select_reservations!(
        "from unnest($2::bigint[]) as wanted (number)
         cross join lateral (
             select * from reservation
             where partition = $1 and no = wanted.number offset 0
         ) as r
         cross join lateral (
             select * from reservation_line
             where partition = $1 and no = wanted.number offset 0
         ) as l
         order by r.no, l.line",
        partition.0,
        numbers
    );
    let rows = chosen.fetch_all(connection).await.map_err(Fault::doing("read reservations"))?;
    assemble(partition, rows)
}

/// Reservations as they stood after earlier steps.
pub(crate) async fn load_versions(
    connection: &mut PgConnection,
    partition: Partition,
    wanted: &[&(EntryRef, Seq)],
    book: &mut Book,
) -> Result<(), Fault> {
    let numbers: Vec<_> = wanted.iter().map(|(at, _)| at.seq).collect();
    let versions: Vec<_> = wanted.iter().map(|(_, version)| *version).collect();
    let rows = sqlx::query_scalar!(
        r#"select v.snapshot as "snapshot: Json<Reservation>"
           from unnest($2::bigint[], $3::bigint[]) as wanted (no, version)
           cross join lateral (
               select snapshot from reservation_version
               where partition = $1 and no = wanted.no and version = wanted.version offset 0
           ) as v"#,
        partition.0,
        &numbers,
        &versions,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read earlier states of reservations"))?;
    for Json(reservation) in rows {
        book.versions.insert((reservation.at(), reservation.version), reservation);
    }
    Ok(())
}

/// What a plan says of reservations of one partition that there were before, and of what they replace.
pub(crate) async fn change(
    connection: &mut PgConnection,
    partition: Partition,
    changed: &[&Reservation],
    plan: &Plan<'_>,
) -> Result<(), Fault> {
    if !changed.is_empty() {
        change_reservations(connection, partition, changed).await?;
        drop_lines(connection, partition, changed).await?;
        put_lines(connection, partition, changed).await?;
    }
    let superseded = plan.superseded.iter();
    let superseded: Vec<_> =
        superseded.filter(|before| before.id.place.partition == partition).collect();
    if superseded.is_empty() {
        return Ok(());
    }
    add_versions(connection, partition, &superseded).await
}

/// Only what a step can change. An upsert that always finds its row: the conflict looks it up in the
/// index, which a join need not.
async fn change_reservations(
    connection: &mut PgConnection,
    partition: Partition,
    reservations: &[&Reservation],
) -> Result<(), Fault> {
    let rows: Vec<_> = reservations.iter().map(|made| ReservationRow(made)).collect();
    sqlx::query!(
        "insert into reservation (
             partition, no, epoch, version, code_hash, created_at, ready_by, expires_at, changed_at,
             answer_by, paid_at, location, channel, state, settlement, cancelled_by, ttl_given,
             hold, held_as, order_ref, customer_ref, reason, successor, predecessor)
         select $1, made.* from unnest($2::reservation_row[]) as made
         on conflict (partition, no) do update set
             version = excluded.version, ready_by = excluded.ready_by,
             expires_at = excluded.expires_at,
             changed_at = excluded.changed_at, answer_by = excluded.answer_by,
             paid_at = excluded.paid_at, state = excluded.state,
             cancelled_by = excluded.cancelled_by, ttl_given = excluded.ttl_given,
             reason = excluded.reason, successor = excluded.successor",
        partition.0,
        rows as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("change reservations"))?;
    Ok(())
}

/// An amended reservation may have fewer lines.
async fn drop_lines(
    connection: &mut PgConnection,
    partition: Partition,
    reservations: &[&Reservation],
) -> Result<(), Fault> {
    let numbers: Vec<_> = reservations.iter().map(|made| made.id.no).collect();
    let lines: Vec<_> = reservations.iter().map(|made| made.lines.len() as i16).collect();
    sqlx::query!(
        "delete from reservation_line
         where partition = $1 and (no, line) in (
             select old.no, old.line
             from unnest($2::bigint[], $3::smallint[]) as kept (no, lines)
             cross join lateral (
                 select no, line from reservation_line
                 where partition = $1 and no = kept.no and line >= kept.lines offset 0
             ) as old
         )",
        partition.0,
        &numbers,
        &lines,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("drop lines of reservations"))?;
    Ok(())
}

async fn put_lines(
    connection: &mut PgConnection,
    partition: Partition,
    reservations: &[&Reservation],
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into reservation_line (
             partition, no, line, item, quantity, picked, collected, shelved)
         select $1, line.* from unnest($2::reservation_line_row[]) as line
         on conflict (partition, no, line) do update set
             item = excluded.item, quantity = excluded.quantity, picked = excluded.picked,
             collected = excluded.collected, shelved = excluded.shelved",
        partition.0,
        LineRow::all(reservations) as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("write lines of reservations"))?;
    Ok(())
}

async fn add_versions(
    connection: &mut PgConnection,
    partition: Partition,
    reservations: &[&Reservation],
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into reservation_version (partition, no, version, snapshot)
         select $1, * from unnest($2::bigint[], $3::bigint[], $4::jsonb[])",
        partition.0,
        &reservations.iter().map(|made| made.id.no).collect::<Vec<_>>(),
        &reservations.iter().map(|made| made.version).collect::<Vec<_>>(),
        &reservations.iter().map(|made| Json(*made)).collect::<Vec<_>>() as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("keep earlier states of reservations"))?;
    Ok(())
}
