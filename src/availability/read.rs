//! Reads: any number of positions in one round trip.

use std::{cmp::Ordering, collections::BTreeMap, sync::LazyLock};

use redis::{Script, Value};

use crate::{
    availability::{
        Availability, Checkpoint, POSITIONS_MAX, Row,
        fault::{Fault, Nonsense},
        keys::{Asked, KeyName, hold_field},
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
    /// Reads positions, in one round trip however many they are. What the hold `own` promises does not
    /// count.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn read(&self, keys: &[PositionKey], own: Option<HoldId>) -> Result<Reading, Fault> {
        let all = Asked::new(keys.iter().copied());
        let parts: Vec<_> = all.parts(POSITIONS_MAX).collect();
        let calls: Vec<_> = parts
            .iter()
            .map(|part| {
                let names = KEYS.into_iter().chain(part.buckets().map(KeyName::Rows));
                let mut call = self.invocation(&READ, part.partition(), names);
                let own = own.filter(|own| own.place.partition == part.partition());
                call.arg(own.map(hold_field).unwrap_or_default()).arg(part.packed());
                call
            })
            .collect();
        let answers = self.front.call_all(DOING, &READ, &calls).await?;
        let mut reading = Reading { views: BTreeMap::new(), positions: Vec::new() };
        let mut sorted = Vec::with_capacity(all.len());
        for (part, answer) in parts.iter().zip(answers) {
            let (view, positions) = parse(part, answer).map_err(Fault::nonsense(DOING))?;
            let views = reading.views.entry(part.partition());
            views.and_modify(|before| *before = before.meet(view)).or_insert(view);
            sorted.extend(positions);
        }
        reading.positions = keys
            .iter()
            .map(|&key| sorted.get(all.place(key).wrapping_sub(1)).copied().unwrap_or_default())
            .collect();
        Ok(reading)
    }
}

fn parse(part: &Asked, answer: Value) -> Result<(View, Vec<Projected>), Nonsense> {
    let [head, rows, held] = parts(answer)?;
    let view = View::read(packed(&head)?)?;
    let (Value::Array(rows), Value::Array(held)) = (rows, held) else {
        return Err(Nonsense("arrays were expected"));
    };
    if rows.len() != part.len() || held.len() != part.len() {
        return Err(Nonsense("an array has another length"));
    }
    let positions = rows.iter().zip(&held).zip(part.iter()).map(|((row, held), key)| {
        let &Value::Int(held) = held else { return Err(Nonsense("a number was expected")) };
        if !super::is_exact(held) {
            return Err(Nonsense("a number is out of range"));
        }
        let row = match row {
            Value::Nil => None,
            row => RawRow::read(packed(row)?)?.of_epoch(key, view.checkpoint)?,
        };
        Ok(Projected { row, held })
    });
    let positions = positions.collect::<Result<_, _>>()?;
    Ok((view, positions))
}

impl View {
    fn read(mut from: Unpacker<'_>) -> Result<View, Nonsense> {
        let view = View::read_next(&mut from)?;
        from.end()?;
        Ok(view)
    }

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
