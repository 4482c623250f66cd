//! What a caller may do, in grains that fit the systems of a retailer.

use std::{fmt, str::FromStr};

/// One permission. Its text form (`movements:write`) is what credentials carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Report what happened to stock: every kind of movement but counts and corrections.
    MovementsWrite,
    /// Report what was counted: COUNT, and snapshots of a whole location.
    CountsWrite,
    /// Take a recorded movement back: CORRECT.
    CorrectionsWrite,
    /// Read movements that were rejected.
    RejectedRead,
    /// Resubmit and dismiss them.
    RejectedWrite,
    /// Read entries and positions, and export them.
    LedgerRead,
    /// Ask what may be promised, and watch it.
    AvailabilityRead,
    /// See how it was worked out: exact numbers, buffers and the quotas of other channels.
    AvailabilityExplain,
    /// Hold stock.
    HoldsWrite,
    /// See reservations, and watch the task list of a shop.
    ReservationsRead,
    /// Make, amend, extend, pay, move and cancel reservations.
    ReservationsWrite,
    /// Do the shop's part: pick, make ready, hand over, return to the shelf.
    ReservationsFulfil,
    /// Read locations, channels, policies, quotas and items.
    NetworkRead,
    /// Put them.
    NetworkWrite,
    /// Set the live status of a location, and close it.
    LocationsOperate,
    /// Block an item everywhere, and end that.
    RecallsWrite,
    /// Read webhooks and what they were not told.
    EventsRead,
    /// Put and delete webhooks; replay and dismiss what they were not told.
    EventsWrite,
    /// Read figures.
    ReportsRead,
}

/// Text that names no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no scope")]
pub struct ScopeUnknown(pub String);

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u32);

/// All scopes with their text forms.
const NAMES: [(Scope, &str); 19] = [
    (Scope::MovementsWrite, "movements:write"),
    (Scope::CountsWrite, "counts:write"),
    (Scope::CorrectionsWrite, "corrections:write"),
    (Scope::RejectedRead, "rejected:read"),
    (Scope::RejectedWrite, "rejected:write"),
    (Scope::LedgerRead, "ledger:read"),
    (Scope::AvailabilityRead, "availability:read"),
    (Scope::AvailabilityExplain, "availability:explain"),
    (Scope::HoldsWrite, "holds:write"),
    (Scope::ReservationsRead, "reservations:read"),
    (Scope::ReservationsWrite, "reservations:write"),
    (Scope::ReservationsFulfil, "reservations:fulfil"),
    (Scope::NetworkRead, "network:read"),
    (Scope::NetworkWrite, "network:write"),
    (Scope::LocationsOperate, "locations:operate"),
    (Scope::RecallsWrite, "recalls:write"),
    (Scope::EventsRead, "events:read"),
    (Scope::EventsWrite, "events:write"),
    (Scope::ReportsRead, "reports:read"),
];

impl Scope {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Scope> {
        NAMES.into_iter().map(|(scope, _)| scope)
    }

    /// Its text form.
    pub fn as_str(self) -> &'static str {
        let found = NAMES.iter().find(|(scope, _)| *scope == self);
        found.map_or("", |(_, name)| name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ScopeUnknown;

    fn from_str(text: &str) -> Result<Scope, ScopeUnknown> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(scope, _)| *scope).ok_or_else(|| ScopeUnknown(text.to_owned()))
    }
}

impl Scopes {
    /// None.
    pub const NONE: Scopes = Scopes(0);
    /// Every one that there is.
    pub const ALL: Scopes = Scopes((1 << NAMES.len()) - 1);

    /// These.
    pub const fn of(scopes: &[Scope]) -> Scopes {
        let (mut bits, mut rest) = (0, scopes);
        while let [scope, left @ ..] = rest {
            bits |= 1 << *scope as u32;
            rest = left;
        }
        Scopes(bits)
    }

    /// Whether this one is among them.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }

    /// Whether some scope is in both.
    pub const fn intersects(self, other: Scopes) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of their definition.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::all().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        scopes.into_iter().fold(Scopes::NONE, |set, scope| Scopes(set.0 | Scopes::of(&[scope]).0))
    }
}

/// Their text forms, with single spaces between them, as in OAuth 2.
impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(formatter, "{space}{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_has_a_text_form_of_its_own_and_a_bit_of_its_own() {
        let all: Scopes = Scope::all().collect();
        assert_eq!(all, Scopes::ALL);
        assert_eq!(Scopes::ALL.iter().count(), NAMES.len());
        for scope in Scope::all() {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            let alone = Scopes::of(&[scope]);
            assert_eq!(alone.iter().collect::<Vec<_>>(), [scope]);
            assert!(!Scopes::NONE.contains(scope) && Scopes::ALL.contains(scope));
        }
        assert_eq!("movements:read".parse::<Scope>(), Err(ScopeUnknown("movements:read".into())));
        let two = Scopes::of(&[Scope::LedgerRead, Scope::CountsWrite]);
        assert_eq!(two.to_string(), "counts:write ledger:read");
    }
}
