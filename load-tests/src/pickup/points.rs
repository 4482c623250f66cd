//! Where pickup points are, and from where customers ask.

use std::path::Path;

use anyhow::{Context as _, ensure};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// The mean radius that distances are measured by, in metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// Pickup points that are made up where no file has real ones: as many as it has.
const POINTS: usize = 17_700;
/// Around these they are made up: cities of one country, and islands on both sides of the line where the
/// day begins.
const CENTRES: [Point; 8] = [
    (48.86, 2.35),
    (45.76, 4.84),
    (43.30, 5.37),
    (50.63, 3.06),
    (-20.88, 55.45),
    (16.24, -61.53),
    (-13.28, -176.18),
    (-17.71, 178.07),
];
/// The file of real ones, and its columns.
const FILE: &str = "laposte_pickup_points.csv.zst";
const COLUMN_ID: usize = 0;
const COLUMN_LATITUDE: usize = 11;
const COLUMN_LONGITUDE: usize = 12;

/// Degrees north and degrees east.
pub type Point = (f64, f64);

/// A pickup point.
#[derive(Clone, Debug)]
pub struct Place {
    pub location_id: String,
    /// Some of the real ones are nowhere.
    pub at: Option<Point>,
}

/// Metres over a sphere, by the haversine formula.
pub fn haversine_m(from: Point, to: Point) -> f64 {
    let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let norths = from.0.to_radians().cos() * to.0.to_radians().cos();
    let haversine = half(from.0, to.0) + norths * half(from.1, to.1);
    2.0 * EARTH_RADIUS_M * haversine.min(1.0).sqrt().asin()
}

/// The real pickup points of a folder, or made-up ones.
///
/// # Errors
/// The folder does not have them.
pub fn places(data: Option<&Path>, rng: &mut ChaCha8Rng) -> anyhow::Result<Vec<Place>> {
    match data {
        Some(folder) => real(&folder.join(FILE)),
        None => Ok((0..POINTS).map(|number| made_up(number, rng)).collect()),
    }
}

fn real(file: &Path) -> anyhow::Result<Vec<Place>> {
    let opened = std::fs::File::open(file);
    let opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
    let reader = zstd::Decoder::new(opened)?;
    let rows = csv::ReaderBuilder::new().delimiter(b';').quoting(false).from_reader(reader);
    let mut places = Vec::with_capacity(POINTS);
    for row in rows.into_records() {
        let row = row.context("cannot read a pickup point")?;
        let column = |number: usize| row.get(number).unwrap_or_default();
        let degrees = |number: usize| column(number).parse::<f64>().ok();
        places.push(Place {
            location_id: column(COLUMN_ID).to_owned(),
            at: degrees(COLUMN_LATITUDE).zip(degrees(COLUMN_LONGITUDE)),
        });
    }
    ensure!(places.iter().filter(|place| place.at.is_some()).count() > 1_000, "too few points");
    Ok(places)
}

fn made_up(number: usize, rng: &mut ChaCha8Rng) -> Place {
    let centre = CENTRES.get(rng.random_range(0..CENTRES.len())).copied().unwrap_or_default();
    let at = near(centre, 3.0, rng);
    Place {
        location_id: format!("point-{number:05}"),
        at: (!number.is_multiple_of(700)).then_some(at),
    }
}

/// From where a customer asks: mostly from around a pickup point, else from anywhere, and often from
/// where the day begins.
pub fn customer(places: &[Place], rng: &mut ChaCha8Rng) -> Point {
    let place = places.get(rng.random_range(0..places.len())).and_then(|place| place.at);
    match (rng.random_range(0..10), place) {
        (0, _) => (rng.random_range(-60.0..60.0), around_the_line(rng)),
        (1, _) => (rng.random_range(-90.0..=90.0), rng.random_range(-180.0..=180.0)),
        (_, Some(place)) => near(place, 0.3, rng),
        (_, None) => (rng.random_range(-90.0..=90.0), rng.random_range(-180.0..=180.0)),
    }
}

fn around_the_line(rng: &mut ChaCha8Rng) -> f64 {
    let east = rng.random_range(178.0..182.0);
    if east > 180.0 { east - 360.0 } else { east }
}

fn near((north, east): Point, degrees: f64, rng: &mut ChaCha8Rng) -> Point {
    let mut off = || rng.random_range(-degrees..degrees);
    let (north, east) = ((north + off()).clamp(-90.0, 90.0), east + off());
    (north, (east + 540.0).rem_euclid(360.0) - 180.0)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn made_up_points_are_on_earth_on_both_sides_of_the_line_and_some_are_nowhere() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let places = places(None, &mut rng).unwrap();
        assert_eq!(places.len(), POINTS);
        let located: Vec<_> = places.iter().filter_map(|place| place.at).collect();
        assert!(located.len() < POINTS);
        let asked = (0..1_000).map(|_| customer(&places, &mut rng));
        for (north, east) in located.iter().copied().chain(asked) {
            assert!((-90.0..=90.0).contains(&north) && (-180.0..=180.0).contains(&east));
        }
        assert!(located.iter().any(|(_, east)| *east > 179.0));
        assert!(located.iter().any(|(_, east)| *east < -179.0));
    }

    #[test]
    fn a_degree_of_the_equator_is_as_long_across_the_line() {
        let degree = EARTH_RADIUS_M.to_radians();
        assert!((haversine_m((0.0, 179.5), (0.0, -179.5)) - degree).abs() < 1e-3);
        assert!((haversine_m((0.0, 0.0), (1.0, 0.0)) - degree).abs() < 1e-3);
    }
}
