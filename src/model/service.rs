//! A service as its registry knows it.

use std::fmt;
use std::sync::Arc;

use crate::model::endpoint::{Endpoint, TlsMode};
use crate::model::host::Host;
use crate::model::labels::{Labels, Tags};

/// The name of a registry entry in the configuration: unique, appears in metrics, logs and annotations.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryName(Arc<str>);

impl RegistryName {
    /// The name as the configuration has it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A part of a registry that is read completely or not at all: a datacenter, a namespace, a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Arc<str>);

impl Scope {
    /// A scope under its registry's own name for it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The registry's own name for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a [`ServiceKey`]'s item is; the first sorts first and owns a contested host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ItemKind {
    /// A whole object that a user wrote.
    Object,
    /// A service to be converted.
    Service,
}

/// Which item of a registry: unique within the registry, ordered as collisions are decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// What it is.
    pub kind: ItemKind,
    /// The registry's own, unique name for it. For files: `file#name`.
    pub name: Arc<str>,
    /// The scope that it was read with.
    pub scope: Scope,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// An application protocol as Istio names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Protocol {
    /// Unset in Istio: the proxy looks at the first bytes.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http,
    /// A forward HTTP proxy.
    HttpProxy,
    /// HTTP/2.
    Http2,
    /// TLS with HTTP inside.
    Https,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// Opaque bytes.
    Tcp,
    /// TLS that is passed through by its server name.
    Tls,
    /// Datagrams; Istio does not route them.
    Udp,
    /// `MongoDB`'s.
    Mongo,
    /// Redis'.
    Redis,
    /// `MySQL`'s.
    Mysql,
}

impl Protocol {
    /// Every protocol with Istio's name for it, and the word that begins its ports' names.
    const TABLE: [(Self, &'static str, &'static str); 13] = [
        (Self::Auto, "", "auto"),
        (Self::Http, "HTTP", "http"),
        (Self::HttpProxy, "HTTP_PROXY", "http-proxy"),
        (Self::Http2, "HTTP2", "http2"),
        (Self::Https, "HTTPS", "https"),
        (Self::Grpc, "GRPC", "grpc"),
        (Self::GrpcWeb, "GRPC-WEB", "grpc-web"),
        (Self::Tcp, "TCP", "tcp"),
        (Self::Tls, "TLS", "tls"),
        (Self::Udp, "UDP", "udp"),
        (Self::Mongo, "MONGO", "mongo"),
        (Self::Redis, "REDIS", "redis"),
        (Self::Mysql, "MYSQL", "mysql"),
    ];

    /// Reads a protocol in any case; `auto` and nothing are [`Protocol::Auto`]. `None`: Istio knows no such protocol.
    #[must_use]
    pub fn parse(s: &str) -> Option<Self> {
        if s.eq_ignore_ascii_case("auto") {
            return Some(Self::Auto);
        }
        Self::TABLE.iter().find(|(_, n, _)| n.eq_ignore_ascii_case(s)).map(|(p, _, _)| *p)
    }

    /// The value of a port's `protocol` in Istio; empty for [`Protocol::Auto`].
    #[must_use]
    pub fn istio_name(self) -> &'static str {
        Self::TABLE.iter().find(|(p, _, _)| *p == self).map_or("", |(_, n, _)| n)
    }

    /// What the names of its ports begin with.
    #[must_use]
    pub fn port_prefix(self) -> &'static str {
        Self::TABLE.iter().find(|(p, _, _)| *p == self).map_or("auto", |(_, _, w)| w)
    }

    /// Whether Istio routes it by host (Istio's `IsHTTP`).
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::HttpProxy | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether Istio routes it by server name.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Https)
    }
}

/// A port that the service itself declares (as opposed to what its instances listen on).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// The number on which the mesh calls the service; never 0.
    pub number: u16,
    /// Absent: made of the protocol and the number.
    pub name: Option<Arc<str>>,
    /// Absent: the mapping's.
    pub protocol: Option<Protocol>,
    /// Where instances listen that do not say otherwise; absent: on `number`.
    pub target: Option<u16>,
}

/// Inside or outside of the mesh, in Istio's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Location {
    /// Internal once any endpoint is mesh-capable, until the service goes; else external.
    #[default]
    Auto,
    /// Automatic mutual TLS towards endpoints that say they can.
    MeshInternal,
    /// Plain, whatever the endpoints say.
    MeshExternal,
}

/// What stands in a ServiceEntry's `addresses`, that is, what a sidecar listens on for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Addresses {
    /// A stable address of our own range (absent where that is empty, for wildcards too).
    #[default]
    Virtual,
    /// The instances' own, for clients that choose an instance by themselves.
    Endpoints,
    /// None: by host only.
    None,
}

/// What a service says about its own appearance in the mesh; every absent value is the mapping's to decide.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Says {
    /// The namespace of its resource.
    pub namespace: Option<Arc<str>>,
    /// The protocol of its ports that declare none.
    pub protocol: Option<Protocol>,
    /// Who may see it; empty within `Some` means the mesh's default.
    pub export_to: Option<Vec<Arc<str>>>,
    /// Inside or outside of the mesh.
    pub location: Option<Location>,
    /// What a sidecar listens on.
    pub addresses: Option<Addresses>,
    /// The mode of endpoints that say nothing themselves.
    pub tls_mode: Option<TlsMode>,
    /// The numbers on which the mesh calls it, where it declares no ports; sorted, never empty within `Some`.
    pub service_ports: Option<Arc<[u16]>>,
    /// Names that a server's certificate may carry.
    pub subject_alt_names: Vec<Arc<str>>,
}

