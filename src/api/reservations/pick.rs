//! Picking: what was not found, and who else has it.

use std::sync::Arc;

use tonic::Status;

use crate::{
    access::Caller,
    api::{
        Api,
        proto::{ProposedLocation, ReportPickResponse},
        reservations::{Answer, asked::Asked},
    },
    stock::{
        ids::{ChannelNo, ItemNo},
        reservation::{Reservation, ReservationId},
        step::ShortCause,
    },
    writer::request::Wish,
};

/// Locations that are proposed for what was not found.
const PROPOSED_MAX: usize = 5;

impl Api {
    pub(super) async fn pick(
        &self,
        asked: Asked,
        lines: Vec<(String, i64, ShortCause)>,
    ) -> Result<ReportPickResponse, Status> {
        let (id, caller) = (asked.id, Arc::clone(&asked.caller));
        let stepped = self.step(asked, Wish::ReportPick(lines.clone())).await?;
        let missing = self.missing(&id, stepped.reservations.first(), &lines).await;
        let channel = stepped.reservations.first().and_then(|after| after.channel);
        let missing = missing.unwrap_or_default();
        let proposed_locations = self.proposed(&caller, &id, channel, &missing).await;
        let Answer { reservation, token, durability } = self.answer(&caller, stepped).await?;
        Ok(ReportPickResponse { reservation, proposed_locations, token, durability })
    }

    /// What the step reported as missing, also when it is answered once more. What was moved with its
    /// reservation is missed by nobody.
    async fn missing(
        &self,
        id: &ReservationId,
        after: Option<&Reservation>,
        lines: &[(String, i64, ShortCause)],
    ) -> Result<Vec<(ItemNo, i64)>, Status> {
        let mut missing = Vec::new();
        let Some(after) = after.filter(|after| after.id == *id) else { return Ok(missing) };
        let before = self.ledger.reservation_before(id, after.version).await?;
        let Some(before) = before else { return Ok(missing) };
        for (sku, found, _) in lines {
            let Some(item) = self.item_no(sku).await? else { continue };
            let unpicked = before.reserved(item);
            if *found < unpicked {
                missing.push((item, unpicked - found));
            }
        }
        Ok(missing)
    }

    /// A proposal is worth less than the answer that it comes with: without one it is still right.
    async fn proposed(
        &self,
        caller: &Caller,
        id: &ReservationId,
        channel: Option<ChannelNo>,
        missing: &[(ItemNo, i64)],
    ) -> Vec<ProposedLocation> {
        if missing.is_empty() {
            return Vec::new();
        }
        let Ok(policy) = self.policy_of(channel).await else { return Vec::new() };
        let rules = (&*policy, &caller.locations);
        let found = self.reads.elsewhere(id.place, missing, rules, PROPOSED_MAX).await;
        let found = found.unwrap_or_default().into_iter();
        found
            .map(|nearby| ProposedLocation {
                location_id: nearby.location.location_id.to_string(),
                distance_m: nearby.distance_m,
            })
            .collect()
    }
}
