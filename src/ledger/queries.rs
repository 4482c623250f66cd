//! Reads of the ledger outside a batch: short, without locks, one partition at a time.

use rustc_hash::FxHashMap;
use sqlx::PgConnection;
use uuid::Uuid;

pub use crate::ledger::names::Names;
use crate::{
    ledger::{
        Ledger,
        archive::{PastError, archived, nothing_archived_behind},
        fault::{Answered as _, Fault},
        load::load,
        rows,
        sql_time::At,
    },
    stock::{
        book::{Book, Needs},
        entry::{Entry, Flags},
        hash::Digest,
        ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
        position::Position,
        time::Timestamp,
    },
};

/// A request that was found by source and key, without its location.
#[derive(Clone, Copy, Debug)]
pub struct FoundRequest {
    /// Source and key.
    pub digest: Digest,
    /// Where.
    pub place: Place,
    /// Whether it is posted; if not, it is only awaited there.
    pub posted: bool,
    /// When it was posted.
    pub recorded_at: Option<Timestamp>,
    /// Where its other half is.
    pub counter_place: Option<Place>,
}

/// Which entries to list. Every filter is optional.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Only this location.
    pub place: Option<Place>,
    /// Only these locations; `None`: any.
    pub places: Option<Vec<Place>>,
    /// Only these channels, and what is of none; `None`: any.
    pub channels: Option<Vec<ChannelNo>>,
    /// Only this item.
    pub item: Option<ItemNo>,
    /// Only this document.
    pub document: Option<String>,
    /// Only what took effect at this moment or later.
    pub effective_from: Option<Timestamp>,
    /// Only what took effect before this moment.
    pub effective_until: Option<Timestamp>,
}

impl Ledger {
    /// Requests with these digests, in any partition.
    ///
    /// # Errors
    /// The database is away.
    pub async fn find_requests(&self, digests: &[Digest]) -> Result<Vec<FoundRequest>, Fault> {
        let partitions = self.partitions().await?;
        simulated!(self.simulated => |database| database.requests(partitions, digests.to_vec()));
        let digests: Vec<_> = digests.iter().map(|digest| Uuid::from_u128(digest.0)).collect();
        let mut connection = self.reader().await?;
        let mut found = Vec::new();
        for &partition in partitions {
            found.extend(find_requests(&mut connection, partition, &digests).await?);
        }
        Ok(found)
    }

    /// Which of these keys are known in a partition.
    ///
    /// # Errors
    /// The database is away.
    pub async fn known_requests(
        &self,
        partition: Partition,
        digests: &[Digest],
    ) -> Result<Vec<FoundRequest>, Fault> {
        simulated!(self.simulated => |database| database.requests(&[partition], digests.to_vec()));
        let digests: Vec<_> = digests.iter().map(|digest| Uuid::from_u128(digest.0)).collect();
        find_requests(&mut *self.reader().await?, partition, &digests).await
    }

