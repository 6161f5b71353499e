//! The instances of one service as people are told of them: decided anew by the rules that decide for the mesh.

use crate::convert::admission::Door;
use crate::convert::policy::Policy;
use crate::model::admitted::{Admitted, Owner};
use crate::model::endpoint::{Endpoint, EndpointPorts, TlsMode};
use crate::model::service::{Addresses, LeftOut, LeftOutFor, Service};
use crate::pipeline::report::{InstanceReport, LeftOutReport};

/// The instances of one service.
pub(super) struct Instances<'a> {
    service: &'a Service,
    /// Absent where the service as a whole is left out by name, or its registry is not configured any more.
    door: Option<Door<'a>>,
    /// Why none of them is published.
    all_out: Option<&'static str>,
}

impl<'a> Instances<'a> {
    pub(super) fn of(service: &'a Service, admitted: &Admitted, policy: Option<&'a Policy>) -> Self {
        let mapping = policy.and_then(|p| Some((&p.select, p.mapping(&service.name)?)));
        let door = mapping.map(|(select, mapping)| Door::new(service, select, mapping));
        Self { service, door, all_out: admitted.left_out.map(|r| r.as_str()) }
    }

    fn why_out(&self, endpoint: &Endpoint) -> Option<&'static str> {
        let own = self.door.as_ref().and_then(|door| door.refuses(Some(endpoint)));
        own.map(|r| r.as_str()).or(self.all_out)
    }

    /// Who serves nothing: first by the registry's word, then by ours.
    pub(super) fn left_out(&self) -> Vec<LeftOutReport> {
        let mut ours = LeftOut::default();
        for endpoint in &self.service.endpoints {
            if let Some(why) = self.why_out(endpoint) {
                ours.add(why, name(endpoint));
            }
        }
        let report = |found: &LeftOutFor| LeftOutReport {
            reason: found.reason.to_string(),
            count: found.count,
            first: found.first.iter().map(ToString::to_string).collect(),
        };
        self.service.left_out.by_reason().iter().chain(ours.by_reason()).map(report).collect()
    }

    /// Everyone, by address and id.
    pub(super) fn all(&self) -> Vec<InstanceReport> {
        let mut all: Vec<&Endpoint> = self.service.endpoints.iter().collect();
        all.sort_by_key(|e| (&e.address, &e.ports, &e.id));
        let report = |e: &Endpoint| InstanceReport {
            id: e.id.to_string(),
            address: e.address.to_string(),
            ports: match &e.ports {
                EndpointPorts::AsService => Vec::new(),
                EndpointPorts::One(number) => vec![number.to_string()],
                EndpointPorts::Named(named) => named.iter().map(|(n, p)| format!("{n} {p}")).collect(),
            },
            metadata: e.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            tags: e.tags.iter().map(str::to_owned).collect(),
            left_out: self.why_out(e).map(str::to_owned),
        };
        all.into_iter().map(report).collect()
    }
}

fn name(endpoint: &Endpoint) -> String {
    if endpoint.id.is_empty() { endpoint.address.to_string() } else { endpoint.id.to_string() }
}

/// What an owner says and what holds, in the words of the configuration.
pub(super) fn said(owner: &Owner) -> Vec<String> {
    let says = &owner.says;
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(",");
    let mut out = Vec::new();
    out.extend(
        says.protocol.map(|p| {
            format!("protocol: {}", if p.istio_name().is_empty() { "auto" } else { p.istio_name() })
        }),
    );
    out.extend(
        says.service_ports
            .as_ref()
            .map(|p| format!("servicePort: {}", list(&mut p.iter().map(ToString::to_string)))),
    );
    if !owner.hosts.is_empty() {
        out.push(format!("host: {}", list(&mut owner.hosts.iter().map(ToString::to_string))));
    }
    out.extend(
        says.export_to
            .as_ref()
            .map(|n| format!("exportTo: {}", list(&mut n.iter().map(ToString::to_string)))),
    );
    out.extend(
        says.tls_mode.map(|m| format!("tlsMode: {}", if m == TlsMode::Istio { "istio" } else { "none" })),
    );
    out.extend(says.addresses.map(|a| {
        let word = match a {
            Addresses::Virtual => "virtual",
            Addresses::Endpoints => "endpoints",
            Addresses::None => "none",
        };
        format!("addresses: {word}")
    }));
    out
}
