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
    /// Whether some of them may be in a partition.
    pub fn is_in(&self, partition: Partition) -> bool {
        match self {
            Scope::Positions(keys) => keys.iter().any(|key| key.place.partition == partition),
            Scope::Places(places) => places.iter().any(|place| place.partition == partition),
            Scope::All => true,
        }
    }

    /// Whether some of them may be at a place.
    pub fn is_at(&self, place: Place) -> bool {
        match self {
            Scope::Positions(keys) => keys.iter().any(|key| key.place == place),
            Scope::Places(places) => places.binary_search(&place).is_ok(),
            Scope::All => true,
        }
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
