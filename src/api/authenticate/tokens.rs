//! Tokens (JWT) that an issuer signed: EdDSA and ES256 only, and which of both is said by the key, never
//! by the token.
//!
//! A token that was verified is remembered by its hash until it expires or the keys change, so that the
//! next call with it verifies no signature.

mod issuer;
mod key_set;
mod signature;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub(super) use self::issuer::IssuerError;
use self::{issuer::Issuer, key_set::KeySet};
use crate::{
    access::{Caller, Reach},
    api::{
        authenticate::refused::{Flaw, Refused},
        connection::Peer,
    },
    config::TokenConfig,
    stock::{
        ids::is_identifier,
        time::{SECOND, Timestamp},
    },
};

/// Longest token: clients refuse longer headers too.
const TOKEN_BYTES_MAX: usize = 8_192;
/// How far the clocks of an issuer may be off, in seconds.
const LEEWAY_S: u32 = 30;
/// Tokens that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What verifies tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Tokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: Issuer,
    name: String,
    audience: String,
    remembered: RwLock<HashMap<[u8; 32], Arc<Verified>>>,
}

/// A token that was verified.
#[derive(Debug)]
struct Verified {
    caller: Arc<Caller>,
    until: Timestamp,
    /// By which keys.
    generation: u64,
    /// SHA-256 of the certificate whose holder alone may show it.
    bound_to: Option<[u8; 32]>,
}

/// What is read before the signature is verified, and believed in nothing.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    locations: Vec<String>,
    #[serde(default)]
    channels: Vec<String>,
    cnf: Option<Confirmation>,
}

/// RFC 8705. What proves possession in another way is not known here, so that such a token is refused.
#[derive(Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate_sha256: String,
}

impl Tokens {
    /// Reads the keys of the issuer, and follows them until every handle is dropped.
    ///
    /// # Errors
    /// The file of the keys cannot be used. An address that does not answer is tried again.
    pub(super) async fn start(config: &TokenConfig) -> Result<Tokens, IssuerError> {
        signature::install();
        Ok(Tokens(Arc::new(Inner {
            issuer: Issuer::start(&config.keys).await?,
            name: config.issuer.clone(),
            audience: config.audience.clone(),
            remembered: RwLock::default(),
        })))
    }

    /// Who a token says is calling; `None`: its key is not known, and may be found by
    /// [`Tokens::look_up`].
    pub(super) fn known(
        &self,
        token: &str,
        peer: Option<&Peer>,
        now: Timestamp,
    ) -> Option<Result<Arc<Caller>, Refused>> {
        if token.len() > TOKEN_BYTES_MAX {
            return Some(Err(Refused::Invalid(Flaw::Malformed)));
        }
        let keys = self.0.issuer.keys();
        let digest: [u8; 32] = Sha256::digest(token).into();
        let remembered = self.0.remembered.read().unwrap_or_else(PoisonError::into_inner);
        let known = remembered.get(&digest).filter(|known| known.generation == keys.generation);
        let known = known.cloned();
        drop(remembered);
        let verified = match known {
            Some(verified) => Ok(verified),
            None => match self.verify(token, &keys) {
                Err(Refused::Invalid(Flaw::KeyUnknown)) => return None,
                verified => verified.map(|verified| self.remember(digest, verified, now)),
            },
        };
        Some(verified.and_then(|verified| verified.caller(peer, now)))
    }

    /// The same after the issuer was asked for new keys, as far as it may be asked.
    pub(super) async fn look_up(
        &self,
        token: &str,
        peer: Option<&Peer>,
        now: Timestamp,
    ) -> Result<Arc<Caller>, Refused> {
        self.0.issuer.newer_keys().await;
        let unknown = match self.0.issuer.keys().generation {
            0 => Refused::SourceAway,
            _ => Refused::Invalid(Flaw::KeyUnknown),
        };
        self.known(token, peer, now).unwrap_or(Err(unknown))
    }