    /// Up to `rows_max` entries behind `after`, ordered by partition and sequence number.
    ///
    /// # Errors
    /// The database is away.
    pub async fn list_entries(
        &self,
        filter: &EntryFilter,
        after: (Partition, Seq),
        rows_max: i64,
    ) -> Result<Vec<Entry<'static>>, Fault> {
        let partitions = self.partitions().await?;
        let mut connection = self.reader().await?;
        let own = filter.place.map(|place| place.partition);
        let mut entries = Vec::new();
        for &partition in partitions {
            let left = rows_max - entries.len() as i64;
            if own.is_some_and(|own| own != partition) || partition < after.0 || left == 0 {
                continue;
            }
            let mut from = if partition == after.0 { after.1 } else { 0 };
            if let Some(effective_from) = filter.effective_from {
                // Nothing takes effect after it was recorded, so older entries need no look.
                let recorded_before = Timestamp(effective_from.0.saturating_sub(1));
                from = from.max(seq_at(&mut connection, partition, recorded_before).await?);
            }
            let seqs = list_seqs(&mut connection, partition, filter, from, left).await?;
            let stored = rows::entries(&mut connection, partition, &seqs).await?;
            let listed = stored.into_iter().map(|stored| stored.entry);
            // One that is archived by now is none any more.
            entries.extend(listed.filter(|entry| !entry.flags.has(Flags::ARCHIVED)));
        }
        Ok(entries)
    }

    /// Positions as they are now; zeros where there is none.
    ///
    /// # Errors
    /// The database is away.
    pub async fn positions(
        &self,
        keys: &[PositionKey],
    ) -> Result<FxHashMap<PositionKey, Position>, Fault> {
        simulated!(self.simulated => |database| database.positions(keys.to_vec()));
        let mut connection = self.reader().await?;
        let needs = Needs { positions: keys.iter().copied().collect(), ..Needs::default() };
        let mut book = Book::new(Timestamp::MIN, FxHashMap::default());
        load(&mut connection, &[], &needs, &mut book).await?;
        Ok(book.positions)
    }

    /// Positions of one partition directly after `seq`.
    ///
    /// # Errors
    /// Later entries are archived; the database is away.
    pub async fn positions_at(
        &self,
        keys: &[PositionKey],
        partition: Partition,
        seq: Seq,
    ) -> Result<FxHashMap<PositionKey, Position>, PastError> {
        let mut connection = self.reader().await?;
        let own: Vec<_> = keys.iter().filter(|key| key.place.partition == partition).collect();
        let positions = positions_at(&mut connection, partition, &own, seq).await?;
        nothing_archived_behind(&mut connection, partition, seq).await?;
        Ok(positions)
    }

    /// The last entry of a partition that was recorded at `at` or before; 0: none.
    ///
    /// # Errors
    /// Later entries are archived; the database is away.
    pub async fn seq_at(&self, partition: Partition, at: Timestamp) -> Result<Seq, PastError> {
        let mut connection = self.reader().await?;
        let seq = seq_at(&mut connection, partition, at).await?;
        match archived(&mut connection, partition).await? {
            Some(slice) if at < slice.recorded_at => {
                Err(PastError::Archived { until: slice.recorded_at })
            }
            _ => Ok(seq),
        }
    }

    /// Epoch and last sequence number of a partition.
    ///
    /// # Errors
    /// The database is away.
    pub async fn head(&self, partition: Partition) -> Result<Option<(i64, Seq)>, Fault> {
        simulated!(self.simulated => |database| database.head(partition));
        let row =
            sqlx::query!("select epoch, seq from ledger_head where partition = $1", partition.0)
                .fetch_optional(&self.readers)
                .answered("read a head")
                .await?;
        Ok(row.map(|row| (row.epoch, row.seq)))
    }
}

async fn find_requests(
    connection: &mut PgConnection,
    partition: Partition,
    digests: &[Uuid],
) -> Result<Vec<FoundRequest>, Fault> {
    let rows = sqlx::query!(
        r#"select r.digest, r.location, r.seq, e.recorded_at as "recorded_at?: At",
               e.counter_location as "counter_location?",
               (select l.partition from location l where l.location_no = e.counter_location)
                   as counter_partition
           from unnest($2::uuid[]) as wanted (digest)
           cross join lateral (
               select * from request
               where partition = $1 and digest = wanted.digest offset 0
           ) as r
           left join lateral (
               select counter_location, recorded_at from known_entry
               where partition = $1 and seq = r.seq offset 0
           ) as e on true
           order by r.location"#,
        partition.0,
        digests,
    )
    .fetch_all(connection)
    .answered("look requests up")
    .await?;
    let place = |partition, location| Place { partition, location: LocationNo(location) };
    Ok(rows
        .into_iter()
        .map(|row| FoundRequest {
            digest: Digest(row.digest.as_u128()),
            place: place(partition, row.location),
            posted: row.seq.is_some(),
            recorded_at: row.recorded_at.map(|at| at.0),
            counter_place: row
                .counter_partition
                .zip(row.counter_location)
                .map(|(partition, location)| place(Partition(partition), location)),
        })
        .collect())
}

async fn list_seqs(
    connection: &mut PgConnection,
    partition: Partition,
    filter: &EntryFilter,
    after: Seq,
    rows_max: i64,
) -> Result<Vec<Seq>, Fault> {
    let locations = numbers(filter.places.as_deref(), |place| place.location.0);
    let channels = numbers(filter.channels.as_deref(), |channel| channel.0);
    sqlx::query_scalar!(
        "select seq from ledger_entry
         where partition = $1 and seq > $2
             and ($3::int is null or location = $3)
             and ($4::int is null or item = $4)
             and ($5::text is null or document = $5)
             and ($6::timestamptz is null or effective_at >= $6)
             and ($7::timestamptz is null or effective_at < $7)
             and ($9::int[] is null or location = any($9))
             and ($10::int[] is null or channel is null or channel = any($10))
         order by seq limit $8",
        partition.0,
        after,
        filter.place.map(|place| place.location.0),
        filter.item.map(|item| item.0),
        filter.document.as_deref(),
        filter.effective_from.map(At) as _,
        filter.effective_until.map(At) as _,
        rows_max,
        locations as _,
        channels as _,
    )
    .fetch_all(connection)
    .answered("list entries")
    .await
}

