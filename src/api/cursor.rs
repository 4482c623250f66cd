//! Where a stream of positions goes on: what was told, as an opaque text.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::Status;

use crate::{
    api::error::invalid,
    feed::{follow::Stand, watch::Progress},
    stock::ids::{ItemNo, LocationNo, Partition, Place, PositionKey, Seq},
};

/// First byte of every cursor of this shape.
const VERSION: u8 = 1;
/// Positions with holds that a cursor names. Beyond it everything is told again.
const HELD_MAX: usize = 32;
/// Longest cursor, in characters: 256 partitions and all positions with holds.
const CHARS_MAX: usize = 4_096;

/// What was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The epoch of the ledger.
    pub epoch: i64,
    /// The revision of the network: changes up to it were told.
    pub revision: i64,
    /// Of each partition, everything up to here.
    pub seqs: BTreeMap<Partition, Seq>,
    /// How much of the state before that.
    pub told: Progress,
    /// Positions that were told with live holds, which have no version. `None`: too many to name.
    pub held: Option<Vec<PositionKey>>,
}

impl Cursor {
    /// Where the ledger stood; what stands in another epoch counts for nothing.
    pub(crate) fn at(
        stands: &BTreeMap<Partition, Stand>,
        revision: i64,
        told: Progress,
        held: impl ExactSizeIterator<Item = PositionKey>,
    ) -> Cursor {
        let epoch = stands.values().map(|stand| stand.epoch).max().unwrap_or(0);
        let here = stands.iter().filter(|(_, stand)| stand.epoch == epoch);
        let seqs = here.map(|(&partition, stand)| (partition, stand.seq)).collect();
        let held = (held.len() <= HELD_MAX).then(|| held.collect());
        Cursor { epoch, revision, seqs, told, held }
    }

    /// A cursor as a caller sends it; an empty text is none.
    pub(crate) fn sent(text: &str) -> Result<Option<Cursor>, Status> {
        if text.is_empty() {
            return Ok(None);
        }
        let malformed = || invalid("CURSOR_INVALID", "cursor", "is not one that a stream returned");
        Cursor::decode(text).map(Some).ok_or_else(malformed)
    }

    /// Where the ledger stood.
    pub(crate) fn stands(&self) -> BTreeMap<Partition, Stand> {
        let stand = |(&partition, &seq)| (partition, Stand { epoch: self.epoch, seq });
        self.seqs.iter().map(stand).collect()
    }

    pub(crate) fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(self.revision.to_be_bytes());
        match self.told {
            Progress::Nothing => bytes.push(0),
            Progress::UpTo(last) => {
                bytes.push(1);
                bytes.extend(encode_key(last));
            }
            Progress::All => bytes.push(2),
        }
        let held = self.held.as_ref().map(|held| held.iter().copied().map(encode_key));
        bytes.push(held.as_ref().map_or(u8::MAX, |held| held.len() as u8));
        bytes.extend(held.into_iter().flatten().flatten());
        for (partition, seq) in &self.seqs {
            bytes.extend(partition.0.to_be_bytes());
            bytes.extend(seq.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None`: it is not one of ours.
    pub(crate) fn decode(text: &str) -> Option<Cursor> {
        if text.len() > CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut from = Bytes(&bytes);
        let [version] = from.take()?;
        if version != VERSION {
            return None;
        }
        let (epoch, revision) =
            (i64::from_be_bytes(from.take()?), i64::from_be_bytes(from.take()?));
        let told = match from.take()? {
            [0] => Progress::Nothing,
            [1] => Progress::UpTo(from.key()?),
            [2] => Progress::All,
            _ => return None,
        };
        let held = match from.take()? {
            [u8::MAX] => None,
            [count] if usize::from(count) <= HELD_MAX => {
                Some((0..count).map(|_| from.key()).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        let mut seqs = BTreeMap::new();
        while !from.0.is_empty() {
            let partition = Partition(i16::from_be_bytes(from.take()?));
            let seq = Seq::from_be_bytes(from.take()?);
            if seq < 0 {
                return None;
            }
            seqs.insert(partition, seq);
        }
        Some(Cursor { epoch, revision, seqs, told, held })
    }
}

fn encode_key(key: PositionKey) -> [u8; 10] {
    let [a, b] = key.place.partition.0.to_be_bytes();
    let [c, d, e, f] = key.place.location.0.to_be_bytes();
    let [g, h, i, j] = key.item.0.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j]
}

struct Bytes<'b>(&'b [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn key(&mut self) -> Option<PositionKey> {
        let partition = Partition(i16::from_be_bytes(self.take()?));
        let location = LocationNo(i32::from_be_bytes(self.take()?));
        let item = ItemNo(i32::from_be_bytes(self.take()?));
        Some(PositionKey { place: Place { partition, location }, item })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = PositionKey> {
        any::<(i16, i32, i32)>().prop_map(|(partition, location, item)| PositionKey {
            place: Place { partition: Partition(partition), location: LocationNo(location) },
            item: ItemNo(item),
        })
    }

    fn cursors() -> impl Strategy<Value = Cursor> {
        let told = prop_oneof![
            Just(Progress::Nothing),
            keys().prop_map(Progress::UpTo),
            Just(Progress::All)
        ];
        let seqs =
            prop::collection::btree_map(any::<i16>().prop_map(Partition), 0..i64::MAX, 0..256);
        let held = prop::option::of(prop::collection::vec(keys(), 0..=HELD_MAX));
        let rest = (any::<i64>(), any::<i64>());
        (rest, seqs, told, held).prop_map(|((epoch, revision), seqs, told, held)| Cursor {
            epoch,
            revision,
            seqs,
            told,
            held,
        })
    }

    proptest! {
        #[test]
        fn a_cursor_says_what_it_was_made_of_within_its_bound(cursor in cursors()) {
            let text = cursor.encode();
            prop_assert!(text.len() <= CHARS_MAX);
            prop_assert_eq!(Cursor::decode(&text), Some(cursor));
        }

        #[test]
        fn what_is_cut_or_padded_is_no_cursor(cursor in cursors(), cut in 1..9_usize) {
            let text = cursor.encode();
            prop_assert_eq!(Cursor::decode(&text[..text.len() - cut.min(text.len())]), None);
            prop_assert_eq!(Cursor::decode(&format!("{text}AA")), None);
        }

        #[test]
        fn any_text_is_looked_at_without_harm(text in ".{0,200}") {
            Cursor::decode(&text);
        }
    }
}
