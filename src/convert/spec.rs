//! The specs of Istio's objects: from what people write to canonical bytes, and back for showing them.
//!
//! Unknown fields and unknown names of enum values are errors, at the place where the deserializer is. Reading goes
//! through the descriptors (one code path for every kind) and then through the generated type, because the maps
//! of a dynamic message come in random order, and equal specs must be equal bytes.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::de::{DeserializeSeed, Deserializer, Error as _};
use serde_json::Value;

use crate::proto::DESCRIPTORS;
use crate::proto::networking::{ServiceEntry, WorkloadEntry};
use crate::resource::collection::Collection;

/// The kinds whose specs are understood here.
pub const SUPPORTED: [Collection; 2] = [Collection::ServiceEntry, Collection::WorkloadEntry];

/// Why a body or a spec cannot be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// A kind that is known to Istio, but not here.
    #[error("{} is not supported yet: objects may be {}", .0.kind(), SUPPORTED.map(Collection::kind).join(" or "))]
    Unsupported(Collection),
    /// Bytes that are not what their collection says.
    #[error("the body is no {}: {reason}", .collection.body_message())]
    Body {
        /// What it should be.
        collection: Collection,
        /// What the decoder says.
        reason: String,
    },
    /// The descriptors in this binary are broken; a test makes sure that they are not.
    #[error("the descriptors of this build are unusable: {0}")]
    Descriptors(String),
}

/// Reads the spec of an object of `collection`: the canonical encoding of its message. Field names may be written in
/// camelCase (as Istio shows them) or in `snake_case`.
///
/// # Errors
/// Unknown fields and values, wrong types, and kinds that are not [`SUPPORTED`].
pub fn encode_spec<'de, D: Deserializer<'de>>(
    collection: Collection,
    deserializer: D,
) -> Result<Bytes, D::Error> {
    let kind = descriptor(collection).map_err(D::Error::custom)?;
    let spec = DynamicMessage::deserialize(kind, deserializer)?;
    canonical(collection, &spec.encode_to_vec()).map_err(D::Error::custom)
}

/// [`encode_spec`] for a `spec` inside of a larger document.
#[derive(Debug, Clone, Copy)]
pub struct SpecSeed(pub Collection);

impl<'de> DeserializeSeed<'de> for SpecSeed {
    type Value = Bytes;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Bytes, D::Error> {
        encode_spec(self.0, deserializer)
    }
}

/// `body` as JSON in Istio's own form: camelCase, defaults left out, keys in alphabetical order.
///
/// # Errors
/// The body is not of its collection, or the kind is not [`SUPPORTED`].
pub fn to_json(collection: Collection, body: &Bytes) -> Result<Value, SpecError> {
    let wrong = |reason: String| SpecError::Body { collection, reason };
    let message =
        DynamicMessage::decode(descriptor(collection)?, body.clone()).map_err(|e| wrong(e.to_string()))?;
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    let json = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|e| wrong(e.to_string()))?;
    Ok(tidy(json))
}

/// The hosts in `body`; none for kinds without hosts and for what is no body.
#[must_use]
pub fn hosts_of(collection: Collection, body: &Bytes) -> Vec<String> {
    match collection {
        Collection::ServiceEntry => ServiceEntry::decode(&**body).map(|e| e.hosts).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// The same message in the one encoding that equal messages share.
fn canonical(collection: Collection, body: &[u8]) -> Result<Bytes, SpecError> {
    let wrong = |e: prost::DecodeError| SpecError::Body { collection, reason: e.to_string() };
    match collection {
        Collection::ServiceEntry => ServiceEntry::decode(body).map(|m| m.encode_to_vec()).map_err(wrong),
        Collection::WorkloadEntry => WorkloadEntry::decode(body).map(|m| m.encode_to_vec()).map_err(wrong),
        other => Err(SpecError::Unsupported(other)),
    }
    .map(Bytes::from)
}

fn descriptor(collection: Collection) -> Result<MessageDescriptor, SpecError> {
    static POOL: OnceLock<Result<DescriptorPool, String>> = OnceLock::new();
    if !SUPPORTED.contains(&collection) {
        return Err(SpecError::Unsupported(collection));
    }
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).map_err(|e| e.to_string()))
        .as_ref()
        .map_err(|e| SpecError::Descriptors(e.clone()))?
        .get_message_by_name(collection.body_message())
        .ok_or(SpecError::Unsupported(collection))
}

