//! What policies name, to numbers and back.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};

use crate::{
    ledger::{
        fault::{Answered as _, Fault},
        network::policy::{ChannelPolicy, NamedRule, PolicyRow, Scope},
    },
    stock::ids::{ItemNo, LocationNo},
};

/// The numbers of what a policy names.
pub(in crate::ledger::network) struct Numbers {
    items: HashMap<String, ItemNo>,
    locations: HashMap<String, LocationNo>,
}

impl Numbers {
    /// Read in the transaction of the put: a fail-over in between cannot give a number to another name.
    pub async fn read(connection: &mut PgConnection, scope: &Scope) -> Result<Numbers, Fault> {
        let skus: Vec<_> = scope.rules.iter().map(|rule| &*rule.sku).collect();
        let ids = scope.rules.iter().map(|rule| &*rule.location_id);
        let ids: Vec<_> = ids.chain(scope.eligible.iter().map(|id| &**id)).collect();
        Numbers::named(connection, &skus, &ids).await
    }

    /// Those of items and locations with these names.
    pub async fn named(
        connection: &mut PgConnection,
        skus: &[&str],
        location_ids: &[&str],
    ) -> Result<Numbers, Fault> {
        let items = sqlx::query!("select sku, item_no from item where sku = any($1)", skus as _)
            .fetch_all(&mut *connection)
            .answered("look up the items of a policy")
            .await?;
        let locations = sqlx::query!(
            "select location_id, location_no from location where location_id = any($1)",
            location_ids as _,
        )
        .fetch_all(connection)
        .answered("look up the locations of a policy")
        .await?;
        let items = items.into_iter().map(|row| (row.sku, ItemNo(row.item_no)));
        let locations =
            locations.into_iter().map(|row| (row.location_id, LocationNo(row.location_no)));
        Ok(Numbers { items: items.collect(), locations: locations.collect() })
    }

    pub fn item(&self, sku: &str) -> Option<ItemNo> {
        self.items.get(sku).copied()
    }

    pub fn location(&self, location_id: &str) -> Option<LocationNo> {
        self.locations.get(location_id).copied()
    }

    /// Gives a policy its rules and locations; in vain, says which field names nothing.
    pub fn resolve(&self, put: &mut ChannelPolicy) -> Result<(), String> {
        let ChannelPolicy { policy, scope, .. } = put;
        for (index, named) in scope.rules.iter_mut().enumerate() {
            let unknown = |field| format!("rules[{index}].{field}");
            let NamedRule { sku, location_id, rule } = named;
            rule.item = self.items.get(sku).copied();
            rule.location = self.locations.get(location_id).copied();
            if rule.item.is_none() && !sku.is_empty() {
                return Err(unknown("sku"));
            }
            if rule.location.is_none() && !location_id.is_empty() {
                return Err(unknown("location_id"));
            }
        }
        policy.rules = scope.rules.iter().map(|named| named.rule).collect();
        policy.eligible.clear();
        for (index, location_id) in scope.eligible.iter().enumerate() {
            let location = self.locations.get(location_id);
            let unknown = || format!("eligible_location_ids[{index}]");
            policy.eligible.insert(*location.ok_or_else(unknown)?);
        }
        scope.sort();
        Ok(())
    }
}

/// The names of what policies name by number.
pub(super) struct Names {
    items: HashMap<ItemNo, String>,
    locations: HashMap<LocationNo, String>,
}

impl Names {
    pub async fn read(pool: &PgPool, rows: &[PolicyRow]) -> Result<Names, Fault> {
        let mut names = Names { items: HashMap::new(), locations: HashMap::new() };
        let rules = || rows.iter().flat_map(|row| row.policy_rules.iter());
        let items: Vec<_> = rules().filter_map(|rule| Some(rule.item?.0)).collect();
        if !items.is_empty() {
            let rows =
                sqlx::query!("select item_no, sku from item where item_no = any($1)", &items)
                    .fetch_all(pool)
                    .answered("name the items of policies")
                    .await?;
            names.items.extend(rows.into_iter().map(|row| (ItemNo(row.item_no), row.sku)));
        }
        let locations = rules().filter_map(|rule| Some(rule.location?.0));
        let eligible = rows.iter().flat_map(|row| row.eligible_locations.iter().copied());
        let locations: Vec<_> = locations.chain(eligible).collect();
        if !locations.is_empty() {
            let rows = sqlx::query!(
                "select location_no, location_id from location where location_no = any($1)",
                &locations,
            )
            .fetch_all(pool)
            .answered("name the locations of policies")
            .await?;
            let rows = rows.into_iter().map(|row| (LocationNo(row.location_no), row.location_id));
            names.locations.extend(rows);
        }
        Ok(names)
    }

    pub fn channel_policy(&self, row: PolicyRow) -> ChannelPolicy {
        let policy = row.policy();
        let item = |item| self.items.get(&item).cloned().unwrap_or_default();
        let location = |location| self.locations.get(&location).cloned().unwrap_or_default();
        let rules = policy.rules.iter().map(|&rule| NamedRule {
            sku: rule.item.map_or_else(String::new, item),
            location_id: rule.location.map_or_else(String::new, location),
            rule,
        });
        let eligible = policy.eligible.iter().copied().map(location).collect();
        let mut scope = Scope { rules: rules.collect(), eligible };
        scope.sort();
        ChannelPolicy { channel_id: row.channel_id, policy, scope }
    }
}
