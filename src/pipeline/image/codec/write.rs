//! Our types as messages.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::admitted::{Admitted, Owner, Reason};
use crate::model::catalog::Known;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::host::Host;
use crate::model::labels::{Labels, Tags};
use crate::model::merging::Mode;
use crate::model::object::Object;
use crate::model::service::{
    Addresses, ItemKind, LeftOutFor, Location, Protocol, RegistryName, Says, Service, ServiceKey, ServicePort,
};
use crate::model::time::Moment;
use crate::pipeline::guard::freeze::Area;
use crate::pipeline::guard::{HeldItem, Mark, What, Why};
use crate::pipeline::image::{HostImage, Image, ItemImage, RegistryImage, SharingImage};
use crate::proto::state as pb;
use crate::resource::encoded::Encoded;

pub(super) fn head(image: &Image) -> pb::Head {
    let area = |area: &Area| pb::Area {
        registry: area.registry().map(ToString::to_string),
        service: area.service().map(str::to_string),
    };
    pb::Head { now: moment(image.now), frozen: image.frozen.iter().map(area).collect() }
}

pub(super) fn host(host: &Host, image: &HostImage) -> pb::Host {
    let all = image.memory.recollection();
    let port = |(number, group, until): (u16, Option<Arc<str>>, Option<Moment>)| pb::RememberedPort {
        number: number.into(),
        group: text(group.as_ref()),
        until: until.map(moment),
    };
    let address = |(address, until): (IpAddr, Option<Moment>)| pb::RememberedAddress {
        address: ip(address),
        until: until.map(moment),
    };
    pb::Host {
        host: host.to_string(),
        addresses: image.addresses.iter().copied().map(ip).collect(),
        owner: image.owner.as_ref().map(|(registry, service)| pb::Owner {
            registry: registry.to_string(),
            service: service.to_string(),
        }),
        memory: Some(pb::Memory {
            ports: all.ports.into_iter().map(port).collect(),
            addresses: all.addresses.into_iter().map(address).collect(),
            internal: all.internal,
            had_endpoints: all.had_endpoints,
            source: all.source.as_ref().map(ToString::to_string),
        }),
        kept: image.kept.as_ref().map(|(resource, why)| kept(resource, why)),
        sharing: (image.sharing != SharingImage::default()).then(|| sharing(&image.sharing)),
    }
}

fn sharing(image: &SharingImage) -> pb::Sharing {
    let mode = match image.mode {
        Mode::Precedence => pb::Mode::Unspecified,
        Mode::Union => pb::Mode::Union,
        Mode::Failover => pb::Mode::Failover,
    };
    let good = image.good.iter().map(|(registry, service, admitted)| {
        let known = Known::Service(Arc::clone(service), Arc::clone(admitted));
        let image = ItemImage { known: Some(known), ..ItemImage::default() };
        pb::Good { registry: registry.to_string(), item: Some(item(&service.key, &image)) }
    });
    pb::Sharing { mode: mode.into(), good: good.collect() }
}

fn kept(resource: &Encoded, why: &str) -> pb::Kept {
    pb::Kept {
        why: why.into(),
        name: resource.id.name.to_string(),
        labels: pairs(&resource.labels),
        annotations: pairs(&resource.annotations),
        body: resource.body.clone(),
    }
}

pub(super) fn registry(
    name: &RegistryName,
    image: &RegistryImage,
    part: u32,
    last: bool,
    items: Vec<pb::Item>,
) -> pb::Registry {
    let (identity, age) = (image.identity, u64::try_from(image.age.as_millis()).unwrap_or(u64::MAX));
    pb::Registry {
        name: name.to_string(),
        part,
        last,
        reads: identity.reads,
        policy: identity.policy,
        items,
        age,
    }
}

