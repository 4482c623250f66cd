//! What a watcher is told, message by message.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tonic::Status;

use super::{End, Session, asked::Scoped};
use crate::{
    ambient,
    api::{
        availability::availability,
        cursor::Cursor,
        proto::{self, WatchAvailabilityResponse},
    },
    feed::{
        follow::Stand,
        watch::{Changes, Progress},
    },
    ledger::directory::Known,
    reads::Stock,
    stock::{
        channel_policy::Policy,
        ids::{Partition, PositionKey},
        time::Timestamp,
    },
};

/// Positions of one message.
const POSITIONS_MAX: usize = 1_000;
/// A reader that takes no message for so long while something waits is cut off.
const SLOW_MAX: Duration = Duration::from_secs(10);

impl Session {
    /// Items that nobody has heard of: nothing is available of them.
    pub(super) async fn tell_unknown(&mut self, scoped: &Scoped) -> Result<(), End> {
        let nothing = self.policy.shown(0);
        let pairs = scoped
            .unknown
            .iter()
            .map(|(sku, location_id)| availability(sku.clone(), location_id.clone(), nothing, 0));
        let pairs: Vec<_> = pairs.collect();
        for availability in pairs.chunks(POSITIONS_MAX) {
            let availability = availability.to_vec();
            let reset = std::mem::take(&mut self.reset);
            let answer = WatchAvailabilityResponse { availability, reset, ..Default::default() };
            self.send(answer).await?;
        }
        Ok(())
    }

    pub(super) async fn tell(
        &mut self,
        changes: Changes,
        stands: &BTreeMap<Partition, Stand>,
        told: Progress,
        revision: i64,
        complete: bool,
    ) -> Result<(), End> {
        let Changes { mut rows, mut degraded, .. } = changes;
        let named = rows.iter().map(|(key, _)| *key);
        self.api.ledger.directory().know_numbered(named).await.map_err(Status::from)?;
        degraded |= self.api.reads.fence(self.policy.channel, &mut rows).await.is_err();
        for (key, stock) in &rows {
            match stock.held {
                0 => self.held.remove(key),
                _ => self.held.insert(*key),
            };
        }
        let before = self.cursor.as_ref().map(Cursor::encode).unwrap_or_default();
        let held = self.held.iter().copied();
        let cursor = Cursor::at(stands, revision, told, held);
        let encoded = cursor.encode();
        let mut parts = rows.chunks(POSITIONS_MAX).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let last = parts.peek().is_none();
            let answer = WatchAvailabilityResponse {
                availability: self.told(part),
                cursor: if last { encoded.clone() } else { before.clone() },
                reset: std::mem::take(&mut self.reset),
                complete: complete && last,
                degraded,
            };
            self.send(answer).await?;
            if last {
                self.cursor = Some(cursor);
                return Ok(());
            }
        }
    }

    async fn send(&mut self, answer: WatchAvailabilityResponse) -> Result<(), End> {
        let sent = tokio::time::timeout(SLOW_MAX, self.answers.send(answer)).await;
        self.sent_at = Instant::now();
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Quiet),
            Err(_) => Err(End::Slow),
        }
    }

    fn told(&self, rows: &[(PositionKey, Stock)]) -> Vec<proto::Availability> {
        let (known, now) = (self.api.ledger.directory().known(), ambient::now());
        let told =
            |(key, stock): &(PositionKey, Stock)| told(&known, &self.policy, *key, stock, now);
        rows.iter().filter_map(told).collect()
    }
}

fn told(
    known: &Known,
    policy: &Policy,
    key: PositionKey,
    stock: &Stock,
    now: Timestamp,
) -> Option<proto::Availability> {
    let sku = known.sku_of(key.item)?.to_string();
    let location_id = known.location_of(key.place.location)?.location_id.to_string();
    let shown = match known.is_shut(key, now) {
        true => policy.shown(0),
        false => stock.shown(key, 0, policy),
    };
    Some(availability(sku, location_id, shown, stock.seq))
}
