//! `pickup`: the nearest locations that have a basket, out of as many pickup points as a country has,
//! each answer compared with a search through all of them.

mod points;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use stockroom::api::proto::{
    FindPickupLocationsRequest, FindPickupLocationsResponse, Line, Location, Movement,
    MovementKind, PutLocationRequest, SyncMovementsRequest,
    availability_service_client::AvailabilityServiceClient,
    movement_service_client::MovementServiceClient, network_service_client::NetworkServiceClient,
};
use tonic::transport::Channel;

use self::points::{Place, Point, customer, haversine_m, places};
use crate::{
    fill, ingest,
    ingest::MESSAGE_LINES,
    latency::Latency,
    sales,
    server::{self, Server},
    stats::rounded,
};

/// Items of the largest basket.
const ITEMS: usize = 5;
/// Baskets that are asked for: their names, and how many items each has.
const BASKETS: [(&str, usize); 2] = [("one", 1), ("five", ITEMS)];
/// Of a hundred points, those that have an item.
const STOCKED_PERCENT: u64 = 80;
/// What is asked for.
const NEAREST: usize = 5;
/// Distances that differ by less are the same.
const SAME_M: f64 = 1e-6;
/// Locations that are put at once.
const PUTS: usize = 16;
/// More than putting, filling and comparing takes.
const SPARE: Duration = Duration::from_secs(900);

/// What to ask for, and how long.
#[derive(Debug, Clone, clap::Args)]
pub struct PickupArgs {
    /// Folder with the real pickup points, laposte_pickup_points.csv.zst; made-up ones without it.
    #[arg(long, env = "DATA")]
    data: Option<PathBuf>,
    /// Seconds for each basket.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Customers who ask at the same time, each as soon as the last answer is there.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    customers: u32,
    /// The 99th percentile above which this fails, in milliseconds; 0: none.
    #[arg(long, default_value_t = 5.0)]
    p99_ms_max: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    locations: usize,
    one: Times,
    five: Times,
}

