//! The hash chain of a partition: a link for every batch, whose hash covers that of the link before
//! and a digest of each of its entries. Pure; `write` stores the links, [`audit`](super::audit)
//! walks them.
//!
//! A hash is SHA-256 in full, over full digests, so that neither entries nor links can be exchanged
//! for others that hash the same. What a link keeps of each digest, its first 16 bytes, only serves
//! to name the entry that was altered: even alone it would withstand 2^128 attempts to find another
//! entry.

use crate::stock::{
    entry::{Entry, checksum_of},
    hash::{Hash, StableHash},
    ids::{Partition, Seq},
};

/// Bytes of each entry's digest that a link keeps.
pub const DIGEST_BYTES: usize = 16;
/// What stands in for the hash before the first link.
pub const NO_HASH: Hash = [0; 32];

/// Where the chain of a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The last entry that it covers; 0: none.
    pub seq: Seq,
    /// Hash of the last link.
    pub hash: Hash,
}

/// A batch in the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its first entry.
    pub first: Seq,
    /// Its last entry.
    pub last: Seq,
    /// The epoch that it was written in.
    pub epoch: i64,
    /// Hash of the link before.
    pub previous: Hash,
    /// Its own hash.
    pub hash: Hash,
    /// [`DIGEST_BYTES`] for each entry. `None`: a gap, whose entries were recorded by servers that
    /// keep no chain.
    pub digests: Option<Vec<u8>>,
}

/// What a batch adds to the chain of a partition.
#[derive(Clone, Debug)]
pub struct Chained {
    /// The chain as the batch leaves it.
    pub chain: Chain,
    /// Its link; before it, where the log went on without the chain, one for that gap.
    pub links: Vec<Link>,
    /// Checksums of its entries, which come with their digests.
    pub checksums: Vec<i64>,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { seq: 0, hash: NO_HASH }
    }
}

impl Chain {
    /// What `entries`, which follow the entry `before`, add to it.
    #[must_use]
    pub fn extend(
        self,
        partition: Partition,
        epoch: i64,
        before: Seq,
        entries: &[Entry<'_>],
    ) -> Chained {
        let mut chained = Chained { chain: self, links: Vec::new(), checksums: Vec::new() };
        if entries.is_empty() {
            return chained;
        }
        if self.seq < before {
            chained.push(partition, epoch, before, None);
        }
        let digests: Vec<_> = entries.iter().map(Entry::digest).collect();
        chained.checksums = digests.iter().map(checksum_of).collect();
        chained.push(partition, epoch, before + digests.len() as Seq, Some(&digests));
        chained
    }

    /// Over both: a chain that was altered in the head no longer fits it.
    pub fn checksum(&self, partition: Partition) -> i64 {
        let mut hash = StableHash::new("chain");
        hash.number(i64::from(partition.0));
        hash.number(self.seq);
        hash.bytes(&self.hash);
        hash.finish_i64()
    }
}

impl Chained {
    fn push(&mut self, partition: Partition, epoch: i64, last: Seq, digests: Option<&[Hash]>) {
        let mut link = Link {
            first: self.chain.seq + 1,
            last,
            epoch,
            previous: self.chain.hash,
            hash: NO_HASH,
            digests: digests.map(cut),
        };
        link.hash = link.hash_over(partition, digests);
        self.chain = Chain { seq: link.last, hash: link.hash };
        self.links.push(link);
    }
}

impl Link {
    /// The hash that it must have, if these are the digests of its entries.
    pub fn hash_over(&self, partition: Partition, digests: Option<&[Hash]>) -> Hash {
        let mut hash = StableHash::new("batch");
        hash.bytes(&self.previous);
        hash.number(i64::from(partition.0));
        hash.number(self.epoch);
        hash.number(self.first);
        hash.number(self.last);
        hash.optional(digests.map(|digests| digests.len() as i64));
        digests.into_iter().flatten().for_each(|digest| hash.bytes(digest));
        hash.finish()
    }
}

/// What a link keeps of digests.
fn cut(digests: &[Hash]) -> Vec<u8> {
    digests.iter().flat_map(|digest| digest.iter().take(DIGEST_BYTES)).copied().collect()
}
