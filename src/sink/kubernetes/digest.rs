//! A hash of JSON that is taken while it is read: nothing of it is kept. The order of keys counts for nothing, because an
//! API server shows them in an order of its own.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The field by which an entry selects its endpoints.
const SELECTOR: &str = "workloadSelector";

/// A hash of a spec, independent of the order of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Digest(u128);

impl Digest {
    /// Of `json`.
    ///
    /// # Errors
    /// It is no JSON.
    pub(super) fn of(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<Spec>(json).map(|spec| spec.digest)
    }
}

/// What there is to know of a spec that somebody shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spec {
    /// Of all of it.
    pub(super) digest: Digest,
    /// Whether it selects its endpoints.
    pub(super) selecting: bool,
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Read { hash, marked } = Read::deserialize(d)?;
        Ok(Self { digest: Digest(hash), selecting: marked })
    }
}

/// A value that was read.
#[derive(Clone, Copy)]
struct Read {
    hash: u128,
    /// It is the name of the selector, or a map with such a key.
    marked: bool,
}

impl Read {
    fn of(kind: Kind, bytes: &[u8]) -> Self {
        Self { hash: xxh3_128_with_seed(bytes, kind as u64), marked: false }
    }
}

/// What tells a text from a number that is written alike.
#[derive(Clone, Copy)]
enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Map,
    Pair,
}

/// One after the other.
fn chain(kind: Kind, first: u128, second: u128) -> u128 {
    let mut bytes = [0; 32];
    let (a, b) = bytes.split_at_mut(16);
    a.copy_from_slice(&first.to_le_bytes());
    b.copy_from_slice(&second.to_le_bytes());
    xxh3_128_with_seed(&bytes, kind as u64)
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

impl Reader {
    fn number<E>(number: &Number) -> Result<Read, E> {
        Ok(Read::of(Kind::Number, number.to_string().as_bytes()))
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Read, E> {
        Ok(Read::of(Kind::Null, b""))
    }

    fn visit_bool<E>(self, b: bool) -> Result<Read, E> {
        Ok(Read::of(Kind::Bool, &[u8::from(b)]))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Read, E> {
        Self::number(&n.into())
    }

    fn visit_i64<E>(self, n: i64) -> Result<Read, E> {
        Self::number(&n.into())
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Read, E> {
        Self::number(&Number::from_f64(n).ok_or_else(|| E::custom("no number of JSON's"))?)
    }

    fn visit_str<E>(self, text: &str) -> Result<Read, E> {
        Ok(Read { marked: text == SELECTOR, ..Read::of(Kind::Text, text.as_bytes()) })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Read, A::Error> {
        let mut read = Read::of(Kind::List, b"");
        while let Some(item) = list.next_element::<Read>()? {
            read.hash = chain(Kind::List, read.hash, item.hash);
        }
        Ok(read)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let mut read = Read::of(Kind::Map, b"");
        while let Some((key, value)) = map.next_entry::<Read, Read>()? {
            // A sum: the same in any order.
            read.hash = read.hash.wrapping_add(chain(Kind::Pair, key.hash, value.hash));
            read.marked |= key.marked;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Digest {
        Digest::of(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_digest_does_not_depend_on_the_order_of_keys() {
        let a = of(r#"{"a": 1, "b": [{"c": "x", "d": true}]}"#);
        assert_eq!(a, of(r#"{ "b" : [{"d":true,"c":"\u0078"}], "a":1 }"#));
    }

    #[test]
    fn whatever_else_differs_is_another_digest() {
        let all = [
            "null",
            "true",
            "false",
            "1",
            "\"1\"",
            "-1",
            "1.5",
            "\"\"",
            "[]",
            "{}",
            "[[]]",
            "[{}]",
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[1,[2]]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"b":1}"#,
            r#"{"1":"a"}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":[{"b":1}]}"#,
            "[null]",
        ];
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(of(a), of(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn only_a_field_of_the_spec_itself_selects() {
        let selects = |json: &str| serde_json::from_str::<Spec>(json).unwrap().selecting;
        assert!(selects(r#"{"hosts":[],"workloadSelector":{"labels":{}}}"#));
        assert!(!selects(
            r#"{"endpoints":[{"labels":{"workloadSelector":"x"}}],"hosts":["workloadSelector"]}"#
        ));
    }
}
