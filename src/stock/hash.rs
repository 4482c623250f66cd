//! Stable hashes: the digest of a key, the fingerprint of a request, the checksum of a row. All are
//! SHA-256, cut to size, over fixed-width numbers and length-prefixed text.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// First 16 bytes of SHA-256 over source and key: what an idempotency key is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub u128);

impl Digest {
    /// The digest of `key` as sent by `source`.
    pub fn of(source: &str, key: &str) -> Digest {
        let mut hash = StableHash::new("key");
        hash.text(source);
        hash.text(key);
        Digest(hash.finish_u128())
    }

    /// The digest of a request: kept apart from what a source of the same name reports.
    pub fn of_request(caller: &str, request_id: &str) -> Digest {
        let mut hash = StableHash::new("request");
        hash.text(caller);
        hash.text(request_id);
        Digest(hash.finish_u128())
    }

    /// The digest of a snapshot: kept apart from both.
    pub fn of_snapshot(source: &str, key: &str) -> Digest {
        let mut hash = StableHash::new("snapshot key");
        hash.text(source);
        hash.text(key);
        Digest(hash.finish_u128())
    }
}

/// Hexadecimal, where it is text: formats of numbers end at 64 bits.
impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        format!("{:032x}", digest.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Digest, std::num::ParseIntError> {
        u128::from_str_radix(&text, 16).map(Digest)
    }
}

/// The partition, of `partitions`, that a location belongs to for ever.
pub fn partition_of(location_id: &str, partitions: u16) -> i16 {
    let mut hash = StableHash::new("location");
    hash.text(location_id);
    let place = hash.finish_u128() % u128::from(partitions.max(1));
    i16::try_from(place).unwrap_or(0)
}

/// SHA-256 in full.
pub type Hash = [u8; 32];

/// Collects fields into a buffer and hashes it once.
#[derive(Debug)]
pub struct StableHash {
    buffer: Vec<u8>,
}

impl StableHash {
    /// Starts a hash; `domain` keeps hashes of different things apart.
    pub fn new(domain: &str) -> StableHash {
        let mut hash = StableHash { buffer: Vec::with_capacity(384) };
        hash.text(domain);
        hash
    }

    /// Adds a number.
    pub fn number(&mut self, number: i64) {
        self.buffer.extend_from_slice(&number.to_le_bytes());
    }

    /// Adds a number that may be absent.
    pub fn optional(&mut self, number: Option<i64>) {
        self.buffer.push(u8::from(number.is_some()));
        self.number(number.unwrap_or(0));
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(bytes);
    }

    /// The first 8 bytes.
    pub fn finish_i64(self) -> i64 {
        (self.finish_u128() >> 64) as i64
    }

    /// All of it.
    pub fn finish(self) -> Hash {
        Sha256::digest(&self.buffer).into()
    }

    /// The first 16 bytes.
    pub fn finish_u128(self) -> u128 {
        self.finish().iter().take(16).fold(0, |sum, &byte| (sum << 8) | u128::from(byte))
    }
}