/// How long answers took that were all right.
#[derive(Debug, Default, Serialize)]
struct Times {
    answers: u64,
    per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// A question and its answer.
struct Answered {
    from: Point,
    answer: FindPickupLocationsResponse,
}

/// Measures, compares and prints.
///
/// # Errors
/// Something failed, an answer is wrong, or answers take too long.
pub fn run(args: &PickupArgs) -> anyhow::Result<()> {
    let places = places(args.data.as_deref(), &mut ChaCha8Rng::seed_from_u64(1))?;
    let places = Arc::new(places);
    let stretch = Duration::from_secs(args.seconds.into());
    let work = async |server: &Server| {
        put(server, &places).await?;
        let positions = fill(server, &places).await?;
        fill::wait_until_in_redis(server, positions).await?;
        let mut times = Vec::new();
        for (name, items) in BASKETS {
            times.push(measure(server, &places, items, stretch, args.customers).await?);
            eprintln!("basket of {name}: {:?}", times.last());
        }
        Ok(times)
    };
    let lasting = SPARE + 2 * stretch * BASKETS.len() as u32;
    let mut times = server::block_on(server::with(lasting, work))?.into_iter();
    let mut next = || times.next().unwrap_or_default();
    let report = Report { locations: places.len(), one: next(), five: next() };
    println!("{}", serde_json::to_string(&report)?);
    let (slowest, most) = (report.one.p99_ms.max(report.five.p99_ms), args.p99_ms_max);
    ensure!(most == 0.0 || slowest <= most, "p99 is {slowest} ms, above {most} ms");
    Ok(())
}

/// Whether a point has an item; half a number is as good as another.
fn has(place: usize, item: usize) -> bool {
    let mixed = (place as u64 * 31 + item as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed % 100 < STOCKED_PERCENT
}

async fn put(server: &Server, places: &[Place]) -> anyhow::Result<()> {
    let channel = server.connect().await?;
    let started = Instant::now();
    let puts = futures::stream::iter(places.to_vec()).map(|place| {
        let mut client = NetworkServiceClient::new(channel.clone());
        let location = Location {
            location_id: place.location_id,
            latitude: place.at.map(|(north, _)| north),
            longitude: place.at.map(|(_, east)| east),
            pickup_enabled: true,
            ..Location::default()
        };
        async move { client.put_location(PutLocationRequest { location: Some(location) }).await }
    });
    let put = puts.buffer_unordered(PUTS).map_ok(|_| 1_usize);
    let put = put.try_fold(0, |sum, one| async move { Ok(sum + one) }).await?;
    eprintln!("{put} locations in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Receives one unit of what each point has. Returns the number of positions.
async fn fill(server: &Server, places: &[Place]) -> anyhow::Result<u64> {
    let all = places.iter().enumerate().flat_map(|(number, place)| {
        (0..ITEMS).filter(move |item| has(number, *item)).map(move |item| (place, item))
    });
    let movements: Vec<_> = all
        .map(|(place, item)| Movement {
            key: format!("{}/{item}", place.location_id),
            kind: MovementKind::Receipt as i32,
            location_id: place.location_id.clone(),
            sku: sales::sku(item),
            quantity: 1,
            ..Movement::default()
        })
        .collect();
    let positions = movements.len() as u64;
    let messages: Vec<_> = movements
        .chunks(MESSAGE_LINES)
        .map(|movements| SyncMovementsRequest {
            source: "fill".to_owned(),
            sent_at: None,
            movements: movements.to_vec(),
        })
        .collect();
    let client = MovementServiceClient::new(server.connect().await?);
    ingest::stream(client, messages.into_iter()).await?;
    Ok(positions)
}

/// Asks for a while, and only then compares: looking through all points takes time of its own.
async fn measure(
    server: &Server,
    places: &Arc<Vec<Place>>,
    items: usize,
    stretch: Duration,
    customers: u32,
) -> anyhow::Result<Times> {
    let mut asking = Vec::new();
    for number in 0..customers {
        let client = AvailabilityServiceClient::new(server.connect().await?);
        let rng = ChaCha8Rng::seed_from_u64(u64::from(number) + 2);
        asking.push(tokio::spawn(ask(client, Arc::clone(places), items, stretch, rng)));
    }
    let mut all = Latency::new()?;
    let mut answered = Vec::new();
    for done in try_join_all(asking).await.context("a customer panicked")? {
        let (latency, answers) = done?;
        all.add(&latency)?;
        answered.extend(answers);
    }
    for answered in &answered {
        compare(places, items, answered)?;
    }
    Ok(Times {
        answers: all.count(),
        per_s: rounded(all.count() as f64 / stretch.as_secs_f64(), 1),
        p50_ms: rounded(all.percentile_ms(50.0), 3),
        p99_ms: rounded(all.percentile_ms(99.0), 3),
        max_ms: rounded(all.max_ms(), 3),
    })
}

/// One customer after the other, the first tenth of the time as a warm-up.
async fn ask(
    mut client: AvailabilityServiceClient<Channel>,
    places: Arc<Vec<Place>>,
    items: usize,
    stretch: Duration,
    mut rng: ChaCha8Rng,
) -> anyhow::Result<(Latency, Vec<Answered>)> {
    let mut latency = Latency::new()?;
    let mut answers = Vec::new();
    let begins = Instant::now() + stretch / 10;
    let ends = begins + stretch;
    while Instant::now() < ends {
        let from = customer(&places, &mut rng);
        let lines = (0..items).map(|item| Line { sku: sales::sku(item), quantity: 1 });
        let request = FindPickupLocationsRequest {
            lines: lines.collect(),
            latitude: Some(from.0),
            longitude: Some(from.1),
            ..FindPickupLocationsRequest::default()
        };
        let asked = Instant::now();
        let answer = client.find_pickup_locations(request).await?.into_inner();
        if asked >= begins {
            latency.record(asked.elapsed());
        }
        answers.push(Answered { from, answer });
    }
    Ok((latency, answers))
}

/// The nearest that have all of it, by looking at all. Several may be equally far, so distances count.
fn compare(places: &[Place], items: usize, answered: &Answered) -> anyhow::Result<()> {
    let Answered { from, answer } = answered;
    let mut expected: Vec<_> = places
        .iter()
        .enumerate()
        .filter(|(number, _)| (0..items).all(|item| has(*number, item)))
        .filter_map(|(_, place)| Some((haversine_m(*from, place.at?), &*place.location_id)))
        .collect();
    let nearest = NEAREST.min(expected.len());
    if nearest < expected.len() {
        expected.select_nth_unstable_by(nearest, |one, other| one.0.total_cmp(&other.0));
    }
    let by_id: Vec<_> = answer.locations.iter().map(|found| &*found.location_id).collect();
    let mut distances: Vec<_> = expected.iter().take(nearest).map(|(far, _)| *far).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let wrong = || format!("from {from:?}: {by_id:?} instead of those {distances:?} m away");
    ensure!(answer.locations.len() == nearest, wrong());
    for (found, far) in answer.locations.iter().zip(&distances) {
        let fits = |(own, id): &(f64, &str)| {
            *id == found.location_id && (own - found.distance_m).abs() <= SAME_M
        };
        let same = (found.distance_m - far).abs() <= SAME_M;
        ensure!(same && expected.iter().any(fits), wrong());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stockroom::api::proto::PickupLocation;

    use super::*;

    fn found(places: &[Place], from: Point, numbers: &[usize]) -> Answered {
        let locations = numbers.iter().map(|number| PickupLocation {
            location_id: places[*number].location_id.clone(),
            distance_m: haversine_m(from, places[*number].at.unwrap()),
            ..PickupLocation::default()
        });
        let locations = locations.collect();
        Answered { from, answer: FindPickupLocationsResponse { locations, ..Default::default() } }
    }

    #[test]
    fn an_answer_that_leaves_the_nearest_out_is_wrong() {
        let place = |number: usize| Place {
            location_id: format!("p{number}"),
            at: Some((0.0, number as f64)),
        };
        let places: Vec<_> = (0..200).map(place).collect();
        let stocked: Vec<_> = (0..200).filter(|number| has(*number, 0)).collect();
        let right = found(&places, (0.0, 0.0), &stocked[..NEAREST]);
        compare(&places, 1, &right).unwrap();
        let mut late = stocked[..NEAREST].to_vec();
        late[4] = stocked[5];
        compare(&places, 1, &found(&places, (0.0, 0.0), &late)).unwrap_err();
        compare(&places, 1, &found(&places, (0.0, 0.0), &stocked[..4])).unwrap_err();
        let empty = (0..200).find(|number| !has(*number, 0)).unwrap();
        compare(&places, 1, &found(&places, (0.0, empty as f64), &[empty])).unwrap_err();
        assert!((120..190).contains(&stocked.len()), "{}", stocked.len());
    }
}
