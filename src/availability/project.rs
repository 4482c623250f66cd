//! Projection: what the ledger recorded, written into Redis. Rows are absolute and guarded by (epoch,
//! seq), so that everything may come twice, late or in any order.

use std::{collections::BTreeMap, sync::LazyLock};

use redis::{Script, ScriptInvocation};

use crate::{
    availability::{
        Availability, Bucket, Checkpoint, POSITIONS_MAX, Row, SHARED_HOLDS, SHARED_ROWS,
        admit::Token,
        done,
        fault::Fault,
        is_exact,
        keys::{KeyName, hold_field},
        optional,
        pack::Packer,
        script,
    },
    stock::{
        hold::HoldId,
        ids::{ItemNo, Partition, PositionKey, Seq},
        position::BALANCE_MAX,
        time::Timestamp,
    },
};

static SETTLE: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS, SHARED_ROWS], include_str!("settle.lua")));
static ADVANCE: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS, SHARED_ROWS], include_str!("advance.lua")));

const KEYS: [KeyName; 11] = [
    KeyName::Checkpoint,
    KeyName::Rebuild,
    KeyName::Buckets,
    KeyName::Holds,
    KeyName::Due,
    KeyName::Graves,
    KeyName::Held,
    KeyName::TickUnits,
    KeyName::Ticks,
    KeyName::Taken,
    KeyName::Tokens,
];

/// What entries did, besides moving the log forward.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effects<'e> {
    /// The positions that they touched, as the last of them left them.
    pub rows: &'e [Row],
    /// What they consumed.
    pub consumed: &'e [Consumed],
    /// Holds that the ledger keeps.
    pub ledger_holds: &'e [HoldId],
}

/// A hold that the ledger says was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Consumed {
    /// Which hold.
    pub hold: HoldId,
    /// None: all of it; else only what it promises of this item.
    pub item: Option<ItemNo>,
}

/// A batch that was committed, or came to nothing.
#[derive(Clone, Copy, Debug)]
pub struct Settle<'s> {
    /// The epoch in which it was written.
    pub epoch: i64,
    /// The head before it.
    pub from: Seq,
    /// The head after it. None: it wrote nothing.
    pub to: Option<Seq>,
    /// Its token, if claims were admitted.
    pub token: Option<Token>,
    /// Redis' clock before the batch began, as [`Availability::admit`] told it.
    pub began_at: Option<Timestamp>,
    /// What it did.
    pub effects: Effects<'s>,
}

/// A step of the checkpoint of a partition.
#[derive(Clone, Copy, Debug)]
pub struct Advance<'a> {
    /// Which partition.
    pub partition: Partition,
    /// Where the checkpoint must stand.
    pub expected: Checkpoint,
    /// Where it goes.
    pub to: Seq,
    /// If that is the head of the ledger: when it was.
    pub head: Option<HeadSeen>,
    /// What the entries in between did.
    pub effects: Effects<'a>,
}

/// When the head of the ledger was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadSeen {
    /// Redis' clock, read before.
    pub redis_at: Timestamp,
    /// The database's clock, read with the head.
    pub database_at: Timestamp,
}

impl Availability {
    /// Ends a batch: drops its token and what it consumed, projects its rows, and moves the checkpoint
    /// over it if it stands right before it. Returns whether it was moved. Twice does no harm, and
    /// neither does never: tokens expire, and [`Availability::advance`] does the rest.
    ///
    /// # Errors
    /// Redis cannot be used; some of it may have been done.
    pub async fn settle(&self, partition: Partition, settle: Settle<'_>) -> Result<bool, Fault> {
        let doing = "settle a batch";
        let parts = row_parts(doing, partition, settle.effects.rows)?;
        let mut moved = false;
        for (number, part) in parts.iter().enumerate() {
            let (first, last) = (number == 0, number + 1 == parts.len());
            let mut call = self.projection(&SETTLE, partition, part);
            call.arg(settle.epoch).arg(settle.from);
            call.arg(optional(settle.to.filter(|_| last)));
            call.arg(settle.token.filter(|_| first).map(Token::name).unwrap_or_default());
            call.arg(optional(settle.began_at.map(|at| at.0)));
            effects(&mut call, partition, part, settle.effects, first);
            let answer = self.front.call(doing, &call).await?;
            moved = done(&answer).map_err(Fault::nonsense(doing))?;
        }
        if let (true, Some(to)) = (moved, settle.to) {
            let from = Checkpoint { epoch: settle.epoch, seq: settle.from };
            self.mirror.follow(partition, from, to, settle.effects.rows);
        }
        Ok(moved)
    }

