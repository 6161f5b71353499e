//! Hessian 2, as much as a call of Dubbo's takes: texts and a map are written, anything is read. Pure.
//!
//! What is read comes from strangers: it is bounded in depth and in the number of its values, and nothing is set aside for a
//! length before as many bytes are there. Binary data and dates are skipped: nothing here needs them.
//!
//! | module | what |
//! | --- | --- |
//! | `value` | what was read |
//! | `write` | texts and maps of them |

mod value;
mod write;

use value::Compound;
pub(crate) use value::{Heap, Value};
pub(crate) use write::{write_map, write_text};

/// How deep values may lie in each other; a `MetadataInfo` has four levels.
const DEPTH: usize = 32;
/// How many values there may be: those of some ten thousand services.
const VALUES: usize = 500_000;

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HessianError {
    /// They end too early.
    #[error("it ends in the middle of a value")]
    Short,
    /// A byte that begins nothing.
    #[error("byte {0:#04x} begins no value")]
    Tag(u8),
    /// Something refers to what is not there.
    #[error("it refers to what it does not have")]
    Reference,
    /// A length that is none, or another kind of value than there must be.
    #[error("it has a value of another kind than it must have")]
    Kind,
    /// Too deep, or too many values.
    #[error("it is larger or deeper than any answer may be")]
    Bounds,
}

/// Reads values one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
    values: usize,
    /// How many names of types there were.
    types: usize,
    /// What was read.
    pub(crate) heap: Heap,
}

