//! Numbers and short texts in MessagePack, which the scripts read and write by themselves: one
//! argument for a thousand numbers. Only what they use, and an answer is believed in nothing.
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>

use crate::{
    availability::fault::Nonsense,
    stock::{position::BALANCE_MAX, time::Timestamp},
};

/// A hold ends with a tick of this many microseconds.
pub(super) const TICK_US: i64 = 100_000;

/// One array, being written.
#[derive(Debug, Default)]
pub(super) struct Packer {
    items: u32,
    bytes: Vec<u8>,
}

/// Values one after the other, being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unpacker<'a>(pub &'a [u8]);

impl Packer {
    pub(super) fn int(&mut self, number: impl Into<i64>) -> &mut Packer {
        let number = number.into();
        self.items += 1;
        match u8::try_from(number) {
            Ok(small) if small < 0x80 => self.bytes.push(small),
            _ => {
                self.bytes.push(0xd3);
                self.bytes.extend_from_slice(&number.to_be_bytes());
            }
        }
        self
    }

    /// Adds how many of something follow.
    pub(super) fn count(&mut self, count: usize) -> &mut Packer {
        self.int(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Packer {
        self.items += 1;
        self.bytes.push(0xdb);
        self.bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// The values without an array around them.
    pub(super) fn values(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut packed = Vec::with_capacity(5 + self.bytes.len());
        packed.push(0xdd);
        packed.extend_from_slice(&self.items.to_be_bytes());
        packed.extend_from_slice(&self.bytes);
        packed
    }
}

impl<'a> Unpacker<'a> {
    /// A whole number that a double represents exactly.
    pub(super) fn int(&mut self) -> Result<i64, Nonsense> {
        const WRONG: Nonsense = Nonsense("a number was expected");
        let number = match self.byte()? {
            small @ 0x00..=0x7f => i64::from(small),
            small @ 0xe0..=0xff => i64::from(small.cast_signed()),
            0xcc => i64::from(self.byte()?),
            0xcd => i64::from(u16::from_be_bytes(self.bytes()?)),
            0xce => i64::from(u32::from_be_bytes(self.bytes()?)),
            0xcf => i64::try_from(u64::from_be_bytes(self.bytes()?)).map_err(|_| WRONG)?,
            0xd0 => i64::from(i8::from_be_bytes(self.bytes()?)),
            0xd1 => i64::from(i16::from_be_bytes(self.bytes()?)),
            0xd2 => i64::from(i32::from_be_bytes(self.bytes()?)),
            0xd3 => i64::from_be_bytes(self.bytes()?),
            _ => return Err(WRONG),
        };
        let exact = (-BALANCE_MAX..=BALANCE_MAX).contains(&number);
        if exact { Ok(number) } else { Err(Nonsense("a number is out of range")) }
    }

    /// A number that is not negative.
    pub(super) fn natural(&mut self) -> Result<i64, Nonsense> {
        let number = self.int()?;
        if number < 0 { Err(Nonsense("a number is negative")) } else { Ok(number) }
    }

    /// Whether a number is 1 and not 0.
    pub(super) fn flag(&mut self) -> Result<bool, Nonsense> {
        match self.int()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Nonsense("a flag was expected")),
        }
    }

    /// The beginning of a tick.
    pub(super) fn tick(&mut self) -> Result<Timestamp, Nonsense> {
        let at = self.natural()?.checked_mul(TICK_US).filter(|&at| at < Timestamp::Y10000.0);
        at.map(Timestamp).ok_or(Nonsense("a moment is out of range"))
    }

    /// A number of an item, location or place.
    pub(super) fn small<T: TryFrom<i64>>(&mut self) -> Result<T, Nonsense> {
        T::try_from(self.int()?).map_err(|_| Nonsense("a number is too large"))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Nonsense> {
        let length = match self.byte()? {
            short @ 0xa0..=0xbf => usize::from(short & 0x1f),
            0xd9 => usize::from(self.byte()?),
            0xda => usize::from(u16::from_be_bytes(self.bytes()?)),
            0xdb => u32::from_be_bytes(self.bytes()?) as usize,
            _ => return Err(Nonsense("a text was expected")),
        };
        let Some((text, rest)) = self.0.split_at_checked(length) else {
            return Err(Nonsense("it ends too early"));
        };
        self.0 = rest;
        str::from_utf8(text).map_err(|_| Nonsense("a text was expected"))
    }

    /// The number of values of an array, which follow. No more than there are bytes.
    pub(super) fn array(&mut self) -> Result<usize, Nonsense> {
        let length = match self.byte()? {
            short @ 0x90..=0x9f => usize::from(short & 0x0f),
            0xdc => usize::from(u16::from_be_bytes(self.bytes()?)),
            0xdd => u32::from_be_bytes(self.bytes()?) as usize,
            _ => return Err(Nonsense("an array was expected")),
        };
        if length > self.0.len() { Err(Nonsense("it ends too early")) } else { Ok(length) }
    }

    /// An array of groups of `width` values.
    pub(super) fn groups<T>(
        &mut self,
        width: usize,
        mut group: impl FnMut(&mut Unpacker<'a>) -> Result<T, Nonsense>,
    ) -> Result<Vec<T>, Nonsense> {
        let values = self.array()?;
        if !values.is_multiple_of(width) {
            return Err(Nonsense("an array has no whole groups"));
        }
        (0..values / width).map(|_| group(self)).collect()
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), Nonsense> {
        if self.0.is_empty() { Ok(()) } else { Err(Nonsense("something follows its end")) }
    }

    fn byte(&mut self) -> Result<u8, Nonsense> {
        let [byte] = self.bytes()?;
        Ok(byte)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Nonsense> {
        let Some((bytes, rest)) = self.0.split_first_chunk::<N>() else {
            return Err(Nonsense("it ends too early"));
        };
        self.0 = rest;
        Ok(*bytes)
    }
}
