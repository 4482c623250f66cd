//! Names of things: the narrow numbers that the ledger stores, and what a text identifier may be.

use serde::{Deserialize, Serialize};

use crate::stock::hash::StableHash;

/// Longest identifier, item code, key, document or group, in bytes (all are ASCII).
pub const ID_BYTES_MAX: usize = 64;

/// A partition of the ledger: one log, one writer lane per server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Partition(pub i16);

/// Number of a location.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LocationNo(pub i32);

/// Number of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemNo(pub i32);

/// Number of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelNo(pub i32);

/// Number of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceNo(pub i32);

/// Sequence number of an entry within its partition: 1, 2, 3 ... without gaps; 0 stands for "none".
pub type Seq = i64;

/// A location and the partition that holds its stock, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The partition.
    pub partition: Partition,
    /// The location.
    pub location: LocationNo,
}

/// One item at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PositionKey {
    /// Where.
    pub place: Place,
    /// Which item.
    pub item: ItemNo,
}

/// An entry, by its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryRef {
    /// The partition.
    pub partition: Partition,
    /// The sequence number.
    pub seq: Seq,
}

impl ItemNo {
    /// Stands for an item that has no number yet: the same for the same code, and never stored.
    pub fn provisional(sku: &str) -> ItemNo {
        let mut hash = StableHash::new("item");
        hash.text(sku);
        ItemNo((hash.finish_i64() as i32) | i32::MIN)
    }

    /// Whether it only stands for an item.
    pub fn is_provisional(self) -> bool {
        self.0 < 0
    }
}

/// Whether `text` is an identifier: `[A-Za-z0-9._:/-]{1,64}`.
pub fn is_identifier(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_identifier_byte)
}

/// Whether `text` is an item code: an identifier that may contain single inner spaces.
pub fn is_sku(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=ID_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|&byte| is_identifier_byte(byte) || byte == b' ')
        && bytes.first() != Some(&b' ')
        && bytes.last() != Some(&b' ')
        && !bytes.windows(2).any(|pair| pair == b"  ")
}

/// Whether `text` may be a key, document or group: 1 to 64 printable ASCII characters.
pub fn is_key(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether `text` is a reason code: `[a-z0-9_]{1,64}`.
pub fn is_reason(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Whether `text` has no control characters and at most `chars_max` characters.
pub fn is_text(text: &str, chars_max: usize) -> bool {
    text.len() <= chars_max * 4
        && text.chars().count() <= chars_max
        && !text.chars().any(char::is_control)
}

fn is_identifier_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'-')
}
