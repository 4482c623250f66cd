//! Whoever calls, as its credential describes it.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

use crate::{
    access::{Rule, Scope, Scopes},
    stock::{hold::ANYBODY, ids::is_identifier},
};

/// Who writes what the service itself does: reservations that expire, recalls.
pub const SERVICE: &str = "stockroom";

/// Whoever calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Identifier, the same for every credential of the same system. Keys and holds are its own; limits
    /// are counted by it, and the ledger keeps it. Empty: the anonymous caller of a server without
    /// credential sources, and nobody else.
    pub id: String,
    /// What it may do.
    pub scopes: Scopes,
    /// Ids of the locations that exist for it.
    pub locations: Reach,
    /// Ids of the channels that exist for it.
    pub channels: Reach,
    /// The terminal that it is, if it is one.
    pub terminal: Option<Terminal>,
}

/// What exists for a caller, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything, also what is put later.
    All,
    /// These and nothing else.
    Only(FxHashSet<String>),
}

/// A device in a shop. It reports facts of its own location only, and only as itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Identifier of the location where it stands.
    pub location_id: String,
    /// Identifier of the device: the `source` of everything that it reports.
    pub device_id: String,
}

impl Caller {
    /// Who calls a server without any credential source: nobody in particular, and it may do everything.
    pub fn anonymous() -> Caller {
        Caller {
            id: String::new(),
            scopes: Scopes::ALL,
            locations: Reach::All,
            channels: Reach::All,
            terminal: None,
        }
    }

    /// Whether it is nobody in particular.
    pub fn is_anonymous(&self) -> bool {
        self.id.is_empty()
    }

    /// Whether a credential may give a caller this id: identifiers that mean nobody, or the service
    /// itself, where the ledger names who did something, are not to be had.
    pub fn may_be_named(id: &str) -> bool {
        is_identifier(id) && id != ANYBODY && id != SERVICE
    }

    /// Whether a credential gave it an id that means somebody else, or nobody: such a caller may do nothing.
    pub fn is_misnamed(&self) -> bool {
        matches!(&*self.id, "" | ANYBODY | SERVICE)
    }

    /// Who did something, as the ledger is told: itself, whatever the message says, once it has shown a
    /// credential.
    pub fn acting(&self, stated: String) -> String {
        if self.is_anonymous() { stated } else { self.id.clone() }
    }

    /// Who reported facts in the name of a source, as the ledger is told: nobody but the source itself, or
    /// the caller that spoke for it.
    pub fn actor_for(&self, source: &str) -> String {
        if self.id == source { String::new() } else { self.id.clone() }
    }

    /// What a source is known by to others who speak in its name: a point up to which one has sent
    /// everything is not another one's.
    pub fn stream_of<'s>(&self, source: &'s str) -> Cow<'s, str> {
        match self.is_anonymous() || self.terminal.is_some() || self.id == source {
            true => source.into(),
            false => format!("{} {source}", self.id).into(),
        }
    }

    /// Whose its keys and holds are.
    pub fn owner(&self) -> &str {
        if self.is_anonymous() { ANYBODY } else { &self.id }
    }

    /// Whether it has this scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether it satisfies a rule.
    pub fn satisfies(&self, rule: Rule) -> bool {
        match rule {
            Rule::Open | Rule::Identified => true,
            Rule::AnyOf(scopes) => self.scopes.intersects(scopes),
        }
    }
}

impl Reach {
    /// These and nothing else.
    pub fn only<I: IntoIterator<Item: Into<String>>>(ids: I) -> Reach {
        Reach::Only(ids.into_iter().map(Into::into).collect())
    }

    /// Whether this id lies within it.
    pub fn includes(&self, id: &str) -> bool {
        match self {
            Reach::All => true,
            Reach::Only(ids) => ids.contains(id),
        }
    }

    /// The ids in it; `None`: it is everything.
    pub fn ids(&self) -> Option<Vec<String>> {
        match self {
            Reach::All => None,
            Reach::Only(ids) => Some(ids.iter().cloned().collect()),
        }
    }

    /// Whether it is everything.
    pub fn is_all(&self) -> bool {
        matches!(self, Reach::All)
    }
}
