//! Protobuf messages without their schema: fields by number, which can be changed one by one.
//! <https://protobuf.dev/programming-guides/encoding/>

use prost::encoding::{decode_varint, encode_varint};
use rand::{Rng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use super::mutate::{NUMBERS, change};

/// Messages within messages that are looked into.
const DEPTH_MAX: usize = 4;

/// One field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u64,
    pub value: Value,
}

/// A value by its wire type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Varint(u64),
    Eight([u8; 8]),
    Bytes(Vec<u8>),
    Four([u8; 4]),
}

/// The fields of a message; `None`: it is none.
pub fn parse(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = decode_varint(&mut bytes).ok()?;
        let value = match tag & 7 {
            0 => Value::Varint(decode_varint(&mut bytes).ok()?),
            1 => Value::Eight(*take(&mut bytes)?),
            2 => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let (text, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(text.to_vec())
            }
            5 => Value::Four(*take(&mut bytes)?),
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        fields.push(Field { number: tag >> 3, value });
    }
    Some(fields)
}

fn take<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(taken)
}

/// The message of these fields.
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for Field { number, value } in fields {
        let wire = match value {
            Value::Varint(_) => 0,
            Value::Eight(_) => 1,
            Value::Bytes(_) => 2,
            Value::Four(_) => 5,
        };
        encode_varint(number << 3 | wire, &mut bytes);
        match value {
            Value::Varint(number) => encode_varint(*number, &mut bytes),
            Value::Eight(eight) => bytes.extend_from_slice(eight),
            Value::Four(four) => bytes.extend_from_slice(four),
            Value::Bytes(text) => {
                encode_varint(text.len() as u64, &mut bytes);
                bytes.extend_from_slice(text);
            }
        }
    }
    bytes
}

/// Changes one field of a message; says whether it is a message with fields.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], words: &[&str], rng: &mut ChaCha8Rng) -> bool {
    let Some(mut fields) = parse(input).filter(|fields| !fields.is_empty()) else { return false };
    mutate_fields(&mut fields, &parse(other).unwrap_or_default(), words, rng, 0);
    *input = encode(&fields);
    true
}

fn mutate_fields(
    fields: &mut Vec<Field>,
    other: &[Field],
    words: &[&str],
    rng: &mut ChaCha8Rng,
    depth: usize,
) {
    let at = rng.random_range(0..fields.len());
    match rng.random_range(0..24) {
        0 => drop(fields.remove(at)),
        1 => {
            let again = fields[at].clone();
            fields.insert(at, again);
        }
        2 => {
            let with = rng.random_range(0..fields.len());
            fields.swap(at, with);
        }
        3 | 4 => fields.extend(other.choose(rng).cloned()),
        5 => fields[at].number = rng.random_range(1..24),
        6 => fields.push(Field { number: rng.random_range(1..24), value: made_up(words, rng) }),
        7 | 8 => {
            let same = |field: &&Field| field.number == fields[at].number;
            if let Some(taken) = other.iter().find(same).cloned() {
                fields[at] = taken;
            }
        }
        _ => {
            let same = other.iter().find(|field| field.number == fields[at].number).cloned();
            mutate_value(&mut fields[at].value, same.as_ref(), words, rng, depth);
        }
    }
}

/// A value that fits many fields.
fn made_up(words: &[&str], rng: &mut ChaCha8Rng) -> Value {
    match rng.random() {
        true => Value::Varint(NUMBERS[rng.random_range(0..NUMBERS.len())]),
        false => Value::Bytes(words.choose(rng).copied().unwrap_or_default().into()),
    }
}

fn mutate_value(
    value: &mut Value,
    other: Option<&Field>,
    words: &[&str],
    rng: &mut ChaCha8Rng,
    depth: usize,
) {
    match value {
        Value::Varint(number) => {
            *number = match rng.random_range(0..4) {
                0 => NUMBERS[rng.random_range(0..NUMBERS.len())],
                1 => number.wrapping_add(1),
                2 => number.wrapping_sub(1),
                _ => rng.random_range(0..20),
            }
        }
        Value::Eight(eight) => {
            let byte = [0, 0x7f, 0x80, 0xff, rng.random()][rng.random_range(0..5)];
            eight[rng.random_range(0..8)] = byte;
        }
        Value::Four(four) => four[rng.random_range(0..4)] = rng.random(),
        Value::Bytes(text) => {
            let inner = parse(text).filter(|inner| !inner.is_empty() && depth < DEPTH_MAX);
            match inner {
                Some(mut inner) if rng.random_range(0..16) > 0 => {
                    let other = match other.map(|other| &other.value) {
                        Some(Value::Bytes(other)) => parse(other).unwrap_or_default(),
                        _ => Vec::new(),
                    };
                    mutate_fields(&mut inner, &other, words, rng, depth + 1);
                    *text = encode(&inner);
                }
                _ if !words.is_empty() && rng.random() => {
                    *text = words.choose(rng).copied().unwrap_or_default().into();
                }
                _ => mutate_text(text, words, rng),
            }
        }
    }
}

/// Text mostly stays text: otherwise nothing would come further than to the decoder.
fn mutate_text(text: &mut Vec<u8>, words: &[&str], rng: &mut ChaCha8Rng) {
    change(text, &[], words, rng);
    if rng.random_range(0..16) > 0 {
        *text = String::from_utf8_lossy(text).into_owned().into_bytes();
    }
}

#[test]
fn a_message_is_its_fields() {
    use prost::Message as _;
    use stockroom::api::proto::{Location, Movement, MovementRef};

    let movement = Movement {
        key: "k".to_owned(),
        quantity: -5,
        original: Some(MovementRef { source: "s".to_owned(), key: String::new() }),
        ..Movement::default()
    };
    let location = Location { latitude: Some(1.5), ..Location::default() };
    for message in [movement.encode_to_vec(), location.encode_to_vec()] {
        let fields = parse(&message).unwrap();
        assert!(!fields.is_empty());
        assert_eq!(encode(&fields), message);
    }
    assert_eq!(parse(&[0x0a, 5, 1]), None, "shorter than it says");
}