    /// Moves checkpoints together with what they cover, each if it stands where it is expected;
    /// otherwise nothing of that step is done. Returns for each whether it was moved.
    ///
    /// # Errors
    /// Redis cannot be used; some of it may have been done.
    pub async fn advance(&self, steps: &[Advance<'_>]) -> Result<Vec<bool>, Fault> {
        let doing = "advance a checkpoint";
        let (mut calls, mut ends) = (Vec::with_capacity(steps.len()), Vec::new());
        for &Advance { partition, expected, to, head, effects: done } in steps {
            let parts = row_parts(doing, partition, done.rows)?;
            for (number, part) in parts.iter().enumerate() {
                let (first, last) = (number == 0, number + 1 == parts.len());
                let head = head.filter(|_| last);
                let mut call = self.projection(&ADVANCE, partition, part);
                // All but the last part leave it where it is.
                call.arg(expected.epoch).arg(expected.seq).arg(if last {
                    to
                } else {
                    expected.seq
                });
                call.arg(optional(head.map(|head| head.redis_at.0)));
                call.arg(optional(head.map(|head| head.database_at.0)));
                effects(&mut call, partition, part, done, first);
                calls.push(call);
            }
            ends.push(calls.len());
        }
        let answers = self.background.call_all(doing, &ADVANCE, &calls).await?;
        let last = |end: usize| answers.get(end.wrapping_sub(1)).unwrap_or(&redis::Value::Nil);
        let moved = ends.into_iter().map(|end| done(last(end)));
        let moved: Vec<_> = moved.collect::<Result<_, _>>().map_err(Fault::nonsense(doing))?;
        for (step, _) in steps.iter().zip(&moved).filter(|(_, moved)| **moved) {
            self.mirror.follow(step.partition, step.expected, step.to, step.effects.rows);
        }
        Ok(moved)
    }

    fn projection<'s>(
        &self,
        script: &'s Script,
        partition: Partition,
        part: &Rows,
    ) -> ScriptInvocation<'s> {
        self.invocation(script, partition, KEYS.into_iter().chain(part.keys()))
    }
}

/// Rows of one call, by bucket.
pub(super) struct Rows(BTreeMap<Bucket, BTreeMap<PositionKey, Row>>);

impl Rows {
    pub(super) fn keys(&self) -> impl Iterator<Item = KeyName> {
        self.0.keys().copied().map(KeyName::Rows)
    }

    /// Location, number of rows, and for each item, seq, sellable, reserved; for each bucket.
    pub(super) fn packed(&self) -> Vec<u8> {
        let mut packer = Packer::default();
        for (bucket, rows) in &self.0 {
            packer.int(bucket.place.location.0).count(rows.len());
            for row in rows.values() {
                packer.int(row.key.item.0).int(row.seq).int(row.sellable).int(row.reserved);
            }
        }
        packer.finish()
    }
}

/// Rows in parts that one call can take, at least one; of several rows of a position the newest.
pub(super) fn row_parts(
    doing: &'static str,
    partition: Partition,
    rows: &[Row],
) -> Result<Vec<Rows>, Fault> {
    let mut newest: BTreeMap<PositionKey, Row> = BTreeMap::new();
    for &row in rows {
        let sound = row.key.place.partition == partition
            && is_exact(row.seq)
            && is_exact(row.reserved)
            && (-BALANCE_MAX..=BALANCE_MAX).contains(&row.sellable);
        if !sound {
            return Err(Fault::argument(doing, "a row is of its partition, and within its bounds"));
        }
        let kept = newest.entry(row.key).or_insert(row);
        if kept.seq < row.seq {
            *kept = row;
        }
    }
    let newest: Vec<_> = newest.into_values().collect();
    let part = |rows: &[Row]| {
        let mut buckets: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for &row in rows {
            buckets.entry(Bucket::of(row.key)).or_default().insert(row.key, row);
        }
        Rows(buckets)
    };
    let parts: Vec<_> = newest.chunks(POSITIONS_MAX).map(part).collect();
    Ok(if parts.is_empty() { vec![part(&[])] } else { parts })
}

/// Adds rows; with the first of several calls also the rest.
fn effects(
    call: &mut ScriptInvocation<'_>,
    partition: Partition,
    part: &Rows,
    effects: Effects<'_>,
    first: bool,
) {
    let mut consumed = Packer::default();
    let ours = |hold: &HoldId| first && hold.place.partition == partition;
    for one in effects.consumed.iter().filter(|one| ours(&one.hold)) {
        consumed.text(&hold_field(one.hold)).int(one.item.map_or(0, |item| item.0));
    }
    let ledger_holds = effects.ledger_holds.iter().copied().filter(|_| first);
    call.arg(part.packed()).arg(consumed.finish()).arg(packed_holds(partition, ledger_holds));
}

/// Those of a partition.
pub(super) fn packed_holds(
    partition: Partition,
    holds: impl IntoIterator<Item = HoldId>,
) -> Vec<u8> {
    let mut packer = Packer::default();
    for hold in holds.into_iter().filter(|hold| hold.place.partition == partition) {
        packer.text(&hold_field(hold));
    }
    packer.finish()
}
