//! What the scripts call `cmsgpack`: MessagePack of Lua values, as Redis has it.
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>

use mlua::{Error, Lua, Table, Value};

/// Values, one after the other.
pub fn pack(values: &[Value]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    for value in values {
        put(&mut bytes, value)?;
    }
    Ok(bytes)
}

/// All values that there are.
pub fn unpack(lua: &Lua, mut bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(take(lua, &mut bytes)?);
    }
    Ok(values)
}

fn put(bytes: &mut Vec<u8>, value: &Value) -> Result<(), Error> {
    match value {
        Value::Nil => bytes.push(0xc0),
        Value::Boolean(truth) => bytes.push(0xc2 + u8::from(*truth)),
        Value::Integer(number) => put_int(bytes, *number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            put_int(bytes, *number as i64);
        }
        Value::Number(number) => {
            bytes.push(0xcb);
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        Value::String(text) => put_text(bytes, &text.as_bytes()),
        Value::Table(table) => put_table(bytes, table)?,
        other => return Err(Error::runtime(format!("cannot pack {}", other.type_name()))),
    }
    Ok(())
}

fn put_int(bytes: &mut Vec<u8>, number: i64) {
    match number {
        0..=0x7f => bytes.push(number as u8),
        -32..0 => bytes.push(number as i8 as u8),
        _ => {
            bytes.push(0xd3);
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        short @ 0..32 => bytes.push(0xa0 | short as u8),
        length => put_length(bytes, 0xda, length),
    }
    bytes.extend_from_slice(text);
}

/// A table is an array if its keys are 1, 2, 3 ...; one without keys is an empty array.
fn put_table(bytes: &mut Vec<u8>, table: &Table) -> Result<(), Error> {
    let pairs: Vec<_> = table.pairs::<Value, Value>().collect::<Result<_, _>>()?;
    let length = table.raw_len();
    if length == pairs.len() {
        match length {
            short @ 0..16 => bytes.push(0x90 | short as u8),
            length => put_length(bytes, 0xdc, length),
        }
        for at in 1..=length {
            put(bytes, &table.raw_get(at)?)?;
        }
        return Ok(());
    }
    match pairs.len() {
        short @ 0..16 => bytes.push(0x80 | short as u8),
        length => put_length(bytes, 0xde, length),
    }
    for (key, value) in &pairs {
        put(bytes, key)?;
        put(bytes, value)?;
    }
    Ok(())
}

/// A length of two bytes under this tag, or of four under the next one.
fn put_length(bytes: &mut Vec<u8>, tag: u8, length: usize) {
    match u16::try_from(length) {
        Ok(length) => {
            bytes.push(tag);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(tag + 1);
            bytes.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn take(lua: &Lua, from: &mut &[u8]) -> Result<Value, Error> {
    let number = |number: i64| Ok(Value::Number(number as f64));
    match take_bytes::<1>(from)?[0] {
        small @ 0x00..=0x7f => number(small.into()),
        few @ 0x80..=0x8f => take_map(lua, from, usize::from(few & 0x0f)),
        few @ 0x90..=0x9f => take_array(lua, from, usize::from(few & 0x0f)),
        short @ 0xa0..=0xbf => take_text(lua, from, usize::from(short & 0x1f)),
        0xc0 => Ok(Value::Nil),
        truth @ 0xc2..=0xc3 => Ok(Value::Boolean(truth == 0xc3)),
        0xcb => Ok(Value::Number(f64::from_be_bytes(take_bytes(from)?))),
        0xcc => number(u8::from_be_bytes(take_bytes(from)?).into()),
        0xcd => number(u16::from_be_bytes(take_bytes(from)?).into()),
        0xce => number(u32::from_be_bytes(take_bytes(from)?).into()),
        0xcf => Ok(Value::Number(u64::from_be_bytes(take_bytes(from)?) as f64)),
        0xd0 => number(i8::from_be_bytes(take_bytes(from)?).into()),
        0xd1 => number(i16::from_be_bytes(take_bytes(from)?).into()),
        0xd2 => number(i32::from_be_bytes(take_bytes(from)?).into()),
        0xd3 => number(i64::from_be_bytes(take_bytes(from)?)),
        0xd9 => {
            let length = take_bytes::<1>(from)?[0];
            take_text(lua, from, length.into())
        }
        tag @ 0xda..=0xdf => {
            let length = match tag & 1 {
                0 => u16::from_be_bytes(take_bytes(from)?).into(),
                _ => u32::from_be_bytes(take_bytes(from)?) as usize,
            };
            match tag {
                0xda | 0xdb => take_text(lua, from, length),
                0xdc | 0xdd => take_array(lua, from, length),
                _ => take_map(lua, from, length),
            }
        }
        negative @ 0xe0..=0xff => number(negative.cast_signed().into()),
        tag => Err(Error::runtime(format!("cannot unpack {tag:#x}"))),
    }
}

fn take_text(lua: &Lua, from: &mut &[u8], length: usize) -> Result<Value, Error> {
    let (text, rest) = from.split_at_checked(length).ok_or_else(ends_early)?;
    *from = rest;
    Ok(Value::String(lua.create_string(text)?))
}

fn take_array(lua: &Lua, from: &mut &[u8], length: usize) -> Result<Value, Error> {
    let table = lua.create_table()?;
    for at in 1..=length {
        table.raw_set(at, take(lua, from)?)?;
    }
    Ok(Value::Table(table))
}

fn take_map(lua: &Lua, from: &mut &[u8], length: usize) -> Result<Value, Error> {
    let table = lua.create_table()?;
    for _ in 0..length {
        let key = take(lua, from)?;
        table.raw_set(key, take(lua, from)?)?;
    }
    Ok(Value::Table(table))
}

fn take_bytes<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Error> {
    let (bytes, rest) = from.split_first_chunk::<N>().ok_or_else(ends_early)?;
    *from = rest;
    Ok(*bytes)
}

fn ends_early() -> Error {
    Error::runtime("it ends too early")
}
