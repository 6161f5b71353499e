//! How the services of one registry appear in the mesh: the validated form of `map` in the configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::convert::naming::Template;
use crate::convert::self_service::SelfService;
use crate::model::endpoint::TlsMode;
pub use crate::model::globs::Globs;
use crate::model::labels::Labels;
use crate::model::service::{Addresses, Location, Protocol};

/// Where a service that declares no ports gets them from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServicePorts {
    /// The instances' common port; where they differ 80 for HTTP and gRPC, the lowest else.
    #[default]
    Auto,
    /// Every port that any instance has.
    Instance,
    /// These.
    List(Vec<u16>),
}

/// Which labels of services and endpoints reach the mesh, and under which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRules {
    /// Keys that are taken.
    pub include: Globs,
    /// Of these, keys that are not.
    pub exclude: Globs,
    /// Old key to new key, after the selection.
    pub rename: BTreeMap<String, String>,
    /// Set on everything, last.
    pub set: Labels,
}

impl Default for LabelRules {
    /// All labels as they are.
    fn default() -> Self {
        Self { include: Globs::all(), exclude: Globs::none(), rename: BTreeMap::new(), set: Labels::EMPTY }
    }
}

/// What holds for endpoints in a part of the network. The first rule that matches an address decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRule {
    /// Which addresses; endpoints that are names match no rule.
    pub cidr: IpNet,
    /// Leave them out.
    pub drop: bool,
    /// The mode of those that say nothing themselves.
    pub tls_mode: Option<TlsMode>,
    /// The network of those that name none.
    pub network: Option<Arc<str>>,
    /// The account of those that name none.
    pub service_account: Option<Arc<str>>,
}

impl EndpointRule {
    /// Whether it is this rule's to decide about `ip`.
    #[must_use]
    pub fn matches(&self, ip: IpAddr) -> bool {
        self.cidr.contains(&ip)
    }
}

/// How the services of one registry appear in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Hosts of services to which their registry gives none; one ServiceEntry for each.
    pub hosts: Vec<Template>,
    /// Further hosts, also of services that have hosts of their own.
    pub aliases: Vec<Template>,
    /// The namespace of the resources.
    pub namespace: Template,
    /// The protocol of ports that declare none.
    pub protocol: Protocol,
    /// The ports of services that declare none.
    pub service_ports: ServicePorts,
    /// What a sidecar listens on.
    pub addresses: Addresses,
    /// Who may see the services; empty: the mesh's own default.
    pub export_to: Vec<Arc<str>>,
    /// Inside or outside of the mesh.
    pub location: Location,
    /// The mode of endpoints about which nothing else says anything.
    pub tls_mode: TlsMode,
    /// Which labels are taken.
    pub labels: LabelRules,
    /// What holds in parts of the network.
    pub endpoints: Vec<EndpointRule>,
    /// What owners may say themselves.
    pub self_service: SelfService,
}

impl Mapping {
    /// A mapping that leaves everything to the defaults but hosts, namespace and protocol.
    #[must_use]
    pub fn new(hosts: Vec<Template>, namespace: Template, protocol: Protocol) -> Self {
        Self {
            hosts,
            aliases: Vec::new(),
            namespace,
            protocol,
            service_ports: ServicePorts::Auto,
            addresses: Addresses::Virtual,
            export_to: Vec::new(),
            location: Location::Auto,
            tls_mode: TlsMode::None,
            labels: LabelRules::default(),
            endpoints: Vec::new(),
            self_service: SelfService::default(),
        }
    }
}
