//! The head of a partition: the row whose lock makes one log of everything that is written to it.

use crate::{
    ledger::chain::Chain,
    mutants::{Mutant, on},
    stock::{
        hash::StableHash,
        ids::{Partition, Seq},
        time::Timestamp,
    },
};

/// The head row of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The partition.
    pub partition: Partition,
    /// Moves when the ledger may have lost its tail.
    pub epoch: i64,
    /// Last sequence number.
    pub seq: Seq,
    /// When that entry was recorded.
    pub recorded_at: Timestamp,
    /// The database that wrote it.
    pub system_identifier: i64,
    /// The timeline that it was written on.
    pub timeline: i32,
}

/// A head under lock, and what the database says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Locked {
    /// The head.
    pub head: Head,
    /// Where its chain ends. It has a checksum of its own, which servers that keep no chain leave alone.
    pub chain: Chain,
    /// The clock, read after the lock was granted.
    pub now: Timestamp,
    /// The database that answers.
    pub live_system_identifier: i64,
    /// The timeline that it is on.
    pub live_timeline: i32,
    /// Whether a COMMIT of this transaction waits for a standby.
    pub replicated: bool,
}

impl Head {
    /// Over all columns: a head that was altered no longer fits it.
    pub fn checksum(&self) -> i64 {
        let mut hash = StableHash::new("head");
        hash.number(i64::from(self.partition.0));
        hash.number(self.epoch);
        hash.number(self.seq);
        hash.number(self.recorded_at.0);
        hash.number(self.system_identifier);
        hash.number(i64::from(self.timeline));
        hash.finish_i64()
    }
}

impl Locked {
    /// Whether the database is not the one, or not on the timeline, that wrote last.
    pub(crate) fn tail_may_be_lost(&self) -> bool {
        !on(Mutant::EpochIgnored)
            && (self.head.system_identifier != self.live_system_identifier
                || self.head.timeline != self.live_timeline)
    }
}

/// Locks a head: a statement of its own, as whatever is decided on must be read by statements that
/// begin after it returned.
pub(crate) fn lock_statement(partition: Partition) -> String {
    format!("select from ledger_head where partition = {} for update", partition.0)
}
