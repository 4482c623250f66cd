//! Totals of what is held.

use std::{borrow::Cow, fmt};

use crate::{
    availability::keys::{named_position, position_name},
    stock::ids::{Partition, PositionKey},
};

/// What units of holds add up under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Total {
    /// A position.
    Position(PositionKey),
    /// A customer or a channel at one location, by the name that the scripts are given.
    Owner(Partition, String),
}

impl Total {
    pub(super) fn parse(partition: Partition, name: &str) -> Option<Total> {
        let position = || named_position(partition, name).map(Total::Position);
        let is_owner = owner_of(name).is_some();
        if is_owner { Some(Total::Owner(partition, name.to_owned())) } else { position() }
    }

    /// The partition that it belongs to.
    pub fn partition(&self) -> Partition {
        match self {
            Total::Position(key) => key.place.partition,
            Total::Owner(partition, _) => *partition,
        }
    }

    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Total::Position(key) => position_name(*key).into(),
            Total::Owner(_, name) => name.into(),
        }
    }
}

/// The location, the kind, and who of them.
fn owner_of(name: &str) -> Option<(&str, &str, &str)> {
    let (location, rest) = name.split_at(name.find(['c', 'n'])?);
    let (kind, who) = rest.split_at(1);
    let is_one = !location.is_empty() && !who.is_empty();
    is_one.then_some((location, if kind == "c" { "customer" } else { "channel" }, who))
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Total::Position(PositionKey { place, item }) => {
                write!(f, "location={} item={}", place.location.0, item.0)
            }
            Total::Owner(_, name) => match owner_of(name) {
                Some((location, kind, who)) => write!(f, "location={location} {kind}={who}"),
                None => f.write_str(name),
            },
        }
    }
}
