//! How far it is from one place on earth to another.

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

/// A place on earth, ready to be compared with many others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spot {
    /// Where it is.
    pub at: Coordinates,
    /// The same from the middle of a sphere of radius 1.
    unit: [f64; 3],
}

/// Straight through a sphere of radius 1, rounding errs by less: 6 micrometres on earth.
const CHORD_ERROR: f64 = 1e-12;

impl Spot {
    /// The place with these coordinates.
    pub fn new(at: Coordinates) -> Spot {
        let (up, out) = at.0.to_radians().sin_cos();
        let (east, ahead) = at.1.to_radians().sin_cos();
        Spot { at, unit: [out * ahead, out * east, up] }
    }

    /// The square of the way straight through: it grows with the distance, and costs a tenth of it.
    fn chord_squared(&self, other: &Spot) -> f64 {
        let ([x, y, z], [other_x, other_y, other_z]) = (self.unit, other.unit);
        (x - other_x).powi(2) + (y - other_y).powi(2) + (z - other_z).powi(2)
    }
}

/// The `most` candidates that are nearest to a place, with their distances in metres, nearest first, of
/// those equally far the least. One that is nowhere is left out: nobody knows how far it is.
pub fn nearest<T: Ord + Copy>(
    from: &Spot,
    candidates: impl IntoIterator<Item = (T, Option<Spot>)>,
    most: usize,
) -> Vec<(T, f64)> {
    let located = candidates.into_iter().filter_map(|(candidate, spot)| Some((candidate, spot?)));
    let mut all: Vec<_> =
        located.map(|(candidate, spot)| (spot.chord_squared(from), candidate, spot.at)).collect();
    if let Some(last) = most.checked_sub(1).filter(|last| *last < all.len()) {
        let (_, farthest, _) =
            all.select_nth_unstable_by(last, |one, other| one.0.total_cmp(&other.0));
        let limit = (farthest.0.sqrt() + CHORD_ERROR).powi(2);
        all.retain(|(chord_squared, ..)| *chord_squared <= limit);
    }
    let exactly = |(_, candidate, at)| (candidate, distance_m(from.at, at));
    let mut found: Vec<(T, f64)> = all.into_iter().map(exactly).collect();
    found.sort_unstable_by(|one, other| one.1.total_cmp(&other.1).then(one.0.cmp(&other.0)));
    found.truncate(most);
    found
}
