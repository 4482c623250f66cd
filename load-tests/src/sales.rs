//! What the loads sell: baskets of a small chain of shops, each a pure function of who sells it and
//! its number.

use anyhow::{Context as _, ensure};
use prost_types::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    self, Location, Movement, MovementKind, MovementResult, MovementStatus, PutChannelRequest,
    PutLocationRequest, RecordMovementsRequest, movement_service_client::MovementServiceClient,
    network_service_client::NetworkServiceClient,
};
use tonic::transport::Channel;

/// Shops of the chain.
pub const LOCATIONS: usize = 16;
/// Items that every shop sells: 10,000 positions in all.
pub const ITEMS: usize = 625;
/// What every position opens with: more than any load sells.
pub const OPENING_UNITS: i64 = 100_000_000;
/// Through which channel all is sold.
pub const CHANNEL: &str = "till";
/// Lines of the largest basket.
const BASKET_LINES_MAX: u32 = 12;
/// Lines of one request.
const REQUEST_LINES_MAX: usize = 1_000;

/// One line of a basket.
#[derive(Clone, Debug)]
pub struct Sale {
    /// Index of the shop.
    pub location: usize,
    /// Index of the item.
    pub item: usize,
    /// Units.
    pub quantity: i64,
    /// The receipt.
    pub document: String,
    /// Its line.
    pub document_line: u32,
    /// Idempotency key, of both.
    pub key: String,
    /// Microseconds since 1970.
    pub occurred_at: i64,
}

/// A basket that `source` of `sources` sells in one of the shops that it reports for.
pub fn basket(source: usize, sources: usize, number: u64) -> Vec<Sale> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    rng.set_stream(source as u64);
    let mine = (LOCATIONS / sources).max(1);
    let location = (source * mine + rng.random_range(0..mine)) % LOCATIONS;
    let document = format!("R{source:02}-{number:08}");
    let occurred_at = jiff::Timestamp::now().as_microsecond();
    let line = |document_line| Sale {
        location,
        item: rng.random_range(0..ITEMS),
        quantity: rng.random_range(1..=3),
        key: format!("{document}-{document_line}"),
        document: document.clone(),
        document_line,
        occurred_at,
    };
    let lines = ChaCha8Rng::seed_from_u64(!number).random_range(1..=BASKET_LINES_MAX);
    (1..=lines).map(line).collect()
}

/// What `source` sells from basket `number` on: at least `lines` lines, in whole baskets.
pub fn sales(source: usize, sources: usize, number: &mut u64, lines: usize) -> Vec<Sale> {
    let mut sales = Vec::with_capacity(lines + BASKET_LINES_MAX as usize);
    while sales.len() < lines {
        sales.extend(basket(source, sources, *number));
        *number += 1;
    }
    sales
}

impl From<Sale> for Movement {
    fn from(sale: Sale) -> Movement {
        Movement {
            key: sale.key,
            location_id: location_id(sale.location),
            sku: sku(sale.item),
            quantity: sale.quantity,
            occurred_at: Some(Timestamp {
                seconds: sale.occurred_at.div_euclid(1_000_000),
                nanos: sale.occurred_at.rem_euclid(1_000_000) as i32 * 1_000,
            }),
            utc_offset_minutes: 60,
            channel_id: CHANNEL.to_owned(),
            document: sale.document,
            document_line: sale.document_line,
            kind: MovementKind::Sale as i32,
            ..Movement::default()
        }
    }
}

/// The name of a shop.
pub fn location_id(location: usize) -> String {
    format!("shop-{location:02}")
}

/// The code of an item.
pub fn sku(item: usize) -> String {
    format!("40063810{item:05}")
}

/// The code of an item that only one shop sells: 10,000 items in all.
pub fn own_sku(location: usize, item: usize) -> String {
    sku(location * ITEMS + item)
}

/// Creates the chain, in which every shop sells the same items, and its opening stock. Returns the
/// partition of every shop.
///
/// # Errors
/// The server refuses something.
pub async fn open_shops(channel: &Channel) -> anyhow::Result<Vec<i16>> {
    open(channel, |_, item| sku(item), |_| OPENING_UNITS).await
}

/// As [`open_shops`], with `units` of each item.
///
/// # Errors
/// As [`open_shops`].
pub async fn open_shops_with(
    channel: &Channel,
    units: impl Fn(usize) -> i64,
) -> anyhow::Result<Vec<i16>> {
    open(channel, |_, item| sku(item), units).await
}

/// As [`open_shops`], but every shop sells items of its own: see [`own_sku`].
///
/// # Errors
/// As [`open_shops`].
pub async fn open_different_shops(channel: &Channel) -> anyhow::Result<Vec<i16>> {
    open(channel, own_sku, |_| OPENING_UNITS).await
}

async fn open(
    channel: &Channel,
    sku: impl Fn(usize, usize) -> String,
    units: impl Fn(usize) -> i64,
) -> anyhow::Result<Vec<i16>> {
    let partitions = open_empty_shops(channel).await?;
    let receipts = (0..LOCATIONS * ITEMS).map(|position| Movement {
        key: format!("opening-{position}"),
        kind: MovementKind::Receipt as i32,
        location_id: location_id(position / ITEMS),
        sku: sku(position / ITEMS, position % ITEMS),
        quantity: units(position % ITEMS),
        ..Movement::default()
    });
    let receipts: Vec<_> = receipts.collect();
    let mut movements = MovementServiceClient::new(channel.clone());
    for receipts in receipts.chunks(REQUEST_LINES_MAX) {
        record(&mut movements, "opening", receipts.to_vec()).await?;
    }
    Ok(partitions)
}

/// Creates the chain without any stock. Returns the partition of every shop.
///
/// # Errors
/// As [`open_shops`].
pub async fn open_empty_shops(channel: &Channel) -> anyhow::Result<Vec<i16>> {
    let mut network = NetworkServiceClient::new(channel.clone());
    let till = proto::Channel { channel_id: CHANNEL.to_owned(), name: CHANNEL.to_owned() };
    network.put_channel(PutChannelRequest { channel: Some(till) }).await?;
    let mut partitions = Vec::with_capacity(LOCATIONS);
    for location in 0..LOCATIONS {
        let id = location_id(location);
        let location = Location {
            name: id.clone(),
            location_id: id,
            pickup_enabled: true,
            ..Location::default()
        };
        let put = network.put_location(PutLocationRequest { location: Some(location) }).await?;
        let location = put.into_inner().location.context("no location was answered")?;
        partitions.push(i16::try_from(location.partition)?);
    }
    Ok(partitions)
}

/// Records movements, each of which must be new.
///
/// # Errors
/// One was not recorded.
pub async fn record(
    client: &mut MovementServiceClient<Channel>,
    source: &str,
    movements: Vec<Movement>,
) -> anyhow::Result<()> {
    let lines = movements.len();
    let request = RecordMovementsRequest { source: source.to_owned(), sent_at: None, movements };
    let answer = client.record_movements(request).await?.into_inner();
    check(lines, &answer.results)
}

/// Checks that every one of `lines` movements was recorded now.
///
/// # Errors
/// One was not.
pub fn check(lines: usize, results: &[MovementResult]) -> anyhow::Result<()> {
    ensure!(results.len() == lines, "{} answers to {lines} lines", results.len());
    let other = results.iter().find(|result| result.status() != MovementStatus::Recorded);
    ensure!(other.is_none(), "a line was not recorded: {other:?}");
    Ok(())
}
