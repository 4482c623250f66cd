//! Mending: what differs from the ledger is found and put right, while everything goes on.

mod total;

use std::{collections::BTreeMap, sync::LazyLock};

use redis::{Script, Value};

pub use self::total::Total;
use crate::{
    availability::{
        Availability, Bucket, Checkpoint, Row, SHARED_HOLDS, SHARED_ROWS,
        fault::{Fault, Nonsense},
        keys::{KeyName, field_of},
        pack::{Packer, Unpacker},
        packed, parts,
        read::RawRow,
        script,
    },
    stock::ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
};

static BUCKET: LazyLock<Script> = LazyLock::new(|| script(&[], include_str!("bucket.lua")));
static REPAIR: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_ROWS], include_str!("repair.lua")));
static SCAN_HOLDS: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("scan_holds.lua")));
static RECOUNT: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("recount.lua")));
static LEFTOVERS: LazyLock<Script> =
    LazyLock::new(|| script(&[SHARED_HOLDS], include_str!("leftovers.lua")));

/// What is due for longer than this is left over.
const LONG_MS: i64 = 10_000;
/// How much of an index one step looks at, about.
const SCAN_COUNT: usize = 100;
/// Holds that one step looks at. Totals of more are counted again when there are fewer.
const RECOUNT_HOLDS_MAX: usize = 2_000;

/// A place in one of Redis' own indexes; opaque. The default is the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPlace(String);

/// Everything in a bucket.
#[derive(Clone, Debug)]
pub struct BucketRows {
    /// The checkpoint at that moment.
    pub checkpoint: Option<Checkpoint>,
    /// Whether the index of buckets names it.
    pub indexed: bool,
    /// Its rows, readable or not.
    pub rows: BTreeMap<ItemNo, StoredRow>,
    /// Fields that no item has.
    strays: Vec<Vec<u8>>,
}

/// A row as it is stored, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    bytes: Vec<u8>,
    /// Its epoch and numbers; None: it cannot be read.
    pub row: Option<(i64, Row)>,
}

/// A row that is to be replaced.
#[derive(Clone, Debug)]
pub struct Repair {
    /// Of which item of the bucket.
    pub item: ItemNo,
    /// What was found: if it is something else by now, it stays.
    pub found: Option<StoredRow>,
    /// What it becomes, with its epoch. None: it goes.
    pub row: Option<(i64, Row)>,
}

/// A step of the walk over all holds.
#[derive(Clone, Debug)]
pub struct HoldsPage {
    /// Where the next step begins. None: the walk is over.
    pub next: Option<ScanPlace>,
    /// Holds that nobody would ever have removed.
    pub lost: usize,
    /// Live holds.
    pub live: u64,
    /// Totals that live holds are part of, and the ticks in which these end.
    pub totals: BTreeMap<Total, Vec<i64>>,
}

/// What is past its time by more than ten seconds and was not removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Holds and tokens that wait to be removed; they count for nothing.
    pub overdue: usize,
    /// Tokens that nobody would have removed.
    pub lost_tokens: usize,
    /// Positions with claims of tokens that are gone; these count for nothing.
    pub dead_claims: usize,
}

impl Default for ScanPlace {
    fn default() -> ScanPlace {
        ScanPlace("0".to_owned())
    }
}

impl BucketRows {
    /// Whether there is something in it that is no row.
    pub fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }
}

impl StoredRow {
    /// Whether it says so much.
    pub fn is(&self, epoch: i64, row: Row) -> bool {
        self.row == Some((epoch, row))
    }

    /// Its version in this epoch; None: it says nothing there.
    pub fn seq(&self, of_epoch: i64) -> Option<Seq> {
        self.row.filter(|&(epoch, _)| epoch == of_epoch).map(|(_, row)| row.seq)
    }
}

