//! A set of public keys (JWKS): each says itself with which algorithm it verifies.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Keys that are taken from a set.
const KEYS_MAX: usize = 100;
/// Bytes of a coordinate of either curve.
const COORDINATE_BYTES: usize = 32;

/// Keys by their ids.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: HashMap<String, PublicKey>,
    digest: [u8; 32],
    /// Grows with every change; 0: none was read yet.
    pub(super) generation: u64,
}

/// A key and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct PublicKey {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is no set of keys.
    #[error("it is no JSON object with a list of keys")]
    Malformed(#[from] serde_json::Error),
    /// There is nothing in it that can be used.
    #[error("it has no key for EdDSA or ES256 with an id of its own")]
    Empty,
    /// There are more keys than can be meant.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    crv: String,
    x: String,
    y: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
}

impl KeySet {
    /// Reads a set that follows another one; `None`: it is the same. Keys of other kinds are left out, and
    /// of two with one id both. A set without any key ends all tokens of the one before.
    ///
    /// # Errors
    /// It makes no sense, or is the first and has no key.
    pub(super) fn read(bytes: &[u8], before: &KeySet) -> Result<Option<KeySet>, KeySetError> {
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if digest == before.digest {
            return Ok(None);
        }
        let set: Set = serde_json::from_slice(bytes)?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let mut keys = HashMap::new();
        let mut ambiguous = Vec::new();
        for jwk in jwks {
            let Some(key) = jwk.public_key() else { continue };
            if keys.insert(jwk.kid.clone(), key).is_some() {
                ambiguous.push(jwk.kid);
            }
        }
        // Neither can be meant for certain.
        keys.retain(|id, _| !ambiguous.contains(id));
        if keys.is_empty() && before.generation == 0 {
            return Err(KeySetError::Empty);
        }
        Ok(Some(KeySet { keys, digest, generation: before.generation + 1 }))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn get(&self, id: &str) -> Option<&PublicKey> {
        self.keys.get(id)
    }
}

impl Jwk {
    fn public_key(&self) -> Option<PublicKey> {
        let whole = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok();
            bytes.is_some_and(|bytes| bytes.len() == COORDINATE_BYTES)
        };
        let algorithm = match (&*self.kty, &*self.crv) {
            ("OKP", "Ed25519") => Algorithm::EdDSA,
            ("EC", "P-256") => Algorithm::ES256,
            _ => return None,
        };
        let named = self.alg.as_deref().is_none_or(|name| match algorithm {
            Algorithm::EdDSA => matches!(name, "EdDSA" | "Ed25519"),
            _ => name == "ES256",
        });
        let signs = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        if !named || !signs || !whole(&self.x) {
            return None;
        }
        let key = match algorithm {
            Algorithm::EdDSA => DecodingKey::from_ed_components(&self.x),
            _ => {
                let y = self.y.as_deref().filter(|y| whole(y))?;
                DecodingKey::from_ec_components(&self.x, y)
            }
        };
        Some(PublicKey { algorithm, key: key.ok()? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(keys: Value) -> Result<Option<KeySet>, KeySetError> {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes(), &KeySet::default())
    }

    #[test]
    fn keys_of_other_kinds_are_left_out_and_each_has_one_algorithm() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let short = URL_SAFE_NO_PAD.encode([7; 31]);
        let set = read(json!([
            { "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x },
            { "kty": "EC", "crv": "P-256", "kid": "b", "x": x, "y": x, "use": "sig" },
            { "kty": "EC", "crv": "P-256", "kid": "no y", "x": x },
            { "kty": "EC", "crv": "P-256", "kid": "short", "x": short, "y": x },
            { "kty": "EC", "crv": "P-384", "kid": "curve", "x": x, "y": x },
            { "kty": "OKP", "crv": "Ed25519", "kid": "enc", "x": x, "use": "enc" },
            { "kty": "OKP", "crv": "Ed25519", "kid": "hs", "x": x, "alg": "HS256" },
            { "kty": "oct", "kid": "secret", "k": x },
            { "kty": "RSA", "kid": "rsa", "n": x, "e": "AQAB" },
            { "kty": "OKP", "crv": "Ed25519", "x": x },
        ]));
        let set = set.unwrap().unwrap();
        assert_eq!(set.keys.len(), 2, "{set:?}");
        assert_eq!(set.get("a").unwrap().algorithm, Algorithm::EdDSA);
        assert_eq!(set.get("b").unwrap().algorithm, Algorithm::ES256);
    }

    #[test]
    fn a_set_without_a_key_or_with_two_of_one_id_is_not_used() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x });
        assert!(matches!(read(json!([])), Err(KeySetError::Empty)));
        assert!(matches!(read(json!([key, key])), Err(KeySetError::Empty)));
        assert!(matches!(read(json!(vec![key; 101])), Err(KeySetError::TooMany)));
        assert!(matches!(read(json!("x")), Err(KeySetError::Malformed(_))));
    }

    #[test]
    fn a_set_from_which_keys_were_taken_ends_their_tokens_even_if_none_is_left() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let key = |id: &str| json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x });
        let before = read(json!([key("a"), key("b")])).unwrap().unwrap();
        let then = |keys: Value| {
            let text = json!({ "keys": keys }).to_string();
            KeySet::read(text.as_bytes(), &before).unwrap().unwrap()
        };
        let none = then(json!([]));
        assert!(none.is_empty() && none.generation > before.generation);
        let twice = then(json!([key("a"), key("a"), key("b")]));
        assert!(twice.get("a").is_none() && twice.get("b").is_some());
    }
}
