//! The walk along the chain of one partition: links and entries in their order, and the first of
//! them that is not what was recorded. Pure.

use std::collections::VecDeque;

use crate::{
    ledger::{
        audit::{Difference, Found, Lost, anchor::Anchor},
        chain::{Chain, DIGEST_BYTES, Link},
    },
    stock::{
        entry::{Entry, checksum_of},
        hash::Hash,
        ids::{Partition, Seq},
    },
};

/// How far the chain of a partition was verified.
#[derive(Debug)]
pub struct Walk {
    partition: Partition,
    /// Behind the last link that fits.
    chain: Chain,
    epoch: i64,
    /// Links whose entries were not taken yet.
    links: VecDeque<Link>,
    open: Option<Open>,
    /// Behind the last entry that was taken.
    seq: Seq,
    /// Those that were not passed yet, by their entry.
    anchors: VecDeque<Anchor>,
    /// The last entry that an anchor vouches for.
    anchored: Seq,
    found: Found,
}

/// A link whose entries are being taken.
#[derive(Debug)]
struct Open {
    link: Link,
    digests: Vec<Hash>,
    /// The first entry that the link does not fit, unless it is the link that was altered.
    suspect: Option<Difference>,
}

impl Walk {
    /// Begins behind `from`, with the anchors of this partition.
    pub fn new(partition: Partition, from: Chain, anchors: &[Anchor]) -> Walk {
        // What is before the beginning is vouched for by whoever says where that is.
        let is_of = |anchor: &&Anchor| anchor.partition == partition.0 && anchor.seq > from.seq;
        let mut anchors: Vec<_> = anchors.iter().filter(|anchor| is_of(anchor)).copied().collect();
        anchors.sort_by_key(|anchor| (anchor.seq, anchor.epoch));
        anchors.dedup_by(|one, other| one.says_the_same(other));
        Walk {
            partition,
            chain: from,
            epoch: i64::MIN,
            links: VecDeque::new(),
            open: None,
            seq: from.seq,
            anchors: anchors.into(),
            anchored: 0,
            found: Found::default(),
        }
    }

    /// The last entry that was taken.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The chain, as far as it was verified.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// What was found so far.
    pub fn into_found(self) -> Found {
        self.found
    }

    /// The next links, in order; their entries are taken after this.
    pub fn follow(&mut self, links: Vec<Link>) {
        self.links.extend(links);
    }

