//! One instance of an application as Dubbo 3 registers it: Curator's JSON with Dubbo's metadata inside.
//!
//! What it provides does not stand there, only where it is, over which protocols, and the revision of what it provides.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::metadata::Offered;
use super::provider::{Provider, address, port_name};
use super::url::Fault;
use crate::model::endpoint::Address;
use crate::model::labels::Labels;
use crate::registry::zookeeper::layout::curator::is_dubbo;
use crate::registry::zookeeper::layout::question::{Manner, Target};

/// ZooKeeper's own limit is 1 MiB; an instance has hundreds of bytes.
const MAX_DATA: usize = 256 * 1024;
/// The protocol of an instance that names none, as old versions write it.
const USUAL_PROTOCOL: &str = "dubbo";
/// The revision of one that provides nothing (yet).
const NO_REVISION: &str = "0";
/// The version of the service for metadata where it names none.
const SERVICE_VERSION: &str = "1.0.0";
/// Beginnings of keys that are Dubbo's own: no labels.
const OWN: [&str; 3] = ["dubbo.", "meta-v", "timestamp"];
/// What an owner writes to give an instance a tag; no part of Dubbo's own bookkeeping.
const TAG: &str = "dubbo.tag";

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Read {
    /// Nothing of Dubbo's.
    Foreign,
    /// An instance that is not to be called, or may be one, and why.
    LeftOut(Fault),
    /// An instance.
    Instance(Box<Instance>),
}

/// An instance that may be called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    /// Where it is.
    pub(crate) address: Address,
    /// Protocols with their ports, in order; never empty, no port is 0.
    pub(crate) endpoints: Vec<(Arc<str>, u16)>,
    /// Of what it provides; absent: 2.7 says none.
    pub(crate) revision: Option<Arc<str>>,
    /// Who tells what it provides; absent: nobody does.
    pub(crate) target: Option<Target>,
    /// What its owner says of it.
    pub(crate) params: Labels,
    /// What of it makes no sense and was dropped.
    pub(crate) odd: Option<Fault>,
}

impl Read {
    /// Reads the data of a node.
    pub(crate) fn of(data: &[u8]) -> Self {
        if data.len() > MAX_DATA {
            return Self::LeftOut("its data is larger than 256 KiB");
        }
        let map = match serde_json::from_slice(data) {
            Ok(Value::Object(map)) => map,
            Ok(_) | Err(_) => return Self::LeftOut("its data is no JSON object"),
        };
        let payload = map.get("payload").and_then(Value::as_object);
        if !is_dubbo(payload) {
            return Self::Foreign;
        }
        let empty = Map::new();
        let metadata = payload.and_then(|p| p.get("metadata")).and_then(Value::as_object);
        match Instance::of(&map, metadata.unwrap_or(&empty)) {
            Ok(instance) => Self::Instance(Box::new(instance)),
            Err(fault) => Self::LeftOut(fault),
        }
    }
}

