//! The text of an API key, `sr_<prefix>_<secret>`: what its holder sends, and nobody else ever sees.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// What every key begins with, so that scanners find one that leaked.
pub const KEY_MARK: &str = "sr_";
/// Bytes of a prefix; its text has two digits each.
const PREFIX_BYTES: usize = 6;
/// Bytes of a secret.
const SECRET_BYTES: usize = 32;

/// A whole key. It never reaches a log.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    prefix: String,
    secret: [u8; SECRET_BYTES],
}

impl KeyText {
    /// A key of this chance, which must be worth its 256 bits.
    pub fn new(prefix: [u8; PREFIX_BYTES], secret: [u8; SECRET_BYTES]) -> KeyText {
        let prefix = prefix.iter().map(|byte| format!("{byte:02x}")).collect();
        KeyText { prefix, secret }
    }

    /// Reads a key; `None`: it is none.
    pub fn parse(text: &str) -> Option<KeyText> {
        let (prefix, secret) = text.strip_prefix(KEY_MARK)?.split_once('_')?;
        let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if prefix.len() != 2 * PREFIX_BYTES || !prefix.bytes().all(digit) {
            return None;
        }
        let mut bytes = [0; SECRET_BYTES];
        let read = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (read == SECRET_BYTES).then(|| KeyText { prefix: prefix.to_owned(), secret: bytes })
    }

    /// By which it is looked up; no secret.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What is stored of its secret.
    pub fn secret_sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Whether this was stored of its secret, in a time that does not say how much of it fits.
    pub fn fits(&self, stored_sha256: &[u8]) -> bool {
        let own = self.secret_sha256();
        let differing = own.iter().zip(stored_sha256).fold(0, |bits, (a, b)| bits | (a ^ b));
        own.len() == stored_sha256.len() && std::hint::black_box(differing) == 0
    }
}

/// The whole key with its secret, for the one time that it is shown.
impl fmt::Display for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{KEY_MARK}{}_{}", self.prefix, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyText({}, ..)", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_fits_its_own_hash_only() {
        let key = KeyText::new([7; 6], [0xfb; 32]);
        let text = key.to_string();
        assert!(text.starts_with("sr_070707070707_"), "{text}");
        assert_eq!(KeyText::parse(&text), Some(key.clone()));
        let mut stored = key.secret_sha256();
        assert!(key.fits(&stored));
        assert!(!key.fits(&stored[..31]) && !key.fits(&[]));
        stored[31] ^= 1;
        assert!(!key.fits(&stored));
        assert!(!format!("{key:?}").contains(&text[16..]));
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        let good = KeyText::new([1; 6], [2; 32]).to_string();
        let longer = format!("{good}A");
        let upper = good.replace("010101010101", "0101010101AB");
        for bad in ["", "sr_", "sr__", "eyJ", &good[..good.len() - 1], &longer, &upper] {
            assert_eq!(KeyText::parse(bad), None, "{bad}");
        }
    }
}
