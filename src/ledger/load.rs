//! What a batch reads under the lock, partition by partition: the head with requests and positions in
//! one statement, and one for each other kind of row that it needs.
//!
//! Rows are looked up key by key, in lateral subqueries that `offset 0` keeps the planner from
//! rearranging: whatever it believes about the size of a table, a key is looked up in its index. On a
//! table that was never analysed it would rather read the whole partition once.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    ledger::{
        batch_rows::{HeadRow, PositionRow, QuotaRow, RequestRow},
        fault::{Defect, Fault},
        head::Locked,
        reservation::{load_holds, load_pickups, load_reservations, load_versions},
        rows,
        rows::meaning,
        sql_time::At,
    },
    stock::{
        book::{Announcement, Book, DocumentLine, Needs, Request, RequestKey},
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
        kind::{Kind, StockState},
        position::{History, HistoryFrom, Mark, Position, Step},
        time::Timestamp,
    },
};

/// Makes the book of a batch whose `partitions` are locked: their heads, and what is needed at first.
pub(crate) async fn open(
    connection: &mut PgConnection,
    partitions: &[Partition],
    needs: &Needs,
) -> Result<(Vec<Locked>, Book), Fault> {
    let mut book = Book::new(Timestamp::MIN, FxHashMap::default());
    let heads = load(connection, partitions, needs, &mut book).await?;
    open_at(&mut book, &heads);
    Ok((heads, book))
}

/// Says in a book where the heads stand, and when the batch is recorded.
pub(crate) fn open_at(book: &mut Book, heads: &[Locked]) {
    // Time never runs backwards within a partition.
    let moments = heads.iter().flat_map(|locked| [locked.now, locked.head.recorded_at]);
    book.now = moments.max().unwrap_or(book.now);
    book.heads = heads.iter().map(|locked| (locked.head.partition, locked.head.seq)).collect();
    book.epochs = heads.iter().map(|locked| (locked.head.partition, locked.head.epoch)).collect();
}

/// Reads what is needed into the book. Returns the heads of `partitions`, in order.
pub(crate) async fn load(
    connection: &mut PgConnection,
    partitions: &[Partition],
    needs: &Needs,
    book: &mut Book,
) -> Result<Vec<Locked>, Fault> {
    let mut requests = by_partition(&needs.requests, |key| key.place.partition);
    let mut positions = by_partition(&needs.positions, |key| key.place.partition);
    let named = requests.keys().chain(positions.keys()).chain(partitions).copied();
    let mut heads = Vec::new();
    for partition in named.collect::<BTreeSet<_>>() {
        let requests = requests.remove(&partition).unwrap_or_default();
        let positions = positions.remove(&partition).unwrap_or_default();
        let locked = load_stock(connection, partition, &requests, &positions, book).await?;
        heads.extend(Some(locked).filter(|_| partitions.contains(&partition)));
    }
    for (partition, lines) in by_partition(&needs.announcements, |line| line.place.partition) {
        load_announcements(connection, partition, &lines, book).await?;
    }
    for (partition, refs) in by_partition(&needs.entries, |at| at.partition) {
        let seqs: Vec<_> = refs.iter().map(|at| at.seq).collect();
        for stored in rows::entries(connection, partition, &seqs).await? {
            book.entries.insert(stored.entry.at(), stored.entry);
        }
    }
    for (partition, keys) in by_partition(&needs.holds, |key| key.partition) {
        load_holds(connection, partition, &keys, book).await?;
    }
    for (partition, made) in by_partition(&needs.reservations, |at| at.partition) {
        load_reservations(connection, partition, &made, book).await?;
    }
    for &place in &needs.pickups {
        load_pickups(connection, place, book).await?;
    }
    for (partition, wanted) in by_partition(&needs.versions, |(at, _)| at.partition) {
        load_versions(connection, partition, &wanted, book).await?;
    }
    let mut starts = BTreeMap::new();
    for &(key, from) in &needs.histories {
        let from = history_start(connection, key, from).await?;
        let start = starts.entry(key).or_insert(from);
        *start = from.min(*start);
    }
    for (key, from) in starts {
        let history = load_history(connection, key, from).await?;
        book.positions.entry(key).or_default().history = Some(history);
    }
    Ok(heads)
}

fn by_partition<'n, T: Ord>(
    needs: impl IntoIterator<Item = &'n T>,
    partition: impl Fn(&T) -> Partition,
) -> BTreeMap<Partition, Vec<&'n T>> {
    let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for need in needs {
        parts.entry(partition(need)).or_default().push(need);
    }
    parts
}

