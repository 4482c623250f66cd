//! What Redis and its clients say to each other, in version 2 and 3 of its protocol.

/// One value on the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`, `-`, `_`, `#`, `,`, `(`: its first byte and the line behind it.
    Line(u8, Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`, `=`, `!`: its first byte and its bytes.
    Bulk(u8, Vec<u8>),
    /// `$-1` or `*-1`: the first byte.
    Null(u8),
    /// `*`, `~`, `>`: its first byte and its elements; `%`, `|`: keys and values by turns.
    Many(u8, Vec<Value>),
}

/// The first value in `bytes` and its length, or nothing if it has not arrived in full.
pub fn parse(bytes: &[u8]) -> Option<(Value, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (first, line) = (bytes[0], &bytes[1..end]);
    let mut at = end + 2;
    let number = || -> i64 {
        let text = std::str::from_utf8(line).expect("Redis speaks its protocol");
        text.parse().expect("Redis speaks its protocol")
    };
    let value = match first {
        b':' => Value::Integer(number()),
        b'$' | b'*' if number() < 0 => Value::Null(first),
        b'$' | b'=' | b'!' => {
            let length = number() as usize;
            let content = bytes.get(at..at + length)?.to_vec();
            bytes.get(at + length..at + length + 2)?;
            at += length + 2;
            Value::Bulk(first, content)
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let each = if matches!(first, b'%' | b'|') { 2 } else { 1 };
            let mut elements = Vec::new();
            for _ in 0..number() * each {
                let (element, length) = parse(&bytes[at..])?;
                elements.push(element);
                at += length;
            }
            Value::Many(first, elements)
        }
        _ => Value::Line(first, line.to_vec()),
    };
    Some((value, at))
}

impl Value {
    /// Appends it as it goes over the wire.
    pub fn write(&self, bytes: &mut Vec<u8>) {
        let mut line = |first: u8, content: &[u8]| {
            bytes.push(first);
            bytes.extend_from_slice(content);
            bytes.extend_from_slice(b"\r\n");
        };
        match self {
            Value::Line(first, content) => line(*first, content),
            Value::Integer(integer) => line(b':', integer.to_string().as_bytes()),
            Value::Null(first) => line(*first, b"-1"),
            Value::Bulk(first, content) => {
                line(*first, content.len().to_string().as_bytes());
                bytes.extend_from_slice(content);
                bytes.extend_from_slice(b"\r\n");
            }
            Value::Many(first, elements) => {
                let each = if matches!(first, b'%' | b'|') { 2 } else { 1 };
                line(*first, (elements.len() / each).to_string().as_bytes());
                for element in elements {
                    element.write(bytes);
                }
            }
        }
    }

    /// The name of a command, in capitals.
    pub fn command(&self) -> String {
        match self {
            Value::Many(_, words) => match words.first() {
                Some(Value::Bulk(_, name)) => String::from_utf8_lossy(name).to_uppercase(),
                _ => String::new(),
            },
            _ => String::new(),
        }
    }
}