/// What a filter by many is asked with.
pub(super) fn numbers<T>(all: Option<&[T]>, number: impl Fn(&T) -> i32) -> Option<Vec<i32>> {
    all.map(|all| all.iter().map(number).collect())
}

async fn positions_at(
    connection: &mut PgConnection,
    partition: Partition,
    keys: &[&PositionKey],
    seq: Seq,
) -> Result<FxHashMap<PositionKey, Position>, Fault> {
    let locations: Vec<_> = keys.iter().map(|key| key.place.location.0).collect();
    let items: Vec<_> = keys.iter().map(|key| key.item.0).collect();
    let rows = sqlx::query!(
        r#"select wanted.location as "location!", wanted.item as "item!",
               sum(sellable)::bigint as "sellable!", sum(staged)::bigint as "staged!",
               sum(blocked)::bigint as "blocked!", sum(in_transit)::bigint as "in_transit!",
               sum(expected)::bigint as "expected!", sum(reserved)::bigint as "reserved!",
               max(seq) as "seq!"
           from (select distinct * from unnest($2::int[], $3::int[]) as pair (location, item))
               as wanted
           cross join lateral (
               select sellable, staged, blocked, in_transit, expected, reserved, seq
               from carried_position
               where partition = $1 and location = wanted.location and item = wanted.item
               union all
               select
                   quantity * ((legs & 2 <> 0 and to_state = 1)::int - (legs & 1 <> 0 and from_state = 1)::int),
                   quantity * ((legs & 2 <> 0 and to_state = 2)::int - (legs & 1 <> 0 and from_state = 2)::int),
                   quantity * ((legs & 2 <> 0 and to_state = 3)::int - (legs & 1 <> 0 and from_state = 3)::int),
                   quantity * ((legs & 2 <> 0 and to_state = 4)::int - (legs & 1 <> 0 and from_state = 4)::int),
                   quantity * ((legs & 2 <> 0 and to_state = 5)::int - (legs & 1 <> 0 and from_state = 5)::int),
                   reserved_change, seq
               from ledger_entry
               where partition = $1 and location = wanted.location and item = wanted.item
                   and seq <= $4 offset 0
           ) as moved
           group by wanted.location, wanted.item"#,
        partition.0,
        &locations,
        &items,
        seq,
    )
    .fetch_all(connection)
    .answered("read earlier positions")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let place = Place { partition, location: LocationNo(row.location) };
            let position = Position {
                sellable: row.sellable,
                staged: row.staged,
                blocked: row.blocked,
                in_transit: row.in_transit,
                expected: row.expected,
                reserved: row.reserved,
                seq: row.seq,
                ..Position::default()
            };
            (PositionKey { place, item: ItemNo(row.item) }, position)
        })
        .collect())
}

/// Sequence numbers are dense and recorded_at never falls along them, so halving finds the place
/// without an index on time. Before what is there still it is the last entry that is archived.
pub(super) async fn seq_at(
    connection: &mut PgConnection,
    partition: Partition,
    at: Timestamp,
) -> Result<Seq, Fault> {
    let begin = async |connection: &mut PgConnection| {
        Ok::<_, Fault>(archived(connection, partition).await?.map_or(0, |slice| slice.last))
    };
    let mut first = begin(connection).await?;
    loop {
        let (mut low, mut high) = (first, last_seq(connection, partition).await?);
        while low < high {
            let middle = low + (high - low + 1) / 2;
            match recorded_at(connection, partition, middle).await? {
                Some(recorded_at) if recorded_at <= at => low = middle,
                _ => high = middle - 1,
            }
        }
        // What was archived meanwhile looks as if it had never been.
        match begin(connection).await? {
            same if same == first => return Ok(low),
            later => first = later,
        }
    }
}

async fn last_seq(connection: &mut PgConnection, partition: Partition) -> Result<Seq, Fault> {
    let seq = sqlx::query_scalar!("select seq from ledger_head where partition = $1", partition.0)
        .fetch_optional(connection)
        .answered("read a head")
        .await?;
    Ok(seq.unwrap_or(0))
}

async fn recorded_at(
    connection: &mut PgConnection,
    partition: Partition,
    seq: Seq,
) -> Result<Option<Timestamp>, Fault> {
    let at = sqlx::query_scalar!(
        r#"select recorded_at as "at: At" from ledger_entry where partition = $1 and seq = $2"#,
        partition.0,
        seq,
    )
    .fetch_optional(connection)
    .answered("read when an entry was recorded")
    .await?;
    Ok(at.map(|at| at.0))
}
