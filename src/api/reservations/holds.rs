//! Holds.

use tonic::Status;

use crate::{
    api::{
        Api,
        proto::{
            Durability, ExtendHoldRequest, ExtendHoldResponse, Hold, HoldStockRequest,
            HoldStockResponse, Line, ReleaseHoldRequest, ReleaseHoldResponse, ReplaceHoldRequest,
            ReplaceHoldResponse,
        },
        reservations::asked::{
            Call, ask, asking, hold_id, lines, optional_identifier, per_line, reached, ttl,
        },
        wire::time_out,
    },
    stock::{
        channel_policy::{HOLD_TTL_DEFAULT, HOLD_TTL_MAX},
        reservation::Settlement,
    },
    writer::{hold::Held, request::NewPromise},
};

impl Api {
    pub(super) async fn hold(
        &self,
        sent: HoldStockRequest,
        call: Call,
    ) -> Result<HoldStockResponse, Status> {
        let ask = asking(&sent.request_id, sent.channel_id, &call)?;
        let promise = NewPromise {
            location_id: reached(&call.caller, sent.location_id)?,
            lines: lines(sent.lines)?,
            hold: None,
            ttl: ttl(sent.ttl, HOLD_TTL_MAX)?,
            per_line: per_line(sent.line_policy)?,
            settlement: Settlement::default(),
            order_ref: String::new(),
            customer_ref: optional_identifier(sent.customer_ref, "customer_ref")?,
        };
        self.guard.may_hold(&call.who)?;
        let policy = self.policy_asked(&call, &ask).await?;
        let mut probe = self.probe_promises(&call, &policy, std::slice::from_ref(&promise)).await?;
        let held = self.writer.hold(ask, promise).await;
        let held = held.inspect_err(|denial| probe.refused(denial))?;
        self.guard.hold_was_taken(&call.who);
        let (hold, durability) = self.held(held).await?;
        probe.held(hold.as_ref());
        Ok(HoldStockResponse { hold, durability })
    }

    pub(super) async fn replace(
        &self,
        sent: ReplaceHoldRequest,
        call: Call,
    ) -> Result<ReplaceHoldResponse, Status> {
        let ask = asking(&sent.request_id, sent.channel_id, &call)?;
        let id = hold_id(&sent.hold_id)?;
        self.check_hold_place(&call.caller, id).await?;
        let promise = NewPromise {
            location_id: String::new(),
            lines: lines(sent.lines)?,
            hold: Some(id),
            ttl: ttl(sent.ttl, HOLD_TTL_MAX)?,
            per_line: false,
            settlement: Settlement::default(),
            order_ref: String::new(),
            customer_ref: String::new(),
        };
        let policy = self.policy_asked(&call, &ask).await?;
        let asked = [(id.place.location, &*promise.lines)];
        let mut probe = self.probe(&call.who, &policy, asked)?;
        let held = self.writer.replace_hold(ask, id, promise).await;
        let held = held.inspect_err(|denial| probe.refused(denial))?;
        let (hold, durability) = self.held(held).await?;
        probe.held(hold.as_ref());
        Ok(ReplaceHoldResponse { hold, durability })
    }

    pub(super) async fn extend(
        &self,
        sent: ExtendHoldRequest,
        call: Call,
    ) -> Result<ExtendHoldResponse, Status> {
        let ask = ask(&sent.request_id, String::new(), &call)?;
        let id = hold_id(&sent.hold_id)?;
        self.check_hold_place(&call.caller, id).await?;
        let ttl = ttl(sent.ttl, HOLD_TTL_MAX)?.unwrap_or(HOLD_TTL_DEFAULT);
        let (hold, durability) = self.held(self.writer.extend_hold(ask, id, ttl).await?).await?;
        Ok(ExtendHoldResponse { hold, durability })
    }

    pub(super) async fn release(
        &self,
        sent: ReleaseHoldRequest,
        call: Call,
    ) -> Result<ReleaseHoldResponse, Status> {
        let ask = ask(&sent.request_id, String::new(), &call)?;
        let id = hold_id(&sent.hold_id)?;
        self.check_hold_place(&call.caller, id).await?;
        self.writer.release_hold(ask, id).await?;
        self.guard.hold_was_given_back(&call.who);
        Ok(ReleaseHoldResponse {})
    }

    /// Numbers to names.
    async fn held(&self, held: Held) -> Result<(Option<Hold>, i32), Status> {
        let directory = self.ledger.directory();
        let location = held.id.place.location;
        let items: Vec<_> = held.lines.iter().map(|(item, _)| *item).collect();
        if items.iter().any(|item| directory.known().sku_of(*item).is_none()) {
            directory.find_numbered_items(&items).await?;
        }
        if directory.known().location_of(location).is_none() {
            directory.find_numbered_locations(&[location]).await?;
        }
        let known = directory.known();
        let line = |&(item, quantity): &(_, i64)| Line {
            sku: known.sku_of(item).map_or_else(String::new, |sku| sku.to_string()),
            quantity,
        };
        let location = known.location_of(location);
        let hold = Hold {
            hold_id: held.id.to_string(),
            expires_at: Some(time_out(held.expires_at)),
            lines: held.lines.iter().map(line).collect(),
            location_id: location.map_or_else(String::new, |known| known.location_id.to_string()),
        };
        let durability = match held.ledger {
            None => Durability::Memory,
            Some(false) => Durability::Ledger,
            Some(true) => Durability::Replicated,
        };
        Ok((Some(hold), durability as i32))
    }
}
