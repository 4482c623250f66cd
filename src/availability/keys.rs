//! Names of keys, and positions in the order in which the scripts are given them.

use std::{borrow::Cow, fmt};

use crate::{
    availability::{fault::Nonsense, pack::Packer},
    stock::{
        hash::Digest,
        hold::HoldId,
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
    },
};

/// Items of a location that share a bucket have the same bits above these.
const BUCKET_BITS: i32 = 6;

/// A key of a partition; all of them share a hash tag.
pub(super) struct Key<'p> {
    pub prefix: &'p str,
    pub partition: Partition,
    pub name: KeyName,
}

/// What a key holds; `shared.lua` describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyName {
    Checkpoint,
    Rebuild,
    Buckets,
    Holds,
    Due,
    Graves,
    Held,
    TickUnits,
    Ticks,
    Taken,
    Tokens,
    Rows(Bucket),
}

/// A bucket of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// Where.
    pub place: Place,
    /// Its items, divided by 64.
    pub number: i32,
}

impl Bucket {
    /// The bucket of a position.
    pub fn of(key: PositionKey) -> Bucket {
        Bucket { place: key.place, number: key.item.0 >> BUCKET_BITS }
    }

    /// The first and the last item that would be in it.
    pub fn items(self) -> (ItemNo, ItemNo) {
        let first = self.number << BUCKET_BITS;
        (ItemNo(first), ItemNo(first | ((1 << BUCKET_BITS) - 1)))
    }

    /// The item of one of its fields.
    pub(super) fn item(self, field: i32) -> Option<ItemNo> {
        (0..1 << BUCKET_BITS).contains(&field).then(|| ItemNo(self.items().0.0 | field))
    }

    /// The name under which the index of buckets has it.
    pub(super) fn name(self) -> String {
        format!("{}:{}", self.place.location.0, self.number)
    }

    pub(super) fn parse(partition: Partition, name: &str) -> Option<Bucket> {
        let (location, number) = name.split_once(':')?;
        let place = Place { partition, location: LocationNo(location.parse().ok()?) };
        let bucket = Bucket { place, number: number.parse().ok()? };
        // A number can be written in several ways, a name in one.
        let is_one = bucket.items().0.0 >> BUCKET_BITS == bucket.number;
        (bucket.name() == name && is_one).then_some(bucket)
    }
}

/// The field of an item within its bucket.
pub(super) fn field_of(item: ItemNo) -> i32 {
    item.0 & ((1 << BUCKET_BITS) - 1)
}

/// The field of a hold.
pub(super) fn hold_field(id: HoldId) -> String {
    format!("{}.{:032x}", id.place.location.0, id.digest.0)
}

/// The hold that a field of a partition is about.
pub(super) fn hold_of(partition: Partition, field: &str) -> Result<HoldId, Nonsense> {
    let parse = || {
        let (location, digest) = field.split_once('.')?;
        let place = Place { partition, location: LocationNo(location.parse().ok()?) };
        Some(HoldId { place, digest: Digest(u128::from_str_radix(digest, 16).ok()?) })
    };
    parse().ok_or(Nonsense("a hold was expected"))
}

/// The name under which the scripts count what is held of a position.
pub(super) fn position_name(key: PositionKey) -> String {
    format!("{}:{}", key.place.location.0, key.item.0)
}

/// The position with such a name.
pub(super) fn named_position(partition: Partition, name: &str) -> Option<PositionKey> {
    let (location, item) = name.split_once(':')?;
    let place = Place { partition, location: LocationNo(location.parse().ok()?) };
    Some(PositionKey { place, item: ItemNo(item.parse().ok()?) })
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{{p{}}}:", self.prefix, self.partition.0)?;
        f.write_str(match self.name {
            KeyName::Checkpoint => "checkpoint",
            KeyName::Rebuild => "rebuild",
            KeyName::Buckets => "buckets",
            KeyName::Holds => "holds",
            KeyName::Due => "due",
            KeyName::Graves => "graves",
            KeyName::Held => "held",
            KeyName::TickUnits => "tick_units",
            KeyName::Ticks => "ticks",
            KeyName::Taken => "taken",
            KeyName::Tokens => "tokens",
            KeyName::Rows(bucket) => {
                return write!(f, "r:{}:{}", bucket.place.location.0, bucket.number);
            }
        })
    }
}

/// Different positions in ascending order, and so by bucket.
#[derive(Clone, Debug)]
pub(super) struct Asked<'k>(Cow<'k, [PositionKey]>);

impl<'k> Asked<'k> {
    pub(super) fn new(keys: impl IntoIterator<Item = PositionKey>) -> Asked<'k> {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Asked(keys.into())
    }

    /// Different ones of these, and where each of these stands among them, from 0 on.
    pub(super) fn with_places(keys: &[PositionKey]) -> (Asked<'static>, Vec<usize>) {
        let mut order: Vec<_> = keys.iter().copied().zip(0..).collect();
        order.sort_unstable();
        let (mut asked, mut places) = (Vec::with_capacity(keys.len()), vec![0; keys.len()]);
        for (key, at) in order {
            if asked.last() != Some(&key) {
                asked.push(key);
            }
            if let Some(place) = places.get_mut::<usize>(at) {
                *place = asked.len() - 1;
            }
        }
        (Asked(asked.into()), places)
    }

    /// These, in parts of one partition each and at most so many positions.
    pub(super) fn parts(&self, positions_max: usize) -> impl Iterator<Item = Asked<'_>> {
        let partitions = self.0.chunk_by(|a, b| a.place.partition == b.place.partition);
        partitions.flat_map(move |keys| keys.chunks(positions_max)).map(|keys| Asked(keys.into()))
    }

    /// The partition of the first.
    pub(super) fn partition(&self) -> Partition {
        self.0.first().map_or(Partition(0), |key| key.place.partition)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = PositionKey> {
        self.0.iter().copied()
    }

    /// Where it stands among them, from 1 on.
    pub(super) fn place(&self, key: PositionKey) -> usize {
        self.0.binary_search(&key).map_or(0, |at| at + 1)
    }

    /// What stands there, from 1 on.
    pub(super) fn at(&self, place: usize) -> Option<PositionKey> {
        self.0.get(place.checked_sub(1)?).copied()
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.0.chunk_by(|a, b| Bucket::of(*a) == Bucket::of(*b)).map(|part| Bucket::of(part[0]))
    }

    /// Location, number of items, items, for each bucket.
    pub(super) fn packed(&self) -> Vec<u8> {
        let mut packer = Packer::default();
        for part in self.0.chunk_by(|a, b| Bucket::of(*a) == Bucket::of(*b)) {
            packer.int(part[0].place.location.0).count(part.len());
            for key in part {
                packer.int(key.item.0);
            }
        }
        packer.finish()
    }
}
