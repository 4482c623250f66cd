//! Where a basket could be collected.

use std::collections::HashMap;

use tonic::Status;

use crate::{
    access::Caller,
    ambient,
    api::{
        Api,
        error::invalid,
        guard::Who,
        proto::{FindPickupLocationsRequest, FindPickupLocationsResponse, Line, PickupLocation},
        reservations::asked::optional_lines,
        wire::time_out,
    },
    reads::nearest::{Nearby, Search},
    stock::{
        distance::{Coordinates, Spot},
        ids::ItemNo,
        network::is_on_earth,
        time::Timestamp,
    },
};

const LOCATIONS_DEFAULT: u32 = 5;
const LOCATIONS_MAX: u32 = 100;

impl Api {
    pub(super) async fn find_pickup(
        &self,
        caller: &Caller,
        sent: FindPickupLocationsRequest,
        who: &Who,
    ) -> Result<FindPickupLocationsResponse, Status> {
        let from = Spot::new(coordinates(&sent)?);
        let radius_m = radius_m(sent.radius_m)?;
        let found_max = locations_max(sent.locations_max)?;
        let policy = self.policy(caller, &sent.channel_id).await?;
        let basket = summed(optional_lines(sent.lines)?);
        self.search_amounts(who, &policy, &basket)?;
        let items = self.items(&basket).await?;
        let lines: Vec<_> =
            items.into_iter().zip(&basket).map(|(item, (_, quantity))| (item, *quantity)).collect();
        let search = Search {
            from,
            reach: &caller.locations,
            except: None,
            radius_m,
            lines: &lines,
            policy: &policy,
            whole: !sent.include_incomplete,
            found_max,
        };
        let found = self.reads.nearest(search).await?;
        let now = ambient::now();
        let locations = found.nearby.iter().map(|nearby| told(nearby, &basket, now));
        Ok(FindPickupLocationsResponse {
            locations: locations.collect(),
            as_of: Some(time_out(found.as_of)),
            degraded: found.degraded,
            truncated: found.truncated,
        })
    }

    /// The number of each item, if anybody has heard of it.
    async fn items(&self, basket: &[(String, i64)]) -> Result<Vec<Option<ItemNo>>, Status> {
        let directory = self.ledger.directory();
        let unknown: Vec<_> = {
            let known = directory.known();
            let skus = basket.iter().map(|(sku, _)| &**sku);
            skus.filter(|sku| known.item(sku).is_none()).collect()
        };
        if !unknown.is_empty() {
            directory.find_items(&unknown).await?;
        }
        let known = directory.known();
        Ok(basket.iter().map(|(sku, _)| known.item(sku).map(|item| item.item)).collect())
    }
}

fn told(nearby: &Nearby, basket: &[(String, i64)], now: Timestamp) -> PickupLocation {
    let Nearby { location, distance_m, missing } = nearby;
    let missing = basket.iter().zip(missing).filter(|(_, units)| **units > 0);
    let missing = missing.map(|((sku, _), &quantity)| Line { sku: sku.clone(), quantity });
    PickupLocation {
        location_id: location.location_id.to_string(),
        distance_m: *distance_m,
        open_now: location.calendar.is_open(now),
        ready_by: Some(time_out(location.calendar.ready_by(now, location.preparation))),
        missing: missing.collect(),
        status: location.live.status_at(now) as i32,
    }
}

/// Each item once, in the order in which it was first named.
fn summed(lines: Vec<(String, i64)>) -> Vec<(String, i64)> {
    let mut places = HashMap::new();
    let mut summed: Vec<(String, i64)> = Vec::with_capacity(lines.len());
    for (sku, quantity) in lines {
        match places.get(&sku).and_then(|&place: &usize| summed.get_mut(place)) {
            Some((_, units)) => *units += quantity,
            None => {
                places.insert(sku.clone(), summed.len());
                summed.push((sku, quantity));
            }
        }
    }
    summed
}

fn coordinates(sent: &FindPickupLocationsRequest) -> Result<Coordinates, Status> {
    let point = sent.latitude.zip(sent.longitude);
    let point = point.filter(|(latitude, longitude)| is_on_earth(*latitude, *longitude));
    let rule = "must be -90 to 90, and longitude -180 to 180; both are required";
    point.ok_or_else(|| invalid("COORDINATES_INVALID", "latitude", rule))
}

fn radius_m(sent: f64) -> Result<f64, Status> {
    match sent {
        0.0 => Ok(f64::INFINITY),
        radius_m if radius_m > 0.0 => Ok(radius_m),
        _ => Err(invalid("FIELD_INVALID", "radius_m", "must be positive, or 0 for any distance")),
    }
}

fn locations_max(sent: u32) -> Result<usize, Status> {
    match sent {
        0 => Ok(LOCATIONS_DEFAULT as usize),
        1..=LOCATIONS_MAX => Ok(sent as usize),
        _ => Err(invalid("FIELD_INVALID", "locations_max", "must be at most 100")),
    }
}
