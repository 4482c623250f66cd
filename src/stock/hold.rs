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

/// Who asks where nobody has to say who he is. No caller has this id.
pub const ANYBODY: &str = "anonymous";
/// Bits of a digest that say whose the hold is. The others are enough to keep holds apart.
const OWNER_BITS: u32 = 32;

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
        let digest = hash.finish_u128();
        let digest = owner(caller).map_or(digest, |owner| {
            let rest = u128::BITS - OWNER_BITS;
            u128::from(owner) << rest | digest & (u128::MAX >> OWNER_BITS)
        });
        HoldId { place, digest: Digest(digest) }
    }

    /// Whether it is a hold of `caller`: who guesses or finds the name of another one's hold can do
    /// nothing with it. Where nobody has to say who he is, every hold is everybody's.
    pub fn is_of(&self, caller: &str) -> bool {
        let tag = self.digest.0 >> (u128::BITS - OWNER_BITS);
        owner(caller).is_none_or(|owner| u128::from(owner) == tag)
    }
}

/// What the names of a caller's holds begin with; `None`: nothing in particular.
fn owner(caller: &str) -> Option<u32> {
    if caller == ANYBODY {
        return None;
    }
    let mut hash = StableHash::new("hold owner");
    hash.text(caller);
    Some(hash.finish_i64() as u32)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_of_who_took_it_and_where_nobody_is_asked_of_everybody() {
        let place = Place { partition: Partition(1), location: LocationNo(2) };
        let (one, other) = (HoldId::of("one", place, "r"), HoldId::of("other", place, "r"));
        assert!(one.is_of("one") && other.is_of("other"));
        assert!(!one.is_of("other") && !other.is_of("one"));
        assert_ne!(one, HoldId::of("one", place, "s"));
        let nobodys = HoldId::of(ANYBODY, place, "r");
        assert!(!nobodys.is_of("one") && nobodys.is_of(ANYBODY) && one.is_of(ANYBODY));
        assert_eq!(one.to_string().parse(), Ok(one));
        // What servers that asked nobody have named keeps its name.
        assert_eq!(nobodys.to_string(), "h1.2.957884f09b3184dc910af382d259ef11");
    }
}
