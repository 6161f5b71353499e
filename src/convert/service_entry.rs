//! A service becomes a ServiceEntry for one of its hosts: everything that istiod reads, and nothing else.
//!
//! Pure: the same service, mapping, addresses and memory give the same bytes, in whatever order the registry listed
//! things. What is emitted passes Istio's own validation or is an error.
//!
//! An endpoint change touches `endpoints` only, as far as Istio lets it (see `topology`): resolution is STATIC while
//! all addresses are IPs and while there are none, DNS as soon as one is a name.

mod endpoints;
mod merge;
mod weights;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::Xxh3Default;

use crate::convert::mapping::Mapping;
use crate::convert::memory::Memory;
use crate::convert::naming::{self, NamingError};
use crate::convert::ports::{Port, Ports, When};
use crate::convert::select::Select;
use crate::convert::service_entry::endpoints::{Chosen, Emitted, Served};
pub use crate::convert::service_entry::merge::{Merged, Part, Share};
use crate::convert::validate::{self, Release, Violation};
use crate::model::host::Host;
use crate::model::labels::Labels;
use crate::model::merging::Mode;
use crate::model::service::{Addresses, Location, RegistryName, Says, Service};
use crate::model::time::Moment;
use crate::proto::networking::service_entry::{Location as WireLocation, Resolution};
use crate::proto::networking::{ServiceEntry, ServicePort};
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, REGISTRY, ResourceId, TopologyHash};

/// The registry's own name of the service.
const SERVICE: &str = "chandler/service";

/// A label that says what some istiods overlook: see [`marked`].
const ENDPOINTS: &str = "chandler/endpoints";
/// From here on istiod sees for itself what [`marked`] marks.
const SEES_ALL: Release = Release::new(1, 30);

/// What decides about a ServiceEntry besides the service itself.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who knows the service.
    pub registry: &'a RegistryName,
    /// How it appears.
    pub mapping: &'a Mapping,
    /// Which of its instances are taken.
    pub select: &'a Select,
    /// What it says of itself: its registry's word and its owner's.
    pub says: &'a Says,
    /// The virtual addresses of this host; may be empty.
    pub addresses: &'a [IpAddr],
    /// The time of the conversion; never enters the resource.
    pub now: Moment,
    /// How long a derived port stays after the last instance that had it.
    pub empty_service_ttl: Duration,
    /// The oldest release served: its rules decide.
    pub release: Release,
}

/// A service converted for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// What Istio receives.
    pub resource: Encoded,
    /// What a person should know: endpoints left out, and what Istio would warn of.
    pub notes: Vec<String>,
    /// Where its instances are, as far as these are addresses.
    pub instances: Vec<IpAddr>,
}

/// Why a service has no resource. It stops nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// It has no name in the mesh.
    #[error(transparent)]
    Naming(#[from] NamingError),
    /// Nobody says on which ports it is called. Istio would take it, and no call would ever reach it.
    #[error(
        "service {0:?} has no ports: it declares none and no endpoint has one; write `ports` in it, or `map.servicePorts` in its registry's configuration"
    )]
    NoPorts(Arc<str>),
    /// Istio would refuse it.
    #[error("Istio would refuse it: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Violation>),
}

/// The ServiceEntry of `service` for `host`.
///
/// # Errors
/// The service has no namespace or no ports, or Istio would refuse the result.
pub fn convert(
    service: &Service,
    host: &Host,
    cx: &Context<'_>,
    memory: &mut Memory,
) -> Result<Converted, ConvertError> {
    let alone = Part { service, context: *cx };
    convert_merged(&alone, &[], Mode::Precedence, host, memory).map(|merged| merged.converted)
}