impl<'a> Reader<'a> {
    /// Of these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0, values: 0, types: 0, heap: Heap::default() }
    }

    /// The next value.
    pub(crate) fn value(&mut self) -> Result<Value, HessianError> {
        let tag = self.byte()?;
        self.value_of(tag)
    }

    fn value_of(&mut self, tag: u8) -> Result<Value, HessianError> {
        self.values += 1;
        if self.depth >= DEPTH || self.values > VALUES {
            return Err(HessianError::Bounds);
        }
        self.depth += 1;
        let value = match tag {
            b'N' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            0x80..=0xd7 | b'I' => Value::Int(i64::from(self.int(tag)?)),
            0xd8..=0xff | 0x38..=0x3f | b'Y' | b'L' => Value::Int(self.long(tag)?),
            0x00..=0x1f | 0x30..=0x33 | b'S' | b'R' => Value::Text(self.text(tag)?),
            0x20..=0x2f | 0x34..=0x37 | b'A' | b'B' => self.binary(tag)?,
            0x5b | 0x5c => Value::Skipped,
            0x5d => self.skip(1)?,
            0x5e => self.skip(2)?,
            0x5f | 0x4b => self.skip(4)?,
            b'D' | 0x4a => self.skip(8)?,
            b'U' | b'V' | b'W' | b'X' | 0x70..=0x7f => self.list(tag)?,
            b'M' | b'H' => self.map(tag)?,
            b'C' => {
                self.class()?;
                let next = self.byte()?;
                self.value_of(next)?
            }
            b'O' | 0x60..=0x6f => self.object(tag)?,
            b'Q' => self.reference()?,
            other => return Err(HessianError::Tag(other)),
        };
        self.depth -= 1;
        Ok(value)
    }

    fn byte(&mut self) -> Result<u8, HessianError> {
        let (first, rest) = self.rest.split_first().ok_or(HessianError::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], HessianError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(HessianError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<Value, HessianError> {
        self.bytes(count).map(|_| Value::Skipped)
    }

    /// `count` bytes as a number with a sign, which the high byte `first` goes before.
    fn wide(&mut self, first: i64, count: usize) -> Result<i64, HessianError> {
        Ok(self.bytes(count)?.iter().fold(first, |sum, byte| (sum << 8) | i64::from(*byte)))
    }

    fn int(&mut self, tag: u8) -> Result<i32, HessianError> {
        let tagged = i64::from(tag);
        let wide = match tag {
            0x80..=0xbf => tagged - 0x90,
            0xc0..=0xcf => self.wide(tagged - 0xc8, 1)?,
            0xd0..=0xd7 => self.wide(tagged - 0xd4, 2)?,
            b'I' => return Ok(i32::from_be_bytes(self.array()?)),
            _ => return Err(HessianError::Kind),
        };
        i32::try_from(wide).map_err(|_| HessianError::Kind)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HessianError> {
        self.bytes(N)?.try_into().map_err(|_| HessianError::Short)
    }

    fn long(&mut self, tag: u8) -> Result<i64, HessianError> {
        let tagged = i64::from(tag);
        match tag {
            0xd8..=0xef => Ok(tagged - 0xe0),
            0xf0..=0xff => self.wide(tagged - 0xf8, 1),
            0x38..=0x3f => self.wide(tagged - 0x3c, 2),
            b'Y' => Ok(i64::from(i32::from_be_bytes(self.array()?))),
            _ => Ok(i64::from_be_bytes(self.array()?)),
        }
    }

    /// The next value, which has to be a number.
    fn next_int(&mut self) -> Result<i32, HessianError> {
        let tag = self.byte()?;
        self.int(tag)
    }

    /// The next value, which counts others: there are no more of them than bytes.
    fn count(&mut self) -> Result<usize, HessianError> {
        let count = usize::try_from(self.next_int()?).map_err(|_| HessianError::Kind)?;
        if count > self.rest.len() { Err(HessianError::Short) } else { Ok(count) }
    }

    fn two(&mut self) -> Result<usize, HessianError> {
        Ok(usize::from(u16::from_be_bytes(self.array()?)))
    }

    fn one_more(&mut self, high: u8) -> Result<usize, HessianError> {
        Ok((usize::from(high) << 8) | usize::from(self.byte()?))
    }

    /// A text in one or several pieces, whose lengths count Java's characters.
    fn text(&mut self, first: u8) -> Result<String, HessianError> {
        let (mut units, mut tag): (Vec<u16>, u8) = (Vec::new(), first);
        loop {
            let length = match tag {
                0x00..=0x1f => usize::from(tag),
                0x30..=0x33 => self.one_more(tag - 0x30)?,
                b'S' | b'R' => self.two()?,
                _ => return Err(HessianError::Kind),
            };
            for _ in 0..length {
                self.character(&mut units)?;
            }
            if tag != b'R' {
                return Ok(String::from_utf16_lossy(&units));
            }
            tag = self.byte()?;
        }
    }

    /// One of Java's characters; some writers take four bytes for what Java counts as one of two.
    fn character(&mut self, units: &mut Vec<u16>) -> Result<(), HessianError> {
        let first = self.byte()?;
        let (high, more) = match first {
            0x00..=0x7f => (first, 0),
            0xc0..=0xdf => (first & 0x1f, 1),
            0xe0..=0xef => (first & 0x0f, 2),
            0xf0..=0xf7 => (first & 0x07, 3),
            other => return Err(HessianError::Tag(other)),
        };
        let rest = self.bytes(more)?;
        let code = rest.iter().fold(u32::from(high), |sum, byte| (sum << 6) | u32::from(byte & 0x3f));
        match u16::try_from(code) {
            Ok(unit) => units.push(unit),
            Err(_) => {
                let plain = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
            }
        }
        Ok(())
    }

    fn next_text(&mut self) -> Result<String, HessianError> {
        let tag = self.byte()?;
        self.text(tag)
    }

    fn binary(&mut self, first: u8) -> Result<Value, HessianError> {
        let mut tag = first;
        loop {
            let length = match tag {
                0x20..=0x2f => usize::from(tag - 0x20),
                0x34..=0x37 => self.one_more(tag - 0x34)?,
                b'A' | b'B' => self.two()?,
                _ => return Err(HessianError::Kind),
            };
            self.bytes(length)?;
            if tag != b'A' {
                return Ok(Value::Skipped);
            }
            tag = self.byte()?;
        }
    }

    /// The name of a type: a text, or the number of one that was there already.
    fn type_name(&mut self) -> Result<(), HessianError> {
        let tag = self.byte()?;
        if matches!(tag, 0x00..=0x1f | 0x30..=0x33 | b'S' | b'R') {
            self.text(tag)?;
            self.types += 1;
            return Ok(());
        }
        let known = usize::try_from(self.int(tag)?).is_ok_and(|nth| nth < self.types);
        if known { Ok(()) } else { Err(HessianError::Reference) }
    }

    /// A place on the heap; what it holds may refer to it.
    fn place(&mut self, compound: Compound) -> usize {
        self.heap.add(compound)
    }

    fn set(&mut self, at: usize, compound: Compound) -> Value {
        self.heap.set(at, compound);
        Value::Compound(at)
    }

    /// A list; its elements are read and dropped, as nothing here is in one.
    fn list(&mut self, tag: u8) -> Result<Value, HessianError> {
        if matches!(tag, b'U' | b'V' | 0x70..=0x77) {
            self.type_name()?;
        }
        let length = match tag {
            b'V' | b'X' => Some(self.count()?),
            0x70..=0x7f => Some(usize::from(tag & 0x07)),
            _ => None,
        };
        let at = self.place(Compound::List);
        let mut read = 0;
        while length.is_none_or(|length| read < length) {
            let tag = self.byte()?;
            if length.is_none() && tag == b'Z' {
                break;
            }
            self.value_of(tag)?;
            read += 1;
        }
        Ok(Value::Compound(at))
    }

    fn map(&mut self, tag: u8) -> Result<Value, HessianError> {
        if tag == b'M' {
            self.type_name()?;
        }
        let at = self.place(Compound::List);
        let mut pairs = Vec::new();
        loop {
            match self.byte()? {
                b'Z' => return Ok(self.set(at, Compound::Map(pairs))),
                tag => pairs.push((self.value_of(tag)?, self.value()?)),
            }
        }
    }

    /// A class: its name, and those of its fields.
    fn class(&mut self) -> Result<(), HessianError> {
        self.next_text()?;
        let count = self.count()?;
        let fields = (0..count).map(|_| self.next_text()).collect::<Result<Vec<_>, _>>()?;
        self.values += count;
        self.heap.add_class(fields);
        Ok(())
    }

    fn object(&mut self, tag: u8) -> Result<Value, HessianError> {
        let class = if tag == b'O' {
            usize::try_from(self.next_int()?).map_err(|_| HessianError::Reference)?
        } else {
            usize::from(tag - 0x60)
        };
        let count = self.heap.fields_of(class).ok_or(HessianError::Reference)?;
        let at = self.place(Compound::List);
        let fields = (0..count).map(|_| self.value()).collect::<Result<Vec<_>, _>>()?;
        Ok(self.set(at, Compound::Object { class, fields }))
    }

    fn reference(&mut self) -> Result<Value, HessianError> {
        let at = usize::try_from(self.next_int()?).map_err(|_| HessianError::Reference)?;
        if at < self.heap.len() { Ok(Value::Compound(at)) } else { Err(HessianError::Reference) }
    }
}

#[cfg(test)]
mod tests;
