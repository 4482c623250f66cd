//! Requests of holds, short enough to read a test by them.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use stockroom::api::proto::{
    Durability, ExtendHoldRequest, Hold, HoldStockRequest, Line, ReleaseHoldRequest,
    ReplaceHoldRequest,
};
use tonic::Status;

use crate::harness::{
    reservations::{line, seconds},
    server::{Server, eventually},
};

/// A hold, and how safe it is.
pub type Held = Result<(Hold, Durability), Status>;

/// For ten minutes.
pub fn hold(request_id: &str, location_id: &str, lines: Vec<Line>) -> HoldStockRequest {
    HoldStockRequest {
        request_id: request_id.to_owned(),
        location_id: location_id.to_owned(),
        lines,
        ttl: seconds(600),
        ..HoldStockRequest::default()
    }
}

pub fn replace(request_id: &str, hold: &Hold, lines: Vec<Line>) -> ReplaceHoldRequest {
    ReplaceHoldRequest {
        request_id: request_id.to_owned(),
        hold_id: hold.hold_id.clone(),
        lines,
        ..ReplaceHoldRequest::default()
    }
}

fn durability(number: i32) -> Durability {
    Durability::try_from(number).unwrap()
}

impl Server {
    /// Holds units of one item.
    pub async fn hold_one(&self, request_id: &str, location: &str, sku: &str, units: i64) -> Held {
        self.hold(hold(request_id, location, vec![line(sku, units)])).await
    }

    pub async fn hold(&self, request: HoldStockRequest) -> Held {
        let response = self.reservations().hold_stock(request).await?.into_inner();
        Ok((response.hold.unwrap(), durability(response.durability)))
    }

    pub async fn replace_hold(&self, request: ReplaceHoldRequest) -> Held {
        let response = self.reservations().replace_hold(request).await?.into_inner();
        Ok((response.hold.unwrap(), durability(response.durability)))
    }

    pub async fn extend_hold(&self, request_id: &str, hold_id: &str, ttl: i64) -> Held {
        let (request_id, hold_id) = (request_id.to_owned(), hold_id.to_owned());
        let request = ExtendHoldRequest { request_id, hold_id, ttl: seconds(ttl) };
        let response = self.reservations().extend_hold(request).await?.into_inner();
        Ok((response.hold.unwrap(), durability(response.durability)))
    }

    pub async fn release_hold(&self, request_id: &str, hold_id: &str) -> Result<(), Status> {
        let (request_id, hold_id) = (request_id.to_owned(), hold_id.to_owned());
        let request = ReleaseHoldRequest { request_id, hold_id };
        self.reservations().release_hold(request).await.map(|_| ())
    }

    /// The durability of holds at a location, once the reservation layer has caught up: MEMORY with
    /// Redis, LEDGER without. One unit of the item must be there.
    pub async fn holds_kept(&self, location_id: &str, sku: &str) -> Durability {
        self.caught_up().await;
        let expected = match self.redis.is_there() {
            true => Durability::Memory,
            false => Durability::Ledger,
        };
        let tries = std::sync::atomic::AtomicU32::new(0);
        eventually("holds are taken where they should be", || async {
            let number = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let probe = format!("probe-{number}");
            let (held, durability) = self.hold_one(&probe, location_id, sku, 1).await.ok()?;
            let done = format!("probed-{number}");
            self.release_hold(&done, &held.hold_id).await.unwrap();
            (durability == expected).then_some(durability)
        })
        .await;
        self.caught_up().await;
        expected
    }
}
