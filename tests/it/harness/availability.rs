//! What may still be promised, as a client asks for it.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use std::time::Duration;

use stockroom::{
    api::proto::{
        Availability as Told, CheckAvailabilityRequest, ExplainAvailabilityRequest,
        ExplainAvailabilityResponse, availability_service_client::AvailabilityServiceClient,
    },
    availability::Availability,
    feed::verify::compare,
};
use tonic::{Status, transport::Channel as Connection};

use crate::harness::server::{Server, eventually, prefix_of};

/// Redis has caught up long before.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(10);

/// One item at one location.
pub fn check(location_id: &str, sku: &str) -> CheckAvailabilityRequest {
    CheckAvailabilityRequest {
        skus: vec![sku.to_owned()],
        location_ids: vec![location_id.to_owned()],
        ..CheckAvailabilityRequest::default()
    }
}

impl Server {
    pub fn availability(&self) -> AvailabilityServiceClient<Connection> {
        AvailabilityServiceClient::new(self.connection())
    }

    /// The first pair of an answer.
    pub async fn check(&self, request: CheckAvailabilityRequest) -> Result<Told, Status> {
        let response = self.availability().check_availability(request).await?.into_inner();
        Ok(response.availability.into_iter().next().unwrap())
    }

    /// What may be promised through no channel.
    pub async fn available(&self, location_id: &str, sku: &str) -> i64 {
        self.caught_up().await;
        self.check(check(location_id, sku)).await.unwrap().available
    }

    /// The same, through a channel.
    pub async fn available_to(&self, channel_id: &str, location_id: &str, sku: &str) -> i64 {
        self.caught_up().await;
        let request = check(location_id, sku);
        let request = CheckAvailabilityRequest { channel_id: channel_id.to_owned(), ..request };
        self.check(request).await.unwrap().available
    }

    pub async fn explain(&self, location_id: &str, sku: &str) -> ExplainAvailabilityResponse {
        let request = ExplainAvailabilityRequest {
            channel_id: String::new(),
            location_id: location_id.to_owned(),
            sku: sku.to_owned(),
        };
        self.availability().explain_availability(request).await.unwrap().into_inner()
    }

    /// Promises that can no longer be served: their names, and the units that each lacks.
    pub async fn unserved(&self, location_id: &str, sku: &str) -> Vec<(String, i64)> {
        let unserved = self.explain(location_id, sku).await.unserved;
        unserved.into_iter().map(|cause| (cause.id, cause.quantity)).collect()
    }

    /// Waits until the reservation layer, if there is one, knows everything that the ledger does.
    pub async fn caught_up(&self) {
        if !self.redis.is_there() {
            return;
        }
        let redis = Availability::new(&self.redis.url, prefix_of(&self.database_url)).unwrap();
        eventually("Redis equals the ledger", || async {
            let compared = compare(&self.ledger, &redis, CAUGHT_UP_MAX).await.ok()?;
            compared.difference.is_none().then_some(())
        })
        .await;
    }
}
