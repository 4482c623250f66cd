//! What is used of quotas, against the entries. Each quota is read together with its entries in one
//! statement, so that both are of one moment while others write.

use crate::{
    ledger::{
        Ledger,
        fault::Fault,
        sql_time::At,
        verify::{PAGE_ROWS, Stop, differs},
    },
    stock::ids::Partition,
};

/// Location, item and channel.
type QuotaId = (i32, i32, i32);

/// Looks at every quota of a partition but those of which entries are archived.
pub(super) async fn look_at_all(ledger: &Ledger, partition: Partition) -> Result<(), Stop> {
    let mut last = (i32::MIN, i32::MIN, i32::MIN);
    loop {
        let ids = quotas_behind(ledger, partition, last).await?;
        let Some(&next) = ids.last() else { return Ok(()) };
        last = next;
        for id in ids {
            look_at(ledger, partition, id).await?;
        }
    }
}

/// Adds up what its entries took and gave back, never below nothing. Entries of sales (3, 4), of picking
/// (15, 16) and of requests (from 100 on) do so: what they promise less, or more, than they move.
async fn look_at(ledger: &Ledger, partition: Partition, id: QuotaId) -> Result<(), Stop> {
    let connection = &mut *ledger.reader().await?;
    let rows = sqlx::query!(
        r#"select quota.used, quota.used_at as "used_at: At", entry.recorded_at as "recorded_at?: At",
               entry.reserved_change as "reserved_change?",
               entry.quantity * ((entry.legs & 2 <> 0 and entry.to_state = 1)::int
                   - (entry.legs & 1 <> 0 and entry.from_state = 1)::int) as "moved?"
           from quota
           left join ledger_entry as entry
               on entry.partition = $1 and entry.location = $2 and entry.item = $3
                   and entry.channel = $4 and entry.seq > quota.since_seq
                   and (entry.kind in (3, 4, 15, 16) or entry.kind >= 100)
           where quota.partition = $1 and quota.location = $2 and quota.item = $3
               and quota.channel = $4
           order by entry.seq"#,
        partition.0,
        id.0,
        id.1,
        id.2,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read a quota and its entries"))?;
    // It may have been removed a moment ago.
    let Some(stored) = rows.first() else { return Ok(()) };
    let (mut used, mut used_at) = (0_i64, None);
    for row in &rows {
        let change = row.reserved_change.unwrap_or(0) - row.moved.unwrap_or(0);
        used = (used + change).max(0);
        used_at = row.recorded_at.filter(|_| change > 0).map(|at| at.0.0).or(used_at);
    }
    let put_at = stored.used_at.0.0;
    let name = || {
        let (Partition(partition), (location, item, channel)) = (partition, id);
        format!("quota partition={partition} location={location} item={item} channel={channel}")
    };
    // Never used, it says when it was put, which no entry does.
    differs(
        name,
        &[
            ("used", Some(stored.used), Some(used)),
            ("used_at", Some(put_at), Some(used_at.unwrap_or(put_at))),
        ],
    )
}

async fn quotas_behind(
    ledger: &Ledger,
    partition: Partition,
    last: QuotaId,
) -> Result<Vec<QuotaId>, Fault> {
    let rows = sqlx::query!(
        "select location, item, channel from quota
         where partition = $1 and (location, item, channel) > ($2, $3, $4)
             and since_seq >= coalesce(
                 (select max(last_seq) from archived_slice where partition = $1), 0)
         order by location, item, channel limit $5",
        partition.0,
        last.0,
        last.1,
        last.2,
        PAGE_ROWS,
    )
    .fetch_all(&mut *ledger.reader().await?)
    .await
    .map_err(Fault::doing("list quotas to verify"))?;
    Ok(rows.into_iter().map(|row| (row.location, row.item, row.channel)).collect())
}
