//! What a batch reads and writes under the lock, as values of the types of the same names.

use uuid::Uuid;

use crate::{
    ledger::{
        chain::{Chain, Link, NO_HASH},
        head::{Head, Locked},
        sql_time::At,
    },
    stock::{
        book::{Request, RequestKey},
        hash::{Digest, Hash},
        ids::{ChannelNo, ItemNo, LocationNo, Partition, Place, PositionKey},
        position::{Mark, Position},
        quota::Quota,
        reservation::Reservation,
        time::Timestamp,
    },
};

/// A head, and what the database says of itself.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "head_row_2")]
pub(crate) struct HeadRow {
    epoch: i64,
    seq: i64,
    recorded_at: At,
    system_identifier: i64,
    timeline: i32,
    chain_seq: i64,
    chain_hash: Vec<u8>,
    now: At,
    live_system_identifier: i64,
    live_timeline: i32,
    replicated: bool,
}

/// A link of the chain.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "batch_row")]
pub(crate) struct BatchRow {
    first_seq: i64,
    last_seq: i64,
    epoch: i64,
    previous: Vec<u8>,
    hash: Vec<u8>,
    digests: Option<Vec<u8>>,
}

/// A request.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "request_row")]
pub(crate) struct RequestRow {
    digest: Uuid,
    location: i32,
    seq: Option<i64>,
    /// Null where nothing was returned, as for nearly every request.
    returned: Option<i64>,
    corrected_seq: Option<i64>,
}

/// A position.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "position_row")]
pub(crate) struct PositionRow {
    location: i32,
    item: i32,
    sellable: i64,
    staged: i64,
    blocked: i64,
    in_transit: i64,
    expected: i64,
    reserved: i64,
    seq: i64,
    fact_at: At,
    count_at: Option<At>,
    count_seq: Option<i64>,
    doubtful_at: Option<At>,
}

/// A quota.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "quota_row")]
pub(crate) struct QuotaRow {
    location: i32,
    item: i32,
    channel: i32,
    units: i64,
    soft: bool,
    borrow_after_us: i64,
    used: i64,
    used_at: At,
    since_seq: i64,
}

/// A line of a reservation.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "reservation_line_row")]
pub(crate) struct LineRow {
    no: i64,
    line: i16,
    item: i32,
    quantity: i64,
    picked: i64,
    collected: i64,
    shelved: i64,
}

impl HeadRow {
    pub(crate) fn locked(self, partition: Partition) -> Locked {
        Locked {
            head: Head {
                partition,
                epoch: self.epoch,
                seq: self.seq,
                recorded_at: self.recorded_at.0,
                system_identifier: self.system_identifier,
                timeline: self.timeline,
            },
            chain: Chain { seq: self.chain_seq, hash: hash_of(&self.chain_hash) },
            now: self.now.0,
            live_system_identifier: self.live_system_identifier,
            live_timeline: self.live_timeline,
            replicated: self.replicated,
        }
    }
}

impl BatchRow {
    pub(crate) fn of(link: &Link) -> BatchRow {
        BatchRow {
            first_seq: link.first,
            last_seq: link.last,
            epoch: link.epoch,
            previous: link.previous.to_vec(),
            hash: link.hash.to_vec(),
            digests: link.digests.clone(),
        }
    }
}

/// A stored hash, whose length a constraint guards.
pub(crate) fn hash_of(stored: &[u8]) -> Hash {
    stored.try_into().unwrap_or(NO_HASH)
}

impl RequestRow {
    pub(crate) fn of((key, request): (&RequestKey, &Request)) -> RequestRow {
        RequestRow {
            digest: Uuid::from_u128(key.digest.0),
            location: key.place.location.0,
            seq: request.seq,
            returned: (request.returned != 0).then_some(request.returned),
            corrected_seq: request.corrected,
        }
    }

    pub(crate) fn request(self, partition: Partition) -> (RequestKey, Request) {
        let place = Place { partition, location: LocationNo(self.location) };
        let request = Request {
            stored: true,
            seq: self.seq,
            returned: self.returned.unwrap_or(0),
            corrected: self.corrected_seq,
        };
        (RequestKey { place, digest: Digest(self.digest.as_u128()) }, request)
    }
}

impl PositionRow {
    pub(crate) fn of((key, position): (&PositionKey, &Position)) -> PositionRow {
        PositionRow {
            location: key.place.location.0,
            item: key.item.0,
            sellable: position.sellable,
            staged: position.staged,
            blocked: position.blocked,
            in_transit: position.in_transit,
            expected: position.expected,
            reserved: position.reserved,
            seq: position.seq,
            fact_at: At(position.fact_at.unwrap_or(Timestamp::Y2000)),
            count_at: position.count.map(|count| At(count.at)),
            count_seq: position.count.map(|count| count.seq),
            doubtful_at: position.doubtful_at.map(At),
        }
    }

    pub(crate) fn position(self, partition: Partition) -> (PositionKey, Position) {
        let place = Place { partition, location: LocationNo(self.location) };
        let count = self.count_at.zip(self.count_seq).map(|(at, seq)| Mark { at: at.0, seq });
        let position = Position {
            sellable: self.sellable,
            staged: self.staged,
            blocked: self.blocked,
            in_transit: self.in_transit,
            expected: self.expected,
            reserved: self.reserved,
            seq: self.seq,
            fact_at: Some(self.fact_at.0),
            count,
            doubtful_at: self.doubtful_at.map(|at| at.0),
            history: None,
        };
        (PositionKey { place, item: ItemNo(self.item) }, position)
    }
}

impl QuotaRow {
    pub(crate) fn of((key, quota): (&PositionKey, &Quota)) -> QuotaRow {
        QuotaRow {
            location: key.place.location.0,
            item: key.item.0,
            channel: quota.channel.0,
            units: quota.units,
            soft: quota.soft,
            borrow_after_us: quota.borrow_after,
            used: quota.used,
            used_at: At(quota.used_at),
            since_seq: quota.since,
        }
    }

    pub(crate) fn quota(self, partition: Partition) -> (PositionKey, Quota) {
        let place = Place { partition, location: LocationNo(self.location) };
        let quota = Quota {
            channel: ChannelNo(self.channel),
            units: self.units,
            soft: self.soft,
            borrow_after: self.borrow_after_us,
            since: self.since_seq,
            used: self.used,
            used_at: self.used_at.0,
        };
        (PositionKey { place, item: ItemNo(self.item) }, quota)
    }
}

impl LineRow {
    /// Every line of some reservations.
    pub(crate) fn all(reservations: &[&Reservation]) -> Vec<LineRow> {
        let lines = reservations.iter().flat_map(|made| {
            made.lines.iter().enumerate().map(|(number, line)| LineRow {
                no: made.id.no,
                line: number as i16,
                item: line.item.0,
                quantity: line.quantity,
                picked: line.picked,
                collected: line.collected,
                shelved: line.shelved,
            })
        });
        lines.collect()
    }
}