/// Sorts the keys, whatever map `serde_json` was built with, and makes whole floats integers, as people write them.
fn tidy(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(tidy).collect(),
        Value::Object(fields) => {
            let sorted: std::collections::BTreeMap<String, Value> =
                fields.into_iter().map(|(k, v)| (k, tidy(v))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Number(n) => Value::Number(n.as_f64().filter(|_| n.is_f64()).and_then(whole).unwrap_or(n)),
        other => other,
    }
}

fn whole(float: f64) -> Option<serde_json::Number> {
    /// Up to here every whole float is exactly one integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[allow(clippy::cast_possible_truncation)] // whole and within the exact range
    (float.fract() == 0.0 && float.abs() <= EXACT).then(|| (float as i64).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "hosts: [a.example]
ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
resolution: STATIC
location: MESH_INTERNAL
export_to: ['*']
subjectAltNames: [x]
endpoints:
- {address: 10.0.0.1, labels: {z: '1', a: '2', m: '3', version: 1.10}, ports: {http: 81, b: 1, c: 2}}
";

    fn yaml(collection: Collection, text: &str) -> Result<Bytes, serde_saphyr::Error> {
        serde_saphyr::with_deserializer_from_str(text, |d| encode_spec(collection, d))
    }

    /// A document with a spec in it, as the files registry reads them.
    struct Document(Bytes);

    impl<'de> serde::Deserialize<'de> for Document {
        fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
            struct Fields;
            impl<'de> serde::de::Visitor<'de> for Fields {
                type Value = Document;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a document")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                    map.next_key::<String>()?;
                    map.next_value_seed(SpecSeed(Collection::ServiceEntry)).map(Document)
                }
            }
            d.deserialize_map(Fields)
        }
    }

    #[test]
    fn equal_specs_are_equal_bytes() {
        let first = yaml(Collection::ServiceEntry, SPEC).unwrap();
        for _ in 0..20 {
            assert_eq!(yaml(Collection::ServiceEntry, SPEC).unwrap(), first);
        }
        let other = SPEC
            .replace("{z: '1', a: '2', m: '3', version: 1.10}", "{version: 1.10, m: '3', z: '1', a: '2'}");
        assert_ne!(other, SPEC);
        assert_eq!(yaml(Collection::ServiceEntry, &other).unwrap(), first);
    }

    #[test]
    fn fields_are_read_in_both_spellings() {
        let entry = ServiceEntry::decode(yaml(Collection::ServiceEntry, SPEC).unwrap()).unwrap();
        assert_eq!((entry.export_to[0].as_str(), entry.ports[0].target_port), ("*", 8080));
        assert_eq!(entry.endpoints[0].labels["version"], "1.10");
    }

    #[test]
    fn an_unknown_field_is_an_error_with_its_place() {
        let read = |text: &str| serde_saphyr::from_str::<Document>(text).map(|d| d.0);
        assert!(read("spec:\n  hosts: [a]\n").is_ok());
        let e = read("spec:\n  hots: [a]\n").unwrap_err().to_string();
        assert!(e.contains("unrecognized field name 'hots'") && e.contains("line 2 column 3"), "{e}");
        let e = read("spec:\n  endpoints:\n  - adress: a\n").unwrap_err().to_string();
        assert!(e.contains("unrecognized field name 'adress'") && e.contains("line 3 column 5"), "{e}");
    }

    #[test]
    fn an_unknown_value_is_an_error_with_its_place() {
        let e = yaml(Collection::ServiceEntry, "hosts: [a]\nresolution: STATTIC\n").unwrap_err().to_string();
        assert!(e.contains("unrecognized enum value 'STATTIC'") && e.contains("line 2"), "{e}");
    }

    #[test]
    fn a_wrong_type_is_an_error_with_its_place() {
        for text in [
            "hosts: a.example\n",
            "ports: [{number: eighty}]\n",
            "endpoints: [{ports: {a: -1}}]\n",
            "[]",
            "x",
        ] {
            let e = yaml(Collection::ServiceEntry, text).unwrap_err().to_string();
            assert!(e.contains("line 1"), "{text}: {e}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("{{hosts: {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(yaml(Collection::ServiceEntry, &text).is_err());
        let json = format!("{{\"hosts\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let mut d = serde_json::Deserializer::from_str(&json);
        assert!(encode_spec(Collection::ServiceEntry, &mut d).is_err());
    }

    #[test]
    fn a_kind_that_is_not_supported_is_named_with_those_that_are() {
        let e = yaml(Collection::VirtualService, "hosts: [a]\n").unwrap_err().to_string();
        assert!(
            e.contains("VirtualService is not supported yet: objects may be ServiceEntry or WorkloadEntry"),
            "{e}"
        );
    }

    #[test]
    fn json_shows_what_was_written() {
        let body = yaml(Collection::ServiceEntry, SPEC).unwrap();
        let json = to_json(Collection::ServiceEntry, &body).unwrap();
        assert_eq!(
            json.to_string(),
            "{\"endpoints\":[{\"address\":\"10.0.0.1\",\"labels\":{\"a\":\"2\",\"m\":\"3\",\"version\":\"1.10\",\"z\":\"1\"},\
             \"ports\":{\"b\":1,\"c\":2,\"http\":81}}],\"exportTo\":[\"*\"],\"hosts\":[\"a.example\"],\
             \"location\":\"MESH_INTERNAL\",\"ports\":[{\"name\":\"http\",\"number\":80,\"protocol\":\"HTTP\",\"targetPort\":8080}],\
             \"resolution\":\"STATIC\",\"subjectAltNames\":[\"x\"]}"
        );
        let again = encode_spec(Collection::ServiceEntry, json).unwrap();
        assert_eq!(again, body);
        assert!(to_json(Collection::ServiceEntry, &Bytes::from_static(b"\xff\xff")).is_err());
    }

    #[test]
    fn whole_floats_are_shown_as_integers() {
        assert_eq!(
            tidy(serde_json::json!({"b": [1.0, 0.5], "a": -2.0})).to_string(),
            "{\"a\":-2,\"b\":[1,0.5]}"
        );
    }

    #[test]
    fn hosts_are_read_off_the_body() {
        let body = yaml(Collection::ServiceEntry, SPEC).unwrap();
        assert_eq!(hosts_of(Collection::ServiceEntry, &body), ["a.example"]);
        assert!(hosts_of(Collection::WorkloadEntry, &body).is_empty());
    }
}
