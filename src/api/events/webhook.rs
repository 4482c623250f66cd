//! Webhooks of the contract as those of the ledger, and back.

use tonic::Status;

use super::STREAM_ID;
use crate::{
    ambient,
    api::{
        error::invalid,
        network::identifier,
        proto::{self, PutWebhookRequest},
        wire,
    },
    feed::deliver::{signature::secret_of, webhook::url_flaw},
    ledger::webhook::{PutWebhook, Secret, Webhook},
    stock::{
        draft::QUANTITY_MAX,
        event::EventType,
        ids::{is_identifier, is_sku},
        time::{Micros, SECOND},
    },
};

/// Locations, and items, that a webhook may name.
const NAMES_MAX: usize = 1_000;
/// How long a retired secret signs at most, and if nothing is said.
const RETIRED_TTL_MAX: Micros = 7 * 24 * 3_600 * SECOND;
const RETIRED_TTL_DEFAULT: Micros = 24 * 3_600 * SECOND;

/// A webhook that was sent.
pub(super) struct PutIn {
    pub put: PutWebhook,
    /// Whether its secret is one that was generated now.
    pub secret_is_ours: bool,
    /// The same of a new webhook.
    pub secret_is_ours_if_new: bool,
}

pub(super) fn put_in(sent: PutWebhookRequest, allow_private: bool) -> Result<PutIn, Status> {
    let PutWebhookRequest { webhook, secret, retired_secret_ttl, rotate_secret, actor } = sent;
    let webhook = webhook.unwrap_or_default();
    let webhook_id = identifier(webhook.webhook_id, "webhook.webhook_id")?;
    if webhook_id == STREAM_ID {
        return Err(invalid("IDENTIFIER_INVALID", "webhook.webhook_id", "is reserved"));
    }
    if let Some(flaw) = url_flaw(&webhook.url, allow_private) {
        return Err(invalid("URL_INVALID", "webhook.url", flaw));
    }
    let event_types = webhook.event_types.iter().map(|&number| EventType::of(number));
    let event_types: Option<Vec<_>> = event_types.take(EventType::ALL.len() + 1).collect();
    let known = event_types.filter(|types| types.len() <= EventType::ALL.len());
    let rule = "must be known types, each once";
    let mut event_types =
        known.ok_or_else(|| invalid("FIELD_INVALID", "webhook.event_types", rule))?;
    event_types.sort_unstable();
    event_types.dedup();
    if !(0..=QUANTITY_MAX).contains(&webhook.low_stock_units) {
        let rule = "must be 0 to 1,000,000,000";
        return Err(invalid("FIELD_INVALID", "webhook.low_stock_units", rule));
    }
    names(&webhook.location_ids, "webhook.location_ids", is_identifier)?;
    names(&webhook.skus, "webhook.skus", is_sku)?;
    let channel_id = optional(webhook.channel_id, "webhook.channel_id")?;
    let given = given_secret(&secret, rotate_secret)?;
    let secret_is_ours_if_new = given.is_none();
    let ours = Secret([ambient::random().to_be_bytes(), ambient::random().to_be_bytes()].concat());
    let ttl = retired_secret_ttl.map_or(Some(RETIRED_TTL_DEFAULT), wire::duration_in);
    let ttl = ttl.filter(|ttl| (0..=RETIRED_TTL_MAX).contains(ttl));
    let retired_secret_ttl =
        ttl.ok_or_else(|| invalid("FIELD_INVALID", "retired_secret_ttl", "must be 0 to 7 days"))?;
    let put = PutWebhook {
        webhook_id,
        url: webhook.url,
        secret: given.or_else(|| rotate_secret.then(|| ours.clone())),
        first_secret: ours,
        retired_secret_ttl,
        event_types,
        channel_id,
        low_stock_units: webhook.low_stock_units,
        location_ids: webhook.location_ids,
        skus: webhook.skus,
        enabled: webhook.enabled.unwrap_or(true),
        actor: optional(actor, "actor")?,
    };
    Ok(PutIn { put, secret_is_ours: rotate_secret, secret_is_ours_if_new })
}

/// What was said of the secret never stands in an error.
fn given_secret(secret: &str, rotate: bool) -> Result<Option<Secret>, Status> {
    if secret.is_empty() {
        return Ok(None);
    }
    if rotate {
        return Err(invalid("SECRET_INVALID", "secret", "excludes rotate_secret"));
    }
    let rule = "must be whsec_ and base64 of 24 to 64 bytes";
    secret_of(secret).map(Some).ok_or_else(|| invalid("SECRET_INVALID", "secret", rule))
}

fn names(names: &[String], field: &str, rule: fn(&str) -> bool) -> Result<(), Status> {
    if names.len() > NAMES_MAX || !names.iter().all(|name| rule(name)) {
        return Err(invalid("FIELD_INVALID", field, "must be at most 1,000 well-formed names"));
    }
    Ok(())
}

fn optional(text: String, field: &str) -> Result<Option<String>, Status> {
    if text.is_empty() { Ok(None) } else { identifier(text, field).map(Some) }
}

impl From<Webhook> for proto::Webhook {
    fn from(webhook: Webhook) -> proto::Webhook {
        proto::Webhook {
            webhook_id: webhook.webhook_id,
            url: webhook.url,
            event_types: webhook.event_types.iter().map(|known| *known as i32).collect(),
            channel_id: webhook.channel_id.unwrap_or_default(),
            low_stock_units: webhook.low_stock_units,
            location_ids: webhook.location_ids,
            skus: webhook.skus,
            enabled: Some(webhook.enabled),
            disabled_reason: webhook.disabled_reason.unwrap_or_default(),
            created_at: Some(wire::time_out(webhook.created_at)),
            created_by: webhook.created_by.unwrap_or_default(),
            changed_at: Some(wire::time_out(webhook.changed_at)),
            changed_by: webhook.changed_by.unwrap_or_default(),
        }
    }
}
