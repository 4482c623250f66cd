//! Quotas: put under the lock of the partitions that they belong to, and read.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    ledger::{
        Ledger,
        fault::{Answered as _, Fault},
        head::lock_statement,
        load::{load, open_at},
        network::{Change, policy::Numbers},
        queries::numbers,
        sql_time::At,
    },
    stock::{
        book::{Book, Needs},
        ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, PositionKey},
        quota::Quota,
        time::{Micros, Timestamp},
    },
};

/// A quota by name, as it is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedQuota {
    /// For whom.
    pub channel_id: String,
    /// Of what.
    pub sku: String,
    /// Where.
    pub location_id: String,
    /// How much; 0: none any more.
    pub units: i64,
    /// Whether others may have what was not used for a while.
    pub soft: bool,
    /// For how long.
    pub borrow_after: Micros,
}

/// A quota as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredQuota {
    /// By name.
    pub named: NamedQuota,
    /// By number.
    pub quota: Quota,
    /// Its item.
    pub item: ItemNo,
    /// What it keeps from others at this moment.
    pub fenced: i64,
}

/// What became of quotas that were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutQuotas {
    /// All of them are stored.
    Put,
    /// One names something that there is not: which, and the field.
    NameUnknown(usize, &'static str),
}

/// A quota with its numbers.
struct Resolved<'q> {
    key: PositionKey,
    channel: ChannelNo,
    named: &'q NamedQuota,
}

impl Ledger {
    /// Puts quotas, all or none: what is used of each counts from now on. Each must be of another
    /// channel, item and location.
    ///
    /// # Errors
    /// The database is away, or a head was not to be had for 5 s.
    pub async fn put_quotas(&self, quotas: &[NamedQuota]) -> Result<PutQuotas, Fault> {
        let subject = quotas.first().map_or("", |quota| &quota.location_id);
        let detail = format!("{} quotas", quotas.len());
        let change = Change { what: "quotas", subject, detail: &detail, ..Change::default() };
        let (mut transaction, revision) = self.begin_put(change).await?;
        let connection = &mut *transaction;
        let resolved = match resolve(connection, quotas).await? {
            Ok(resolved) => resolved,
            Err((index, field)) => {
                transaction.rollback().await.map_err(Fault::doing("put no quotas"))?;
                return Ok(PutQuotas::NameUnknown(index, field));
            }
        };
        let mut parts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for quota in &resolved {
            parts.entry(quota.key.place.partition).or_default().push(quota);
        }
        // Whoever writes to a partition locks its head, and nobody who holds a head waits for the lock
        // of the revision.
        let wait = "set local lock_timeout = 5000".to_owned();
        let locks = parts.keys().map(|&partition| lock_statement(partition));
        let statements: Vec<_> = std::iter::once(wait).chain(locks).collect();
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.join("; ")));
        statements
            .execute(&mut *connection)
            .await
            .map_err(Fault::doing("lock heads for quotas"))?;
        for (&partition, quotas) in &parts {
            put_all(connection, partition, quotas).await?;
            remove_all(connection, partition, quotas).await?;
            note_positions(connection, partition, quotas, revision).await?;
        }
        transaction.commit().await.map_err(Fault::doing("commit quotas"))?;
        self.directory().refresh().await?;
        Ok(PutQuotas::Put)
    }

    /// Quotas of a location behind an item and a channel, in order of these numbers.
    ///
    /// # Errors
    /// The database is away.
    pub async fn quotas(
        &self,
        (place, location_id): (Place, &str),
        among: Option<&[ChannelNo]>,
        after: (i32, i32),
        rows_max: i64,
    ) -> Result<Vec<StoredQuota>, Fault> {
        let channels = numbers(among, |channel| channel.0);
        let rows = sqlx::query!(
            r#"select item, channel, units, soft, borrow_after_us, used,
                   used_at as "used_at: At", since_seq, clock_timestamp() as "now!: At",
                   (select sku from item where item_no = quota.item) as "sku!",
                   (select channel_id from channel where channel_no = quota.channel)
                       as "channel_id!"
               from quota
               where partition = $1 and location = $2 and (item, channel) > ($3, $4)
                   and ($6::int[] is null or channel = any($6))
               order by item, channel limit $5"#,
            place.partition.0,
            place.location.0,
            after.0,
            after.1,
            rows_max,
            channels as _,
        )
        .fetch_all(&self.readers)
        .answered("list quotas")
        .await?;
        let stored = rows.into_iter().map(|row| {
            let quota = Quota {
                channel: ChannelNo(row.channel),
                units: row.units,
                soft: row.soft,
                borrow_after: row.borrow_after_us,
                since: row.since_seq,
                used: row.used,
                used_at: row.used_at.0,
            };
            let named = NamedQuota {
                channel_id: row.channel_id,
                sku: row.sku,
                location_id: location_id.to_owned(),
                units: row.units,
                soft: row.soft,
                borrow_after: row.borrow_after_us,
            };
            StoredQuota { named, quota, item: ItemNo(row.item), fenced: quota.fenced(row.now.0) }
        });
        Ok(stored.collect())
    }

    /// Positions with all their quotas, and the clock of the ledger: each partition as of one moment.
    ///
    /// # Errors
    /// The database is away.
    pub async fn positions_with_quotas(&self, keys: &[PositionKey]) -> Result<Book, Fault> {
        let needs = Needs { positions: keys.iter().copied().collect(), ..Needs::default() };
        let mut partitions: Vec<_> = keys.iter().map(|key| key.place.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let mut book = Book::new(Timestamp::MIN, Default::default());
        let heads = load(&mut *self.reader().await?, &partitions, &needs, &mut book).await?;
        open_at(&mut book, &heads);
        Ok(book)
    }
}

