//! `MetadataInfo` in each of the forms in which providers tell it. Pure.

use std::collections::BTreeMap;

use super::hessian::{Heap, Reader, Value};
use crate::registry::zookeeper::layout::dubbo::metadata::{Draft, Metadata};

/// The request of `MetadataServiceV2`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RevisionRequest {
    /// Which revision.
    #[prost(string, tag = "1")]
    pub(super) revision: String,
}

/// The answer of `MetadataServiceV2`; what is not needed is left out.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MetadataInfo {
    /// By Dubbo's key of each service.
    #[prost(btree_map = "string, message", tag = "3")]
    pub(super) services: BTreeMap<String, ServiceInfo>,
}

/// One service in it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ServiceInfo {
    /// The interface.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Empty: none.
    #[prost(string, tag = "2")]
    pub(super) group: String,
    /// Empty: none.
    #[prost(string, tag = "3")]
    pub(super) version: String,
    /// The protocol.
    #[prost(string, tag = "4")]
    pub(super) protocol: String,
    /// Its port.
    #[prost(int32, tag = "5")]
    pub(super) port: i32,
    /// What is said of it.
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) params: BTreeMap<String, String>,
}

/// A call with arguments in another serialization, over Triple.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WrappedRequest {
    /// Which serialization.
    #[prost(string, tag = "1")]
    pub(super) serialization: String,
    /// The arguments in it.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) arguments: Vec<Vec<u8>>,
    /// Their types.
    #[prost(string, repeated, tag = "3")]
    pub(super) types: Vec<String>,
}

/// Its answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WrappedResponse {
    /// Which serialization.
    #[prost(string, tag = "1")]
    pub(super) serialization: String,
    /// The answer in it.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) data: Vec<u8>,
}

impl MetadataInfo {
    /// What it says.
    pub(super) fn into_metadata(self) -> Metadata {
        Metadata::from_drafts(self.services.into_values().map(|service| Draft {
            name: service.name,
            group: service.group,
            version: service.version,
            protocol: service.protocol,
            port: service.port.into(),
            params: service.params,
        }))
    }
}

/// What the next value of `reader` says.
pub(super) fn from_hessian(reader: &mut Reader<'_>) -> Result<Metadata, String> {
    let value = reader.value().map_err(|e| format!("its answer is no hessian2: {e}"))?;
    let heap = &reader.heap;
    if value == Value::Null {
        return Err("it does not know the revision".into());
    }
    let services = heap.get(&value, "services").ok_or("its answer is no MetadataInfo")?;
    Ok(Metadata::from_drafts(heap.entries(services).iter().map(|(_, service)| draft(heap, service))))
}

fn draft(heap: &Heap, service: &Value) -> Draft {
    let text = |key: &str| heap.get(service, key).and_then(Value::text).unwrap_or_default().to_owned();
    let params = heap.get(service, "params").map(|p| heap.entries(p)).unwrap_or_default();
    let pair = |(key, value): &(Value, Value)| Some((key.text()?.to_owned(), value.text()?.to_owned()));
    Draft {
        name: text("name"),
        group: text("group"),
        version: text("version"),
        protocol: text("protocol"),
        port: heap.get(service, "port").and_then(Value::number).unwrap_or_default(),
        params: params.iter().filter_map(pair).collect(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn what_dubbo_3_2_answered_over_triple_is_read() {
        let wrapped = WrappedResponse::decode(&include_bytes!("golden/triple-3.2.18.bin")[..]).unwrap();
        assert_eq!(wrapped.serialization, "hessian4");
        let metadata = from_hessian(&mut Reader::new(&wrapped.data)).unwrap();
        let found = metadata.of("greet.GreetService").iter();
        let words = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or("-").to_owned();
        let found: Vec<String> = found
            .map(|o| format!("{} {} {}:{}", words(&o.group), words(&o.version), o.protocol, o.port.unwrap()))
            .collect();
        assert_eq!(
            found,
            ["- - dubbo:42720", "- - tri:42721", "gray 1.0.0 dubbo:42720", "gray 1.0.0 tri:42721"]
        );
    }

    #[test]
    fn what_dubbo_3_3_answers_over_triple_is_read() {
        // Field by field as MetadataServiceV2 sent it, with application and revision, which are not needed.
        let mut bytes = b"\x0a\x09greet-app\x12\x02r1".to_vec();
        let service = b"\x0a\x11demo.GreetService\x12\x04gray\x1a\x051.0.0\x22\x03tri\x28\xbd\xff\x01\x32\x11demo.GreetService\x3a\x0c\x0a\x06weight\x12\x0250";
        let key = b"\x0a\x20gray/demo.GreetService:1.0.0:tri\x12";
        bytes.extend([0x1a, u8::try_from(key.len() + 1 + service.len()).unwrap()]);
        bytes.extend(key);
        bytes.push(u8::try_from(service.len()).unwrap());
        bytes.extend(service);
        let metadata = MetadataInfo::decode(&*bytes).unwrap().into_metadata();
        let [offered] = metadata.of("demo.GreetService") else { panic!("{metadata:?}") };
        assert_eq!((offered.group.as_deref(), offered.version.as_deref()), (Some("gray"), Some("1.0.0")));
        assert_eq!(
            (&*offered.protocol, offered.port, offered.params.get("weight")),
            ("tri", Some(32701), Some("50"))
        );
    }
}
