//! Reads: any number of positions in one round trip.

use std::{cmp::Ordering, collections::BTreeMap, sync::LazyLock};

use redis::{Script, Value};
use tokio::time::Instant;

use crate::{
    availability::{
        Availability, Checkpoint, POSITIONS_MAX, Row,
        fault::{Fault, Nonsense},
        keys::{Asked, KeyName, hold_field},
        mirror::{Recalled, Stand},
        pack::Unpacker,
        packed, parts, script,
    },
    stock::{
        hold::HoldId,
        ids::{Partition, PositionKey},
        time::Micros,
    },
};

static READ: LazyLock<Script> = LazyLock::new(|| script(&[], include_str!("read.lua")));

const DOING: &str = "read what is available";
const KEYS: [KeyName; 6] = [
    KeyName::Checkpoint,
    KeyName::Holds,
    KeyName::Held,
    KeyName::TickUnits,
    KeyName::Ticks,
    KeyName::Due,
];

/// What Redis says about some positions.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Every partition that was asked, ascending.
    pub views: BTreeMap<Partition, View>,
    /// Every position, in the order in which they were asked for.
    pub positions: Vec<Projected>,
}

/// What one partition says to a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// None: nothing is known of its positions.
    pub checkpoint: Option<Checkpoint>,
    /// Since it last stood at the head, by Redis' clock.
    pub age_us: Micros,
    /// Whether the clocks of Redis and the database disagree.
    pub doubtful: bool,
}

/// One position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    /// Its row of the checkpoint's epoch. None: there is none, and at the checkpoint it is zero.
    pub row: Option<Row>,
    /// Units of live holds, without the caller's own.
    pub held: i64,
}

impl View {
    const UNKNOWN: View = View { checkpoint: None, age_us: Micros::MAX, doubtful: false };

    /// Of two readings of a partition, what holds for both.
    fn meet(self, other: View) -> View {
        let (Some(one), Some(two)) = (self.checkpoint, other.checkpoint) else {
            return View::UNKNOWN;
        };
        if one.epoch != two.epoch {
            return View::UNKNOWN;
        }
        View {
            checkpoint: Some(one.min(two)),
            age_us: self.age_us.max(other.age_us),
            doubtful: self.doubtful || other.doubtful,
        }
    }
}

impl Availability {
    /// Reads positions, in one round trip however many they are; in a second one those of partitions that
    /// moved on since this process saw them. What the hold `own` promises does not count.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn read(&self, keys: &[PositionKey], own: Option<HoldId>) -> Result<Reading, Fault> {
        let (all, places) = Asked::with_places(keys);
        let now = Instant::now();
        let mut inquiries: Vec<_> = all
            .parts(POSITIONS_MAX)
            .map(|part| Inquiry {
                recalled: self.mirror.recall(part.partition(), part.iter(), now),
                part,
            })
            .collect();
        let mut found = self.inquire(&inquiries, own).await?;
        let mut moved = Vec::new();
        for (at, (inquiry, found)) in inquiries.iter_mut().zip(&found).enumerate() {
            if inquiry.recalled.as_ref().is_some_and(|recalled| Some(recalled.stand) != found.stand)
            {
                inquiry.recalled = None;
                moved.push(at);
            }
        }
        // What is remembered of these is of before: everything is asked again.
        let again: Vec<_> = moved.iter().filter_map(|&at| inquiries.get(at).cloned()).collect();
        for (at, more) in moved.into_iter().zip(self.inquire(&again, own).await?) {
            found[at] = more;
        }
        let mut reading = Reading { views: BTreeMap::new(), positions: Vec::new() };
        let mut sorted = Vec::with_capacity(all.len());
        for (inquiry, found) in inquiries.iter().zip(found) {
            if let Some(stand) = found.stand {
                let asked = inquiry.rows().zip(&found.positions);
                let asked = asked.filter(|((_, recalled), _)| recalled.is_none());
                let rows = asked.map(|((key, _), found)| (key, found.row));
                self.mirror.remember(inquiry.part.partition(), stand, rows, now);
            }
            let views = reading.views.entry(inquiry.part.partition());
            views.and_modify(|before| *before = before.meet(found.view)).or_insert(found.view);
            sorted.extend(found.positions);
        }
        let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
        reading.positions = places.into_iter().map(at).collect();
        Ok(reading)
    }

    async fn inquire(
        &self,
        inquiries: &[Inquiry<'_>],
        own: Option<HoldId>,
    ) -> Result<Vec<Found>, Fault> {
        let call = |inquiry: &Inquiry<'_>| {
            let (partition, rows_of) = (inquiry.part.partition(), inquiry.not_recalled());
            let names = KEYS.into_iter().chain(rows_of.buckets().map(KeyName::Rows));
            let mut call = self.invocation(&READ, partition, names);
            let own = own.filter(|own| own.place.partition == partition);
            call.arg(own.map(hold_field).unwrap_or_default());
            call.arg(rows_of.packed()).arg(inquiry.recalled().packed());
            call
        };
        let calls: Vec<_> = inquiries.iter().map(call).collect();
        let answers = self.front.call_all(DOING, &READ, &calls).await?;
        let found = inquiries.iter().zip(answers).map(|(inquiry, answer)| inquiry.parse(answer));
        found.collect::<Result<_, _>>().map_err(Fault::nonsense(DOING))
    }
}

