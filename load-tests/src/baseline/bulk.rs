//! The raw limit: the rows of sales by bulk statements into the schema of the ledger.
#![expect(clippy::disallowed_types, reason = "a baseline is SQL of its own")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::ensure;
use futures::future::try_join_all;
use rand::Rng as _;
use sqlx::{
    Connection as _, Encode, PgConnection, PgTransaction, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, types::Oid},
    types::Uuid,
};

use super::connect;
use crate::sales::Sale;

/// Lines of one transaction.
const TRANSACTION_LINES: usize = 1_000;
/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH_SHIFT: i64 = 946_684_800_000_000;

/// What of an entry is written.
const ENTRY_COLUMNS: &str = "partition, seq, quantity, sellable_after, reserved_change,
    reserved_after, occurred_at, effective_at, recorded_at, checksum, fingerprint, location, item,
    source, channel, kind, legs, from_state, to_state, flags, utc_offset_minutes, document_line,
    key, document";

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By `insert ... select unnest`.
    Insert,
    /// By `copy ... from stdin`.
    Copy,
}

/// Writes sales over one or two connections.
#[derive(Debug)]
pub struct Bulk {
    connections: Vec<PgConnection>,
    /// Of every shop.
    partitions: Vec<i16>,
    /// Last sequence number of every partition.
    heads: BTreeMap<i16, i64>,
}

impl Bulk {
    /// Connects.
    ///
    /// # Errors
    /// The database is away.
    pub async fn connect(url: &str, partitions: &[i16]) -> anyhow::Result<Bulk> {
        let connections = vec![connect(url).await?, connect(url).await?];
        let heads = partitions.iter().map(|&partition| (partition, 0)).collect();
        Ok(Bulk { connections, partitions: partitions.to_vec(), heads })
    }

