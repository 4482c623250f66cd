//! Where else a customer could collect a basket: the nearest locations that have all of it.

use std::sync::Arc;

use crate::{
    ledger::{directory::KnownLocation, fault::Fault},
    reads::{Question, Reads},
    stock::{
        distance::nearest,
        ids::{ItemNo, Place, PositionKey},
        policy::Buffer,
        time::SECOND,
    },
};

/// Locations that are looked at, by distance.
const CANDIDATES_MAX: usize = 200;
/// A proposal is a hint: whoever takes it up is judged again.
const AGE_US_MAX: i64 = 5 * SECOND;

/// A location that has everything.
#[derive(Clone, Debug)]
pub struct Nearby {
    /// Which.
    pub location: Arc<KnownLocation>,
    /// How far away, in metres.
    pub distance_m: f64,
}

impl Reads {
    /// Locations that have all `lines` to promise and where customers may collect, nearest first. Those
    /// without coordinates are never found, and neither is anything from a place without.
    ///
    /// # Errors
    /// Neither store can say anything.
    pub async fn nearest(
        &self,
        from: Place,
        lines: &[(ItemNo, i64)],
        buffer: Buffer,
        found_max: usize,
    ) -> Result<Vec<Nearby>, Fault> {
        let directory = self.ledger.directory();
        directory.refresh().await?;
        let candidates: Vec<_> = {
            let known = directory.known();
            let Some(own) = known.location_of(from.location).and_then(|own| own.coordinates) else {
                return Ok(Vec::new());
            };
            let others =
                known.locations().filter(|other| other.place != from && other.pickup_enabled);
            let others = others.map(|other| (Arc::clone(other), other.coordinates));
            nearest(own, others).into_iter().take(CANDIDATES_MAX).collect()
        };
        let keys = candidates.iter().flat_map(|(location, _)| {
            let place = location.place;
            lines.iter().map(move |&(item, _)| PositionKey { place, item })
        });
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let question = Question { keys: &keys, own: None, seen: None, age_us_max: AGE_US_MAX };
        let answer = self.stock(question).await?;
        let stock = answer.stock.chunks(lines.len());
        let has_all = candidates.into_iter().zip(stock).filter(|(_, stock)| {
            let mut pairs = lines.iter().zip(*stock);
            pairs.all(|((_, quantity), stock)| stock.available(0, buffer) >= *quantity)
        });
        let found = has_all.map(|((location, distance_m), _)| Nearby { location, distance_m });
        Ok(found.take(found_max).collect())
    }
}
