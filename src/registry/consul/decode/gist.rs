//! A list of services as a number: read once from front to end, and nothing of it is kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use xxhash_rust::xxh3::xxh3_128;

/// A whole list.
pub(super) struct Services(pub(super) u128);

/// The tags of one service; `null` is none.
struct Tags(u128);

/// A name.
struct Name(u128);

struct Sum;

impl<'de> Deserialize<'de> for Services {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Sum).map(Self)
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Sum).map(Self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Sum).map(Self)
    }
}

/// Sums, so that no order counts.
impl<'de> Visitor<'de> for Sum {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("services and their tags")
    }

    fn visit_str<E>(self, text: &str) -> Result<u128, E> {
        Ok(xxh3_128(text.as_bytes()))
    }

    fn visit_unit<E>(self) -> Result<u128, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tags: A) -> Result<u128, A::Error> {
        let mut sum = 0_u128;
        while let Some(Name(tag)) = tags.next_element()? {
            sum = sum.wrapping_add(tag);
        }
        Ok(sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut services: A) -> Result<u128, A::Error> {
        let mut sum = 0_u128;
        while let Some((Name(name), Tags(tags))) = services.next_entry()? {
            let both = [name.to_le_bytes(), tags.to_le_bytes()];
            sum = sum.wrapping_add(xxh3_128(both.as_flattened()));
        }
        Ok(sum)
    }
}
