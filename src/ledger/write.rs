//! What a batch writes: rows that change, then in one statement everything that it adds, with its head.

use sqlx::PgConnection;

use crate::{
    ledger::{
        batch_rows::{BatchRow, LineRow, PositionRow, QuotaRow, RequestRow},
        chain::{Chain, Chained},
        entry_row::EntryRow,
        fault::Fault,
        head::Head,
        reservation::{ReservationRow, change},
        sql_time::At,
    },
    stock::{
        book::{Request, RequestKey},
        ids::{Partition, Seq},
        machine::{Log, Plan},
    },
};

/// Everything of one partition, whose head moves from `before` to `head`. Returns the number of heads
/// that were moved, which must be one.
pub(crate) async fn write(
    connection: &mut PgConnection,
    head: &Head,
    before: Seq,
    chained: &Chained,
    log: &Log<'_>,
    plan: &Plan<'_>,
) -> Result<u64, Fault> {
    let partition = head.partition;
    let requests = plan.requests.iter().filter(|(key, _)| key.place.partition == partition);
    let (stored, new): (Vec<_>, Vec<_>) = requests.partition(|(_, request)| request.stored);
    if !stored.is_empty() {
        change_requests(connection, partition, &stored).await?;
    }
    let quotas = plan.quotas.iter().filter(|(key, _)| key.place.partition == partition);
    let quotas: Vec<_> = quotas
        .flat_map(|(key, quotas)| quotas.iter().map(move |quota| QuotaRow::of((key, quota))))
        .collect();
    if !quotas.is_empty() {
        change_quotas(connection, partition, quotas).await?;
    }
    let promises = plan.reservations.values().filter(|made| made.id.place.partition == partition);
    let (made, changed): (Vec<_>, Vec<_>) = promises.partition(|made| made.id.no > log.base);
    change(connection, partition, &changed, plan).await?;
    let positions = plan.positions.iter().filter(|(key, _)| key.place.partition == partition);
    let added = Added {
        entries: log
            .entries
            .iter()
            .zip(&chained.checksums)
            .map(|(entry, checksum)| EntryRow(entry, *checksum))
            .collect(),
        links: chained.links.iter().map(BatchRow::of).collect(),
        requests: new.into_iter().map(RequestRow::of).collect(),
        // A position that the machine only looked at has not moved.
        positions: positions
            .filter(|(_, position)| position.seq > log.base)
            .map(PositionRow::of)
            .collect(),
        lines: LineRow::all(&made),
        reservations: made.into_iter().map(ReservationRow).collect(),
    };
    add(connection, head, before, &chained.chain, added).await
}

/// What a batch adds to a partition, and the positions as it left them.
struct Added<'p> {
    entries: Vec<EntryRow<'p>>,
    links: Vec<BatchRow>,
    requests: Vec<RequestRow>,
    positions: Vec<PositionRow>,
    reservations: Vec<ReservationRow<'p>>,
    lines: Vec<LineRow>,
}

/// In one statement, as each costs a round trip under the lock. Each table is changed by one part of it.
async fn add(
    connection: &mut PgConnection,
    head: &Head,
    before: Seq,
    chain: &Chain,
    added: Added<'_>,
) -> Result<u64, Fault> {
    let done = sqlx::query!(
        "with entries as (
             insert into ledger_entry (
                 partition, seq, quantity, sellable_after, reserved_change, reserved_after,
                 occurred_at, effective_at, recorded_at, checksum, fingerprint, location, item,
                 source, channel, counter_location, kind, legs, from_state, to_state, flags,
                 utc_offset_minutes, document_line, counter_seq, refers_to_seq, expected_at, key,
                 actor, reason, document, note, reservation_id, hold_id, original_source,
                 original_key, posting_group, reservation_state)
             select $1, entry.* from unnest($6::entry_row_2[]) as entry
         ), requests as (
             insert into request (partition, digest, location, seq, returned, corrected_seq)
             select $1, request.* from unnest($7::request_row[]) as request
         ), positions as (
             insert into position (
                 partition, location, item, sellable, staged, blocked, in_transit, expected,
                 reserved, seq, fact_at, count_at, count_seq, doubtful_at)
             select $1, position.* from unnest($8::position_row[]) as position
             on conflict (partition, location, item) do update set
                 sellable = excluded.sellable, staged = excluded.staged, blocked = excluded.blocked,
                 in_transit = excluded.in_transit, expected = excluded.expected,
                 reserved = excluded.reserved, seq = excluded.seq, fact_at = excluded.fact_at,
                 count_at = excluded.count_at, count_seq = excluded.count_seq,
                 doubtful_at = excluded.doubtful_at
         ), reservations as (
             insert into reservation (
                 partition, no, epoch, version, code_hash, created_at, ready_by, expires_at,
                 changed_at, answer_by, paid_at, location, channel, state, settlement, cancelled_by,
                 ttl_given, hold, held_as, order_ref, customer_ref, reason, successor, predecessor)
             select $1, made.* from unnest($9::reservation_row[]) as made
         ), lines as (
             insert into reservation_line (
                 partition, no, line, item, quantity, picked, collected, shelved)
             select $1, line.* from unnest($10::reservation_line_row[]) as line
         ), batches as (
             insert into ledger_batch (
                 partition, first_seq, last_seq, epoch, previous, hash, digests)
             select $1, batch.* from unnest($11::batch_row[]) as batch
         )
         update ledger_head set
             seq = $3, recorded_at = $4, checksum = $5, chain_seq = $12, chain_hash = $13,
             chain_checksum = $14
         where partition = $1 and seq = $2",
        head.partition.0,
        before,
        head.seq,
        At(head.recorded_at) as _,
        head.checksum(),
        added.entries as _,
        added.requests as _,
        added.positions as _,
        added.reservations as _,
        added.lines as _,
        added.links as _,
        chain.seq,
        &chain.hash,
        chain.checksum(head.partition),
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("write a batch"))?;
    Ok(done.rows_affected())
}

/// An upsert that always finds its row: the conflict looks it up in the index, which a join need not.
async fn change_requests(
    connection: &mut PgConnection,
    partition: Partition,
    requests: &[(&RequestKey, &Request)],
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into request (partition, digest, location, seq, returned, corrected_seq)
         select $1, request.* from unnest($2::request_row[]) as request
         on conflict (partition, digest, location) do update set
             seq = excluded.seq, returned = excluded.returned,
             corrected_seq = excluded.corrected_seq",
        partition.0,
        requests.iter().copied().map(RequestRow::of).collect::<Vec<_>>() as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("change requests"))?;
    Ok(())
}

/// What is used of quotas; the rest of them only whoever puts them changes.
async fn change_quotas(
    connection: &mut PgConnection,
    partition: Partition,
    quotas: Vec<QuotaRow>,
) -> Result<(), Fault> {
    sqlx::query!(
        "update quota set used = changed.used, used_at = changed.used_at
         from unnest($2::quota_row[]) as changed
         where quota.partition = $1 and quota.location = changed.location
             and quota.item = changed.item and quota.channel = changed.channel",
        partition.0,
        quotas as _,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("change quotas"))?;
    Ok(())
}