/// What is asked of one partition.
#[derive(Clone, Debug)]
struct Inquiry<'p> {
    part: Asked<'p>,
    recalled: Option<Recalled>,
}

/// What it says.
struct Found {
    view: View,
    stand: Option<Stand>,
    positions: Vec<Projected>,
}

impl Inquiry<'_> {
    fn rows(&self) -> impl Iterator<Item = (PositionKey, Option<Option<Row>>)> {
        let rows = self.recalled.iter().flat_map(|recalled| recalled.rows.iter().copied());
        self.part.iter().zip(rows.chain(std::iter::repeat(None)))
    }

    fn recalled(&self) -> Asked<'static> {
        Asked::new(self.rows().filter(|(_, row)| row.is_some()).map(|(key, _)| key))
    }

    fn not_recalled(&self) -> Asked<'static> {
        Asked::new(self.rows().filter(|(_, row)| row.is_none()).map(|(key, _)| key))
    }

    fn parse(&self, answer: Value) -> Result<Found, Nonsense> {
        let [head, rows, held] = parts(answer)?;
        let mut head = packed(&head)?;
        let view = View::read_next(&mut head)?;
        let loose = head.natural()?;
        head.end()?;
        let (Value::Array(rows), Value::Array(held)) = (rows, held) else {
            return Err(Nonsense("arrays were expected"));
        };
        let asked = self.rows().filter(|(_, row)| row.is_none()).count();
        if rows.len() != asked || !(held.is_empty() || held.len() == self.part.len()) {
            return Err(Nonsense("an array has another length"));
        }
        // What is held of those that were asked for comes first; nothing at all: none is.
        let (of_asked, of_recalled) = held.split_at(asked.min(held.len()));
        let (mut rows, mut of_asked, mut of_recalled) =
            (rows.iter(), of_asked.iter(), of_recalled.iter());
        let positions = self.rows().map(|(key, recalled)| match recalled {
            Some(row) => Ok(Projected { row, held: units(of_recalled.next())? }),
            None => {
                let row = row_of(key, rows.next(), view.checkpoint)?;
                Ok(Projected { row, held: units(of_asked.next())? })
            }
        });
        let positions = positions.collect::<Result<_, _>>()?;
        let stand = view.checkpoint.map(|checkpoint| Stand { checkpoint, loose });
        Ok(Found { view, stand, positions })
    }
}

fn units(held: Option<&Value>) -> Result<i64, Nonsense> {
    match held {
        None => Ok(0),
        Some(&Value::Int(held)) if super::is_exact(held) => Ok(held),
        Some(Value::Int(_)) => Err(Nonsense("a number is out of range")),
        Some(_) => Err(Nonsense("a number was expected")),
    }
}

fn row_of(
    key: PositionKey,
    row: Option<&Value>,
    checkpoint: Option<Checkpoint>,
) -> Result<Option<Row>, Nonsense> {
    match row {
        None | Some(Value::Nil) => Ok(None),
        Some(row) => RawRow::read(packed(row)?)?.of_epoch(key, checkpoint),
    }
}

impl View {
    pub(super) fn read_next(from: &mut Unpacker<'_>) -> Result<View, Nonsense> {
        if !from.flag()? {
            return Ok(View::UNKNOWN);
        }
        let checkpoint = Some(Checkpoint::read(from)?);
        // A clock that went back: negative, and in doubt.
        Ok(View { checkpoint, age_us: from.int()?, doubtful: from.flag()? })
    }
}

/// A row as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawRow {
    pub epoch: i64,
    pub seq: i64,
    pub sellable: i64,
    pub reserved: i64,
}

impl RawRow {
    pub(super) fn read(mut from: Unpacker<'_>) -> Result<RawRow, Nonsense> {
        let (epoch, seq) = (from.natural()?, from.natural()?);
        let row = RawRow { epoch, seq, sellable: from.int()?, reserved: from.natural()? };
        from.end()?;
        Ok(row)
    }

    pub(super) fn at(self, key: PositionKey) -> Row {
        let RawRow { seq, sellable, reserved, .. } = self;
        Row { key, seq, sellable, reserved }
    }

    /// None: it is left from an epoch before.
    fn of_epoch(
        self,
        key: PositionKey,
        checkpoint: Option<Checkpoint>,
    ) -> Result<Option<Row>, Nonsense> {
        let Some(checkpoint) = checkpoint else { return Ok(None) };
        match self.epoch.cmp(&checkpoint.epoch) {
            Ordering::Less => Ok(None),
            Ordering::Equal => Ok(Some(self.at(key))),
            Ordering::Greater => Err(Nonsense("a row is of a later epoch than its checkpoint")),
        }
    }
}