impl Instance {
    fn of(map: &Map<String, Value>, metadata: &Map<String, Value>) -> Result<Self, Fault> {
        if map.get("enabled") == Some(&Value::Bool(false)) {
            return Err("disabled");
        }
        let says = |key: &str| metadata.get(key).and_then(Value::as_str).filter(|v| !v.is_empty());
        let revision = says("dubbo.metadata.revision");
        if revision == Some(NO_REVISION) {
            return Err("its revision is 0: it provides nothing");
        }
        let address = address(map.get("address").and_then(Value::as_str).unwrap_or_default())?;
        let (endpoints, odd) = endpoints(says("dubbo.endpoints"), map.get("port"))?;
        let own = |key: &str| key != TAG && OWN.iter().any(|own| key.starts_with(own));
        let params = metadata.iter().filter(|(key, _)| !own(key));
        let remote = says("dubbo.metadata.storage-type") == Some("remote");
        let service = says("dubbo.metadata-service.url-params").filter(|_| !remote);
        Ok(Self {
            target: service.and_then(|text| target(text, &address)),
            revision: revision.map(Arc::from),
            params: params.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))).collect(),
            address,
            endpoints,
            odd,
        })
    }

    /// The port at which `offered` is served; `None`: none that it says.
    fn port_of(&self, offered: &Offered) -> Option<u16> {
        let ports = || self.endpoints.iter().filter(|(p, _)| *p == offered.protocol).map(|(_, port)| *port);
        ports().find(|port| Some(*port) == offered.port).or_else(|| ports().next()).or(offered.port)
    }

    /// As a provider of `offered`, with what people are shown of it.
    pub(crate) fn provide(&self, application: &Arc<str>, offered: &Offered) -> Option<(Arc<str>, Provider)> {
        let port = self.port_of(offered)?;
        let tls = offered.params.get("ssl-enabled");
        // What a service says of itself goes over what its instance says.
        let params = if self.params.is_empty() {
            offered.params.clone()
        } else {
            self.params.as_slice().iter().chain(offered.params.as_slice()).cloned().collect()
        };
        let provider = Provider {
            port_name: port_name(&offered.protocol, tls).into(),
            interface: Arc::clone(&offered.interface),
            group: offered.group.clone(),
            version: offered.version.clone(),
            params,
            ..self.bare(application, &offered.protocol, port)
        };
        Some((self.shown(&offered.protocol, port, &offered.interface), provider))
    }

    /// As providers of `interface` in no group and no version: all that a mapping tells.
    pub(crate) fn mapped(&self, application: &Arc<str>, interface: &Arc<str>) -> Vec<(Arc<str>, Provider)> {
        let one = |(protocol, port): &(Arc<str>, u16)| {
            let bare = self.bare(application, protocol, *port);
            let provider = Provider { interface: Arc::clone(interface), ..bare };
            (self.shown(protocol, *port, interface), provider)
        };
        self.endpoints.iter().map(one).collect()
    }

    /// As it is while nobody knows what it provides.
    pub(crate) fn bares(&self, application: &Arc<str>) -> impl Iterator<Item = (Arc<str>, Provider)> {
        let one = |(protocol, port): &(Arc<str>, u16)| {
            (self.shown(protocol, *port, ""), self.bare(application, protocol, *port))
        };
        self.endpoints.iter().map(one)
    }

    fn bare(&self, application: &Arc<str>, protocol: &str, port: u16) -> Provider {
        Provider {
            port_name: port_name(protocol, None).into(),
            address: self.address.clone(),
            port,
            interface: "".into(),
            group: None,
            version: None,
            application: Some(Arc::clone(application)),
            params: self.params.clone(),
        }
    }

    /// As a URL of the interface level is shown.
    fn shown(&self, protocol: &str, port: u16, interface: &str) -> Arc<str> {
        match &self.address {
            Address::Ip(ip) if ip.is_ipv6() => format!("{protocol}://[{ip}]:{port}/{interface}").into(),
            other => format!("{protocol}://{other}:{port}/{interface}").into(),
        }
    }
}

fn port(value: Option<&Value>) -> Option<u16> {
    let number = match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.and_then(|n| u16::try_from(n).ok()).filter(|p| *p != 0)
}

/// Protocols with their ports, and what was dropped of them.
type Endpoints = (Vec<(Arc<str>, u16)>, Option<Fault>);

fn endpoints(written: Option<&str>, own: Option<&Value>) -> Result<Endpoints, Fault> {
    let Some(written) = written else {
        // A single protocol is not always listed.
        let port = port(own).ok_or("no port that is one (1 to 65535)")?;
        return Ok((vec![(USUAL_PROTOCOL.into(), port)], None));
    };
    let list: Vec<Value> =
        serde_json::from_str(written).map_err(|_| "its dubbo.endpoints are no list in JSON")?;
    let one = |e: &Value| -> Option<(Arc<str>, u16)> {
        let protocol = e.get("protocol").and_then(Value::as_str).unwrap_or(USUAL_PROTOCOL);
        let legal = !protocol.is_empty() && protocol.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        legal.then_some((protocol.to_ascii_lowercase().into(), port(e.get("port"))?))
    };
    let mut good: Vec<(Arc<str>, u16)> = list.iter().filter_map(one).collect();
    let odd = (good.len() < list.len()).then_some("one of its ports is none (1 to 65535)");
    good.sort();
    good.dedup();
    if good.is_empty() { Err("no port that is one (1 to 65535)") } else { Ok((good, odd)) }
}

/// Who tells what is provided: the parameters stand there plainly, or (2.7) for each protocol.
fn target(text: &str, address: &Address) -> Option<Target> {
    let Ok(Value::Object(map)) = serde_json::from_str(text) else { return None };
    let nested = map.iter().find_map(|(protocol, inner)| Some((protocol.as_str(), inner.as_object()?)));
    let (protocol, params) = nested
        .unwrap_or_else(|| (map.get("protocol").and_then(Value::as_str).unwrap_or(USUAL_PROTOCOL), &map));
    let version = params.get("version").and_then(Value::as_str).unwrap_or(SERVICE_VERSION);
    let manner = match protocol {
        "tri" if version.starts_with("2.") => Manner::Grpc,
        "tri" => Manner::Triple,
        "dubbo" => Manner::Dubbo,
        _ => return None,
    };
    Some(Target {
        address: address.clone(),
        port: port(params.get("port"))?,
        manner,
        version: version.into(),
    })
}

#[cfg(test)]
mod tests;
