//! Who records what watchers are told of.

use std::time::{Duration, Instant};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    Movement, MovementKind, RecordMovementsRequest, movement_service_client::MovementServiceClient,
};
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Channel;

use crate::sales;

/// Movements of one request.
const LINES: usize = 100;

/// A movement that was answered as recorded.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Which position.
    pub position: usize,
    /// Its version after it.
    pub version: u64,
    /// When it was answered.
    pub at: Instant,
}

/// What one client recorded.
#[derive(Debug, Default)]
pub struct Written {
    /// How many movements.
    pub movements: u64,
    /// Each of them.
    pub answers: Vec<Answer>,
}

impl Written {
    /// Position and version of each movement.
    pub fn last(&self) -> impl Iterator<Item = (usize, u64)> {
        self.answers.iter().map(|answer| (answer.position, answer.version))
    }
}

/// Records sales for a while: so many a second, or as fast as they are answered.
///
/// # Errors
/// One was not recorded.
pub async fn write(
    channel: Channel,
    name: String,
    writer: usize,
    rate: Option<f64>,
    stretch: Duration,
) -> anyhow::Result<Written> {
    let mut client = MovementServiceClient::new(channel);
    let mut rng = ChaCha8Rng::seed_from_u64(writer as u64);
    let every = rate.map(|rate| Duration::from_secs_f64(LINES as f64 / rate));
    let mut ticks = every.map(|every| {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        ticks
    });
    let (started, mut written) = (Instant::now(), Written::default());
    for request in 0_u64.. {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        if started.elapsed() >= stretch {
            break;
        }
        let positions: Vec<_> =
            (0..LINES).map(|_| rng.random_range(0..sales::LOCATIONS * sales::ITEMS)).collect();
        let sold = positions.iter().enumerate().map(|(line, &position)| Movement {
            key: format!("{request}-{line}"),
            kind: MovementKind::Sale as i32,
            location_id: sales::location_id(position / sales::ITEMS),
            sku: sales::sku(position % sales::ITEMS),
            quantity: 1,
            channel_id: sales::CHANNEL.to_owned(),
            ..Movement::default()
        });
        let source = format!("{name}-{writer}");
        let request = RecordMovementsRequest { source, sent_at: None, movements: sold.collect() };
        let results = client.record_movements(request).await?.into_inner().results;
        let at = Instant::now();
        sales::check(LINES, &results)?;
        written.movements += LINES as u64;
        written.answers.extend(positions.iter().zip(results).map(|(&position, result)| Answer {
            position,
            version: result.entry.map_or(0, |entry| entry.seq),
            at,
        }));
    }
    Ok(written)
}