    fn verify(&self, token: &str, keys: &KeySet) -> Result<Verified, Refused> {
        let malformed = Refused::Invalid(Flaw::Malformed);
        let header = token.split_once('.').and_then(|(header, _)| {
            let header = URL_SAFE_NO_PAD.decode(header).ok()?;
            serde_json::from_slice::<Header>(&header).ok()
        });
        let Header { alg, kid, crit } = header.ok_or(malformed)?;
        let wrong_algorithm = Refused::Invalid(Flaw::Algorithm);
        let stated = match &*alg {
            "EdDSA" => Algorithm::EdDSA,
            "ES256" => Algorithm::ES256,
            _ => return Err(wrong_algorithm),
        };
        // Who must understand an extension and does not must refuse it.
        if crit.is_some() {
            return Err(malformed);
        }
        let unknown = Refused::Invalid(Flaw::KeyUnknown);
        let key = kid.and_then(|kid| keys.get(&kid)).ok_or(unknown)?;
        if key.algorithm != stated {
            return Err(wrong_algorithm);
        }
        let validation = self.validation(key.algorithm);
        let decoded = jsonwebtoken::decode::<Claims>(token, &key.key, &validation);
        let claims = decoded.map_err(|error| refused(error.kind()))?.claims;
        if claims.iss != self.0.name {
            return Err(Refused::Invalid(Flaw::Issuer));
        }
        claims.verified(keys.generation)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_S.into();
        validation.validate_nbf = true;
        validation.required_spec_claims =
            HashSet::from(["exp", "iss", "aud", "sub"].map(Into::into));
        validation.set_issuer(&[&self.0.name]);
        validation.set_audience(&[&self.0.audience]);
        validation
    }

    fn remember(&self, digest: [u8; 32], verified: Verified, now: Timestamp) -> Arc<Verified> {
        let verified = Arc::new(verified);
        let mut remembered = self.0.remembered.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            let generation = verified.generation;
            remembered.retain(|_, old| old.generation == generation && old.until > now);
        }
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest, Arc::clone(&verified));
        verified
    }
}

impl Verified {
    /// What may change between two calls with the same token: the time, and who shows it.
    fn caller(&self, peer: Option<&Peer>, now: Timestamp) -> Result<Arc<Caller>, Refused> {
        if self.until <= now {
            return Err(Refused::Expired);
        }
        if let Some(bound_to) = &self.bound_to {
            let holder = peer.filter(|peer| peer.sha256() == bound_to);
            holder.ok_or(Refused::Replayed)?.check(now)?;
        }
        Ok(Arc::clone(&self.caller))
    }
}

impl Claims {
    fn verified(self, generation: u64) -> Result<Verified, Refused> {
        if !is_identifier(&self.sub) {
            return Err(Refused::Invalid(Flaw::Subject));
        }
        let bound_to = match self.cnf {
            None => None,
            Some(confirmation) => {
                let mut sha256 = [0; 32];
                let read =
                    URL_SAFE_NO_PAD.decode_slice(confirmation.certificate_sha256, &mut sha256);
                read.ok().filter(|read| *read == 32).ok_or(Refused::Invalid(Flaw::Malformed))?;
                Some(sha256)
            }
        };
        let reach = |ids: Vec<String>| match ids.iter().any(|id| id == "*") {
            true => Reach::All,
            false => Reach::only(ids),
        };
        // Saturates: a token of the far future is good for as long as its key.
        let seconds = (self.exp as i64).saturating_add(LEEWAY_S.into());
        let caller = Caller {
            id: self.sub,
            // Issuers name scopes of other systems too.
            scopes: self.scope.split(' ').filter_map(|scope| scope.parse().ok()).collect(),
            locations: reach(self.locations),
            channels: reach(self.channels),
            terminal: None,
        };
        let until = Timestamp(seconds.saturating_mul(SECOND));
        Ok(Verified { caller: Arc::new(caller), until, generation, bound_to })
    }
}

fn refused(kind: &ErrorKind) -> Refused {
    match kind {
        ErrorKind::ExpiredSignature => Refused::Expired,
        ErrorKind::ImmatureSignature => Refused::NotYetValid,
        ErrorKind::InvalidSignature => Refused::Invalid(Flaw::Signature),
        ErrorKind::InvalidIssuer => Refused::Invalid(Flaw::Issuer),
        ErrorKind::InvalidAudience => Refused::Invalid(Flaw::Audience),
        ErrorKind::InvalidAlgorithm => Refused::Invalid(Flaw::Algorithm),
        ErrorKind::MissingRequiredClaim(claim) => Refused::Invalid(match &**claim {
            "iss" => Flaw::Issuer,
            "aud" => Flaw::Audience,
            "sub" => Flaw::Subject,
            _ => Flaw::Malformed,
        }),
        _ => Refused::Invalid(Flaw::Malformed),
    }
}
