//! What the verifier reads. Everything but the heads, and the search for rows outside of every
//! partition, names its partition.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    ledger::{batch_rows::hash_of, chain::Chain, fault::Fault, head::Head, sql_time::At},
    stock::ids::Partition,
};

/// A head as it is stored, with its chain and the checksum of each.
pub(in crate::ledger) struct HeadRow {
    pub head: Head,
    pub checksum: i64,
    pub chain: Chain,
    pub chain_checksum: i64,
}

/// A row of `position` but for its partition.
pub(super) struct PositionRow {
    pub location: i32,
    pub item: i32,
    pub sellable: i64,
    pub staged: i64,
    pub blocked: i64,
    pub in_transit: i64,
    pub expected: i64,
    pub reserved: i64,
    pub seq: i64,
    pub fact_at: At,
    pub doubtful_at: Option<At>,
    pub count_at: Option<At>,
    pub count_seq: Option<i64>,
}

/// A row of `carried_position` but for its partition.
pub(super) struct CarriedRow {
    pub location: i32,
    pub item: i32,
    pub sellable: i64,
    pub staged: i64,
    pub blocked: i64,
    pub in_transit: i64,
    pub expected: i64,
    pub reserved: i64,
    pub seq: i64,
}

/// A row of `request` but for its partition.
pub(super) struct RequestRow {
    pub digest: Uuid,
    pub location: i32,
    pub seq: Option<i64>,
    pub returned: Option<i64>,
    pub corrected_seq: Option<i64>,
}

struct HeadColumns {
    partition: i16,
    epoch: i64,
    seq: i64,
    recorded_at: At,
    system_identifier: i64,
    timeline: i32,
    checksum: i64,
    chain_seq: i64,
    chain_hash: Vec<u8>,
    chain_checksum: i64,
}

/// One list of columns for every way to choose positions.
macro_rules! select_positions {
    ($filter:literal, $($argument:expr),+) => {
        sqlx::query_as!(
            PositionRow,
            r#"select location, item, sellable, staged, blocked, in_transit, expected, reserved,
                   seq, fact_at as "fact_at: At", doubtful_at as "doubtful_at: At",
                   count_at as "count_at: At", count_seq
               from position "# + $filter,
            $($argument),+
        )
    };
}

/// All heads in one statement: one moment, so that a batch over several partitions is in all of
/// them or in none.
pub(super) async fn heads(connection: &mut PgConnection) -> Result<Vec<HeadRow>, Fault> {
    let rows = sqlx::query_as!(
        HeadColumns,
        r#"select partition, epoch, seq, recorded_at as "recorded_at: At", system_identifier,
               timeline, checksum, chain_seq, chain_hash, chain_checksum
           from ledger_head order by partition"#,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read all heads"))?;
    let head = |row: HeadColumns| HeadRow {
        head: Head {
            partition: Partition(row.partition),
            epoch: row.epoch,
            seq: row.seq,
            recorded_at: row.recorded_at.0,
            system_identifier: row.system_identifier,
            timeline: row.timeline,
        },
        checksum: row.checksum,
        chain: Chain { seq: row.chain_seq, hash: hash_of(&row.chain_hash) },
        chain_checksum: row.chain_checksum,
    };
    Ok(rows.into_iter().map(head).collect())
}

/// The tables that [`next_partitions`] looks at, in order.
pub(super) const TABLES: [&str; 12] = [
    "ledger_entry",
    "position",
    "request",
    "reservation",
    "reservation_line",
    "reservation_version",
    "quota",
    "ledger_batch",
    "archived_slice",
    "archived_entry",
    "carried_position",
    "carried_announcement",
];

/// The lowest partition above `above` that each of the tables has rows of. A few steps down the
/// primary keys, however many rows there are.
pub(super) async fn next_partitions(
    connection: &mut PgConnection,
    above: i16,
) -> Result<[Option<i16>; 12], Fault> {
    let row = sqlx::query!(
        "select (select min(partition) from ledger_entry where partition > $1) as entry,
             (select min(partition) from position where partition > $1) as position,
             (select min(partition) from request where partition > $1) as request,
             (select min(partition) from reservation where partition > $1) as reservation,
             (select min(partition) from reservation_line where partition > $1) as line,
             (select min(partition) from reservation_version where partition > $1) as version,
             (select min(partition) from quota where partition > $1) as quota,
             (select min(partition) from ledger_batch where partition > $1) as batch,
             (select min(partition) from archived_slice where partition > $1) as slice,
             (select min(partition) from archived_entry where partition > $1) as archived,
             (select min(partition) from carried_position where partition > $1) as carried,
             (select min(partition) from carried_announcement where partition > $1) as announced",
        above,
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::doing("look for rows outside of every partition"))?;
    Ok([
        row.entry,
        row.position,
        row.request,
        row.reservation,
        row.line,
        row.version,
        row.quota,
        row.batch,
        row.slice,
        row.archived,
        row.carried,
        row.announced,
    ])
}

