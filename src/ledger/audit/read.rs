//! What an audit reads besides entries and heads. Every statement names its partition.

use sqlx::PgConnection;

use crate::{
    ledger::{batch_rows::hash_of, chain::Link, fault::Fault},
    stock::ids::{Partition, Seq},
};

/// The first rows that the head does not know.
pub(super) struct Behind {
    pub entry: Option<Seq>,
    pub batch: Option<Seq>,
}

struct Row {
    first_seq: i64,
    last_seq: i64,
    epoch: i64,
    previous: Vec<u8>,
    hash: Vec<u8>,
    digests: Option<Vec<u8>>,
}

/// Links behind an entry, of those that end at `until` at the latest, in order.
pub(in crate::ledger) async fn links(
    connection: &mut PgConnection,
    partition: Partition,
    after: Seq,
    until: Seq,
    rows_max: i64,
) -> Result<Vec<Link>, Fault> {
    let rows = sqlx::query_as!(
        Row,
        "select first_seq, last_seq, epoch, previous, hash, digests from ledger_batch
         where partition = $1 and last_seq > $2 and last_seq <= $3 order by last_seq limit $4",
        partition.0,
        after,
        until,
        rows_max,
    )
    .fetch_all(connection)
    .await
    .map_err(Fault::doing("read the chain"))?;
    let link = |row: Row| Link {
        first: row.first_seq,
        last: row.last_seq,
        epoch: row.epoch,
        previous: hash_of(&row.previous),
        hash: hash_of(&row.hash),
        digests: row.digests,
    };
    Ok(rows.into_iter().map(link).collect())
}

/// In one statement, as the head moves on with every batch.
pub(super) async fn behind(
    connection: &mut PgConnection,
    partition: Partition,
) -> Result<Behind, Fault> {
    sqlx::query_as!(
        Behind,
        "select (select min(seq) from ledger_entry where partition = $1 and seq > head.seq)
                 as entry,
             (select min(last_seq) from ledger_batch
              where partition = $1 and last_seq > head.chain_seq) as batch
         from ledger_head head where partition = $1",
        partition.0,
    )
    .fetch_one(connection)
    .await
    .map_err(Fault::doing("look behind the head"))
}