    /// The next entry, with the checksum that is stored with it, or why it cannot be read. Behind
    /// the last link: one that no link covers yet.
    ///
    /// # Errors
    /// It, or the link that it ends, is not what was recorded.
    pub fn take(
        &mut self,
        seq: Seq,
        stored: Result<(&Entry<'_>, i64), String>,
    ) -> Result<(), Difference> {
        if seq != self.seq + 1 {
            return Err(self.missing());
        }
        let (entry, checksum) =
            stored.map_err(|why| Difference::entry(self.partition, seq, &why))?;
        if self.open.is_none() {
            self.open = self.next_link()?;
        }
        let digest = entry.digest();
        let own = checksum == checksum_of(&digest);
        let fits = match &mut self.open {
            Some(Open { link: Link { digests: Some(kept), first, .. }, digests, suspect }) => {
                let fits = kept_at(kept, seq - *first).is_some_and(|kept| digest.starts_with(kept));
                digests.push(digest);
                if !fits && suspect.is_none() {
                    let what = match own {
                        true => "it was exchanged together with its checksum",
                        false => "its columns fit neither its checksum nor the chain",
                    };
                    *suspect = Some(Difference::entry(self.partition, seq, what));
                }
                fits
            }
            _ => false,
        };
        if !own {
            let what = match fits {
                true => "its checksum was altered, and nothing else of it",
                false => "its columns do not fit its checksum",
            };
            // What covers it says more.
            let said = self.open.as_mut().and_then(|open| open.suspect.take());
            return Err(said.unwrap_or_else(|| Difference::entry(self.partition, seq, what)));
        }
        (self.seq, self.found.entries) = (seq, self.found.entries + 1);
        match self.open.take() {
            Some(open) if open.link.last == seq => self.close(open),
            open => {
                self.found.unlinked += u64::from(open.is_none());
                self.open = open;
                Ok(())
            }
        }
    }

    /// The entry that would have been next is not there.
    pub fn missing(&self) -> Difference {
        Difference::entry(self.partition, self.seq + 1, "row is missing")
    }

    /// The chain ends, where the head says so; the partition is in `epoch`.
    ///
    /// # Errors
    /// It ends otherwise, or anchors say that it went on.
    pub fn end(&mut self, head: Chain, epoch: i64) -> Result<(), Difference> {
        if self.chain.seq < head.seq {
            let missing = self.chain.seq + 1;
            return Err(Difference::batch(self.partition, missing, "row is missing"));
        }
        if self.chain != head {
            let name = format!("ledger_head partition={}", self.partition.0);
            let what = "chain_hash is not that of its last batch";
            return Err(Difference::new(self.partition, Some(head.seq), format!("{name}: {what}")));
        }
        self.epoch = self.epoch.max(epoch);
        while let Some(anchor) = self.anchors.pop_front() {
            self.pass(anchor, epoch, "the chain ends before it")?;
        }
        Ok(())
    }

    fn next_link(&mut self) -> Result<Option<Open>, Difference> {
        let Some(link) = self.links.pop_front() else { return Ok(None) };
        let differs = |what: &str| Err(Difference::batch(self.partition, link.last, what));
        if link.first > self.chain.seq + 1 {
            let missing = self.chain.seq + 1;
            return Err(Difference::batch(self.partition, missing, "row is missing"));
        }
        if link.first <= self.chain.seq {
            return differs("its entries are those of the batch before");
        }
        if link.previous != self.chain.hash {
            return differs("it does not follow the batch before");
        }
        if link.epoch < self.epoch {
            return differs("its epoch is older than that of the batch before");
        }
        if link.epoch != self.epoch {
            self.found.epochs.push((link.epoch, link.first));
            self.epoch = link.epoch;
        }
        Ok(Some(Open { link, digests: Vec::new(), suspect: None }))
    }

    /// All entries of a link were taken.
    fn close(&mut self, Open { link, digests, suspect }: Open) -> Result<(), Difference> {
        let covered = link.digests.is_some().then_some(&*digests);
        if link.hash_over(self.partition, covered) != link.hash {
            let what = "its hash does not fit its entries";
            let altered = || Difference::batch(self.partition, link.last, what);
            return Err(suspect.unwrap_or_else(altered));
        }
        if suspect.is_some() {
            let what = "its digests were altered, its entries were not";
            return Err(Difference::batch(self.partition, link.last, what));
        }
        self.chain = Chain { seq: link.last, hash: link.hash };
        self.found.batches += 1;
        if link.digests.is_none() {
            self.found.gaps.push((link.first, link.last));
        }
        while let Some(anchor) = self.anchors.pop_front() {
            if anchor.seq > link.last {
                self.anchors.push_front(anchor);
                break;
            }
            if anchor.epoch >= link.epoch && self.chain == anchored(&anchor) {
                self.anchored = anchor.seq;
                self.found.anchors += 1;
            } else {
                self.pass(anchor, link.epoch, "the chain has another hash there")?;
            }
        }
        Ok(())
    }

    /// An anchor that the chain does not have. Entries of an epoch that ended may be lost; those of
    /// the epoch that goes on may not.
    fn pass(&mut self, anchor: Anchor, epoch: i64, what: &str) -> Result<(), Difference> {
        if anchor.epoch < epoch {
            self.found.lost.push(Lost {
                partition: self.partition,
                seq: anchor.seq,
                epoch: anchor.epoch,
                until: epoch,
            });
            return Ok(());
        }
        let name = format!("ledger_batch partition={} last_seq={}", self.partition.0, anchor.seq);
        let since = match self.anchored {
            0 => "no anchor before it fits".to_owned(),
            seq => format!("the last anchor that fits is that of entry {seq}"),
        };
        let what = format!("{name}: differs from the anchor of {}: {what}; {since}", anchor.time);
        Err(Difference::new(self.partition, Some(anchor.seq), what))
    }
}

fn anchored(anchor: &Anchor) -> Chain {
    Chain { seq: anchor.seq, hash: anchor.hash.0 }
}

/// What a link keeps of the digest of its entry `index`.
fn kept_at(kept: &[u8], index: i64) -> Option<&[u8]> {
    let from = usize::try_from(index).ok()?.checked_mul(DIGEST_BYTES)?;
    kept.get(from..from + DIGEST_BYTES)
}
