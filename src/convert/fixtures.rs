//! What the tests of the conversion start from.

use std::sync::Arc;

use crate::convert::mapping::Mapping;
use crate::convert::naming::Template;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::service::{ItemKind, Protocol, Scope, Service, ServiceKey, ServicePort};

/// A mapping that decides as the defaults do.
pub(crate) fn mapping() -> Mapping {
    let hosts = vec![Template::parse("{service}.test", &["service"]).unwrap()];
    Mapping::new(hosts, Template::parse("chandler", &[]).unwrap(), Protocol::Auto)
}

/// A service that says nothing but its name.
pub(crate) fn service(name: &str) -> Service {
    Service::new(ServiceKey { kind: ItemKind::Service, name: name.into(), scope: Scope::new("test") }, name)
}

/// An endpoint on one port.
pub(crate) fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint::at(Address::parse(address).unwrap(), EndpointPorts::One(port))
}

/// A port that declares a number and a protocol.
pub(crate) fn port(number: u16, protocol: Protocol) -> ServicePort {
    ServicePort { number, name: None, protocol: Some(protocol), target: None }
}

/// Ports by name, sorted.
pub(crate) fn named(ports: &[(&str, u16)]) -> EndpointPorts {
    let mut ports: Vec<(Arc<str>, u16)> = ports.iter().map(|(n, p)| ((*n).into(), *p)).collect();
    ports.sort();
    EndpointPorts::Named(ports.into())
}
