//! What a batch writes: its entries, positions and requests in bulk, its head last.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    ledger::{
        entry_row::EntryRow, epoch::Head, fault::Fault, reservation::write_reservations,
        sql_time::At,
    },
    stock::{
        book::{Request, RequestKey},
        entry::Entry,
        ids::{Partition, PositionKey, Seq},
        machine::{Log, Plan},
        position::Position,
        time::Timestamp,
    },
};

/// Everything of one partition but its head.
pub(crate) async fn write(
    connection: &mut PgConnection,
    partition: Partition,
    log: &Log<'_>,
    plan: &Plan<'_>,
) -> Result<(), Fault> {
    let positions = plan.positions.iter().filter(|(key, _)| key.place.partition == partition);
    // A position that the machine only looked at has not moved.
    let moved: Vec<_> = positions.filter(|(_, position)| position.seq > log.base).collect();
    let requests = plan.requests.iter().filter(|(key, _)| key.place.partition == partition);
    let (stored, new): (Vec<_>, Vec<_>) = requests.partition(|(_, request)| request.stored);
    if !log.entries.is_empty() {
        write_facts(connection, partition, &log.entries, &new, &moved).await?;
    } else if !new.is_empty() {
        write_facts(connection, partition, &[], &new, &[]).await?;
    }
    if !stored.is_empty() {
        change_requests(connection, partition, &stored).await?;
    }
    write_reservations(connection, partition, log.base, plan).await
}

/// Moves the head from `before`. Returns the number of rows that it changed, which must be one.
pub(crate) async fn write_head(
    connection: &mut PgConnection,
    head: &Head,
    before: Seq,
) -> Result<u64, Fault> {
    let done = sqlx::query!(
        "update ledger_head set seq = $3, recorded_at = $4, checksum = $5
         where partition = $1 and seq = $2",
        head.partition.0,
        before,
        head.seq,
        At(head.recorded_at) as _,
        head.checksum(),
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("write the head of a partition"))?;
    Ok(done.rows_affected())
}

/// Entries, the requests that they answer first, and the positions as they left them: in one statement,
/// as each costs a round trip under the lock. Each table is changed by one part of it.
async fn write_facts(
    connection: &mut PgConnection,
    partition: Partition,
    entries: &[Entry<'_>],
    requests: &[(&RequestKey, &Request)],
    positions: &[(&PositionKey, &Position)],
) -> Result<(), Fault> {
    sqlx::query!(
        "with entries as (
             insert into ledger_entry (
                 partition, seq, quantity, sellable_after, reserved_change, reserved_after,
                 occurred_at, effective_at, recorded_at, checksum, fingerprint, location, item,
                 source, channel, counter_location, kind, legs, from_state, to_state, flags,
                 utc_offset_minutes, document_line, counter_seq, refers_to_seq, expected_at, key,
                 actor, reason, document, note, reservation_id, hold_id, original_source,
                 original_key, posting_group, reservation_state)
             select $1, entry.* from unnest($2::entry_row_2[]) as entry
         ), requests as (
             insert into request (partition, digest, location, seq, returned, corrected_seq)
             select $1, * from unnest(
                 $3::uuid[], $4::int[], $5::bigint[], $6::bigint[], $7::bigint[])
         )
         insert into position (
             partition, location, item, sellable, staged, blocked, in_transit, expected, reserved,
             seq, fact_at, count_at, count_seq, doubtful_at)
         select $1, * from unnest(
             $8::int[], $9::int[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
             $14::bigint[], $15::bigint[], $16::bigint[], $17::timestamptz[], $18::timestamptz[],
             $19::bigint[], $20::timestamptz[])
         on conflict (partition, location, item) do update set
             sellable = excluded.sellable, staged = excluded.staged, blocked = excluded.blocked,
             in_transit = excluded.in_transit, expected = excluded.expected,
             reserved = excluded.reserved, seq = excluded.seq, fact_at = excluded.fact_at,
             count_at = excluded.count_at, count_seq = excluded.count_seq,
             doubtful_at = excluded.doubtful_at",
        partition.0,
        column(entries, EntryRow) as _,
        &column(requests, |(key, _)| Uuid::from_u128(key.digest.0)),
        &column(requests, |(key, _)| key.place.location.0),
        column(requests, |(_, request)| request.seq) as _,
        column(requests, |(_, request)| returned(request)) as _,
        column(requests, |(_, request)| request.corrected) as _,
        &column(positions, |(key, _)| key.place.location.0),
        &column(positions, |(key, _)| key.item.0),
        &column(positions, |(_, p)| p.sellable),
        &column(positions, |(_, p)| p.staged),
        &column(positions, |(_, p)| p.blocked),
        &column(positions, |(_, p)| p.in_transit),
        &column(positions, |(_, p)| p.expected),
        &column(positions, |(_, p)| p.reserved),
        &column(positions, |(_, p)| p.seq),
        column(positions, |(_, p)| At(p.fact_at.unwrap_or(Timestamp::Y2000))) as _,
        column(positions, |(_, p)| p.count.map(|count| At(count.at))) as _,
        column(positions, |(_, p)| p.count.map(|count| count.seq)) as _,
        column(positions, |(_, p)| p.doubtful_at.map(At)) as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("write entries, requests and positions"))?;
    Ok(())
}

/// An upsert that always finds its row: the conflict looks it up in the index, which a join need not.
async fn change_requests(
    connection: &mut PgConnection,
    partition: Partition,
    requests: &[(&RequestKey, &Request)],
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into request (partition, digest, location, seq, returned, corrected_seq)
         select $1, * from unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[])
         on conflict (partition, digest, location) do update set
             seq = excluded.seq, returned = excluded.returned,
             corrected_seq = excluded.corrected_seq",
        partition.0,
        &column(requests, |(key, _)| Uuid::from_u128(key.digest.0)),
        &column(requests, |(key, _)| key.place.location.0),
        column(requests, |(_, request)| request.seq) as _,
        column(requests, |(_, request)| returned(request)) as _,
        column(requests, |(_, request)| request.corrected) as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("change requests"))?;
    Ok(())
}

fn column<'r, R, T>(rows: &'r [R], value: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// Null where nothing was returned, as for nearly every request.
fn returned(request: &Request) -> Option<i64> {
    (request.returned != 0).then_some(request.returned)
}
