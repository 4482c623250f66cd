//! Recalling an item: nothing more of it is promised anywhere, what is sellable is blocked where it is,
//! and whoever was promised some of it is named.

use tokio::time::Instant;

use crate::{
    ambient,
    availability::explain::HeldUnits,
    ledger::{fault::Fault, head::Head, network::Item, recall::Whereabouts},
    stock::{
        draft::{Draft, QUANTITY_MAX},
        hold::HoldId,
        ids::{ItemNo, LocationNo, Partition, Place, PositionKey},
        kind::Kind,
        recall::RECALL,
        reservation::Reservation,
    },
    writer::{Barred, Failure, Report, Verdict, Writer},
};

/// Who reports what a recall blocks.
const SOURCE: &str = "stockroom";
/// Movements of one report.
const MOVEMENTS_MAX: usize = 1_000;
/// Reservations, and holds, that are named.
const NAMED_MAX: usize = 1_000;

/// What a recall came to.
#[derive(Debug)]
pub struct Recall {
    /// The item.
    pub item: Item,
    /// What was blocked now.
    pub blocked: Vec<Blocked>,
    /// Open reservations with units of it, newest first; at most 1,000.
    pub reservations: Vec<Reservation>,
    /// How many there are in all.
    pub reservations_total: i64,
    /// Live holds of it, those that the ledger keeps first; at most 1,000 of either kind.
    pub holds: Vec<HeldUnits>,
    /// Whether those that Redis keeps could be seen.
    pub holds_seen: bool,
    /// Heads that cover what was blocked.
    pub heads: Vec<Head>,
}

/// What was blocked of it at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The location.
    pub location_id: String,
    /// Units.
    pub units: i64,
}

