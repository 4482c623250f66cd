//! Names of holds.

use std::{fmt, str::FromStr};

use crate::stock::{
    hash::{Digest, StableHash},
    ids::{LocationNo, Partition, Place},
    kind::Kind,
    reservation::State,
};

/// Names a hold. Derived from who asks, where and under which key, so that a request that is repeated
/// finds its hold again; written `h<partition>.<location>.<digest>`, the last two in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId {
    /// Where.
    pub place: Place,
    /// Digest of caller and request.
    pub digest: Digest,
}

/// What an entry of the ledger says of the hold that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEffect {
    /// A reservation took its place.
    Consumed,
    /// A sale took the place of what it promised of the entry's item.
    Sold,
    /// The ledger keeps it, whatever becomes of it.
    InLedger,
}

/// The text is not the name of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hold_id")]
pub struct NotAHoldId;

impl HoldId {
    /// The hold that `caller` asks for at `place` under `request_id`.
    pub fn of(caller: &str, place: Place, request_id: &str) -> HoldId {
        let mut hash = StableHash::new("hold");
        hash.text(caller);
        hash.number(place.location.0.into());
        hash.text(request_id);
        HoldId { place, digest: Digest(hash.finish_u128()) }
    }
}

impl HoldEffect {
    /// The effect of an entry of this kind, which left a reservation in this state.
    pub fn of(kind: Kind, state: Option<State>) -> Option<HoldEffect> {
        match (kind, state) {
            (Kind::Reserve, Some(State::Held)) => Some(HoldEffect::InLedger),
            (Kind::Reserve, Some(State::Reserved)) => Some(HoldEffect::Consumed),
            (Kind::Sale | Kind::ShipOut, _) => Some(HoldEffect::Sold),
            _ => None,
        }
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HoldId { place, digest } = self;
        write!(f, "h{}.{:x}.{:032x}", place.partition.0, place.location.0, digest.0)
    }
}

impl FromStr for HoldId {
    type Err = NotAHoldId;

    fn from_str(text: &str) -> Result<HoldId, NotAHoldId> {
        let parse = || {
            let mut parts = text.strip_prefix('h')?.splitn(3, '.');
            let partition = Partition(parts.next()?.parse().ok()?);
            let location = LocationNo(i32::from_str_radix(parts.next()?, 16).ok()?);
            let digest = Digest(u128::from_str_radix(parts.next()?, 16).ok()?);
            Some(HoldId { place: Place { partition, location }, digest })
        };
        // A number can be written in several ways, a name in one.
        parse().filter(|id| id.to_string() == text).ok_or(NotAHoldId)
    }
}
