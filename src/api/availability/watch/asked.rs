//! What a watcher asked for, and what that comes to in a network that changes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tonic::Status;

use super::super::{PAIRS_MAX, SKUS_MAX, check_sku};
use crate::{
    access::Caller,
    ambient,
    api::{Api, cursor::Cursor, error::invalid, proto::WatchAvailabilityRequest},
    feed::watch::Scope,
    ledger::directory::{Known, KnownLocation},
    stock::ids::{LocationNo, Place, PositionKey},
};

/// Locations of one watch.
const LOCATIONS_MAX: usize = 10_000;
/// How often it is looked for items that nobody has heard of yet.
const UNKNOWN_EVERY: Duration = Duration::from_secs(1);
/// Nothing is looked for.
const NEVER: Duration = Duration::from_secs(3_600);

/// What is watched, by name.
pub(super) struct Asked {
    pub caller: Arc<Caller>,
    pub channel_id: String,
    skus: Vec<String>,
    location_ids: Vec<String>,
    /// Items that nobody has heard of.
    unknown: Vec<String>,
}

/// What that comes to.
pub(super) struct Scoped {
    pub scope: Scope,
    /// Item and location of pairs whose item nobody has heard of.
    pub unknown: Vec<(String, String)>,
    /// Locations that there were.
    locations: usize,
}

impl Asked {
    pub(super) async fn new(
        api: &Api,
        caller: Arc<Caller>,
        sent: WatchAvailabilityRequest,
    ) -> Result<(Asked, Option<Cursor>), Status> {
        let WatchAvailabilityRequest { channel_id, mut skus, mut location_ids, cursor } = sent;
        if skus.len() > SKUS_MAX {
            return Err(invalid("SKUS_INVALID", "skus", "must be at most 10,000"));
        }
        if location_ids.len() > LOCATIONS_MAX {
            return Err(invalid("LOCATION_ID_INVALID", "location_ids", "must be at most 10,000"));
        }
        skus.iter().try_for_each(|sku| check_sku(sku, "skus"))?;
        skus.sort_unstable();
        skus.dedup();
        location_ids.sort_unstable();
        location_ids.dedup();
        let cursor = Cursor::sent(&cursor)?;
        api.ledger.directory().refresh().await?;
        for location_id in &location_ids {
            api.place(&caller, location_id).await?;
        }
        let asked = Asked { caller, channel_id, skus, location_ids, unknown: Vec::new() };
        let locations = match asked.location_ids.len() {
            0 => everywhere(&asked.caller, &api.ledger.directory().known()).count(),
            locations => locations,
        };
        if asked.skus.len().saturating_mul(locations) > PAIRS_MAX {
            let rule = "must be at most 20,000 together with the locations";
            return Err(invalid("SKUS_INVALID", "skus", rule));
        }
        Ok((asked, cursor))
    }

    /// What there is of it now.
    pub(super) async fn scope(&mut self, api: &Api) -> Result<Scoped, Status> {
        let directory = api.ledger.directory();
        let named: Vec<_> = self.skus.iter().map(String::as_str).collect();
        if !named.is_empty() {
            let known = named.iter().all(|sku| directory.known().item(sku).is_some());
            if !known {
                directory.find_items(&named).await?;
            }
        }
        let known = directory.known();
        let places: Vec<(&str, Place)> = match self.location_ids.is_empty() {
            true => {
                everywhere(&self.caller, &known).map(|at| (&*at.location_id, at.place)).collect()
            }
            false => {
                let ids = self.location_ids.iter();
                ids.filter_map(|id| Some((id.as_str(), known.place(id)?))).collect()
            }
        };
        let locations = everywhere(&self.caller, &known).count();
        if self.skus.is_empty() {
            let everything = self.location_ids.is_empty() && self.caller.locations.is_all();
            let scope = match everything {
                true => Scope::All,
                false => Scope::Places(sorted(places.into_iter().map(|(_, place)| place))),
            };
            return Ok(Scoped { scope, unknown: Vec::new(), locations });
        }
        let (mut keys, mut unknown) = (Vec::new(), Vec::new());
        self.unknown.clear();
        for sku in &self.skus {
            match known.item(sku) {
                Some(item) => keys.extend(
                    places.iter().map(|&(_, place)| PositionKey { place, item: item.item }),
                ),
                None => {
                    self.unknown.push(sku.clone());
                    unknown.extend(places.iter().map(|(id, _)| (sku.clone(), (*id).to_owned())));
                }
            }
        }
        Ok(Scoped { scope: Scope::Positions(sorted(keys.into_iter())), unknown, locations })
    }

    /// Whether what the network says of it is another than at a revision.
    pub(super) fn is_changed_since(&self, api: &Api, revision: i64, scoped: &Scoped) -> bool {
        let known = api.ledger.directory().known();
        let channel = known.known_channel(&self.channel_id);
        if channel.is_some_and(|channel| channel.revision > revision) {
            return true;
        }
        let mut fenced = known.quotas_since(revision);
        if fenced.any(|key| scoped.scope.covers(key)) {
            return true;
        }
        if self.location_ids.is_empty() {
            let moved =
                everywhere(&self.caller, &known).any(|location| location.revision > revision);
            let all = self.skus.is_empty() && self.caller.locations.is_all();
            return moved && (!all || known.locations().len() == scoped.locations);
        }
        let mut here = self.location_ids.iter().filter_map(|id| known.location(id));
        here.any(|location| location.revision > revision)
    }

    /// Where nothing is promised at this moment: a status may end by itself.
    pub(super) fn shut(&self, api: &Api) -> BTreeSet<LocationNo> {
        let (known, now) = (api.ledger.directory().known(), ambient::now());
        let shut = |location: &Arc<KnownLocation>| location.live.check_accepts(now).is_err();
        let number = |location: &Arc<KnownLocation>| location.place.location;
        if self.location_ids.is_empty() {
            return everywhere(&self.caller, &known).filter(|at| shut(at)).map(number).collect();
        }
        let here = self.location_ids.iter().filter_map(|id| known.location(id));
        here.filter(|location| shut(location)).map(number).collect()
    }

    /// How often it is to be looked for what is unknown.
    pub(super) fn looks_up_every(&self) -> Duration {
        if self.unknown.is_empty() { NEVER } else { UNKNOWN_EVERY }
    }

    /// Whether somebody has heard of an item by now.
    pub(super) async fn is_known_now(&self, api: &Api) -> Result<bool, Status> {
        let directory = api.ledger.directory();
        let unknown: Vec<_> = self.unknown.iter().map(String::as_str).collect();
        directory.find_items(&unknown).await?;
        let known = directory.known();
        Ok(unknown.iter().any(|sku| known.item(sku).is_some()))
    }
}

/// All locations that exist for who watches.
fn everywhere<'k>(
    caller: &'k Caller,
    known: &'k Known,
) -> impl Iterator<Item = &'k Arc<KnownLocation>> {
    known.locations().filter(|location| caller.locations.includes(&location.location_id))
}

fn sorted<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    all.collect::<BTreeSet<_>>().into_iter().collect()
}
