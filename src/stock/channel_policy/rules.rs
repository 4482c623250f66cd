//! What a policy says of single items and locations.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::stock::{
    draft::QUANTITY_MAX,
    ids::{ItemNo, LocationNo, PositionKey},
    policy::Buffer,
};

/// Rules of one policy.
pub const RULES_MAX: usize = 1_000;

/// What a policy says of an item, of a location, or of an item at a location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The item; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemNo>,
    /// The location; none: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<LocationNo>,
    /// What is kept back; none: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer: Option<Buffer>,
    /// Most units in one hold or reservation, 0: no cap; none: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units_per_order_max: Option<i64>,
}

/// All rules of a policy, at most one for each item and location.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(FxHashMap<(Option<LocationNo>, Option<ItemNo>), Rule>);

impl Rule {
    /// The first field that is out of its bounds, by its name in the contract.
    pub fn flaw(&self) -> Option<&'static str> {
        let buffer = self.buffer.and_then(Buffer::flaw);
        let cap = self.units_per_order_max.is_none_or(|cap| (0..=QUANTITY_MAX).contains(&cap));
        buffer.or((!cap).then_some("units_per_order_max"))
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Rules {
        Rules(rules.into_iter().map(|rule| ((rule.location, rule.item), rule)).collect())
    }
}

impl Rules {
    /// All of them, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.0.values()
    }

    /// What the rules say about something of a position: the first that says anything of an item at a
    /// location, of the item, of the location.
    pub(super) fn find<T>(&self, key: PositionKey, said: impl Fn(&Rule) -> Option<T>) -> Option<T> {
        if self.0.is_empty() {
            return None;
        }
        let (location, item) = (Some(key.place.location), Some(key.item));
        let scopes = [(location, item), (None, item), (location, None)];
        scopes.iter().find_map(|scope| self.0.get(scope).and_then(&said))
    }
}