/// Why it could not be recalled.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// There is no such item.
    #[error("the item is unknown")]
    Unknown,
    /// The database is away.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Not everything could be blocked. Nothing of it is promised all the same.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Writer {
    /// Recalls an item. Repeated, it blocks what has become sellable since.
    ///
    /// # Errors
    /// There is no such item, or something is away: then it may be recalled already.
    pub async fn recall(
        &self,
        sku: &str,
        actor: &str,
        note: &str,
        deadline: Instant,
    ) -> Result<Recall, Denied> {
        let ledger = &self.stores.ledger;
        let item = ledger.recall(sku, true, actor, note).await?.ok_or(Denied::Unknown)?;
        ledger.directory().refresh().await?;
        let number = ledger.directory().known().item(sku).map(|known| known.item);
        let number = number.ok_or(Denied::Unknown)?;
        let places = self.places();
        let mut recall = Recall {
            item,
            blocked: Vec::new(),
            reservations: Vec::new(),
            reservations_total: 0,
            holds: Vec::new(),
            holds_seen: true,
            heads: Vec::new(),
        };
        let mut found = Vec::new();
        for (partition, locations) in &places {
            found.extend(ledger.whereabouts(*partition, locations, number).await?);
        }
        self.block(sku, actor, note, &found, deadline, &mut recall).await?;
        self.name_promises(number, &found, &mut recall).await?;
        Ok(recall)
    }

    /// Ends a recall. What was blocked stays blocked until it is unblocked.
    ///
    /// # Errors
    /// There is no such item, or the database is away.
    pub async fn end_recall(&self, sku: &str, actor: &str) -> Result<Item, Denied> {
        let item = self.stores.ledger.recall(sku, false, actor, "").await?;
        item.ok_or(Denied::Unknown)
    }

    /// All locations, partition by partition.
    fn places(&self) -> Vec<(Partition, Vec<LocationNo>)> {
        let known = self.stores.ledger.directory().known();
        let mut places: Vec<Place> = known.locations().map(|location| location.place).collect();
        places.sort_unstable();
        let parts = places.chunk_by(|a, b| a.partition == b.partition);
        let part = |part: &[Place]| {
            let locations = part.iter().map(|place| place.location).collect();
            Some((part.first()?.partition, locations))
        };
        parts.filter_map(part).collect()
    }

    /// Blocks whatever is sellable by the time it is recorded.
    async fn block(
        &self,
        sku: &str,
        actor: &str,
        note: &str,
        found: &[Whereabouts],
        deadline: Instant,
        recall: &mut Recall,
    ) -> Result<(), Denied> {
        let drafts: Vec<_> = {
            let known = self.stores.ledger.directory().known();
            let there = found.iter().filter(|there| there.sellable > 0);
            let draft = |there: &Whereabouts| {
                let location = known.location_of(there.place.location)?;
                Some(Draft {
                    // Nobody can have used it before; what is blocked already is not blocked again.
                    key: format!("recall-{:032x}", ambient::random()),
                    kind: Kind::Block as i32,
                    location_id: location.location_id.to_string(),
                    sku: sku.to_owned(),
                    quantity: QUANTITY_MAX,
                    reason: RECALL.to_owned(),
                    note: note.to_owned(),
                    ..Draft::default()
                })
            };
            there.filter_map(draft).collect()
        };
        for drafts in drafts.chunks(MOVEMENTS_MAX) {
            let report = Report {
                source: SOURCE.to_owned(),
                sent_at: None,
                actor: actor.to_owned(),
                drafts: drafts.to_vec(),
                up_to: true,
                barred: Barred::default(),
                deadline,
            };
            let recorded = self.submit(report).await?.settled().await?;
            for answer in recorded.answers {
                if let Verdict::Recorded(posted) = answer.verdict {
                    let location_id = answer.draft.location_id;
                    recall.blocked.push(Blocked { location_id, units: posted.quantity });
                }
            }
            recall.heads.extend(recorded.heads);
        }
        Ok(())
    }

    async fn name_promises(
        &self,
        item: ItemNo,
        found: &[Whereabouts],
        recall: &mut Recall,
    ) -> Result<(), Denied> {
        let promised: Vec<_> = found.iter().filter(|there| there.promised).collect();
        for part in promised.chunk_by(|a, b| a.place.partition == b.place.partition) {
            let Some(partition) = part.first().map(|there| there.place.partition) else { continue };
            let locations: Vec<_> = part.iter().map(|there| there.place.location).collect();
            let named_max = NAMED_MAX as i64;
            let ledger = &self.stores.ledger;
            let promises = ledger.promises_of_item(partition, &locations, item, named_max).await?;
            let (found, total) = promises;
            let kept = found.iter().filter_map(|made| held_units(made, item));
            let before = recall.holds.len();
            recall.holds.extend(kept);
            recall.reservations_total += total - (recall.holds.len() - before) as i64;
            recall.reservations.extend(found.into_iter().filter(|made| made.held_as.is_none()));
        }
        recall.reservations.sort_by_key(|made| std::cmp::Reverse((made.created_at, made.id.no)));
        recall.reservations.truncate(NAMED_MAX);
        let holds = self.holds_of(item).await;
        recall.holds_seen = holds.is_some();
        recall.holds.extend(holds.unwrap_or_default());
        Ok(())
    }

    async fn holds_of(&self, item: ItemNo) -> Option<Vec<HeldUnits>> {
        let (ledger, availability) = (&self.stores.ledger, &self.stores.availability);
        let mut holds = Vec::new();
        for partition in ledger.partitions().await.ok()? {
            let held = availability.held(*partition).await.ok()?;
            let keys = held.into_iter().map(|(key, _)| key);
            let keys: Vec<PositionKey> = keys.filter(|key| key.item == item).collect();
            for key in keys {
                let left = NAMED_MAX.saturating_sub(holds.len());
                if left > 0 {
                    holds.extend(availability.holds_of(key, left).await.ok()?);
                }
            }
        }
        Some(holds)
    }
}

/// A hold that the ledger keeps, as far as it is about an item.
fn held_units(made: &Reservation, item: ItemNo) -> Option<HeldUnits> {
    let digest = made.held_as?;
    let id = HoldId { place: made.id.place, digest };
    Some(HeldUnits { id, units: made.line(item)?.quantity, expires_at: made.expires_at })
}
