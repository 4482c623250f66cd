//! Many rows, the same every time, through SyncMovements: what is measured on them was written as
//! everything is.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::future::try_join_all;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    Movement, MovementKind, SyncMovementsRequest, movement_service_client::MovementServiceClient,
};

use crate::{
    ingest::{self, MESSAGE_LINES},
    raw_redis,
    sales::{self, CHANNEL, LOCATIONS},
    server::Server,
};

/// Streams at once, each for shops of its own.
const STREAMS: u64 = 8;
/// What every position opens with: more than any load takes.
const UNITS: i64 = 1_000_000;
/// How long Redis may take until it has every position.
const PROJECTED_MAX: Duration = Duration::from_secs(600);
/// Looking costs Redis some milliseconds for each million rows.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Shop and item of a position: positions fill all shops alike, whatever their number.
pub fn place(position: u64) -> (String, String) {
    let shops = LOCATIONS as u64;
    let (location, item) = (position % shops, position / shops);
    (sales::location_id(location as usize), sales::sku(item as usize))
}

/// Receives the first stock of these positions. Returns how long that took.
///
/// # Errors
/// A line is not recorded.
pub async fn receive(server: &Server, positions: Range<u64>) -> anyhow::Result<Duration> {
    let first = positions.start;
    let received = move |line: u64| {
        let (location_id, sku) = place(first + line);
        Movement {
            key: format!("first-{}", first + line),
            kind: MovementKind::Receipt as i32,
            location_id,
            sku,
            quantity: UNITS,
            ..Movement::default()
        }
    };
    write(server, positions.end - positions.start, received).await
}

/// Sells one unit of any of the first `positions` positions, again and again: `sales` of them.
/// Returns how long that took.
///
/// # Errors
/// A line is not recorded.
pub async fn sell(server: &Server, positions: u64, sales: Range<u64>) -> anyhow::Result<Duration> {
    let first = sales.start;
    let shops = LOCATIONS as u64;
    let sold = move |line: u64| {
        let number = first + line;
        let mut rng = ChaCha8Rng::seed_from_u64(number);
        // In the shop whose stream this line is on.
        let item = rng.random_range(0..(positions / shops).max(1));
        let (location_id, sku) = place(item * shops + line % shops);
        let document = format!("R{:08}", number / 8);
        Movement {
            key: format!("{document}-{}", number % 8),
            kind: MovementKind::Sale as i32,
            location_id,
            sku,
            quantity: 1,
            channel_id: CHANNEL.to_owned(),
            document,
            document_line: (number % 8) as u32 + 1,
            ..Movement::default()
        }
    };
    write(server, sales.end - sales.start, sold).await
}

/// Writes `lines` lines; the shop of a line is its number modulo the number of shops.
async fn write(
    server: &Server,
    lines: u64,
    line: impl Fn(u64) -> Movement + Send + Sync + 'static,
) -> anyhow::Result<Duration> {
    let line = Arc::new(line);
    let started = Instant::now();
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let client = MovementServiceClient::new(server.connect().await?);
        let line = Arc::clone(&line);
        let mut mine = (0..lines).filter(move |number| number % STREAMS == stream);
        let messages = std::iter::from_fn(move || {
            let movements: Vec<_> = mine.by_ref().take(MESSAGE_LINES).map(&*line).collect();
            let source = format!("fill-{stream}");
            let message = SyncMovementsRequest { source, sent_at: None, movements };
            (!message.movements.is_empty()).then_some(message)
        });
        streams.push(tokio::spawn(ingest::stream(client, messages)));
    }
    for done in try_join_all(streams).await.context("a stream panicked")? {
        done?;
    }
    Ok(started.elapsed())
}

/// Waits until Redis has a row of each of `positions` positions. Returns how long that took.
///
/// # Errors
/// That takes too long.
pub async fn wait_until_in_redis(server: &Server, positions: u64) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let looking = async {
        while raw_redis::rows(&server.redis_url).await? < positions {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::Ok(started.elapsed())
    };
    let looked = tokio::time::timeout(PROJECTED_MAX, looking).await;
    looked.context("Redis does not get every position")?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn positions_fill_all_shops_alike_and_none_comes_twice() {
        let places: BTreeSet<_> = (0..160).map(place).collect();
        assert_eq!(places.len(), 160);
        for shop in 0..LOCATIONS {
            let shop = sales::location_id(shop);
            assert_eq!(places.iter().filter(|(location, _)| *location == shop).count(), 10);
        }
    }
}