impl Availability {
    /// A step of the walk over the index of buckets, which may show one twice.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn buckets(
        &self,
        partition: Partition,
        from: &ScanPlace,
    ) -> Result<(Vec<Bucket>, Option<ScanPlace>), Fault> {
        let doing = "walk the buckets";
        let key = self.key(partition, KeyName::Buckets);
        let (next, names) = self.scan(doing, "SSCAN", &key, from).await?;
        let buckets = names.iter().filter_map(|name| Bucket::parse(partition, name)).collect();
        Ok((buckets, next))
    }

    /// Reads a whole bucket.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn bucket(&self, bucket: Bucket) -> Result<BucketRows, Fault> {
        let doing = "read a bucket";
        let names = [KeyName::Checkpoint, KeyName::Buckets, KeyName::Rows(bucket)];
        let mut call = self.invocation(&BUCKET, bucket.place.partition, names);
        call.arg(bucket.name());
        let answer = self.background.call(doing, &call).await?;
        read_bucket(bucket, answer).map_err(Fault::nonsense(doing))
    }

    /// Replaces rows of a bucket that are still as they were found, removes what is no row, and puts
    /// the index of buckets right. Returns how many were replaced.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left.
    pub async fn repair(
        &self,
        bucket: Bucket,
        found: &BucketRows,
        repairs: &[Repair],
    ) -> Result<usize, Fault> {
        let doing = "repair a bucket";
        let names = [KeyName::Checkpoint, KeyName::Buckets, KeyName::Rows(bucket)];
        let mut call = self.invocation(&REPAIR, bucket.place.partition, names);
        call.arg(bucket.name());
        for Repair { item, found, row } in repairs {
            call.arg(field_of(*item));
            call.arg(found.as_ref().map(|found| &*found.bytes).unwrap_or_default());
            call.arg(row.map(|(epoch, row)| stored(epoch, row)).unwrap_or_default());
        }
        for pair in found.strays.chunks_exact(2) {
            call.arg(&*pair[0]).arg(&*pair[1]).arg("");
        }
        match self.background.call(doing, &call).await? {
            Value::Int(replaced) => Ok(usize::try_from(replaced).unwrap_or(0)),
            _ => Err(Fault::nonsense(doing)(Nonsense("a number was expected"))),
        }
    }

    /// A step of the walk over all holds. If it `mends`, those that nobody would ever have removed are
    /// put back in line.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn holds_page(
        &self,
        partition: Partition,
        from: &ScanPlace,
        mends: bool,
    ) -> Result<HoldsPage, Fault> {
        let doing = "walk the holds";
        let names = [KeyName::Holds, KeyName::Due, KeyName::Graves];
        let mut call = self.invocation(&SCAN_HOLDS, partition, names);
        call.arg(&from.0).arg(SCAN_COUNT).arg(u8::from(mends));
        let answer = self.background.call(doing, &call).await?;
        read_holds_page(partition, &answer).map_err(Fault::nonsense(doing))
    }

    /// A step of the walk over the totals of what is held, which may show one twice.
    ///
    /// # Errors
    /// Redis cannot be used.
    pub async fn totals(
        &self,
        partition: Partition,
        from: &ScanPlace,
    ) -> Result<(Vec<Total>, Option<ScanPlace>), Fault> {
        let doing = "walk what is held";
        let key = self.key(partition, KeyName::Held);
        let (next, fields) = self.scan(doing, "HSCAN", &key, from).await?;
        let names = fields.iter().step_by(2);
        let totals = names.filter_map(|name| Total::parse(partition, name)).collect();
        Ok((totals, next))
    }

    /// Counts a total again, from the holds that end in its ticks and in those `ticks` besides; if it
    /// `mends`, it is put right. Returns how much of it was wrong, or None if there are too many holds to
    /// look at in one step.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left.
    pub async fn recount(
        &self,
        total: &Total,
        ticks: &[i64],
        mends: bool,
    ) -> Result<Option<usize>, Fault> {
        let doing = "count what is held";
        let names =
            [KeyName::Holds, KeyName::Due, KeyName::Held, KeyName::TickUnits, KeyName::Ticks];
        let mut call = self.invocation(&RECOUNT, total.partition(), names);
        let mut packer = Packer::default();
        for &tick in ticks {
            packer.int(tick);
        }
        call.arg(total.name()).arg(packer.finish()).arg(RECOUNT_HOLDS_MAX);
        call.arg(u8::from(mends));
        match self.background.call(doing, &call).await? {
            Value::Int(wrong) => Ok(usize::try_from(wrong).ok()),
            _ => Err(Fault::nonsense(doing)(Nonsense("a number was expected"))),
        }
    }

    /// Looks for what is past its time and was not removed; if it `mends`, claims and tokens are.
    ///
    /// # Errors
    /// Redis cannot be used, or has no memory left.
    pub async fn leftovers(&self, partition: Partition, mends: bool) -> Result<Leftovers, Fault> {
        let doing = "look for what is left over";
        let names = [KeyName::Due, KeyName::Taken, KeyName::Tokens, KeyName::Holds];
        let mut call = self.invocation(&LEFTOVERS, partition, names);
        call.arg(LONG_MS).arg(u8::from(mends));
        let answer = self.background.call(doing, &call).await?;
        read_leftovers(&answer).map_err(Fault::nonsense(doing))
    }

    async fn scan(
        &self,
        doing: &'static str,
        command: &str,
        key: &str,
        from: &ScanPlace,
    ) -> Result<(Option<ScanPlace>, Vec<String>), Fault> {
        let mut command = redis::cmd(command);
        command.arg(key).arg(&from.0).arg("COUNT").arg(SCAN_COUNT);
        let answer = self.background.command(doing, &command).await?;
        read_scan(answer).map_err(Fault::nonsense(doing))
    }
}

