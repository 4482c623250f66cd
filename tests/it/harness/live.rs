//! A listener of WatchAvailability that holds what it is told against the contract.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use std::{collections::BTreeMap, time::Duration};

use stockroom::api::proto::{
    Availability, WatchAvailabilityRequest, WatchAvailabilityResponse,
    availability_service_client::AvailabilityServiceClient,
};
use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use crate::harness::server::Server;

/// A change arrives in milliseconds, or never.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is watched: items at locations.
pub fn watch(location_ids: &[&str], skus: &[&str]) -> WatchAvailabilityRequest {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    WatchAvailabilityRequest {
        skus: owned(skus),
        location_ids: owned(location_ids),
        ..WatchAvailabilityRequest::default()
    }
}

/// A stream and everything that it said.
pub struct Live {
    stream: Streaming<WatchAvailabilityResponse>,
    request: WatchAvailabilityRequest,
    /// By location and item.
    pub known: BTreeMap<(String, String), Availability>,
    pub last: WatchAvailabilityResponse,
    /// How often something was told.
    pub told: usize,
}

impl Live {
    /// Begins, and listens until everything that there is has been told.
    pub async fn begin(server: &Server, request: WatchAvailabilityRequest) -> Live {
        let mut live = Live::open(server, request).await.unwrap();
        live.complete().await;
        live
    }

    /// Begins; nothing is listened to yet.
    pub async fn open(server: &Server, request: WatchAvailabilityRequest) -> Result<Live, Status> {
        Live::open_over(server.availability(), request).await
    }

    /// Begins over a connection of the test's own.
    pub async fn open_over(
        mut client: AvailabilityServiceClient<Channel>,
        request: WatchAvailabilityRequest,
    ) -> Result<Live, Status> {
        let stream = client.watch_availability(request.clone()).await?.into_inner();
        let (known, last) = (BTreeMap::new(), WatchAvailabilityResponse::default());
        Ok(Live { stream, request, known, last, told: 0 })
    }

    /// Goes on where this one stands, perhaps at another server.
    pub async fn resume(self, server: &Server) -> Live {
        self.resume_over(server.availability()).await
    }

    /// The same over a connection of the test's own.
    pub async fn resume_over(self, client: AvailabilityServiceClient<Channel>) -> Live {
        let cursor = self.last.cursor.clone();
        let request = WatchAvailabilityRequest { cursor, ..self.request.clone() };
        let mut live = Live::open_over(client, request).await.unwrap();
        live.known = self.known;
        live
    }

    /// Listens until everything that there was has been told.
    pub async fn complete(&mut self) {
        while !self.next().await.complete {}
    }

    /// The next message.
    pub async fn next(&mut self) -> WatchAvailabilityResponse {
        self.listen().await.unwrap().expect("the stream goes on")
    }

    /// The next message, or how the stream ends.
    pub async fn listen(&mut self) -> Result<Option<WatchAvailabilityResponse>, Status> {
        let message = timeout(PATIENCE, self.stream.message()).await.expect("something comes");
        let Some(message) = message? else { return Ok(None) };
        if message.reset {
            self.known.clear();
        }
        self.told += message.availability.len();
        for pair in &message.availability {
            let key = (pair.location_id.clone(), pair.sku.clone());
            let before = self.known.insert(key, pair.clone());
            let before = before.map_or(0, |before| before.version);
            assert!(pair.version >= before, "{pair:?} after version {before}");
        }
        self.last = message.clone();
        Ok(Some(message))
    }

    /// What was told of a pair last.
    pub fn available(&self, location_id: &str, sku: &str) -> Option<i64> {
        let key = (location_id.to_owned(), sku.to_owned());
        self.known.get(&key).map(|pair| pair.available)
    }

    /// Listens until this is available.
    pub async fn says(&mut self, location_id: &str, sku: &str, available: i64) {
        let said = timeout(PATIENCE, async {
            while self.available(location_id, sku) != Some(available) {
                self.next().await;
            }
        });
        if said.await.is_err() {
            let known = self.available(location_id, sku);
            panic!("{available} of {sku} at {location_id} was never told, but {known:?}");
        }
    }
}
