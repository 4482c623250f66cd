//! The pickup points of a country: the nearest of them against a search through all.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::{
    api::proto::{FindPickupLocationsRequest, Line, Location, PutLocationRequest},
    stock::distance::EARTH_RADIUS_M,
};

use super::data;
use crate::harness::{
    availability::check,
    movements::{Became as _, receipt},
    server::{Server, eventually_within},
};

/// Points in the file, and those of them that are nowhere (La Poste, Licence Ouverte 2.0).
const POINTS: usize = 17_700;
const NOWHERE: usize = 26;
const ITEMS: [&str; 2] = ["jam", "tea"];
const QUESTIONS: usize = 300;
/// How long the projection of so many positions may take.
const PROJECTED_MAX: Duration = Duration::from_secs(120);

struct Point {
    id: String,
    at: Option<(f64, f64)>,
}

fn points(file: &str) -> Vec<Point> {
    let reader = zstd::Decoder::new(std::fs::File::open(file).unwrap()).unwrap();
    let rows = csv::ReaderBuilder::new().delimiter(b';').quoting(false).from_reader(reader);
    let point = |row: Result<csv::StringRecord, csv::Error>| {
        let row = row.unwrap();
        let degrees = |column: usize| row[column].parse::<f64>().ok();
        Point { id: row[0].to_owned(), at: degrees(11).zip(degrees(12)) }
    };
    rows.into_records().map(point).collect()
}

/// Two points of three have the first item, three of four the second.
fn has(number: usize, item: usize) -> bool {
    !number.is_multiple_of(3 + item)
}

fn haversine_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (north, south) = (from.0.to_radians(), to.0.to_radians());
    let sine = |difference: f64| (difference.to_radians() / 2.0).sin();
    let (up, aside) = (sine(to.0 - from.0), sine(to.1 - from.1));
    let half = (up * up + north.cos() * south.cos() * aside * aside).sqrt();
    2.0 * EARTH_RADIUS_M * half.min(1.0).asin()
}

async fn put(server: &Server, points: &[Point]) {
    let puts = futures::stream::iter(points).map(|point| {
        let location = Location {
            location_id: point.id.clone(),
            latitude: point.at.map(|(north, _)| north),
            longitude: point.at.map(|(_, east)| east),
            pickup_enabled: true,
            ..Location::default()
        };
        let mut client = server.network();
        async move { client.put_location(PutLocationRequest { location: Some(location) }).await }
    });
    puts.buffer_unordered(8).try_for_each(|_| async { Ok(()) }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_pickup_points_are_those_of_a_search_through_all() {
    let Some(file) = data("laposte_pickup_points.csv.zst") else { return };
    let points = points(&file);
    assert_eq!(points.len(), POINTS);
    assert_eq!(points.iter().filter(|point| point.at.is_none()).count(), NOWHERE);
    let server = Server::start_honest().await;
    put(&server, &points).await;
    let stocked = points.iter().enumerate().flat_map(|(number, point)| {
        let items = ITEMS.iter().enumerate().filter(move |(item, _)| has(number, *item));
        items.map(|(_, sku)| receipt(&format!("{}/{sku}", point.id), &point.id, sku, 1))
    });
    let stocked: Vec<_> = stocked.collect();
    for movements in stocked.chunks(1_000) {
        for result in server.record(movements.to_vec()).await.results {
            result.recorded();
        }
    }
    for movement in stocked.iter().rev().step_by(97) {
        eventually_within(PROJECTED_MAX, "it is projected", || async {
            let there = check(&movement.location_id, &movement.sku);
            (server.check(there).await.unwrap().available == 1).then_some(())
        })
        .await;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for question in 0..QUESTIONS {
        let near = points[rng.random_range(0..POINTS)].at.unwrap_or((-21.1, 55.5));
        let from = match question % 5 {
            0 => (rng.random_range(-90.0..90.0), rng.random_range(-180.0..180.0)),
            1 => (rng.random_range(-60.0..60.0), [-180.0, 179.999, 180.0][question % 3]),
            _ => (near.0, near.1 + rng.random_range(-0.2..0.2)),
        };
        let items = 1 + question % 2;
        let mut expected: Vec<_> = (0..POINTS)
            .filter(|number| (0..items).all(|item| has(*number, item)))
            .filter_map(|number| Some((haversine_m(from, points[number].at?), number)))
            .collect();
        expected.sort_by(|one, other| one.0.total_cmp(&other.0));
        let lines = ITEMS[..items].iter().map(|&sku| Line { sku: sku.to_owned(), quantity: 1 });
        let request = FindPickupLocationsRequest {
            lines: lines.collect(),
            latitude: Some(from.0),
            longitude: Some(from.1),
            ..FindPickupLocationsRequest::default()
        };
        let answer = server.availability().find_pickup_locations(request).await.unwrap();
        let found = answer.into_inner().locations;
        assert_eq!(found.len(), 5);
        // Some points are at the same place, so that distances are compared first.
        for (found, (far, _)) in found.iter().zip(&expected) {
            assert!((found.distance_m - far).abs() < 1e-6, "from {from:?}: {found:?}, {far}");
            let own = expected.iter().find(|(_, number)| points[*number].id == found.location_id);
            let (own, _) = own.expect("it has all of it");
            assert!((found.distance_m - own).abs() < 1e-6, "from {from:?}: {found:?}, {own}");
        }
    }
}
