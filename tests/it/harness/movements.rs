//! Movements in one line each.

use prost_types::Timestamp;
use stockroom::api::proto::{
    Movement, MovementError, MovementKind, MovementRef, MovementResult, MovementStatus,
    PostedEntry, RecordMovementsRequest, SyncMovementsRequest,
};

/// A movement with nothing but what every movement has.
pub fn movement(
    kind: MovementKind,
    key: &str,
    location_id: &str,
    sku: &str,
    quantity: i64,
) -> Movement {
    Movement {
        key: key.to_owned(),
        kind: kind as i32,
        location_id: location_id.to_owned(),
        sku: sku.to_owned(),
        quantity,
        ..Movement::default()
    }
}

pub fn receipt(key: &str, location_id: &str, sku: &str, quantity: i64) -> Movement {
    movement(MovementKind::Receipt, key, location_id, sku, quantity)
}

pub fn sale(key: &str, location_id: &str, sku: &str, quantity: i64) -> Movement {
    movement(MovementKind::Sale, key, location_id, sku, quantity)
}

pub fn count(key: &str, location_id: &str, sku: &str, quantity: i64) -> Movement {
    movement(MovementKind::Count, key, location_id, sku, quantity)
}

/// A return linked to what [`crate::harness::server::SOURCE`] or another source sold.
pub fn linked_return(
    key: &str,
    location_id: &str,
    sku: &str,
    quantity: i64,
    original: (&str, &str),
) -> Movement {
    Movement {
        original: Some(reference(original)),
        ..movement(MovementKind::Return, key, location_id, sku, quantity)
    }
}

pub fn correction(key: &str, location_id: &str, sku: &str, original: (&str, &str)) -> Movement {
    Movement {
        original: Some(reference(original)),
        reason: "did_not_occur".to_owned(),
        ..movement(MovementKind::Correct, key, location_id, sku, 0)
    }
}

pub fn adjust(key: &str, location_id: &str, sku: &str, quantity: i64, reason: &str) -> Movement {
    Movement {
        reason: reason.to_owned(),
        ..movement(MovementKind::Adjust, key, location_id, sku, quantity)
    }
}

pub fn reference((source, key): (&str, &str)) -> MovementRef {
    MovementRef { source: source.to_owned(), key: key.to_owned() }
}

/// A time in words, such as `2024-03-01T12:00:00Z`.
pub fn at(text: &str) -> Timestamp {
    timestamp(text.parse().unwrap())
}

/// Now, moved by some seconds.
pub fn seconds_from_now(seconds: i64) -> Timestamp {
    let now = jiff::Timestamp::now();
    timestamp(now + jiff::SignedDuration::from_secs(seconds))
}

fn timestamp(time: jiff::Timestamp) -> Timestamp {
    let (seconds, micros) =
        (time.as_microsecond().div_euclid(1_000_000), time.as_microsecond().rem_euclid(1_000_000));
    Timestamp { seconds, nanos: (micros * 1_000) as i32 }
}

pub fn put_request(source: &str, movements: Vec<Movement>) -> RecordMovementsRequest {
    RecordMovementsRequest { source: source.to_owned(), sent_at: None, movements }
}

pub fn sync_request(source: &str, movements: Vec<Movement>) -> SyncMovementsRequest {
    SyncMovementsRequest { source: source.to_owned(), sent_at: None, movements }
}

/// What a movement must have become.
pub trait Became {
    /// Recorded by this request.
    fn recorded(&self) -> PostedEntry;
    /// Recorded earlier.
    fn duplicate(&self) -> PostedEntry;
    /// Rejected, with this reason.
    fn rejected(&self, reason: &str) -> MovementError;
}

impl Became for MovementResult {
    fn recorded(&self) -> PostedEntry {
        assert_eq!(self.status(), MovementStatus::Recorded, "{self:?}");
        self.entry.clone().unwrap()
    }

    fn duplicate(&self) -> PostedEntry {
        assert_eq!(self.status(), MovementStatus::Duplicate, "{self:?}");
        self.entry.clone().unwrap()
    }

    fn rejected(&self, reason: &str) -> MovementError {
        assert_eq!(self.status(), MovementStatus::Rejected, "{self:?}");
        assert!(self.entry.is_none(), "{self:?}");
        let error = self.error.clone().unwrap();
        assert_eq!(error.reason, reason, "{self:?}");
        error
    }
}
