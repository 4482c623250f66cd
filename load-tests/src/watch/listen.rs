//! One who watches.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use rand::{SeedableRng as _, seq::index};
use rand_chacha::ChaCha8Rng;
use stockroom::api::proto::{
    WatchAvailabilityRequest, WatchAvailabilityResponse,
    availability_service_client::AvailabilityServiceClient,
};
use tokio::{sync::watch, time::timeout};
use tonic::{Streaming, transport::Channel};

use crate::sales;

/// After this long without anything new nothing more is to come.
const SILENCE: Duration = Duration::from_secs(2);

/// A stream that has told what there is.
pub struct Listener {
    stream: Streaming<WatchAvailabilityResponse>,
    stopped: watch::Receiver<bool>,
    positions: HashMap<String, usize>,
    heard: Heard,
}

/// What a watcher was told.
#[derive(Debug, Default)]
pub struct Heard {
    /// Messages with something in them.
    pub messages: u64,
    /// Position, version, and when.
    pub states: Vec<(usize, u64, Instant)>,
}

impl Heard {
    /// Versions and when they were told, in order, by position.
    pub fn by_position(&self) -> BTreeMap<usize, Vec<(u64, Instant)>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for &(position, version, at) in &self.states {
            all.entry(position).or_default().push((version, at));
        }
        all
    }
}

impl Listener {
    /// Begins to watch some items of a shop, and takes what there is.
    ///
    /// # Errors
    /// The server refuses it.
    pub async fn open(
        channel: Channel,
        number: usize,
        positions: usize,
        stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Listener> {
        let location = number % sales::LOCATIONS;
        let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
        let items = index::sample(&mut rng, sales::ITEMS, positions.min(sales::ITEMS));
        let positions: HashMap<_, _> =
            items.iter().map(|item| (sales::sku(item), location * sales::ITEMS + item)).collect();
        let request = WatchAvailabilityRequest {
            channel_id: sales::CHANNEL.to_owned(),
            skus: positions.keys().cloned().collect(),
            location_ids: vec![sales::location_id(location)],
            cursor: String::new(),
        };
        let mut client = AvailabilityServiceClient::new(channel);
        let stream = client.watch_availability(request).await?.into_inner();
        let heard = Heard::default();
        let mut listener = Listener { stream, stopped, positions, heard };
        while !listener.next().await? {}
        Ok(listener)
    }

    /// Listens until everything stopped and nothing new comes.
    ///
    /// # Errors
    /// The stream ends, or a version goes back.
    pub async fn listen(mut self, most: Duration) -> anyhow::Result<Heard> {
        let mut stopped = self.stopped.clone();
        let mut until: Option<Instant> = None;
        loop {
            tokio::select! {
                told = self.next() => drop(told?),
                _ = stopped.wait_for(|stopped| *stopped), if until.is_none() => {
                    until = Some(Instant::now() + most);
                }
                () = tokio::time::sleep(SILENCE), if until.is_some() => return Ok(self.heard),
            }
            ensure!(until.is_none_or(|until| Instant::now() < until), "it does not become quiet");
        }
    }

    /// Takes a message; true: everything that there was has been told.
    async fn next(&mut self) -> anyhow::Result<bool> {
        let message = timeout(Duration::from_secs(60), self.stream.message()).await;
        let message = message.context("a watcher hears nothing")??;
        let message = message.context("a stream ended")?;
        let now = Instant::now();
        self.heard.messages += u64::from(!message.availability.is_empty());
        for pair in message.availability {
            let position = self.positions.get(&pair.sku).copied();
            let position = position.with_context(|| format!("{} is not watched", pair.sku))?;
            self.heard.states.push((position, pair.version, now));
        }
        Ok(message.complete)
    }
}
