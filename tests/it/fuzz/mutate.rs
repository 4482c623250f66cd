//! Small changes to bytes.

use rand::{Rng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use super::{fields, runner::Target};

/// No input grows beyond this.
const BYTES_MAX: usize = 4_096;
/// Changes to one input.
const CHANGES_MAX: u32 = 4;
/// Numbers at which things tend to break.
pub const NUMBERS: [u64; 24] = [
    0,
    1,
    2,
    4,
    16,
    63,
    64,
    65,
    127,
    128,
    200,
    201,
    255,
    256,
    1_000,
    1_001,
    65_535,
    1_000_000_000,
    1_000_000_001,
    1 << 31,
    1 << 53,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

/// Changes an input a little; `other` is one to take something from.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], target: &Target<'_>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        let by_field = target.message && rng.random_range(0..8) > 0;
        if !(by_field && fields::mutate(input, other, target.words, rng)) {
            change(input, other, target.words, rng);
        }
    }
    input.truncate(BYTES_MAX);
}

/// One change that knows nothing of what the bytes mean.
pub fn change(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut ChaCha8Rng) {
    let at = rng.random_range(0..=input.len());
    let length = rng.random_range(1..=16).min(input.len() - at);
    match rng.random_range(0..9) {
        0 if length > 0 => input[at] ^= 1 << rng.random_range(0..8),
        1 if length > 0 => input[at] = rng.random(),
        2 => input.insert(at, rng.random()),
        3 => drop(input.drain(at..at + length)),
        4 => {
            let again = input[at..at + length].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let from = rng.random_range(0..=other.len());
            let taken = rng.random_range(0..=other.len() - from).min(64);
            input.splice(at..at + length, other[from..from + taken].iter().copied());
        }
        6 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
            let bytes = number.to_be_bytes();
            let width = [1, 2, 4, 8][rng.random_range(0..4)];
            input.splice(at..at + length.min(width), bytes[8 - width..].iter().copied());
        }
        7 => {
            let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
            let text = if rng.random() { number.to_string() } else { format!("{number:x}") };
            input.splice(at..at + length, text.bytes());
        }
        _ => {
            let word = words.choose(rng).copied().unwrap_or_default();
            input.splice(at..at + length, word.bytes());
        }
    }
}
