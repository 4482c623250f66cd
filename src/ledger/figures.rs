//! What reports are made of: entries of a period, what was before them, and what was refused.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;
use sqlx::PgConnection;

use crate::{
    ledger::{
        Ledger,
        archive::{PastError, nothing_archived_since},
        fault::{Answered as _, Fault},
        queries::seq_at,
        rows::{entries_between, meaning},
        sql_time::At,
    },
    stock::{
        entry::Entry,
        figures::{Figures, Fold, Grouping, Past, Period},
        ids::{ChannelNo, EntryRef, ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
        reservation::CancelledBy,
        time::Timestamp,
    },
};

/// Entries that are read at once: no statement takes longer than a moment.
const ENTRIES_PAGE: i64 = 2_000;
/// Positions that are read at once.
const POSITIONS_PAGE: i64 = 5_000;

/// A report that is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What was recorded at this moment or later.
    pub from: Timestamp,
    /// And before this one; at most: now.
    pub until: Timestamp,
    /// By what rows are kept apart.
    pub grouping: Grouping,
    /// Only reservations of these channels; `None`: of all, and of none.
    pub channels: Option<FxHashSet<ChannelNo>>,
    /// Only these locations; `None`: all.
    pub places: Option<Vec<Place>>,
    /// Entries of the period; with more of them nothing is read.
    pub entries_max: i64,
}

/// What a report says.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was looked at.
    pub period: Period,
    /// Entries that were added up.
    pub entries: i64,
    /// What they add up to.
    pub figures: Figures,
}

/// The period has more entries than one report may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyEntries(pub i64);

/// Entries of a partition: those behind the first number, up to and with the second.
#[derive(Clone, Copy, Debug)]
struct Range {
    partition: Partition,
    after: Seq,
    until: Seq,
}

/// Refusals for lack of stock that are to be added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Through which channel.
    pub channel: Option<ChannelNo>,
    /// Where.
    pub location: LocationNo,
    /// How many.
    pub refusals: u64,
    /// How many lines of them were short.
    pub lines: u64,
}

impl Ledger {
    /// Adds a period up.
    ///
    /// # Errors
    /// The database is away, or an entry makes no sense.
    pub async fn report(&self, asked: Asked) -> Result<Result<Report, TooManyEntries>, PastError> {
        let now = now(&mut *self.reader().await?).await?;
        let period = Period { from: asked.from, until: asked.until.min(now).max(asked.from) };
        let partitions: BTreeSet<_> = match &asked.places {
            Some(places) => places.iter().map(|place| place.partition).collect(),
            None => self.partitions().await?.iter().copied().collect(),
        };
        let ranges = self.ranges(&partitions, period).await?;
        let entries = ranges.iter().map(|range| range.until - range.after).sum();
        if entries > asked.entries_max {
            return Ok(Err(TooManyEntries(entries)));
        }
        let locations = asked.places.map(|places| places.iter().map(|at| at.location).collect());
        let mut fold = Fold::new(period, asked.grouping, asked.channels, locations);
        for &range in &ranges {
            self.fold_entries(range, &mut fold).await?;
            self.fold_what_was_out(range, &mut fold).await?;
        }
        let mut reader = self.reader().await?;
        for range in &ranges {
            nothing_archived_since(&mut reader, range.partition, period.from).await?;
        }
        drop(reader);
        for refused in self.refusals(period).await? {
            let Refused { channel, location, refusals, lines } = refused;
            fold.refused(channel, location, (refusals, lines));
        }
        Ok(Ok(Report { period, entries, figures: fold.finish() }))
    }

    async fn ranges(
        &self,
        partitions: &BTreeSet<Partition>,
        period: Period,
    ) -> Result<Vec<Range>, Fault> {
        let mut ranges = Vec::with_capacity(partitions.len());
        let mut reader = self.reader().await?;
        for &partition in partitions {
            let before = |at: Timestamp| Timestamp(at.0.saturating_sub(1));
            let after = seq_at(&mut reader, partition, before(period.from)).await?;
            let until = seq_at(&mut reader, partition, before(period.until)).await?;
            ranges.push(Range { partition, after, until: until.max(after) });
        }
        Ok(ranges)
    }

    async fn fold_entries(&self, range: Range, fold: &mut Fold) -> Result<(), Fault> {
        let mut after = range.after;
        while after < range.until {
            let until = range.until.min(after + ENTRIES_PAGE);
            let mut reader = self.reader().await?;
            let stored = entries_between(&mut reader, range.partition, after, until).await?;
            let entries = stored.into_iter().map(|(_, stored)| Ok(stored?.entry));
            let entries: Vec<Entry<'static>> = entries.collect::<Result<_, Fault>>()?;
            let unknown: Vec<_> = fold.unknown(&entries).iter().map(|at| at.seq).collect();
            if !unknown.is_empty() {
                let past = past_of(&mut reader, range.partition, &unknown, range.after).await?;
                past.into_iter().for_each(|past| fold.learn(past));
            }
            entries.iter().for_each(|entry| fold.take(entry));
            after = until;
        }
        Ok(())
    }

    /// A page of positions at a time, as also those without an entry in the period may be out of stock.
    async fn fold_what_was_out(&self, range: Range, fold: &mut Fold) -> Result<(), Fault> {
        let mut behind = (LocationNo(i32::MIN), ItemNo(i32::MIN));
        loop {
            let mut reader = self.reader().await?;
            let page = out_of_stock(&mut reader, range.partition, behind, range.after).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            behind = (last.place.location, last.item);
            let out = page.into_iter().filter(|(_, out)| *out);
            out.for_each(|(key, _)| fold.was_out(key));
        }
    }

