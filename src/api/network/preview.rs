//! PreviewChannelPolicy: what a policy would do to what is available.

use tonic::Status;

use crate::{
    access::Caller,
    api::{
        Api,
        availability::{AGE_US_DEFAULT, PAIRS_MAX, Pair},
        error::{invalid, unknown},
        network::{
            check_policy,
            policy::{name_unknown, policy_in},
        },
        proto::{PreviewChannelPolicyRequest, PreviewChannelPolicyResponse, PreviewedChange},
        wire::time_out,
    },
    reads::Question,
    stock::channel_policy::Policy,
};

/// Locations of one call that names no items.
const LOCATIONS_MAX: usize = 100;

impl Api {
    pub(super) async fn preview(
        &self,
        caller: &Caller,
        sent: PreviewChannelPolicyRequest,
    ) -> Result<PreviewChannelPolicyResponse, Status> {
        let then = policy_in(sent.policy.unwrap_or_default())?;
        let channel_id = then.channel_id.clone();
        check_policy(caller, &channel_id)?;
        let now = self.ledger.policy(&channel_id).await?;
        let now = now.ok_or_else(|| unknown("channel", "channel_id", &channel_id))?.policy;
        let then = self.ledger.resolve_policy(then).await?.map_err(|field| name_unknown(&field))?;
        let skus = match sent.skus.is_empty() {
            true => self.skus_at(caller, &sent.location_ids).await?,
            false => sent.skus,
        };
        let pairs = self.pairs(caller, skus, sent.location_ids).await?;
        let keys = pairs.keys();
        let (channel, age_us_max) = (now.channel, AGE_US_DEFAULT);
        let question = Question { keys, channel, own: None, seen: None, age_us_max };
        let answer = self.reads.stock(question).await?;
        let mut told = PreviewChannelPolicyResponse {
            version: now.version.unsigned_abs(),
            as_of: Some(time_out(answer.as_of)),
            degraded: answer.degraded,
            ..PreviewChannelPolicyResponse::default()
        };
        pairs.each(&answer.stock).for_each(|pair| told.add(&pair, &now, &then.policy));
        Ok(told)
    }

    /// Items that the ledger has heard of at these locations.
    async fn skus_at(
        &self,
        caller: &Caller,
        location_ids: &[String],
    ) -> Result<Vec<String>, Status> {
        if !(1..=LOCATIONS_MAX).contains(&location_ids.len()) {
            let rule = "must be 1 to 100 where skus are not set";
            return Err(invalid("FIELD_INVALID", "location_ids", rule));
        }
        let mut places = Vec::with_capacity(location_ids.len());
        for location_id in location_ids {
            places.push(self.place(caller, location_id).await?);
        }
        // One more than fit is enough to see that they are too many.
        let skus_max = PAIRS_MAX / places.len().max(1) + 1;
        let skus = self.ledger.skus_at(&places, skus_max).await?;
        match skus.is_empty() {
            false => Ok(skus.into_iter().collect()),
            true => Err(invalid("SKUS_INVALID", "skus", "must be set: the locations have none")),
        }
    }
}

impl PreviewChannelPolicyResponse {
    fn add(&mut self, pair: &Pair<'_>, now: &Policy, then: &Policy) {
        self.pairs += 1;
        let Some((key, stock)) = pair.found else { return };
        let available_now = stock.available(key, 0, now);
        let available_then = stock.available(key, 0, then);
        if available_now == available_then {
            return;
        }
        self.pairs_to_zero += u32::from(available_then == 0);
        self.units_more += (available_then - available_now).max(0);
        self.units_less += (available_now - available_then).max(0);
        let (sku, location_id) = (pair.sku.to_owned(), pair.location_id.to_owned());
        self.changes.push(PreviewedChange { sku, location_id, available_now, available_then });
    }
}
