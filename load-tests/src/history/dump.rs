//! Appends the ledger to a history, row by row, in one snapshot.
#![expect(clippy::disallowed_types, reason = "a checker must not read through what it checks")]

use anyhow::Context as _;
use futures::TryStreamExt as _;
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};

use super::{
    Record, Recorder,
    ledger::{Entry, Head, Item, Location, Position, Reservation},
};

const ENTRIES: &str = "
    select partition, seq, kind, location, item, legs, coalesce(from_state, 0::smallint),
        coalesce(to_state, 0::smallint), quantity, sellable_after, reserved_change, reserved_after,
        key, flags, coalesce(counter_location, 0), coalesce(counter_seq, 0),
        coalesce(refers_to_seq, 0), coalesce(reservation_id, ''),
        coalesce(reservation_state, 0::smallint),
        (extract(epoch from effective_at) * 1000000)::bigint,
        (extract(epoch from recorded_at) * 1000000)::bigint
    from ledger_entry order by partition, seq";

const RESERVATIONS: &str = "
    select r.partition, r.no, r.epoch, r.location, r.state,
        (extract(epoch from r.expires_at) * 1000000)::bigint,
        array_agg(l.item order by l.line), array_agg(l.quantity order by l.line),
        array_agg(l.picked order by l.line)
    from reservation r join reservation_line l using (partition, no)
    group by r.partition, r.no order by r.partition, r.no";

/// Appends everything that the checker judges.
///
/// # Errors
/// The database is away.
pub async fn dump(database_url: &str, recorder: &Recorder) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(database_url).await.context("cannot dump")?;
    let mut snapshot =
        connection.begin_with("begin isolation level repeatable read read only").await?;
    let locations = "select location_no, location_id, partition from location order by location_no";
    write(&mut snapshot, recorder, locations, |row| {
        let (no, id, partition) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Record::Location(Location { no, id, partition }))
    })
    .await?;
    write(&mut snapshot, recorder, "select item_no, sku from item order by item_no", |row| {
        Ok(Record::Item(Item { no: row.try_get(0)?, sku: row.try_get(1)? }))
    })
    .await?;
    let heads = "select partition, epoch, seq from ledger_head order by partition";
    write(&mut snapshot, recorder, heads, |row| {
        let (partition, epoch, seq) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Record::Head(Head { partition, epoch, seq }))
    })
    .await?;
    write(&mut snapshot, recorder, ENTRIES, |row| Ok(Record::Entry(Box::new(entry(row)?)))).await?;
    let positions = "select partition, location, item, sellable, staged, blocked, in_transit,
             expected, reserved, seq from position order by partition, location, item";
    write(&mut snapshot, recorder, positions, |row| Ok(Record::Position(position(row)?))).await?;
    write(&mut snapshot, recorder, RESERVATIONS, |row| Ok(Record::Reservation(reservation(row)?)))
        .await?;
    Ok(snapshot.rollback().await?)
}

async fn write(
    connection: &mut PgConnection,
    recorder: &Recorder,
    select: &'static str,
    record: impl Fn(&PgRow) -> anyhow::Result<Record>,
) -> anyhow::Result<()> {
    let mut rows = sqlx::query(select).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        recorder.write(&record(&row)?);
    }
    Ok(())
}

fn entry(row: &PgRow) -> anyhow::Result<Entry> {
    Ok(Entry {
        partition: row.try_get(0)?,
        seq: row.try_get(1)?,
        kind: row.try_get(2)?,
        location: row.try_get(3)?,
        item: row.try_get(4)?,
        legs: row.try_get(5)?,
        from: row.try_get(6)?,
        to: row.try_get(7)?,
        quantity: row.try_get(8)?,
        sellable_after: row.try_get(9)?,
        reserved_change: row.try_get(10)?,
        reserved_after: row.try_get(11)?,
        key: row.try_get(12)?,
        flags: row.try_get(13)?,
        counter_location: row.try_get(14)?,
        counter_seq: row.try_get(15)?,
        refers_to_seq: row.try_get(16)?,
        reservation: row.try_get(17)?,
        reservation_state: row.try_get(18)?,
        effective_at_us: row.try_get(19)?,
        recorded_at_us: row.try_get(20)?,
    })
}

fn position(row: &PgRow) -> anyhow::Result<Position> {
    let mut balances = [0; 5];
    for (column, balance) in (3..).zip(&mut balances) {
        *balance = row.try_get(column)?;
    }
    Ok(Position {
        partition: row.try_get(0)?,
        location: row.try_get(1)?,
        item: row.try_get(2)?,
        balances,
        reserved: row.try_get(8)?,
        seq: row.try_get(9)?,
    })
}

fn reservation(row: &PgRow) -> anyhow::Result<Reservation> {
    let items: Vec<i32> = row.try_get(6)?;
    let quantities: Vec<i64> = row.try_get(7)?;
    let picked: Vec<i64> = row.try_get(8)?;
    let lines = items.into_iter().zip(quantities).zip(picked);
    Ok(Reservation {
        partition: row.try_get(0)?,
        no: row.try_get(1)?,
        epoch: row.try_get(2)?,
        location: row.try_get(3)?,
        state: row.try_get(4)?,
        expires_at_us: row.try_get(5)?,
        lines: lines.map(|((item, quantity), picked)| (item, quantity, picked)).collect(),
    })
}