/// Requests, positions and their quotas, with the head of their partition. A partition without any quota
/// costs one look at their index. Whoever holds the lock must have been
/// granted it before this statement began: joined with the lock it would see the state from before.
async fn load_stock(
    connection: &mut PgConnection,
    partition: Partition,
    requests: &[&RequestKey],
    positions: &[&PositionKey],
    book: &mut Book,
) -> Result<Locked, Fault> {
    let rows = sqlx::query!(
        r#"select row(epoch, seq, recorded_at, system_identifier, timeline, chain_seq, chain_hash,
               clock_timestamp(),
               (select system_identifier from pg_control_system()),
               ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,
               current_setting('synchronous_standby_names') <> '')::head_row_2 as "head?: HeadRow",
               null::request_row as "request?: RequestRow",
               null::position_row as "position?: PositionRow", null::quota_row as "quota?: QuotaRow"
           from ledger_head where partition = $1
           union all
           select null, row(r.digest, r.location, r.seq, r.returned, r.corrected_seq)::request_row,
               null, null
           from unnest($2::uuid[], $5::int[]) as wanted (digest, location)
           cross join lateral (
               select * from request
               where partition = $1 and digest = wanted.digest and location = wanted.location
               offset 0
           ) as r
           union all
           select null, null, row(p.location, p.item, p.sellable, p.staged, p.blocked, p.in_transit,
               p.expected, p.reserved, p.seq, p.fact_at, p.count_at, p.count_seq,
               p.doubtful_at)::position_row, null
           from unnest($3::int[], $4::int[]) as wanted (location, item)
           cross join lateral (
               select * from position
               where partition = $1 and location = wanted.location and item = wanted.item offset 0
           ) as p
           union all
           select null, null, null, row(q.location, q.item, q.channel, q.units, q.soft,
               q.borrow_after_us, q.used, q.used_at, q.since_seq)::quota_row
           from unnest($3::int[], $4::int[]) as wanted (location, item)
           cross join lateral (
               select * from quota
               where partition = $1 and location = wanted.location and item = wanted.item offset 0
           ) as q
           where (select exists (select from quota where partition = $1))"#,
        partition.0,
        &requests.iter().map(|key| Uuid::from_u128(key.digest.0)).collect::<Vec<_>>(),
        &positions.iter().map(|key| key.place.location.0).collect::<Vec<_>>(),
        &positions.iter().map(|key| key.item.0).collect::<Vec<_>>(),
        &requests.iter().map(|key| key.place.location.0).collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read a head, requests and positions"))?;
    book.requests.extend(requests.iter().map(|&&key| (key, Request::default())));
    book.positions.extend(positions.iter().map(|&&key| (key, Position::default())));
    // What is read once more is read anew.
    positions.iter().for_each(|key| drop(book.quotas.remove(key)));
    let mut head = None;
    for row in rows {
        head = row.head.or(head);
        book.requests.extend(row.request.map(|row| row.request(partition)));
        book.positions.extend(row.position.map(|row| row.position(partition)));
        if let Some((key, quota)) = row.quota.map(|row| row.quota(partition)) {
            book.quotas.entry(key).or_default().push(quota);
        }
    }
    let missing = || Fault::defect("read a head", Defect::HeadMissing(partition.0));
    Ok(head.ok_or_else(missing)?.locked(partition))
}