    /// Adds to what was refused in this quarter of an hour.
    ///
    /// # Errors
    /// The database is away; whether they were added may be unknown.
    pub async fn add_refusals(&self, refused: &[Refused]) -> Result<(), Fault> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let channels: Vec<_> =
            refused.iter().map(|row| row.channel.map_or(0, |channel| channel.0)).collect();
        let locations: Vec<_> = refused.iter().map(|row| row.location.0).collect();
        let refusals: Vec<_> = refused.iter().map(|row| count(row.refusals)).collect();
        let lines: Vec<_> = refused.iter().map(|row| count(row.lines)).collect();
        // In the order of the key, so that two servers never wait for each other.
        sqlx::query!(
            "insert into refusal_count as known (quarter, location, channel, refusals, short_lines)
             select date_bin('15 minutes', clock_timestamp(), '2000-01-01 00:00:00+00'), counted.*
             from unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[]) as counted
                 (location, channel, refusals, short_lines)
             order by counted.location, counted.channel
             on conflict on constraint refusal_count_pk do update
             set refusals = known.refusals + excluded.refusals,
                 short_lines = known.short_lines + excluded.short_lines",
            &locations,
            &channels,
            &refusals,
            &lines,
        )
        .execute(&self.readers)
        .answered("add refusals up")
        .await?;
        Ok(())
    }

    /// What was refused in the quarters of an hour that begin in a period.
    async fn refusals(&self, period: Period) -> Result<Vec<Refused>, Fault> {
        let rows = sqlx::query!(
            r#"select location, channel, sum(refusals)::bigint as "refusals!",
                   sum(short_lines)::bigint as "lines!"
               from refusal_count where quarter >= $1 and quarter < $2
               group by location, channel"#,
            At(period.from) as At,
            At(period.until) as At,
        )
        .fetch_all(&self.readers)
        .answered("read what was refused")
        .await?;
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        let refused = rows.into_iter().map(|row| Refused {
            channel: Some(row.channel).filter(|no| *no != 0).map(ChannelNo),
            location: LocationNo(row.location),
            refusals: count(row.refusals),
            lines: count(row.lines),
        });
        Ok(refused.collect())
    }
}

async fn now(connection: &mut PgConnection) -> Result<Timestamp, Fault> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!: At""#)
        .fetch_one(connection)
        .answered("read the clock")
        .await?;
    Ok(now.0)
}

/// What these reservations were when the entry `after` was the last. Each of their steps left the state
/// before it as a version, which is named by the entry that led there: this finds their entries without
/// an index on them. Holds are none.
async fn past_of(
    connection: &mut PgConnection,
    partition: Partition,
    numbers: &[Seq],
    after: Seq,
) -> Result<Vec<Past>, Fault> {
    let rows = sqlx::query!(
        r#"select r.no, r.channel, r.created_at as "made_at: At", r.cancelled_by,
               ready.at as "ready_at: At"
           from unnest($2::bigint[]) as wanted (number)
           cross join lateral (
               select * from reservation
               where partition = $1 and no = wanted.number and held_as is null offset 0
           ) as r
           left join lateral (
               select min(e.recorded_at) as at
               from reservation_version as v cross join lateral (
                   select recorded_at, reservation_state from known_entry
                   where partition = $1 and seq = v.version offset 0
               ) as e
               where v.partition = $1 and v.no = wanted.number and v.version <= $3
                   and e.reservation_state = 3
           ) as ready on true"#,
        partition.0,
        numbers,
        after,
    )
    .fetch_all(connection)
    .answered("read what reservations were")
    .await?;
    let past = rows.into_iter().map(|row| {
        let by = |by: i16| meaning("cancelled_by", by, CancelledBy::of(by));
        Ok(Past {
            at: EntryRef { partition, seq: row.no },
            channel: row.channel.map(ChannelNo),
            made_at: row.made_at.0,
            ready_at: row.ready_at.map(|at| at.0),
            cancelled_by: row.cancelled_by.map(by).transpose()?,
        })
    });
    past.collect()
}

/// A page of positions, and of which nothing could be promised when the entry `seq` was the last. One
/// that did not exist then was not out of stock.
async fn out_of_stock(
    connection: &mut PgConnection,
    partition: Partition,
    (location, item): (LocationNo, ItemNo),
    seq: Seq,
) -> Result<Vec<(PositionKey, bool)>, Fault> {
    let rows = sqlx::query!(
        r#"select page.location, page.item, case when page.seq <= $4
                   then page.sellable <= page.reserved
                   else coalesce((
                       select sellable_after <= reserved_after from ledger_entry
                       where partition = $1 and location = page.location and item = page.item
                           and ledger_entry.seq <= $4
                       order by ledger_entry.seq desc limit 1
                   ), (
                       select sellable <= reserved from carried_position
                       where partition = $1 and location = page.location and item = page.item
                   ), false)
               end as "out!"
           from (
               select * from position
               where partition = $1 and (location, item) > ($2, $3)
               order by location, item limit $5
           ) as page
           order by page.location, page.item"#,
        partition.0,
        location.0,
        item.0,
        seq,
        POSITIONS_PAGE,
    )
    .fetch_all(connection)
    .answered("read what was out of stock")
    .await?;
    let out = rows.into_iter().map(|row| {
        let place = Place { partition, location: LocationNo(row.location) };
        (PositionKey { place, item: ItemNo(row.item) }, row.out)
    });
    Ok(out.collect())
}