/// The numbers of all names; in vain, which quota names what is unknown.
async fn resolve<'q>(
    connection: &mut PgConnection,
    quotas: &'q [NamedQuota],
) -> Result<Result<Vec<Resolved<'q>>, (usize, &'static str)>, Fault> {
    let skus: Vec<_> = quotas.iter().map(|quota| &*quota.sku).collect();
    let locations: Vec<_> = quotas.iter().map(|quota| &*quota.location_id).collect();
    let channels: Vec<_> = quotas.iter().map(|quota| &*quota.channel_id).collect();
    let numbers = Numbers::named(connection, &skus, &locations).await?;
    let channels = sqlx::query!(
        "select channel_id, channel_no from channel where channel_id = any($1)",
        channels as _,
    )
    .fetch_all(&mut *connection)
    .answered("look up the channels of quotas")
    .await?;
    let partitions = sqlx::query!(
        "select location_no, partition from location where location_id = any($1)",
        locations as _,
    )
    .fetch_all(connection)
    .answered("look up the partitions of quotas")
    .await?;
    let partition = |location: LocationNo| {
        let found = partitions.iter().find(|row| row.location_no == location.0);
        found.map(|row| Place { partition: Partition(row.partition), location })
    };
    let find = |named: &'q NamedQuota| {
        let channel = channels.iter().find(|row| row.channel_id == named.channel_id);
        let channel = ChannelNo(channel.ok_or("channel_id")?.channel_no);
        let item = numbers.item(&named.sku).ok_or("sku")?;
        let place = numbers.location(&named.location_id).and_then(partition);
        let place = place.ok_or("location_id")?;
        Ok(Resolved { key: PositionKey { place, item }, channel, named })
    };
    let found = quotas.iter().enumerate();
    Ok(found.map(|(index, named)| find(named).map_err(|field| (index, field))).collect())
}

/// Counted from the head on, which the caller has locked.
async fn put_all(
    connection: &mut PgConnection,
    partition: Partition,
    quotas: &[&Resolved<'_>],
) -> Result<(), Fault> {
    let quotas: Vec<_> = quotas.iter().filter(|quota| quota.named.units > 0).collect();
    sqlx::query!(
        "insert into quota (partition, location, item, channel, units, soft, borrow_after_us, used,
             used_at, since_seq)
         select $1, put.location, put.item, put.channel, put.units, put.soft, put.borrow_after_us, 0,
             greatest(head.recorded_at, clock_timestamp()), head.seq
         from unnest($2::int[], $3::int[], $4::int[], $5::bigint[], $6::bool[], $7::bigint[])
             as put (location, item, channel, units, soft, borrow_after_us)
         cross join (select seq, recorded_at from ledger_head where partition = $1) as head
         on conflict (partition, location, item, channel) do update set
             units = excluded.units, soft = excluded.soft,
             borrow_after_us = excluded.borrow_after_us, used = excluded.used,
             used_at = excluded.used_at, since_seq = excluded.since_seq",
        partition.0,
        &quotas.iter().map(|quota| quota.key.place.location.0).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.key.item.0).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.channel.0).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.named.units).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.named.soft).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.named.borrow_after).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("put quotas"))?;
    Ok(())
}

async fn remove_all(
    connection: &mut PgConnection,
    partition: Partition,
    quotas: &[&Resolved<'_>],
) -> Result<(), Fault> {
    let quotas: Vec<_> = quotas.iter().filter(|quota| quota.named.units == 0).collect();
    sqlx::query!(
        "delete from quota using unnest($2::int[], $3::int[], $4::int[]) as gone (location, item, channel)
         where quota.partition = $1 and quota.location = gone.location
             and quota.item = gone.item and quota.channel = gone.channel",
        partition.0,
        &quotas.iter().map(|quota| quota.key.place.location.0).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.key.item.0).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.channel.0).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("remove quotas"))?;
    Ok(())
}

/// Says for every server which of the positions have quotas now.
async fn note_positions(
    connection: &mut PgConnection,
    partition: Partition,
    quotas: &[&Resolved<'_>],
    revision: i64,
) -> Result<(), Fault> {
    sqlx::query!(
        "insert into quota_position (location_no, item_no, active, revision)
         select distinct touched.location, touched.item, exists (
             select from quota
             where quota.partition = $1 and quota.location = touched.location
                 and quota.item = touched.item
         ), $4::bigint
         from unnest($2::int[], $3::int[]) as touched (location, item)
         on conflict (location_no, item_no) do update set
             active = excluded.active, revision = excluded.revision",
        partition.0,
        &quotas.iter().map(|quota| quota.key.place.location.0).collect::<Vec<_>>(),
        &quotas.iter().map(|quota| quota.key.item.0).collect::<Vec<_>>(),
        revision,
    )
    .execute(connection)
    .await
    .map_err(Fault::doing("note which positions have quotas"))?;
    Ok(())
}
