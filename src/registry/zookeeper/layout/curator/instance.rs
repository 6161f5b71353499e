//! One instance as Curator writes it. The payload may be anything: nothing of it is needed, and Spring's metadata is taken.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::endpoint::Address;
use crate::model::labels::Labels;
use crate::registry::zookeeper::tree::Node;

/// The class of Spring Cloud's payload.
const SPRING: &str = "org.springframework.cloud.zookeeper.";
/// The beginning of Dubbo's.
const DUBBO: &str = "org.apache.dubbo.";
/// What Dubbo 3's metadata never lacks one of, whatever the class.
const DUBBO_KEYS: [&str; 4] = [
    "dubbo.metadata.revision",
    "dubbo.metadata-service.url-params",
    "dubbo.metadata.storage-type",
    "dubbo.endpoints",
];
/// Spring's own word for how an instance is; no label.
const STATUS: &str = "instance_status";
/// ZooKeeper's own limit is 1 MiB; an instance has hundreds of bytes.
const MAX_DATA: usize = 256 * 1024;

/// What a node is.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    /// No instance: a folder, or empty.
    Nothing,
    /// An instance of Dubbo 3, which has a layout of its own.
    Foreign,
    /// An instance that is not to be called, and why.
    LeftOut(String),
    /// An instance.
    Instance(Box<Instance>),
}

/// An instance that may be called.
#[derive(Debug, PartialEq)]
pub(crate) struct Instance {
    /// Where it is.
    pub(crate) address: Address,
    /// Its plain port.
    pub(crate) port: Option<u16>,
    /// Its port with TLS; one of the two is there.
    pub(crate) secure_port: Option<u16>,
    /// Whether Spring Cloud wrote it.
    pub(crate) spring: bool,
    /// What its payload says about it.
    pub(crate) metadata: Labels,
}

impl Read {
    /// Reads a node.
    pub(crate) fn of(node: &Node) -> Self {
        let data = node.data.as_deref().unwrap_or_default();
        if data.len() > MAX_DATA {
            return Self::LeftOut("its data is larger than 256 KiB".into());
        }
        let text = std::str::from_utf8(data).unwrap_or("\u{fffd}").trim();
        // Curator leaves its own address in folders that it makes on the way.
        if text.is_empty() || !node.is_leaf() || text.parse::<IpAddr>().is_ok() {
            return Self::Nothing;
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Self::of_map(&map),
            _ => Self::LeftOut("its data is no JSON object".into()),
        }
    }

    fn of_map(map: &Map<String, Value>) -> Self {
        let payload = map.get("payload").and_then(Value::as_object);
        if is_dubbo(payload) {
            return Self::Foreign;
        }
        let metadata = payload.and_then(|p| p.get("metadata")).and_then(Value::as_object);
        if map.get("enabled") == Some(&Value::Bool(false)) {
            return Self::LeftOut("disabled".into());
        }
        if let Some(status) = metadata.and_then(|m| m.get(STATUS)).and_then(Value::as_str)
            && !status.eq_ignore_ascii_case("UP")
        {
            return Self::LeftOut(word(status));
        }
        match Self::address(map) {
            Ok((address, port, secure_port)) => Self::Instance(Box::new(Instance {
                address,
                port,
                secure_port,
                spring: class(payload).starts_with(SPRING),
                metadata: metadata.into_iter().flatten().filter_map(label).collect(),
            })),
            Err(reason) => Self::LeftOut(reason.into()),
        }
    }

    fn address(map: &Map<String, Value>) -> Result<(Address, Option<u16>, Option<u16>), &'static str> {
        let address =
            map.get("address").and_then(Value::as_str).filter(|a| !a.is_empty()).ok_or("no address")?;
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let address = Address::parse(bare).map_err(|_| "its address is neither an address nor a name")?;
        let (plain, secure) = (port(map.get("port"))?, port(map.get("sslPort"))?);
        if plain.is_none() && secure.is_none() {
            return Err("no port");
        }
        Ok((address, plain, secure))
    }
}

fn class(payload: Option<&Map<String, Value>>) -> &str {
    payload.and_then(|p| p.get("@class")).and_then(Value::as_str).unwrap_or_default()
}

/// Whether this payload is one of Dubbo 3's: by its class, or by metadata that has Dubbo's keys, whatever the class.
pub(crate) fn is_dubbo(payload: Option<&Map<String, Value>>) -> bool {
    let metadata = payload.and_then(|p| p.get("metadata")).and_then(Value::as_object);
    class(payload).starts_with(DUBBO)
        || metadata.is_some_and(|m| DUBBO_KEYS.iter().any(|key| m.contains_key(*key)))
}

/// `null` is none; some writers quote numbers.
fn port(value: Option<&Value>) -> Result<Option<u16>, &'static str> {
    let number = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    let port = number.and_then(|n| u16::try_from(n).ok()).filter(|p| *p != 0);
    port.map(Some).ok_or("its port is none (1 to 65535)")
}

