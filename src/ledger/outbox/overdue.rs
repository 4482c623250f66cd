//! Goods that should have arrived from another location by now.

use rustc_hash::FxHashMap;

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        rows,
        sql_time::At,
    },
    stock::{
        entry::{Entry, Flags},
        ids::{Partition, Seq},
        time::Timestamp,
    },
};

/// What became due in a span of time.
#[derive(Debug)]
pub struct Overdue {
    /// The database's clock: up to here nothing was left out, unless there is more.
    pub until: Timestamp,
    /// Where to go on; `None`: there is no more.
    pub more_behind: Option<(Timestamp, Seq)>,
    /// Shipments, as their receivers' entries tell of them, with checksums and how many units are still
    /// on their way.
    pub shipments: Vec<(Entry<'static>, i64, i64)>,
}

impl Ledger {
    /// Shipments to a partition that became overdue behind a place in time and are not received, by the
    /// time at which they did, at most `rows_max`. First in, first out, as nobody says which goods of an
    /// item have arrived.
    ///
    /// # Errors
    /// The database is away.
    pub async fn overdue(
        &self,
        partition: Partition,
        (after, after_seq): (Timestamp, Seq),
        rows_max: i64,
    ) -> Result<Overdue, Fault> {
        let mut connection = self.courier().await?;
        let until = sqlx::query_scalar!(r#"select now() as "now!: At""#)
            .fetch_one(&mut *connection)
            .answered("read the clock for transfers")
            .await?;
        let rows = sqlx::query!(
            r#"select e.seq, least(e.quantity, p.in_transit - later.units) as "open!",
                   greatest(e.expected_at, e.recorded_at) as "due_at!: At"
               from ledger_entry e
               join position p
                   on p.partition = $1 and p.location = e.location and p.item = e.item
               cross join lateral (
                   select coalesce(sum(l.quantity), 0)::bigint as units from ledger_entry l
                   where l.partition = $1 and l.location = e.location and l.item = e.item
                       and l.to_state = 4 and l.legs & 2 <> 0 and l.kind <> 12
                       and (l.effective_at, l.seq) > (e.effective_at, e.seq)
                       and not exists (
                           select from ledger_entry c
                           where c.partition = $1 and c.location = l.location
                               and c.item = l.item and c.kind = 12 and c.refers_to_seq = l.seq
                       )
               ) as later
               where e.partition = $1 and e.kind = 6 and e.legs & 2 <> 0
                   and e.expected_at is not null
                   and greatest(e.expected_at, e.recorded_at) between $2 and $3
                   and (greatest(e.expected_at, e.recorded_at), e.seq) > ($2, $4)
                   and p.in_transit > later.units
                   and not exists (
                       select from ledger_entry c
                       where c.partition = $1 and c.location = e.location and c.item = e.item
                           and c.kind = 12 and c.refers_to_seq = e.seq
                   )
               order by greatest(e.expected_at, e.recorded_at), e.seq limit $5"#,
            partition.0,
            At(after) as At,
            until as At,
            after_seq,
            rows_max,
        )
        .fetch_all(&mut *connection)
        .answered("look for overdue transfers")
        .await?;
        let full = rows.len() as i64 >= rows_max;
        let more_behind = rows.last().filter(|_| full).map(|row| (row.due_at.0, row.seq));
        let open: FxHashMap<Seq, i64> = rows.iter().map(|row| (row.seq, row.open)).collect();
        let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
        let stored = rows::entries(&mut connection, partition, &seqs).await?;
        let listed = stored.into_iter().filter(|stored| !stored.entry.flags.has(Flags::ARCHIVED));
        let shipments = listed.map(|stored| {
            let units = open.get(&stored.entry.seq).copied().unwrap_or(0);
            (stored.entry, stored.checksum, units)
        });
        Ok(Overdue { until: until.0, more_behind, shipments: shipments.collect() })
    }
}
