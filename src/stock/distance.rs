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

/// The candidates by their distance from a place in metres, nearest first, those equally far in the
/// order given. A candidate without coordinates is left out: nobody knows how far it is.
pub fn nearest<T>(
    from: Coordinates,
    candidates: impl IntoIterator<Item = (T, Option<Coordinates>)>,
) -> Vec<(T, f64)> {
    let located = candidates.into_iter().filter_map(|(candidate, at)| Some((candidate, at?)));
    let mut nearest: Vec<_> =
        located.map(|(candidate, at)| (candidate, distance_m(from, at))).collect();
    nearest.sort_by(|(_, one), (_, other)| one.total_cmp(other));
    nearest
}