    /// Writes sales over `connections` connections, each with partitions of its own, and says how
    /// long that took; sorting the sales into transactions beforehand is not counted.
    ///
    /// # Errors
    /// A statement fails.
    pub async fn write(
        &mut self,
        sales: &[Sale],
        connections: usize,
        how: How,
    ) -> anyhow::Result<Duration> {
        let mut parts: BTreeMap<i16, Vec<&Sale>> = BTreeMap::new();
        for sale in sales {
            parts.entry(self.partitions[sale.location]).or_default().push(sale);
        }
        let mut work: Vec<Vec<Rows>> = (0..connections).map(|_| Vec::new()).collect();
        for (number, (partition, sales)) in parts.into_iter().enumerate() {
            let head = self.heads.entry(partition).or_default();
            for sales in sales.chunks(TRANSACTION_LINES) {
                work[number % connections].push(Rows::of(partition, *head, sales));
                *head += sales.len() as i64;
            }
        }
        let started = Instant::now();
        let writing = work.iter().zip(&mut self.connections).map(|(rows, connection)| async move {
            for rows in rows {
                rows.write(connection, how).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(writing).await?;
        Ok(started.elapsed())
    }
}

/// The rows of one transaction, column by column.
#[derive(Debug, Default)]
struct Rows {
    partition: i16,
    head: i64,
    seqs: Vec<i64>,
    quantities: Vec<i64>,
    moments: Vec<Moment>,
    locations: Vec<i32>,
    items: Vec<i32>,
    lines: Vec<i32>,
    documents: Vec<String>,
    keys: Vec<String>,
    digests: Vec<Uuid>,
    hashes: Vec<i64>,
    /// Units sold of every position.
    sold: BTreeMap<(i32, i32), i64>,
}

impl Rows {
    fn of(partition: i16, head: i64, sales: &[&Sale]) -> Rows {
        let mut rng = rand::rng();
        let mut rows = Rows { partition, head, ..Rows::default() };
        for (seq, sale) in (head + 1..).zip(sales) {
            let (location, item) = (sale.location as i32 + 1, sale.item as i32 + 1);
            rows.seqs.push(seq);
            rows.quantities.push(sale.quantity);
            rows.moments.push(Moment(sale.occurred_at));
            rows.locations.push(location);
            rows.items.push(item);
            rows.lines.push(sale.document_line as i32);
            rows.documents.push(sale.document.clone());
            rows.keys.push(sale.key.clone());
            rows.digests.push(Uuid::from_u128(rng.random()));
            rows.hashes.push(rng.random());
            *rows.sold.entry((location, item)).or_default() += sale.quantity;
        }
        rows
    }

    async fn write(&self, connection: &mut PgConnection, how: How) -> anyhow::Result<()> {
        let mut transaction = connection.begin().await?;
        match how {
            How::Insert => self.insert(&mut transaction).await?,
            How::Copy => self.copy(&mut transaction).await?,
        }
        let (places, sold): (Vec<(i32, i32)>, Vec<i64>) = self.sold.iter().unzip();
        let (locations, items): (Vec<i32>, Vec<i32>) = places.into_iter().unzip();
        let head = self.head + self.seqs.len() as i64;
        sqlx::query(
            "update position p set sellable = p.sellable - sold.units, seq = $5, fact_at = now()
             from unnest($2::int[], $3::int[], $4::bigint[]) as sold (location, item, units)
             where p.partition = $1 and p.location = sold.location and p.item = sold.item",
        )
        .bind(self.partition)
        .bind(locations)
        .bind(items)
        .bind(sold)
        .bind(head)
        .execute(&mut *transaction)
        .await?;
        let moved = sqlx::query(
            "update ledger_head set seq = $3, recorded_at = now()
             where partition = $1 and seq = $2",
        )
        .bind(self.partition)
        .bind(self.head)
        .bind(head)
        .execute(&mut *transaction)
        .await?;
        ensure!(moved.rows_affected() == 1, "the head has moved");
        Ok(transaction.commit().await?)
    }

    async fn insert(&self, transaction: &mut PgTransaction<'_>) -> anyhow::Result<()> {
        sqlx::query(
            "insert into ledger_entry (
                 partition, seq, quantity, sellable_after, reserved_change, reserved_after,
                 occurred_at, effective_at, recorded_at, checksum, fingerprint, location, item,
                 source, channel, kind, legs, from_state, to_state, flags, utc_offset_minutes,
                 document_line, key, document)
             select $1, seq, quantity, quantity, 0, 0, at, at, now(), hash, hash, location, item, 1,
                 1, 3, 3, 1, 6, 0, 60, line, key, document
             from unnest($2::bigint[], $3::bigint[], $4::timestamptz[], $5::bigint[], $6::int[],
                 $7::int[], $8::int[], $9::text[], $10::text[])
                 as sale (seq, quantity, at, hash, location, item, line, key, document)",
        )
        .bind(self.partition)
        .bind(&self.seqs)
        .bind(&self.quantities)
        .bind(&self.moments)
        .bind(&self.hashes)
        .bind(&self.locations)
        .bind(&self.items)
        .bind(&self.lines)
        .bind(&self.keys)
        .bind(&self.documents)
        .execute(&mut **transaction)
        .await?;
        sqlx::query(
            "insert into request (partition, digest, location, seq)
             select $1, * from unnest($2::uuid[], $3::int[], $4::bigint[])",
        )
        .bind(self.partition)
        .bind(&self.digests)
        .bind(&self.locations)
        .bind(&self.seqs)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// The same rows as text.
    async fn copy(&self, transaction: &mut PgTransaction<'_>) -> anyhow::Result<()> {
        let (mut entries, mut requests) = (String::new(), String::new());
        for (row, seq) in self.seqs.iter().enumerate() {
            let (partition, location, item) =
                (self.partition, self.locations[row], self.items[row]);
            let (quantity, hash, line) = (self.quantities[row], self.hashes[row], self.lines[row]);
            let (key, document) = (&self.keys[row], &self.documents[row]);
            let at = jiff::Timestamp::from_microsecond(self.moments[row].0)?;
            writeln!(
                entries,
                "{partition}\t{seq}\t{quantity}\t{quantity}\t0\t0\t{at}\t{at}\t{at}\t{hash}\t\
                 {hash}\t{location}\t{item}\t1\t1\t3\t3\t1\t6\t0\t60\t{line}\t{key}\t{document}"
            )?;
            writeln!(requests, "{partition}\t{}\t{location}\t{seq}", self.digests[row])?;
        }
        let statement = format!("copy ledger_entry ({ENTRY_COLUMNS}) from stdin");
        let mut copy = transaction.copy_in_raw(&statement).await?;
        copy.send(entries.as_bytes()).await?;
        copy.finish().await?;
        let statement = "copy request (partition, digest, location, seq) from stdin";
        let mut copy = transaction.copy_in_raw(statement).await?;
        copy.send(requests.as_bytes()).await?;
        copy.finish().await?;
        Ok(())
    }
}

/// Microseconds since 1970 as a `timestamptz`.
#[derive(Clone, Copy, Debug)]
struct Moment(i64);

impl Type<Postgres> for Moment {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(&(self.0 - EPOCH_SHIFT).to_be_bytes());
        Ok(IsNull::No)
    }
}
