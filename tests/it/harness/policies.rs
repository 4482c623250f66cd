//! Policies of channels, as a client puts them.
#![expect(clippy::disallowed_types, reason = "a client of the services")]

use stockroom::api::proto::{
    ChannelPolicy, PolicyRule, PutChannelPolicyRequest, policy_rule::Buffer,
};
use tonic::Status;

use crate::harness::server::Server;

/// A rule for an item and a location (empty: any) that keeps units back.
pub fn keep(sku: &str, location_id: &str, units: i64) -> PolicyRule {
    PolicyRule {
        sku: sku.to_owned(),
        location_id: location_id.to_owned(),
        buffer: Some(Buffer::BufferUnits(units)),
        units_per_order_max: None,
    }
}

impl Server {
    /// Puts a policy and, before it, its channel.
    pub async fn put_policy(&self, policy: ChannelPolicy) -> Result<ChannelPolicy, Status> {
        self.put_channel(&policy.channel_id).await;
        let request = PutChannelPolicyRequest { policy: Some(policy), ..Default::default() };
        let response = self.network().put_channel_policy(request).await?;
        Ok(response.into_inner().policy.unwrap())
    }
}