async fn load_announcements(
    connection: &mut PgConnection,
    partition: Partition,
    lines: &[&DocumentLine],
    book: &mut Book,
) -> Result<(), Fault> {
    let documents: BTreeSet<_> = lines.iter().map(|line| &*line.document).collect();
    let documents: Vec<_> = documents.into_iter().collect();
    let rows = sqlx::query!(
        r#"select e.location as "location!", e.item as "item!", e.document as "document!",
               e.document_line, e.kind as "kind?", e.legs as "legs?", e.from_state, e.to_state,
               e.quantity as "quantity?",
               exists (
                   select from ledger_entry c
                   where c.partition = $1 and c.location = e.location and c.item = e.item
                       and c.kind = 12 and c.refers_to_seq = e.seq and c.seq > e.seq
               ) as "corrected?",
               null::bigint as carried_announced, null::bigint as carried_expected,
               null::bigint as carried_receipts
           from unnest($2::text[]) as wanted (document)
           cross join lateral (
               select * from ledger_entry
               where partition = $1 and document = wanted.document offset 0
           ) as e
           union all
           select c.location, c.item, c.document, c.document_line, null, null, null, null, null,
               null, c.announced, c.expected, c.receipts
           from unnest($2::text[]) as wanted (document)
           cross join lateral (
               select * from carried_announcement
               where partition = $1 and document = wanted.document offset 0
           ) as c"#,
        partition.0,
        documents as _,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read announcements"))?;
    book.announcements.extend(lines.iter().map(|&line| (line.clone(), Announcement::default())));
    for row in rows {
        let line = DocumentLine {
            place: Place { partition, location: LocationNo(row.location) },
            item: ItemNo(row.item),
            document: row.document,
            line: u32::try_from(row.document_line.unwrap_or(0)).unwrap_or(0),
        };
        let Some(announcement) = book.announcements.get_mut(&line) else { continue };
        announcement.announced += row.carried_announced.unwrap_or(0);
        announcement.expected += row.carried_expected.unwrap_or(0);
        announcement.receipts += row.carried_receipts.unwrap_or(0);
        let (Some(kind), Some(legs), Some(quantity)) = (row.kind, row.legs, row.quantity) else {
            continue;
        };
        let expected = Some(StockState::Expected as i16);
        let enters = legs & 2 != 0 && row.to_state == expected;
        let leaves = legs & 1 != 0 && row.from_state == expected;
        let change = quantity * (i64::from(enters) - i64::from(leaves));
        announcement.expected += change;
        let stands = row.corrected != Some(true);
        match meaning("kind", kind, Kind::of(i32::from(kind)))? {
            Kind::Expect | Kind::Adjust if stands => announcement.announced += change,
            Kind::Receipt if stands => announcement.receipts += 1,
            _ => {}
        }
    }
    Ok(())
}

async fn history_start(
    connection: &mut PgConnection,
    key: PositionKey,
    from: HistoryFrom,
) -> Result<Timestamp, Fault> {
    match from {
        HistoryFrom::At(at) => Ok(at),
        HistoryFrom::CountBefore(mark) => {
            Ok(count_before(connection, key, mark).await?.unwrap_or(Timestamp::MIN))
        }
    }
}

async fn count_before(
    connection: &mut PgConnection,
    key: PositionKey,
    mark: Mark,
) -> Result<Option<Timestamp>, Fault> {
    let at = sqlx::query_scalar!(
        r#"select max(e.effective_at) as "at: At" from ledger_entry e
           where e.partition = $1 and e.location = $2 and e.item = $3 and e.kind = 11
               and (e.effective_at, e.seq) < ($4, $5::bigint)
               and not exists (
                   select from ledger_entry c
                   where c.partition = $1 and c.location = $2 and c.item = $3
                       and c.kind = 12 and c.refers_to_seq = e.seq
               )"#,
        key.place.partition.0,
        key.place.location.0,
        key.item.0,
        At(mark.at) as _,
        mark.seq,
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::doing("find the count before"))?;
    Ok(at.map(|at| at.0))
}

/// Until when facts of a position may be archived; `None`: none of it is.
async fn archived_until(
    connection: &mut PgConnection,
    key: PositionKey,
) -> Result<Option<Timestamp>, Fault> {
    let until = sqlx::query_scalar!(
        r#"select recorded_at as "until: At" from archived_slice
           where partition = $1 and exists (
               select from carried_position
               where partition = $1 and location = $2 and item = $3
           ) order by last_seq desc limit 1"#,
        key.place.partition.0,
        key.place.location.0,
        key.item.0,
    )
    .fetch_optional(connection)
    .await
    .map_err(Fault::doing("read until when a position is archived"))?;
    Ok(until.map(|until| until.0))
}

/// The uncorrected facts of a position from `from` on, as far as they are not archived. A correction takes effect at the time of what
/// it corrects, so it lies in the same range.
async fn load_history(
    connection: &mut PgConnection,
    key: PositionKey,
    from: Timestamp,
) -> Result<History, Fault> {
    let (archived_until, from) = match archived_until(&mut *connection, key).await? {
        Some(until) => (until, from.max(until.saturating_add(1))),
        None => (Timestamp::MIN, from),
    };
    let rows = sqlx::query!(
        r#"select e.effective_at as "effective_at: At", e.seq, e.kind, e.legs, e.from_state,
               e.to_state, e.quantity
           from ledger_entry e
           where e.partition = $1 and e.location = $2 and e.item = $3 and e.kind in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16)
               and e.effective_at >= coalesce($4, '-infinity'::timestamptz)
               and not exists (
                   select from ledger_entry c
                   where c.partition = $1 and c.location = $2 and c.item = $3
                       and c.kind = 12 and c.refers_to_seq = e.seq
               )"#,
        key.place.partition.0,
        key.place.location.0,
        key.item.0,
        (from != Timestamp::MIN).then_some(At(from)) as _,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read the history of a position"))?;
    let mut history = History { from, archived_until, steps: BTreeMap::new() };
    let sellable = Some(StockState::Sellable as i16);
    for row in rows {
        let enters = row.legs & 2 != 0 && row.to_state == sellable;
        let leaves = row.legs & 1 != 0 && row.from_state == sellable;
        let step = if row.kind == Kind::Count as i16 {
            Step::Set(row.quantity)
        } else {
            Step::Add(row.quantity * (i64::from(enters) - i64::from(leaves)))
        };
        if step != Step::Add(0) {
            history.steps.insert(Mark { at: row.effective_at.0, seq: row.seq }, step);
        }
    }
    Ok(history)
}
