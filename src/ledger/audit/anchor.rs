//! Anchors: where a chain ended at some moment, kept where whoever writes to the database cannot
//! write.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ledger::{Ledger, chain::Chain, fault::Fault},
    stock::{
        hash::Hash,
        ids::{Partition, Seq},
    },
};

/// Where the chain of a partition ended: a line of the anchor file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Number of the partition.
    pub partition: i16,
    /// Its epoch at that moment.
    pub epoch: i64,
    /// The last entry that the chain covered.
    pub seq: Seq,
    /// Hash of the chain up to there.
    pub hash: HashText,
    /// When it was exported, by the clock of the database.
    pub time: jiff::Timestamp,
}

/// A hash as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HashText(pub Hash);

/// A text is no hash.
#[derive(Debug, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct NoHash;

impl fmt::Display for HashText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<HashText> for String {
    fn from(hash: HashText) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for HashText {
    type Error = NoHash;

    fn try_from(text: String) -> Result<HashText, NoHash> {
        let mut hash = [0; 32];
        let fits = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)).filter(|_| fits) {
            let digits = std::str::from_utf8(digits).map_err(|_| NoHash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| NoHash)?;
        }
        if fits { Ok(HashText(hash)) } else { Err(NoHash) }
    }
}

impl Anchor {
    /// Whether it says of its chain what `other` says.
    pub fn says_the_same(&self, other: &Anchor) -> bool {
        let said = |anchor: &Anchor| (anchor.partition, anchor.epoch, anchor.seq, anchor.hash.0);
        said(self) == said(other)
    }
}

impl Ledger {
    /// Where every chain ends now; partitions without one are left out.
    ///
    /// # Errors
    /// The database is away.
    pub async fn anchors(&self) -> Result<Vec<Anchor>, Fault> {
        let locked = self.locked_heads().await?;
        let anchors = locked.into_iter().filter(|locked| locked.chain.seq > 0).map(|locked| {
            let (Partition(partition), Chain { seq, hash }) = (locked.head.partition, locked.chain);
            let time = jiff::Timestamp::from_microsecond(locked.now.0).unwrap_or_default();
            Anchor { partition, epoch: locked.head.epoch, seq, hash: HashText(hash), time }
        });
        Ok(anchors.collect())
    }
}
