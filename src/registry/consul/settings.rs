//! What is read of Consul and how: plain data, as the configuration has it.

use std::time::Duration;

use crate::registry::http;

/// Everything that the adapter needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulSettings {
    /// Where the agents or servers are, and how they are asked.
    pub http: http::Settings,
    /// What is read. Empty: the datacenter of the agent that answers.
    pub datacenters: Vec<String>,
    /// The one whose name does not appear in hosts. Absent: the first of `datacenters`.
    pub local_datacenter: Option<String>,
    /// What Consul's DNS names end in.
    pub domain: String,
    /// Enterprise only. Empty: none is asked for.
    pub namespaces: Vec<String>,
    /// Enterprise only. Empty: none is asked for.
    pub partitions: Vec<String>,
    /// Peers of the agent's own datacenter whose exported services are read as well.
    pub peers: Vec<String>,
    /// An expression for Consul to apply to instances.
    pub filter: Option<String>,
    /// How current answers must be.
    pub consistency: Consistency,
    /// How changes are noticed.
    pub strategy: Strategy,
    /// Connections to one server that are open at a time; Consul allows 200 for each client address.
    pub connections: u16,
    /// What is made of instances.
    pub instances: Instances,
}

/// How current answers must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// The leader answers; a deposed one may for an instant.
    #[default]
    Default,
    /// Any server answers, unless it has not heard of the leader for this long.
    Stale(Option<Duration>),
    /// The leader answers once it has made sure that it leads.
    Consistent,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// [`Strategy::Each`] as long as connections suffice.
    #[default]
    Auto,
    /// A blocking query for each service.
    Each,
    /// Blocking queries for the list and for failing checks; what they do not name is read again in turn.
    Sweep,
}

/// What is made of instances.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Instances {
    /// Connect sidecars are taken.
    pub sidecars: bool,
    /// Gateways of any kind are taken.
    pub gateways: bool,
    /// Which tagged address (`lan`, `wan`, `lan_ipv6` …) is preferred to the plain one.
    pub tagged_address: Option<String>,
    /// Instances with a warning are left out.
    pub only_passing: bool,
    /// The protocol in `service-defaults` is read.
    pub service_defaults: bool,
}
