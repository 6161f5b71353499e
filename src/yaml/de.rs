//! `&Node` as a `serde::Deserializer`: for what has its schema elsewhere, such as Istio's specs.
//!
//! Asked for text it gives what is written (`1.10` stays); asked for anything, what YAML 1.2 makes of it.
//! An error gets the position of the innermost value that it went through.

use std::cell::Cell;
use std::fmt::Display;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{Entry, Fault, Node, Position, Scalar, Value};

impl de::Error for Fault {
    /// Nowhere yet: whoever it passes first knows where.
    fn custom<T: Display>(msg: T) -> Self {
        Self::new(Position::NOWHERE, msg.to_string())
    }
}

/// Gives `e` a place, if it has none.
fn located(mut e: Fault, at: Position) -> Fault {
    if e.at == Position::NOWHERE {
        e.at = at;
    }
    e
}

/// Numbers that fit are numbers, booleans are booleans, the rest is text.
fn visit_scalar<'de, V: Visitor<'de>>(s: &'de Scalar, visitor: V) -> Result<V::Value, Fault> {
    if s.is_null() {
        return visitor.visit_unit();
    }
    if let Some(b) = s.boolean() {
        return visitor.visit_bool(b);
    }
    if let Some(i) = s.integer() {
        if let Ok(u) = u64::try_from(i) {
            return visitor.visit_u64(u);
        }
        if let Ok(i) = i64::try_from(i) {
            return visitor.visit_i64(i);
        }
    }
    match s.float() {
        Some(f) => visitor.visit_f64(f),
        None => visitor.visit_borrowed_str(s.as_str()),
    }
}

impl<'de> Node {
    fn visit<V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Scalar(s) => visit_scalar(s, visitor),
            Value::List(list) => visitor.visit_seq(Elements { rest: list.iter() }),
            Value::Map(map) => {
                // What the visitor itself objects to concerns the key that it has just read.
                let last = Cell::new(self.at);
                let pairs = Pairs { rest: map.entries().iter(), value: None, map: self.at, last: &last };
                visitor.visit_map(pairs).map_err(|e| located(e, last.get()))
            }
        }
    }

    fn visit_text<V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Scalar(s) if !s.is_null() => visitor.visit_borrowed_str(s.as_str()),
            _ => self.visit(visitor),
        }
    }

    fn visit_variant<V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Scalar(s) if !s.is_null() => visitor.visit_enum(s.as_str().into_deserializer()),
            Value::Map(m) if m.entries().len() == 1 => {
                let last = Cell::new(self.at);
                let pairs = Pairs { rest: m.entries().iter(), value: None, map: self.at, last: &last };
                visitor.visit_enum(de::value::MapAccessDeserializer::new(pairs))
            }
            _ => Err(self.expected("a name, or a map of one key")),
        }
    }
}

impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit(visitor).map_err(|e| located(e, self.at))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.visit_text(visitor).map_err(|e| located(e, self.at))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let got = if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) };
        got.map_err(|e| located(e, self.at))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self).map_err(|e| located(e, self.at))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_variant(visitor).map_err(|e| located(e, self.at))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Elements<'de> {
    rest: std::slice::Iter<'de, Node>,
}

impl<'de> de::SeqAccess<'de> for Elements<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        self.rest.next().map(|node| seed.deserialize(node)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Pairs<'de, 'c> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Node>,
    map: Position,
    last: &'c Cell<Position>,
}

impl<'de> de::MapAccess<'de> for Pairs<'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.rest.next() else {
            self.last.set(self.map);
            return Ok(None);
        };
        self.last.set(entry.at);
        self.value = Some(&entry.value);
        let key: BorrowedStrDeserializer<'de, Fault> = BorrowedStrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|e| located(e, entry.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.value.take() {
            Some(node) => seed.deserialize(node),
            None => Err(Fault::new(self.map, "a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}
