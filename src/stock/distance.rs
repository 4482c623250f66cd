//! How far it is from one place on earth to another.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

/// Mean radius of the earth (GRS 80), in metres: Moritz, Geodetic Reference System 1980.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Degrees north and degrees east.
pub type Coordinates = (f64, f64);

/// The distance over a sphere in metres, by the haversine formula: off by half a per cent at most.
pub fn distance_m(from: Coordinates, to: Coordinates) -> f64 {
    let (from_north, to_north) = (from.0.to_radians(), to.0.to_radians());
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let haversine = half(from.0, to.0) + from_north.cos() * to_north.cos() * half(from.1, to.1);
    // Rounding may carry the haversine of opposite points beyond 1.
    2.0 * EARTH_RADIUS_M * haversine.min(1.0).sqrt().asin()
}

/// The candidates by their distance from a place in metres, nearest first, of those equally far the
/// least. What is asked for is put in order, not all of them. A candidate without coordinates is left
/// out: nobody knows how far it is.
pub fn nearest<T: Ord>(
    from: Coordinates,
    candidates: impl IntoIterator<Item = (T, Option<Coordinates>)>,
) -> impl Iterator<Item = (T, f64)> {
    let located = candidates.into_iter().filter_map(|(candidate, at)| Some((candidate, at?)));
    let away = |(candidate, at)| Away { distance_m: distance_m(from, at), candidate };
    let mut heap: BinaryHeap<_> = located.map(away).map(Reverse).collect();
    std::iter::from_fn(move || heap.pop().map(|Reverse(away)| (away.candidate, away.distance_m)))
}

struct Away<T> {
    distance_m: f64,
    candidate: T,
}

impl<T: Ord> Ord for Away<T> {
    fn cmp(&self, other: &Away<T>) -> Ordering {
        let distance = self.distance_m.total_cmp(&other.distance_m);
        distance.then_with(|| self.candidate.cmp(&other.candidate))
    }
}

impl<T: Ord> PartialOrd for Away<T> {
    fn partial_cmp(&self, other: &Away<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Away<T> {
    fn eq(&self, other: &Away<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Away<T> {}
