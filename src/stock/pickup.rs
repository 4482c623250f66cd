//! Pickup codes: derived from the reservation with a secret, so that a repeated request is answered
//! with the same code although only a keyed hash of it is stored.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::stock::{ids::Place, reservation::ReservationId};

/// Letters and digits that are not mistaken for each other (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code, of 5 bits each.
const CODE_CHARS: u32 = 8;

/// What all servers of a ledger share and nobody else knows.
#[derive(Clone)]
pub struct PickupSecret(Box<[u8]>);

impl PickupSecret {
    /// A secret of any length; 32 random bytes are right.
    pub fn new(bytes: &[u8]) -> PickupSecret {
        PickupSecret(bytes.into())
    }

    /// The code that the customer shows: 8 characters, 40 bits.
    pub fn code(&self, id: &ReservationId) -> String {
        let bits = self.keyed(b"code", id.to_string().as_bytes());
        let character = |index| {
            let five = (bits >> (index * 5)) & 31;
            char::from(*ALPHABET.get(five as usize).unwrap_or(&b'0'))
        };
        (0..CODE_CHARS).map(character).collect()
    }

    /// What a code is found by at its location. Never 0, which stands for none.
    pub fn hash(&self, place: Place, code: &str) -> i64 {
        let mut text = place.location.0.to_be_bytes().to_vec();
        text.extend_from_slice(code.as_bytes());
        // One bit less, or half of them would be negative.
        ((self.keyed(b"hash", &text) >> 1) as i64).max(1)
    }

    /// As people type it: small letters, and letters that look like digits.
    pub fn normalised(code: &str) -> String {
        let known = code.chars().filter(|c| !matches!(c, ' ' | '-'));
        let digit = |c: char| match c.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        known.map(digit).collect()
    }

    fn keyed(&self, domain: &[u8], text: &[u8]) -> u64 {
        // A key of any length is allowed, so there is always a hash.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return 0 };
        mac.update(domain);
        mac.update(text);
        let bytes = mac.finalize().into_bytes();
        bytes.iter().take(8).fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
    }
}

/// A secret never reaches a log.
impl fmt::Debug for PickupSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PickupSecret")
    }
}