fn read_leftovers(answer: &Value) -> Result<Leftovers, Nonsense> {
    let mut from = packed(answer)?;
    let (overdue, lost_tokens) = (from.small()?, from.small()?);
    let leftovers = Leftovers { overdue, lost_tokens, dead_claims: from.small()? };
    from.end()?;
    Ok(leftovers)
}

fn read_scan(answer: Value) -> Result<(Option<ScanPlace>, Vec<String>), Nonsense> {
    let [next, names] = parts(answer)?;
    let text = |value| match value {
        Value::BulkString(bytes) => {
            String::from_utf8(bytes).map_err(|_| Nonsense("a text was expected"))
        }
        _ => Err(Nonsense("a text was expected")),
    };
    let Value::Array(names) = names else { return Err(Nonsense("an array was expected")) };
    let names = names.into_iter().map(text).collect::<Result<_, _>>()?;
    Ok((ScanPlace::after(&text(next)?), names))
}

fn read_bucket(bucket: Bucket, answer: Value) -> Result<BucketRows, Nonsense> {
    let [head, fields] = parts(answer)?;
    let mut head = packed(&head)?;
    let checkpoint = if head.flag()? { Some(Checkpoint::read(&mut head)?) } else { None };
    let indexed = head.flag()?;
    head.end()?;
    let Value::Array(fields) = fields else { return Err(Nonsense("an array was expected")) };
    let mut read = BucketRows { checkpoint, indexed, rows: BTreeMap::new(), strays: Vec::new() };
    let mut fields = fields.into_iter();
    while let Some(field) = fields.next() {
        let (Value::BulkString(field), Some(Value::BulkString(bytes))) = (field, fields.next())
        else {
            return Err(Nonsense("a text was expected"));
        };
        let number = str::from_utf8(&field).ok().and_then(|field| field.parse().ok());
        match number.and_then(|number| bucket.item(number)) {
            Some(item) => {
                let key = PositionKey { place: bucket.place, item };
                let row = RawRow::read(Unpacker(&bytes)).ok().map(|raw| (raw.epoch, raw.at(key)));
                read.rows.insert(item, StoredRow { bytes, row });
            }
            None => read.strays.extend([field, bytes]),
        }
    }
    Ok(read)
}

fn read_holds_page(partition: Partition, answer: &Value) -> Result<HoldsPage, Nonsense> {
    let mut from = packed(answer)?;
    let next = ScanPlace::after(from.text()?);
    let lost = from.small()?;
    let mut totals: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let live = from.groups(4, |from| {
        let location = from.text()?.split_once('.').and_then(|(location, _)| location.parse().ok());
        let location = location.ok_or(Nonsense("a hold was expected"))?;
        let tick = from.natural()?;
        from.groups(2, |from| {
            let item = ItemNo(from.small()?);
            from.natural()?;
            let place = Place { partition, location: LocationNo(location) };
            totals.entry(Total::Position(PositionKey { place, item })).or_default().push(tick);
            Ok(())
        })?;
        from.groups(1, |from| {
            let owner = Total::parse(partition, from.text()?);
            owner.into_iter().for_each(|owner| totals.entry(owner).or_default().push(tick));
            Ok(())
        })
    })?;
    from.end()?;
    Ok(HoldsPage { next, lost, live: live.len() as u64, totals })
}

/// A row as the scripts store it.
fn stored(epoch: i64, row: Row) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.int(epoch).int(row.seq).int(row.sellable).int(row.reserved);
    packer.values()
}

impl ScanPlace {
    fn after(cursor: &str) -> Option<ScanPlace> {
        (cursor != "0").then(|| ScanPlace(cursor.to_owned()))
    }
}
