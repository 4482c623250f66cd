//! Recalls.

use tokio::time::Instant;
use tonic::Status;

use crate::{
    access::Caller,
    api::{
        Api,
        error::{invalid, unknown},
        network::identifier,
        proto::{
            BlockItemRequest, BlockItemResponse, BlockedPosition, HeldUnits, UnblockItemRequest,
            UnblockItemResponse,
        },
        reservations::told::written,
        wire::time_out,
    },
    availability::explain,
    ledger::directory::Known,
    stock::{
        draft::NOTE_CHARS_MAX,
        ids::{is_sku, is_text},
    },
    writer::recall::{Blocked, Denied, Recall},
};

impl Api {
    pub(super) async fn block(
        &self,
        caller: &Caller,
        sent: BlockItemRequest,
        deadline: Instant,
    ) -> Result<BlockItemResponse, Status> {
        let BlockItemRequest { sku, actor, note } = sent;
        check(&sku)?;
        let actor = if actor.is_empty() { actor } else { identifier(actor, "actor")? };
        let actor = caller.acting(actor);
        if !is_text(&note, NOTE_CHARS_MAX) {
            let rule = "must be at most 500 characters without control characters";
            return Err(invalid("FIELD_INVALID", "note", rule));
        }
        let recall = self.writer.recall(&sku, &actor, &note, deadline).await;
        let recall = recall.map_err(|denied| told(denied, &sku))?;
        let (token, durability) = written(&recall.heads, true);
        let Recall { item, blocked, reservations, reservations_total, holds, holds_seen, .. } =
            recall;
        let reservations = self.told(&reservations).await?;
        let known = self.ledger.directory().known();
        Ok(BlockItemResponse {
            item: Some(item.into()),
            blocked: blocked.into_iter().map(Into::into).collect(),
            reservations,
            reservations_total: reservations_total as u64,
            holds: holds.iter().map(|held| held_units(&known, held)).collect(),
            degraded: !holds_seen,
            token,
            durability,
        })
    }

    pub(super) async fn unblock(
        &self,
        caller: &Caller,
        sent: UnblockItemRequest,
    ) -> Result<UnblockItemResponse, Status> {
        let UnblockItemRequest { sku } = sent;
        check(&sku)?;
        let actor = caller.acting(String::new());
        let ended = self.writer.end_recall(&sku, &actor).await;
        let item = ended.map_err(|denied| told(denied, &sku))?;
        Ok(UnblockItemResponse { item: Some(item.into()) })
    }
}

fn check(sku: &str) -> Result<(), Status> {
    let rule = "must match [A-Za-z0-9._:/-]{1,64} with single inner spaces at most";
    if is_sku(sku) { Ok(()) } else { Err(invalid("SKU_INVALID", "sku", rule)) }
}

fn told(denied: Denied, sku: &str) -> Status {
    match denied {
        Denied::Unknown => unknown("item", "sku", sku),
        Denied::Fault(fault) => fault.into(),
        Denied::Failure(failure) => failure.into(),
    }
}

fn held_units(known: &Known, held: &explain::HeldUnits) -> HeldUnits {
    let location = known.location_of(held.id.place.location);
    HeldUnits {
        hold_id: held.id.to_string(),
        location_id: location.map_or_else(String::new, |at| at.location_id.to_string()),
        quantity: held.units,
        expires_at: Some(time_out(held.expires_at)),
    }
}

impl From<Blocked> for BlockedPosition {
    fn from(blocked: Blocked) -> BlockedPosition {
        BlockedPosition { location_id: blocked.location_id, quantity: blocked.units }
    }
}