/// A status as a reason: short, whatever was written.
fn word(status: &str) -> String {
    let clean: String =
        status.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(32).collect();
    if clean.is_empty() { "its status is not UP".into() } else { clean }
}

fn label((key, value): (&String, &Value)) -> Option<(Arc<str>, Arc<str>)> {
    let value = match value {
        Value::String(text) => text.as_str().into(),
        Value::Number(number) => number.to_string().into(),
        Value::Bool(bool) => bool.to_string().into(),
        _ => return None,
    };
    (key != STATUS).then(|| (key.as_str().into(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::zookeeper::tree::Tree;

    fn read(data: &[u8]) -> Read {
        let mut tree = Tree::default();
        tree.put_data("/x", data);
        Read::of(tree.get("/x").unwrap())
    }

    fn instance(json: &str) -> Instance {
        match read(json.as_bytes()) {
            Read::Instance(instance) => *instance,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn a_payload_may_be_anything() {
        for payload in [
            "null",
            "\"text\"",
            "7",
            "{\"@class\":\"com.example.Unknown\",\"x\":1}",
            "{\"metadata\":null}",
            "[]",
        ] {
            let read =
                instance(&format!(r#"{{"name":"a","address":"10.0.0.1","port":80,"payload":{payload}}}"#));
            assert_eq!((read.port, read.spring, read.metadata), (Some(80), false, Labels::EMPTY));
        }
    }

    #[test]
    fn spring_says_its_metadata_and_its_status() {
        let json = |status: &str| {
            format!(
                r#"{{"address":"h.example","port":80,"sslPort":443,"payload":{{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
                "metadata":{{"instance_status":"{status}","version":"v1","n":7,"list":[]}}}}}}"#
            )
        };
        let up = instance(&json("up"));
        assert!(up.spring);
        assert_eq!((up.port, up.secure_port), (Some(80), Some(443)));
        assert_eq!(up.metadata, [("n", "7"), ("version", "v1")].into_iter().collect());
        assert_eq!(read(json("OUT_OF_SERVICE").as_bytes()), Read::LeftOut("OUT_OF_SERVICE".into()));
        assert_eq!(read(json("; rm").as_bytes()), Read::LeftOut("rm".into()));
    }

    #[test]
    fn a_port_may_be_missing_but_not_both() {
        assert_eq!(instance(r#"{"address":"[::1]","port":null,"sslPort":"443"}"#).secure_port, Some(443));
        for (json, reason) in [
            (r#"{"address":"10.0.0.1","port":null,"sslPort":null}"#, "no port"),
            (r#"{"address":"10.0.0.1","port":0}"#, "its port is none (1 to 65535)"),
            (r#"{"address":"10.0.0.1","port":99999}"#, "its port is none (1 to 65535)"),
            (r#"{"address":"10.0.0.1","port":-1}"#, "its port is none (1 to 65535)"),
            (r#"{"address":"10.0.0.1","port":{}}"#, "its port is none (1 to 65535)"),
            (r#"{"address":"a b","port":1}"#, "its address is neither an address nor a name"),
            (r#"{"address":"","port":1}"#, "no address"),
            (r#"{"address":7,"port":1}"#, "no address"),
            (r#"{"address":"10.0.0.1","port":1,"enabled":false}"#, "disabled"),
            ("[1]", "its data is no JSON object"),
            ("{\"address\":", "its data is no JSON object"),
        ] {
            assert_eq!(read(json.as_bytes()), Read::LeftOut(reason.into()), "{json}");
        }
    }

    #[test]
    fn what_a_folder_holds_is_no_instance() {
        for data in ["", "  ", "127.0.0.1", "2001:db8::1"] {
            assert_eq!(read(data.as_bytes()), Read::Nothing, "{data}");
        }
        let mut tree = Tree::default();
        tree.put_data("/x", b"{\"address\":\"10.0.0.1\",\"port\":1}");
        tree.put("/x/y");
        assert_eq!(Read::of(tree.get("/x").unwrap()), Read::Nothing);
        assert!(matches!(read(&[0xff, 0xfe]), Read::LeftOut(_)));
    }

    #[test]
    fn a_megabyte_is_left_out_unread() {
        let json = format!(r#"{{"address":"10.0.0.1","port":1,"payload":"{}"}}"#, "x".repeat(1 << 20));
        assert_eq!(read(json.as_bytes()), Read::LeftOut("its data is larger than 256 KiB".into()));
    }

    #[test]
    fn an_instance_of_dubbo_is_told_by_its_class_or_its_metadata() {
        for payload in [
            r#"{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance"}"#,
            r#"{"metadata":{"dubbo.metadata-service.url-params":"{}"}}"#,
        ] {
            let json = format!(r#"{{"address":"10.0.0.1","port":1,"payload":{payload}}}"#);
            assert_eq!(read(json.as_bytes()), Read::Foreign);
        }
    }
}
