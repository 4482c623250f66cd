//! Where customers could collect a basket: the nearest locations, and what each of them lacks.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::{
    access::Reach,
    ambient,
    ledger::{directory::KnownLocation, fault::Fault},
    reads::{Question, Reads},
    stock::{
        channel_policy::Policy,
        distance::{Spot, nearest},
        ids::{ItemNo, LocationNo, Place, PositionKey},
        time::{SECOND, Timestamp},
    },
};

/// Locations that are looked at, by distance.
const CANDIDATES_MAX: usize = 1_000;
/// Locations that are looked at together.
const PART: usize = 50;
/// A proposal is a hint: whoever takes it up is judged again.
const AGE_US_MAX: i64 = 5 * SECOND;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'s> {
    /// From where.
    pub from: Spot,
    /// Only where the caller may look.
    pub reach: &'s Reach,
    /// Not there.
    pub except: Option<Place>,
    /// No farther away, in metres.
    pub radius_m: f64,
    /// Which items, each once, and how many of each; nobody has heard of an item without a number.
    pub lines: &'s [(Option<ItemNo>, i64)],
    /// What the channel may promise.
    pub policy: &'s Policy,
    /// Only locations that have all of it.
    pub whole: bool,
    /// How many locations, at most.
    pub found_max: usize,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Nearest first.
    pub nearby: Vec<Nearby>,
    /// Everything that was committed up to this moment was seen.
    pub as_of: Timestamp,
    /// Stock is older than it should be, or live holds could not be seen.
    pub degraded: bool,
    /// There are more locations, farther away, at which nobody looked.
    pub truncated: bool,
}

/// A location where customers may collect.
#[derive(Clone, Debug)]
pub struct Nearby {
    /// Which.
    pub location: Arc<KnownLocation>,
    /// How far away, in metres.
    pub distance_m: f64,
    /// Units that it lacks, line by line, as far as the channel is told.
    pub missing: Vec<i64>,
}

impl Reads {
    /// Locations where customers may collect, nearest first. Those without coordinates are never found.
    ///
    /// # Errors
    /// Neither store can say anything.
    pub async fn nearest(&self, search: Search<'_>) -> Result<Found, Fault> {
        self.ledger.directory().refresh().await?;
        self.among_known(search).await
    }

    /// Among the locations that are known by now.
    async fn among_known(&self, search: Search<'_>) -> Result<Found, Fault> {
        let mut found =
            Found { nearby: Vec::new(), as_of: ambient::now(), degraded: false, truncated: false };
        let mut looked_at = FxHashSet::default();
        // Mostly the nearest few will do.
        for most in [PART, CANDIDATES_MAX + 1] {
            let mut candidates = self.candidates(&search, most);
            candidates.retain(|(location, _)| !looked_at.contains(&location.place.location));
            let mut candidates = candidates.into_iter().peekable();
            while candidates.peek().is_some() && found.nearby.len() < search.found_max {
                if looked_at.len() == CANDIDATES_MAX {
                    found.truncated = true;
                    break;
                }
                let part: Vec<_> = candidates.by_ref().take(PART).collect();
                looked_at.extend(part.iter().map(|(location, _)| location.place.location));
                self.look_at(&search, part, &mut found).await?;
            }
            if looked_at.len() < PART || found.nearby.len() >= search.found_max {
                break;
            }
        }
        Ok(found)
    }

    /// Locations within a reach that have all of what another one cannot give, nearest to it first: none, if that is
    /// nothing or nobody knows where it is.
    ///
    /// # Errors
    /// Neither store can say anything.
    pub async fn elsewhere(
        &self,
        place: Place,
        lines: &[(ItemNo, i64)],
        (policy, reach): (&Policy, &Reach),
        found_max: usize,
    ) -> Result<Vec<Nearby>, Fault> {
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        self.ledger.directory().refresh().await?;
        let from = {
            let known = self.ledger.directory().known();
            known.location_of(place.location).and_then(|own| own.spot)
        };
        let Some(from) = from else { return Ok(Vec::new()) };
        let lines: Vec<_> = lines.iter().map(|&(item, quantity)| (Some(item), quantity)).collect();
        let (except, radius_m) = (Some(place), f64::INFINITY);
        let search =
            Search { from, reach, except, radius_m, lines: &lines, policy, whole: true, found_max };
        Ok(self.among_known(search).await?.nearby)
    }

    /// The nearest, by distance.
    fn candidates(&self, search: &Search<'_>, most: usize) -> Vec<(Arc<KnownLocation>, f64)> {
        let (known, now) = (self.ledger.directory().known(), ambient::now());
        let locations = known.locations().filter(|location| {
            location.pickup_enabled
                && search.reach.includes(&location.location_id)
                && Some(location.place) != search.except
                && search.policy.is_eligible(location.place.location)
                && location.live.check_accepts(now).is_ok()
        });
        let located = locations.map(|location| (location.place.location, location.spot));
        let near = nearest(&search.from, located, most).into_iter();
        let near = near.take_while(|(_, distance_m)| *distance_m <= search.radius_m);
        let with = |(number, distance_m): (LocationNo, f64)| {
            Some((Arc::clone(known.location_of(number)?), distance_m))
        };
        near.filter_map(with).collect()
    }

    /// Reads what some locations have, and adds those that are wanted.
    async fn look_at(
        &self,
        search: &Search<'_>,
        part: Vec<(Arc<KnownLocation>, f64)>,
        found: &mut Found,
    ) -> Result<(), Fault> {
        let items: Vec<_> = search.lines.iter().filter_map(|(item, _)| *item).collect();
        let keys = part.iter().flat_map(|(location, _)| {
            let place = location.place;
            items.iter().map(move |&item| PositionKey { place, item })
        });
        let keys: Vec<_> = keys.collect();
        let mut stock = Vec::new();
        if !keys.is_empty() {
            let channel = search.policy.channel;
            let (keys, age_us_max) = (&*keys, AGE_US_MAX);
            let question = Question { keys, channel, own: None, seen: None, age_us_max };
            let answer = self.stock(question).await?;
            found.as_of = found.as_of.min(answer.as_of);
            found.degraded |= answer.degraded;
            stock = answer.stock;
        }
        let mut stock = stock.into_iter();
        let recalled = Arc::clone(self.ledger.directory().known().recalled());
        for (location, distance_m) in part {
            let missing = search.lines.iter().map(|&(item, quantity)| {
                let key = item.map(|item| PositionKey { place: location.place, item });
                let there = key.and_then(|key| Some((key, stock.next()?)));
                let there = there.filter(|(key, _)| !recalled.has(key.item));
                let available =
                    there.map_or(0, |(key, stock)| stock.available(key, 0, search.policy));
                // Whether there is enough is what a hold would say; how much there is may not be told.
                if quantity <= available {
                    0
                } else {
                    quantity - search.policy.shown(available).available
                }
            });
            let missing: Vec<_> = missing.collect();
            let fits = !search.whole || missing.iter().all(|units| *units == 0);
            if fits && found.nearby.len() < search.found_max {
                found.nearby.push(Nearby { location, distance_m, missing });
            }
        }
        Ok(())
    }
}