/// The ServiceEntry of all services that share `host`: `lead` decides how it appears, and `mode` whose endpoints are served.
///
/// # Errors
/// `lead` has no namespace or no ports, or Istio would refuse the result, whoever of them is to blame.
pub fn convert_merged(
    lead: &Part<'_>,
    others: &[Part<'_>],
    mode: Mode,
    host: &Host,
    memory: &mut Memory,
) -> Result<Merged, ConvertError> {
    let (service, cx) = (lead.service, &lead.context);
    let namespace = naming::namespace(service, cx.mapping)?;
    let mut notes = Vec::new();
    let mut pools = merge::pools(lead, others, &namespace, &mut notes);
    let when = When { now: cx.now, ttl: cx.empty_service_ttl };
    let ports = Ports::of(service, cx.says, cx.mapping, &merge::found(&pools, memory), memory, when);
    if ports.list().is_empty() {
        return Err(ConvertError::NoPorts(Arc::clone(&service.name)));
    }
    let fits = merge::fit(&mut pools, others, &ports);
    let (served, standing_by) = merge::served(&mut pools, mode);
    let mut emitted = endpoints::emit(&served, Served { ports: &ports, fits: &fits }, &mut notes);
    let shares = merge::shares(pools, std::mem::take(&mut emitted.shares));
    let chosen: Vec<Chosen<'_>> = served.into_iter().chain(standing_by).collect();
    let instances = emitted.ips.clone();
    let entry = entry(host, cx, Parts { ports: &ports, emitted, chosen: &chosen }, memory);
    let labels = marked(cx.mapping.labels.apply(&service.labels), &entry, cx.release);
    let annotations = annotations(service, cx.registry);
    let verdict = validate::service_entry(&entry, &namespace, &annotations, cx.release);
    if !verdict.is_accepted() {
        return Err(ConvertError::Refused(verdict.refusals));
    }
    notes.extend(verdict.warnings.iter().map(ToString::to_string));
    let id =
        ResourceId { collection: Collection::ServiceEntry, name: naming::resource_name(&namespace, host) };
    let hash = topology(&entry, &labels, &annotations);
    let (body, fitness) = (Bytes::from(entry.encode_to_vec()), validate::legacy::service_entry(&entry));
    let resource = Encoded::new(id, labels, annotations, body, hash).fit(fitness);
    Ok(Merged { converted: Converted { resource, notes, instances }, shares })
}

/// `labels`, and a word on what istiod before 1.30 overlooks where nothing else changes: that the last of the endpoints
/// has gone (it tells proxies of the endpoints that are there) and, up to 1.18 at least, that addresses are no names any
/// more. Its proxies would go on calling what is gone. Labels of the object are what all of them compare.
fn marked(labels: Labels, entry: &ServiceEntry, oldest: Release) -> Labels {
    let mark = match (entry.resolution, entry.endpoints.is_empty()) {
        _ if oldest >= SEES_ALL => return labels,
        (r, true) if r == Resolution::Static as i32 => "none",
        (r, _) if r == Resolution::Dns as i32 => "names",
        _ => return labels,
    };
    labels.iter().chain([(ENDPOINTS, mark)]).collect()
}

/// What has been found out about a service before its ServiceEntry is put together.
struct Parts<'a> {
    ports: &'a Ports,
    emitted: Emitted,
    chosen: &'a [Chosen<'a>],
}

fn entry(host: &Host, cx: &Context<'_>, parts: Parts<'_>, memory: &mut Memory) -> ServiceEntry {
    let Parts { ports, emitted, chosen } = parts;
    let says = cx.says;
    let anywhere = !memory.has_had_endpoints(!emitted.endpoints.is_empty()) && host.is_wildcard();
    let resolution = match (emitted.by_name, anywhere) {
        (true, _) => Resolution::Dns,
        // Nobody knows which hosts a wildcard stands for: calls go where the client was going anyway. One that has lost
        // its endpoints is down instead, as any other service.
        (false, true) => Resolution::None,
        (false, false) => Resolution::Static,
    };
    let addresses = addresses(host, cx, &emitted.ips, memory);
    // An endpoint without traffic is mesh-capable all the same; a change of weights must not move the location.
    let internal = match says.location.unwrap_or(cx.mapping.location) {
        Location::Auto => memory.internal(chosen.iter().any(Chosen::is_mesh_capable)),
        Location::MeshInternal => true,
        Location::MeshExternal => false,
    };
    let location = if internal { WireLocation::MeshInternal } else { WireLocation::MeshExternal };
    ServiceEntry {
        hosts: vec![host.as_str().to_owned()],
        addresses: addresses.iter().map(ToString::to_string).collect(),
        ports: ports.list().iter().map(wire_port).collect(),
        location: location.into(),
        resolution: resolution.into(),
        endpoints: emitted.endpoints,
        export_to: strings(says.export_to.as_deref().unwrap_or(&cx.mapping.export_to)),
        subject_alt_names: strings(&says.subject_alt_names),
        workload_selector: None,
    }
}

