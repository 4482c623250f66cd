//! The headers of Standard Webhooks: <https://www.standardwebhooks.com>, specification 1.0.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::ledger::webhook::Secret;

/// What a secret begins with in text.
const PREFIX: &str = "whsec_";
/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secret that a text stands for; `None`: it stands for none.
pub fn secret_of(text: &str) -> Option<Secret> {
    let bytes = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(Secret(bytes))
}

/// A secret as text.
pub fn text_of(secret: &Secret) -> String {
    format!("{PREFIX}{}", STANDARD.encode(&secret.0))
}

/// The header `webhook-signature`: a signature by each secret.
pub fn signatures<'s>(
    secrets: impl IntoIterator<Item = &'s Secret>,
    event_id: &str,
    seconds: i64,
    body: &str,
) -> String {
    let signed = secrets.into_iter().filter_map(|secret| sign(secret, event_id, seconds, body));
    signed.collect::<Vec<_>>().join(" ")
}

fn sign(secret: &Secret, event_id: &str, seconds: i64, body: &str) -> Option<String> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.0).ok()?;
    mac.update(format!("{event_id}.{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}
