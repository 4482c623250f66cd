//! What a Redis that lies says instead of the truth.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::resp::Value;

/// Numbers at which something might break.
const EXTREMES: [i64; 8] = [0, -1, 1, 1 << 31, 1 << 53, i64::MAX, i64::MIN, -1_000_000_000];
/// Most lies are small: those are the ones that could be believed.
const SMALL: i64 = 20;
/// One lie in so many changes the shape of the answer.
const SHAPES: u32 = 8;

/// Another answer of the same kind, or now and then of another one. Nothing where there is nothing to
/// lie about: an acknowledgement or an error.
pub fn lie(truth: &Value, rng: &mut ChaCha8Rng) -> Option<Value> {
    if matches!(truth, Value::Line(b'+' | b'-', _)) || matches!(truth, Value::Bulk(b'!', _)) {
        return None;
    }
    loop {
        let shaped = rng.random_range(0..SHAPES) == 0;
        let lie = if shaped { shape(truth, rng) } else { change(truth, rng) };
        if lie != *truth {
            return Some(lie);
        }
    }
}

/// The same shape with one thing changed.
fn change(truth: &Value, rng: &mut ChaCha8Rng) -> Value {
    match truth {
        Value::Integer(integer) => Value::Integer(number(*integer, rng)),
        Value::Bulk(first, content) => Value::Bulk(*first, bytes(content, rng)),
        Value::Many(first, elements) if !elements.is_empty() => {
            let mut elements = elements.clone();
            let index = rng.random_range(0..elements.len());
            let change = lie(&elements[index], rng).unwrap_or(Value::Integer(number(0, rng)));
            elements[index] = change;
            Value::Many(*first, elements)
        }
        Value::Many(first, _) => Value::Many(*first, vec![Value::Integer(number(0, rng)); 2]),
        Value::Null(_) | Value::Line(..) => Value::Integer(number(0, rng)),
    }
}

/// Something shorter, longer or of another kind.
fn shape(truth: &Value, rng: &mut ChaCha8Rng) -> Value {
    match (truth, rng.random_range(0..4)) {
        (Value::Many(first @ (b'*' | b'~'), elements), 0) if !elements.is_empty() => {
            let mut elements = elements.clone();
            elements.remove(rng.random_range(0..elements.len()));
            Value::Many(*first, elements)
        }
        (Value::Many(first @ (b'*' | b'~'), elements), 1) if !elements.is_empty() => {
            let mut elements = elements.clone();
            elements.push(elements[rng.random_range(0..elements.len())].clone());
            Value::Many(*first, elements)
        }
        (Value::Bulk(first, content), 0) => {
            Value::Bulk(*first, content[content.len() / 2..].to_vec())
        }
        (_, 1) => Value::Many(b'*', Vec::new()),
        (_, 2) => Value::Integer(number(0, rng)),
        _ => Value::Null(b'$'),
    }
}

fn number(truth: i64, rng: &mut ChaCha8Rng) -> i64 {
    match rng.random_range(0..4) {
        0 => EXTREMES[rng.random_range(0..EXTREMES.len())],
        1 => truth.wrapping_neg(),
        _ => truth.wrapping_add(rng.random_range(1..=SMALL) * [1, -1][rng.random_range(0..2)]),
    }
}

/// Text that is a number becomes another number; of anything else one byte changes.
fn bytes(truth: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let text = std::str::from_utf8(truth).ok().and_then(|text| text.parse().ok());
    if let Some(integer) = text {
        return number(integer, rng).to_string().into_bytes();
    }
    let mut content = truth.to_vec();
    match content.len() {
        0 => content.push(rng.random()),
        length => content[rng.random_range(0..length)] ^= rng.random_range(1..=255_u8),
    }
    content
}