/// The partitions that locations belong to.
pub(super) async fn located_partitions(connection: &mut PgConnection) -> Result<Vec<i16>, Fault> {
    sqlx::query_scalar!("select distinct partition from location order by partition")
        .fetch_all(connection)
        .await
        .map_err(Fault::doing("list the partitions of locations"))
}

/// Number and name of every source.
pub(super) async fn sources(connection: &mut PgConnection) -> Result<Vec<(i32, String)>, Fault> {
    let rows = sqlx::query!("select source_no, source from source")
        .fetch_all(connection)
        .await
        .map_err(Fault::doing("list the sources"))?;
    Ok(rows.into_iter().map(|row| (row.source_no, row.source)).collect())
}

/// The first entry behind `seq`.
pub(super) async fn entry_behind(
    connection: &mut PgConnection,
    partition: Partition,
    seq: i64,
) -> Result<Option<i64>, Fault> {
    sqlx::query_scalar!(
        "select min(seq) from ledger_entry where partition = $1 and seq > $2",
        partition.0,
        seq,
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::doing("look behind the head"))
}

/// The first entry up to and with `seq`.
pub(super) async fn entry_until(
    connection: &mut PgConnection,
    partition: Partition,
    seq: i64,
) -> Result<Option<i64>, Fault> {
    sqlx::query_scalar!(
        "select min(seq) from ledger_entry where partition = $1 and seq <= $2",
        partition.0,
        seq,
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::doing("look before where the log begins"))
}

/// The next positions that are carried forward, in order of location and item.
pub(super) async fn carried_behind(
    connection: &mut PgConnection,
    partition: Partition,
    (location, item): (i32, i32),
    rows_max: i64,
) -> Result<Vec<CarriedRow>, Fault> {
    sqlx::query_as!(
        CarriedRow,
        "select location, item, sellable, staged, blocked, in_transit, expected, reserved, seq
         from carried_position where partition = $1 and (location, item) > ($2, $3)
         order by location, item limit $4",
        partition.0,
        location,
        item,
        rows_max,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read what is carried forward"))
}

/// The next positions in order of location and item.
pub(super) async fn positions_behind(
    connection: &mut PgConnection,
    partition: Partition,
    (location, item): (i32, i32),
    rows_max: i64,
) -> Result<Vec<PositionRow>, Fault> {
    select_positions!(
        "where partition = $1 and (location, item) > ($2, $3) order by location, item limit $4",
        partition.0,
        location,
        item,
        rows_max
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read positions in order"))
}

/// These positions, as far as there are any.
pub(super) async fn positions_of(
    connection: &mut PgConnection,
    partition: Partition,
    keys: &[(i32, i32)],
) -> Result<Vec<PositionRow>, Fault> {
    let (locations, items): (Vec<_>, Vec<_>) = keys.iter().copied().unzip();
    select_positions!(
        "where partition = $1
             and (location, item) in (select * from unnest($2::int[], $3::int[]))",
        partition.0,
        &locations,
        &items
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read positions again"))
}

/// The next requests in order of digest and location.
pub(super) async fn requests_behind(
    connection: &mut PgConnection,
    partition: Partition,
    (digest, location): (Uuid, i32),
    rows_max: i64,
) -> Result<Vec<RequestRow>, Fault> {
    sqlx::query_as!(
        RequestRow,
        "select digest, location, seq, returned, corrected_seq from request
         where partition = $1 and (digest, location) > ($2, $3)
         order by digest, location limit $4",
        partition.0,
        digest,
        location,
        rows_max,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read requests in order"))
}

/// The requests with these digests, at any location.
pub(super) async fn requests_of(
    connection: &mut PgConnection,
    partition: Partition,
    digests: &[Uuid],
) -> Result<Vec<RequestRow>, Fault> {
    sqlx::query_as!(
        RequestRow,
        "select digest, location, seq, returned, corrected_seq from request
         where partition = $1 and digest = any($2)",
        partition.0,
        digests,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read requests again"))
}
