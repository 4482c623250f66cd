//! PutQuotas and ListQuotas.

use std::collections::HashSet;

use tonic::Status;

use crate::{
    access::Caller,
    api::{
        Api,
        error::invalid,
        network::{IDENTIFIER, identifier},
        page,
        proto::{
            ListQuotasRequest, ListQuotasResponse, PutQuotasRequest, PutQuotasResponse, Quota,
            QuotaState,
        },
        wire::{duration_in, duration_out, time_out},
    },
    ledger::network::{NamedQuota, PutQuotas, StoredQuota},
    stock::{
        draft::QUANTITY_MAX,
        ids::{is_identifier, is_sku},
        quota::{BORROW_AFTER_DEFAULT, BORROW_AFTER_MAX, BORROW_AFTER_MIN},
    },
};

/// Quotas of one call: their partitions are locked while all are written.
const QUOTAS_MAX: usize = 1_000;
/// Marks tokens of the list of quotas.
const QUOTAS: &str = "quotas of";

impl Api {
    pub(super) async fn put_all_quotas(
        &self,
        caller: &Caller,
        sent: PutQuotasRequest,
    ) -> Result<PutQuotasResponse, Status> {
        let quotas = quotas_in(sent.quotas)?;
        for (index, quota) in quotas.iter().enumerate() {
            check_reach(caller, quota).map_err(|field| name_unknown(index, field))?;
        }
        match self.acting_for(caller).put_quotas(&quotas).await? {
            PutQuotas::Put => Ok(PutQuotasResponse {}),
            PutQuotas::NameUnknown(index, field) => Err(name_unknown(index, field)),
        }
    }

    pub(super) async fn list_all_quotas(
        &self,
        caller: &Caller,
        sent: ListQuotasRequest,
    ) -> Result<ListQuotasResponse, Status> {
        let id = identifier(sent.location_id, "location_id")?;
        let rows_max = page::rows_max(sent.page_size)?;
        // A token is of one location's list.
        let list = format!("{QUOTAS} {id}");
        let after = match page::decode(&list, &sent.page_token)? {
            None => (i32::MIN, i32::MIN),
            Some(after) => place_of(&after).ok_or_else(page::malformed)?,
        };
        let place = self.place(caller, &id).await?;
        let channels = self.channels_of(caller).await?;
        let rows = self.ledger.quotas((place, &id), channels.as_deref(), after, rows_max).await?;
        let last = |row: &StoredQuota| format!("{} {}", row.item.0, row.quota.channel.0);
        let next_page_token = page::next(&list, &rows, rows_max, last);
        let quotas = rows.into_iter().map(quota_out).collect();
        Ok(ListQuotasResponse { quotas, next_page_token })
    }
}

/// Names outside of the caller's reach are as unknown as others that nobody has heard of.
fn check_reach(caller: &Caller, quota: &NamedQuota) -> Result<(), &'static str> {
    if !caller.channels.includes(&quota.channel_id) {
        return Err("channel_id");
    }
    caller.locations.includes(&quota.location_id).then_some(()).ok_or("location_id")
}

fn name_unknown(index: usize, field: &str) -> Status {
    let field = format!("quotas[{index}].{field}");
    invalid("FIELD_INVALID", &field, "is unknown; put it first")
}

/// Item and channel behind which a page begins.
fn place_of(token: &str) -> Option<(i32, i32)> {
    let (item, channel) = token.split_once(' ')?;
    Some((item.parse().ok()?, channel.parse().ok()?))
}

fn quotas_in(sent: Vec<Quota>) -> Result<Vec<NamedQuota>, Status> {
    if !(1..=QUOTAS_MAX).contains(&sent.len()) {
        return Err(invalid("FIELD_INVALID", "quotas", "must be 1 to 1,000"));
    }
    let mut seen = HashSet::with_capacity(sent.len());
    let mut quotas = Vec::with_capacity(sent.len());
    for (index, sent) in sent.into_iter().enumerate() {
        let Quota { channel_id, sku, location_id, units, soft, borrow_after } = sent;
        let wrong = |field: &str, rule: &str| {
            Err(invalid("FIELD_INVALID", &format!("quotas[{index}].{field}"), rule))
        };
        if !is_identifier(&channel_id) {
            return wrong("channel_id", IDENTIFIER);
        }
        if !is_sku(&sku) {
            return wrong("sku", "is malformed");
        }
        if !is_identifier(&location_id) {
            return wrong("location_id", IDENTIFIER);
        }
        if !(0..=QUANTITY_MAX).contains(&units) {
            return wrong("units", "must be 0 to 1,000,000,000");
        }
        let borrow_after = borrow_after.map_or(Some(BORROW_AFTER_DEFAULT), duration_in);
        let bounds = BORROW_AFTER_MIN..=BORROW_AFTER_MAX;
        let Some(borrow_after) = borrow_after.filter(|time| bounds.contains(time)) else {
            return wrong("borrow_after", "must be 1 s to 31 d");
        };
        if !seen.insert((channel_id.clone(), sku.clone(), location_id.clone())) {
            return wrong("sku", "is named twice for its channel and location");
        }
        quotas.push(NamedQuota { channel_id, sku, location_id, units, soft, borrow_after });
    }
    Ok(quotas)
}

fn quota_out(stored: StoredQuota) -> QuotaState {
    let StoredQuota { named, quota, fenced, .. } = stored;
    let NamedQuota { channel_id, sku, location_id, units, soft, borrow_after } = named;
    let borrow_after = Some(duration_out(borrow_after));
    QuotaState {
        quota: Some(Quota { channel_id, sku, location_id, units, soft, borrow_after }),
        used: quota.used,
        used_at: Some(time_out(quota.used_at)),
        fenced,
    }
}