pub(super) fn item(key: &ServiceKey, item: &ItemImage) -> pb::Item {
    let (service, admitted, object) = match &item.known {
        Some(Known::Service(s, a)) => (Some(self::service(s)), Some(self::admitted(a)), None),
        Some(Known::Object(o)) => (None, None, Some(self::object(o))),
        None => (None, None, None),
    };
    let kind = match key.kind {
        ItemKind::Object => pb::Kind::Object,
        ItemKind::Service => pb::Kind::Service,
    };
    pb::Item {
        kind: kind.into(),
        key: key.name.to_string(),
        scope: key.scope.as_str().into(),
        service,
        admitted,
        object,
        refused: item.refused.as_ref().map(|r| pb::Refused {
            why: r.why.to_string(),
            service: r.service.as_deref().map(self::service),
        }),
        held: item.held.as_ref().map(held),
        empty: item.empty.map(|e| pb::Empty { at: moment(e.at), until: e.until.map(moment) }),
        grown: item.grown.map(|(came, at)| pb::Grown { came: came as u64, at: moment(at) }),
    }
}

fn service(s: &Service) -> pb::Service {
    let left_out = |l: &LeftOutFor| pb::LeftOut {
        reason: l.reason.to_string(),
        count: l.count as u64,
        first: texts(&l.first),
    };
    let port = |p: &ServicePort| pb::ServicePort {
        number: p.number.into(),
        name: text(p.name.as_ref()),
        protocol: p.protocol.map(protocol),
        target: p.target.map(u32::from),
    };
    pb::Service {
        name: s.name.to_string(),
        hosts: hosts(&s.hosts),
        variables: pairs(&s.variables),
        ports: s.ports.iter().map(port).collect(),
        endpoints: s.endpoints.iter().map(endpoint).collect(),
        left_out: s.left_out.by_reason().iter().map(left_out).collect(),
        labels: pairs(&s.labels),
        tags: tags(&s.tags),
        annotations: pairs(&s.annotations),
        says: (s.says != Says::default()).then(|| says(&s.says)),
    }
}

fn endpoint(e: &Endpoint) -> pb::Endpoint {
    let address = match &e.address {
        Address::Ip(address) => pb::endpoint::Address::Ip(ip(*address)),
        Address::Name(name) => pb::endpoint::Address::Name(name.to_string()),
        Address::Unix(_) => pb::endpoint::Address::Unix(e.address.to_string()),
    };
    let named = match &e.ports {
        EndpointPorts::Named(named) => &named[..],
        EndpointPorts::AsService | EndpointPorts::One(_) => &[],
    };
    let named = named.iter().map(|(n, p)| pb::NamedPort { name: n.to_string(), number: (*p).into() });
    pb::Endpoint {
        id: e.id.to_string(),
        address: Some(address),
        port: match e.ports {
            EndpointPorts::One(port) => Some(port.into()),
            EndpointPorts::AsService | EndpointPorts::Named(_) => None,
        },
        ports: named.collect(),
        by_name: matches!(e.ports, EndpointPorts::Named(_)),
        labels: pairs(&e.labels),
        tags: tags(&e.tags),
        locality: text(e.locality.as_ref()),
        network: text(e.network.as_ref()),
        service_account: text(e.service_account.as_ref()),
        tls_mode: tls_mode(e.tls_mode).into(),
        weight: (e.weight != Weight::ONE).then(|| e.weight.thousandths()),
    }
}

fn says(says: &Says) -> pb::Says {
    let location = match says.location {
        None => pb::Location::Unspecified,
        Some(Location::Auto) => pb::Location::Auto,
        Some(Location::MeshInternal) => pb::Location::MeshInternal,
        Some(Location::MeshExternal) => pb::Location::MeshExternal,
    };
    let addresses = match says.addresses {
        None => pb::Addresses::Unspecified,
        Some(Addresses::Virtual) => pb::Addresses::Virtual,
        Some(Addresses::Endpoints) => pb::Addresses::Endpoints,
        Some(Addresses::None) => pb::Addresses::None,
    };
    let ports = says.service_ports.as_deref().unwrap_or_default();
    pb::Says {
        namespace: text(says.namespace.as_ref()),
        protocol: says.protocol.map(protocol),
        export_to: says.export_to.as_ref().map(|to| pb::ExportTo { namespaces: texts(to) }),
        location: location.into(),
        addresses: addresses.into(),
        tls_mode: tls_mode(says.tls_mode).into(),
        service_ports: ports.iter().copied().map(u32::from).collect(),
        subject_alt_names: texts(&says.subject_alt_names),
    }
}