/// What a sidecar listens on. Empty: the port of any address.
fn addresses(host: &Host, cx: &Context<'_>, instances: &[IpAddr], memory: &mut Memory) -> Vec<IpAddr> {
    let mode = cx.says.addresses.unwrap_or(cx.mapping.addresses);
    if mode == Addresses::Endpoints {
        let known = memory.addresses(instances, cx.now);
        if !known.is_empty() {
            return known;
        }
    } else {
        memory.forget_addresses();
    }
    // A port of any address would take calls that are meant for others: while no instance's address is known, the
    // virtual one stands in.
    let has_one = mode != Addresses::None && !host.is_wildcard();
    if has_one { sorted(cx.addresses.iter().copied()) } else { Vec::new() }
}

fn wire_port(port: &Port) -> ServicePort {
    ServicePort {
        number: port.number.into(),
        protocol: port.protocol.istio_name().to_owned(),
        name: port.name.to_string(),
        target_port: port.target.map_or(0, u32::from),
    }
}

fn annotations(service: &Service, registry: &RegistryName) -> Labels {
    let ours = [(REGISTRY.into(), registry.as_str().into()), (SERVICE.into(), Arc::clone(&service.name))];
    service.annotations.as_slice().iter().cloned().chain(ours).collect()
}

/// Sorted, each once.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

fn strings(items: &[Arc<str>]) -> Vec<String> {
    sorted(items.iter()).into_iter().map(|s| s.to_string()).collect()
}

/// A hash of everything whose change makes istiod push more than endpoints.
///
/// With resolution STATIC the endpoints themselves are not part of it, the set of their service accounts is: istiod
/// checks servers' names against it. With any other resolution every endpoint is part of the cluster.
/// Annotations hardly ever make istiod push, but whoever changes one wants to see it arrive with the rest.
pub(crate) fn topology(entry: &ServiceEntry, labels: &Labels, annotations: &Labels) -> TopologyHash {
    let mut hash = Xxh3Default::new();
    let mut feed = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    if entry.resolution == Resolution::Static as i32 {
        feed(&without_endpoints(entry).encode_to_vec());
        for account in sorted(entry.endpoints.iter().map(|e| e.service_account.as_str())) {
            // None at all and only endpoints without one are the same to istiod.
            if !account.is_empty() {
                feed(account.as_bytes());
            }
        }
    } else {
        feed(&entry.encode_to_vec());
    }
    for pairs in [labels, annotations] {
        feed(&(pairs.len() as u64).to_le_bytes());
        for (key, value) in pairs.iter() {
            feed(key.as_bytes());
            feed(value.as_bytes());
        }
    }
    TopologyHash(hash.digest())
}

/// Everything but the endpoints, of which there may be very many.
fn without_endpoints(entry: &ServiceEntry) -> ServiceEntry {
    ServiceEntry {
        hosts: entry.hosts.clone(),
        addresses: entry.addresses.clone(),
        ports: entry.ports.clone(),
        location: entry.location,
        resolution: entry.resolution,
        endpoints: Vec::new(),
        export_to: entry.export_to.clone(),
        subject_alt_names: entry.subject_alt_names.clone(),
        workload_selector: entry.workload_selector.clone(),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
