//! What somebody watches.

use crate::stock::ids::{Partition, Place, PositionKey};

/// Which positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// These, whether anything was recorded of them or not. Ascending, each once.
    Positions(Vec<PositionKey>),
    /// Everything at these places. Ascending, each once.
    Places(Vec<Place>),
    /// Everything.
    All,
}

impl Scope {
    /// The partitions that they are in, out of all that there are.
    pub(super) fn partitions(&self, all: &[Partition]) -> Vec<Partition> {
        let mut partitions: Vec<_> = match self {
            Scope::Positions(keys) => keys.iter().map(|key| key.place.partition).collect(),
            Scope::Places(places) => places.iter().map(|place| place.partition).collect(),
            Scope::All => all.to_vec(),
        };
        partitions.dedup();
        partitions
    }

    /// Whether a position is one of them.
    pub fn covers(&self, key: PositionKey) -> bool {
        match self {
            Scope::Positions(keys) => keys.binary_search(&key).is_ok(),
            Scope::Places(places) => places.binary_search(&key.place).is_ok(),
            Scope::All => true,
        }
    }
}