fn admitted(a: &Admitted) -> pb::Admitted {
    let reason = match a.left_out {
        None => pb::Reason::Unspecified,
        Some(Reason::Dropped) => pb::Reason::Dropped,
        Some(Reason::Excluded) => pb::Reason::Excluded,
        Some(Reason::NotIncluded) => pb::Reason::NotIncluded,
        Some(Reason::Skipped) => pb::Reason::Skipped,
        Some(Reason::NotExposed) => pb::Reason::NotExposed,
    };
    let owner = |o: &Owner| pb::SaidByOwner {
        says: Some(says(&o.says)),
        hosts: hosts(&o.hosts),
        ignored: texts(&o.ignored),
    };
    pb::Admitted {
        hosts: hosts(&a.hosts),
        left_out: reason.into(),
        owner: a.owner.as_deref().map(owner),
        until: a.until.map(moment),
    }
}

fn object(o: &Object) -> pb::Object {
    pb::Object {
        collection: o.collection.plural().into(),
        namespace: o.namespace.to_string(),
        name: o.name.to_string(),
        labels: pairs(&o.labels),
        annotations: pairs(&o.annotations),
        hosts: hosts(&o.hosts),
        body: o.body.clone(),
        origin: o.origin.to_string(),
    }
}

fn held(held: &HeldItem) -> pb::Held {
    let part = |(what, mark): (&What, &Mark)| pb::HeldPart {
        endpoint: match what {
            What::Endpoint(e) => Some(endpoint(e)),
            What::Object => None,
        },
        why: Some(why(&mark.why)),
        since: moment(mark.since),
        confirmed: mark.confirmed,
        doubted: mark.doubted,
        said: mark.said,
    };
    pb::Held { name: held.name.to_string(), whole: held.whole, parts: held.parts().map(part).collect() }
}

fn why(why: &Why) -> pb::Why {
    let why = match why {
        Why::Doubt(words) => pb::why::Why::Doubt(words.to_string()),
        Why::Scope(scope) => pb::why::Why::Scope(scope.to_string()),
        Why::Shrink { gone, all, limit } => {
            pb::why::Why::Shrink(pb::Shrink { gone: *gone as u64, all: *all as u64, limit: (*limit).into() })
        }
        Why::Last => pb::why::Why::Last(pb::Nothing {}),
        Why::Frozen => pb::why::Why::Frozen(pb::Nothing {}),
    };
    pb::Why { why: Some(why) }
}

fn tls_mode(mode: Option<TlsMode>) -> pb::TlsMode {
    match mode {
        None => pb::TlsMode::Unspecified,
        Some(TlsMode::None) => pb::TlsMode::None,
        Some(TlsMode::Istio) => pb::TlsMode::Istio,
    }
}

fn protocol(protocol: Protocol) -> String {
    protocol.istio_name().into()
}

/// Nanoseconds; five hundred years are enough.
fn moment(moment: Moment) -> u64 {
    u64::try_from(moment.since_start().as_nanos()).unwrap_or(u64::MAX)
}

fn ip(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn text(text: Option<&Arc<str>>) -> Option<String> {
    text.map(ToString::to_string)
}

fn texts(texts: &[Arc<str>]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn hosts(hosts: &[Host]) -> Vec<String> {
    hosts.iter().map(ToString::to_string).collect()
}

fn tags(tags: &Tags) -> Vec<String> {
    tags.iter().map(str::to_string).collect()
}

fn pairs(labels: &Labels) -> Vec<pb::Pair> {
    labels.iter().map(|(key, value)| pb::Pair { key: key.into(), value: value.into() }).collect()
}