/// Instances that a registry knows and that are not among the endpoints, by the reason: for people, and bounded, so that
/// a registry full of dead instances costs nothing. Sorted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeftOut(Vec<LeftOutFor>);

/// What was left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOutFor {
    /// The registry's own word (`critical`, `DOWN`), or what is wrong (`no port`).
    pub reason: Arc<str>,
    /// How many instances.
    pub count: usize,
    /// The first of their ids.
    pub first: Vec<Arc<str>>,
}

impl LeftOut {
    /// Ids that are named for each reason.
    pub const NAMED: usize = 10;
    /// Reasons that are told apart.
    const REASONS: usize = 16;
    /// The reason of those that are one too many.
    const OTHER: &'static str = "other reasons";

    /// Leaves `id` out because of `reason`. The order of the calls does not show, but for which reasons are `other`.
    pub fn add(&mut self, reason: &str, id: impl Into<Arc<str>>) {
        let at = match self.0.binary_search_by(|r| (*r.reason).cmp(reason)) {
            Ok(at) => at,
            Err(_) if self.0.len() >= Self::REASONS && reason != Self::OTHER => {
                return self.add(Self::OTHER, id);
            }
            Err(at) => {
                self.0.insert(at, LeftOutFor { reason: reason.into(), count: 0, first: Vec::new() });
                at
            }
        };
        if let Some(found) = self.0.get_mut(at) {
            let id = id.into();
            found.count += 1;
            let place = found.first.partition_point(|other| *other < id);
            if place < Self::NAMED {
                found.first.insert(place, id);
                found.first.truncate(Self::NAMED);
            }
        }
    }

    /// What [`LeftOut::by_reason`] gave, read back: put in order and bounded again, whoever wrote it down.
    #[must_use]
    pub fn read_back(reasons: impl IntoIterator<Item = LeftOutFor>) -> Self {
        let mut reasons: Vec<LeftOutFor> = reasons.into_iter().take(Self::REASONS + 1).collect();
        reasons.sort_by(|a, b| a.reason.cmp(&b.reason));
        reasons.dedup_by(|a, b| a.reason == b.reason);
        for found in &mut reasons {
            found.first.sort();
            found.first.truncate(Self::NAMED);
            found.count = found.count.max(found.first.len());
        }
        Self(reasons)
    }

    /// Everything that was left out, by reason.
    #[must_use]
    pub fn by_reason(&self) -> &[LeftOutFor] {
        &self.0
    }

    /// How many instances that is.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|r| r.count).sum()
    }
}

/// A service and all its endpoints, as one registry knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Which item of its registry.
    pub key: ServiceKey,
    /// The registry's own name of the service: `{service}` in templates and the annotation `chandler/service`.
    pub name: Arc<str>,
    /// Hosts that the registry itself gives it; empty: the mapping's templates name it.
    pub hosts: Vec<Host>,
    /// What else templates may name: `{datacenter}`, `{domain}`, `{group}` …
    pub variables: Labels,
    /// Ports that it declares; empty: they follow from the endpoints.
    pub ports: Vec<ServicePort>,
    /// Who serves it; may be empty.
    pub endpoints: Vec<Endpoint>,
    /// Instances that the registry knows and that serve nothing now.
    pub left_out: LeftOut,
    /// Labels of the service itself, which are its metadata: as the registry has them (made legal by the conversion).
    pub labels: Labels,
    /// Tags of the service itself, where the registry has such beside metadata.
    pub tags: Tags,
    /// Annotations that the mapping must not lose.
    pub annotations: Labels,
    /// What it says of its own appearance.
    pub says: Says,
}

impl Service {
    /// A service that says nothing but its name.
    #[must_use]
    pub fn new(key: ServiceKey, name: impl Into<Arc<str>>) -> Self {
        Self {
            key,
            name: name.into(),
            hosts: Vec::new(),
            variables: Labels::EMPTY,
            ports: Vec::new(),
            endpoints: Vec::new(),
            left_out: LeftOut::default(),
            labels: Labels::EMPTY,
            tags: Tags::EMPTY,
            annotations: Labels::EMPTY,
            says: Says::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_the_first_are_named_whatever_the_order() {
        let made = |ids: &mut dyn Iterator<Item = usize>| {
            let mut out = LeftOut::default();
            ids.for_each(|n| out.add(if n % 2 == 0 { "DOWN" } else { "no port" }, format!("{n:03}")));
            out
        };
        let (up, down) = (made(&mut (0..100)), made(&mut (0..100).rev()));
        assert_eq!((&up, up.count()), (&down, 100));
        assert_eq!((up.by_reason().len(), &*up.by_reason()[0].reason), (2, "DOWN"));
        assert_eq!((&*up.by_reason()[0].first[9], up.by_reason()[0].first.len()), ("018", 10));
        let mut many = LeftOut::default();
        (0..99).for_each(|n| many.add(&format!("reason {n}"), "x"));
        assert_eq!((many.by_reason().len(), many.count()), (17, 99));
    }

    #[test]
    fn every_protocol_reads_back_from_its_own_name() {
        for (p, name, _) in Protocol::TABLE {
            assert_eq!(Protocol::parse(name), Some(p));
            assert_eq!(Protocol::parse(&name.to_lowercase()), Some(p));
            assert_eq!(p.istio_name(), name);
        }
        assert_eq!(Protocol::parse("auto"), Some(Protocol::Auto));
        assert_eq!(Protocol::parse("SCTP"), None);
    }
}
