//! `till-day`: baskets arrive at their own rate, whatever the server does; how long do tills wait?

use std::time::Duration;

use serde::Serialize;
use stockroom::api::proto::{Movement, movement_service_client::MovementServiceClient};
use tonic::transport::Channel;

use crate::{
    load::{self, Outcome},
    sales::{self, LOCATIONS},
    server::{self, Server},
    stats::rounded,
};

/// Tills, each with a connection of its own.
const TILLS: usize = 64;
/// More than everything but the load takes.
const SPARE: Duration = Duration::from_secs(180);

/// How many baskets.
#[derive(Debug, Clone, clap::Args)]
pub struct TillDayArgs {
    /// Baskets a second, of six and a half lines on average.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    baskets_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

/// Measures and prints.
///
/// # Errors
/// A basket was not recorded.
pub fn run(args: &TillDayArgs) -> anyhow::Result<()> {
    let lasting = Duration::from_secs(args.seconds.into());
    let rate = f64::from(args.rate);
    let work = async |server: &Server| measure(server, rate, lasting).await;
    let outcome = server::block_on(server::with(SPARE + lasting * 2, work))?;
    let latency = |percent| outcome.latency.percentile_ms(percent);
    let report = Report {
        baskets_per_s: rounded(outcome.per_s(), 1),
        p50_ms: latency(50.0),
        p99_ms: latency(99.0),
        p999_ms: latency(99.9),
        max_ms: outcome.latency.max_ms(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(server: &Server, rate: f64, lasting: Duration) -> anyhow::Result<Outcome> {
    sales::open_shops(&server.connect().await?).await?;
    let mut tills = Vec::with_capacity(TILLS);
    for _ in 0..TILLS {
        tills.push(MovementServiceClient::new(server.connect().await?));
    }
    load::open(rate, lasting, |number| sell(&tills, number)).await
}

fn sell(
    tills: &[MovementServiceClient<Channel>],
    number: u64,
) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
    let till = number as usize % tills.len();
    let mut client = tills[till].clone();
    async move {
        let basket = sales::basket(till % LOCATIONS, LOCATIONS, number);
        let movements = basket.into_iter().map(Movement::from).collect();
        sales::record(&mut client, &format!("till-{till:02}"), movements).await
    }
}
