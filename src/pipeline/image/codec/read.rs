//! Messages as our types. Nothing that stands there is believed to keep our types' rules: each is held to them again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::memory::{Memory, Recollection};
use crate::convert::object;
use crate::model::admitted::{Admitted, Owner, Reason};
use crate::model::catalog::Known;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, TlsMode, Weight};
use crate::model::host::Host;
use crate::model::labels::{Labels, Tags};
use crate::model::merging::Mode;
use crate::model::object::Object;
use crate::model::service::{
    Addresses, ItemKind, LeftOut, LeftOutFor, Location, Protocol, RegistryName, Says, Scope, Service,
    ServiceKey, ServicePort,
};
use crate::model::time::Moment;
use crate::pipeline::guard::freeze::Area;
use crate::pipeline::guard::{HeldItem, Mark, What, Why};
use crate::pipeline::image::{EmptyImage, HostImage, ItemImage, RefusedImage, RegistryImage, SharingImage};
use crate::pipeline::reading::Identity;
use crate::proto::state as pb;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId, ResourceName};

/// What is wrong, in words.
type Read<T> = Result<T, String>;

/// Words that stand in many places and are kept once: labels, localities, networks.
#[derive(Debug, Default)]
pub(super) struct Words(BTreeSet<Arc<str>>);

impl Words {
    fn one(&mut self, word: String) -> Arc<str> {
        if let Some(known) = self.0.get(word.as_str()) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.0.insert(Arc::clone(&word));
        word
    }

    fn maybe(&mut self, word: Option<String>) -> Option<Arc<str>> {
        word.map(|word| self.one(word))
    }

    fn pairs(&mut self, pairs: Vec<pb::Pair>) -> Labels {
        pairs.into_iter().map(|p| (self.one(p.key), self.one(p.value))).collect()
    }

    fn tags(&mut self, tags: Vec<String>) -> Tags {
        tags.into_iter().map(|tag| self.one(tag)).collect()
    }
}

pub(super) fn head(part: pb::Head) -> (Moment, BTreeSet<Area>) {
    let area = |area: pb::Area| match (area.registry, area.service) {
        (Some(registry), Some(service)) => Area::Service(RegistryName::new(&registry), service.into()),
        (Some(registry), None) => Area::Registry(RegistryName::new(&registry)),
        (None, _) => Area::All,
    };
    (moment(part.now), part.frozen.into_iter().map(area).collect())
}

pub(super) fn host(part: pb::Host, words: &mut Words) -> Read<(Host, HostImage)> {
    let host = self::name(&part.host)?;
    let image = HostImage {
        owner: part.owner.map(|o| (RegistryName::new(&o.registry), o.service.into())),
        memory: memory(part.memory.unwrap_or_default(), words)?,
        addresses: part.addresses.iter().map(|bytes| ip(bytes)).collect::<Read<_>>()?,
        kept: part.kept.map(|kept| self::kept(kept, words)).transpose()?,
        sharing: part.sharing.map(|sharing| self::sharing(sharing, words)).transpose()?.unwrap_or_default(),
    };
    Ok((host, image))
}

fn sharing(part: pb::Sharing, words: &mut Words) -> Read<SharingImage> {
    let mode = match known(part.mode)? {
        pb::Mode::Unspecified => Mode::Precedence,
        pb::Mode::Union => Mode::Union,
        pb::Mode::Failover => Mode::Failover,
    };
    let mut good = Vec::new();
    for part in part.good {
        let item = part.item.unwrap_or_default();
        let key = key(&item, words)?;
        if let Some(Known::Service(service, admitted)) = self::item(&key, item, words)?.known {
            good.push((RegistryName::new(&part.registry), service, admitted));
        }
    }
    Ok(SharingImage { mode, good })
}

fn memory(part: pb::Memory, words: &mut Words) -> Read<Memory> {
    let port = |p: pb::RememberedPort| Ok((number(p.number)?, words.maybe(p.group), p.until.map(moment)));
    let ports = part.ports.into_iter().map(port).collect::<Read<_>>()?;
    let address = |a: pb::RememberedAddress| Ok((ip(&a.address)?, a.until.map(moment)));
    let addresses = part.addresses.into_iter().map(address).collect::<Read<_>>()?;
    let (internal, had_endpoints) = (part.internal, part.had_endpoints);
    let source = part.source.map(|name| RegistryName::new(&name));
    Ok(Memory::recalled(Recollection { ports, addresses, internal, had_endpoints, source }))
}

fn kept(part: pb::Kept, words: &mut Words) -> Read<(Arc<Encoded>, Arc<str>)> {
    let (namespace, name) = part.name.split_once('/').ok_or("a resource without a namespace")?;
    let id = ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new(namespace, name) };
    let (labels, annotations) = (words.pairs(part.labels), words.pairs(part.annotations));
    Ok((Arc::new(object::seal(id, labels, annotations, part.body)), part.why.into()))
}

pub(super) fn registry(parts: Vec<pb::Registry>, words: &mut Words) -> Read<RegistryImage> {
    let mut image = RegistryImage::default();
    for part in parts {
        image.identity = Identity { reads: part.reads, policy: part.policy };
        image.age = Duration::from_millis(part.age);
        for item in part.items {
            let key = key(&item, words)?;
            let read = self::item(&key, item, words).map_err(|why| format!("{key}: {why}"))?;
            image.items.insert(key, read);
        }
    }
    Ok(image)
}

fn key(item: &pb::Item, words: &mut Words) -> Read<ServiceKey> {
    let kind = match known(item.kind)? {
        pb::Kind::Object => ItemKind::Object,
        pb::Kind::Service => ItemKind::Service,
        pb::Kind::Unspecified => return Err("an item of no kind".into()),
    };
    let scope = Scope::new(&words.one(item.scope.clone()));
    Ok(ServiceKey { kind, name: item.key.as_str().into(), scope })
}

fn item(key: &ServiceKey, item: pb::Item, words: &mut Words) -> Read<ItemImage> {
    let known = match (key.kind, item.service, item.object) {
        (ItemKind::Service, Some(service), None) => {
            let admitted = self::admitted(item.admitted.unwrap_or_default(), words)?;
            Some(Known::Service(Arc::new(self::service(key, service, words)?), Arc::new(admitted)))
        }
        (ItemKind::Object, None, Some(object)) => {
            Some(Known::Object(Arc::new(self::object(key, object, words)?)))
        }
        (_, None, None) => None,
        _ => return Err("it is something else than its key says".into()),
    };
    let refused = |part: pb::Refused, words: &mut Words| {
        let service = part.service.map(|s| self::service(key, s, words)).transpose()?;
        Ok::<_, String>(RefusedImage { why: part.why.into(), service: service.map(Arc::new) })
    };
    Ok(ItemImage {
        known,
        refused: item.refused.map(|part| refused(part, words)).transpose()?,
        held: item.held.map(|part| held(part, words)).transpose()?,
        empty: item.empty.map(|e| EmptyImage { at: moment(e.at), until: e.until.map(moment) }),
        grown: item.grown.map(|g| (count(g.came), moment(g.at))),
    })
}

fn service(key: &ServiceKey, part: pb::Service, words: &mut Words) -> Read<Service> {
    let left_out = part.left_out.into_iter().map(|l| LeftOutFor {
        reason: words.one(l.reason),
        count: count(l.count),
        first: texts(l.first),
    });
    let left_out = LeftOut::read_back(left_out.collect::<Vec<_>>());
    let mut port = |p: pb::ServicePort| {
        Ok(ServicePort {
            number: number(p.number)?,
            name: words.maybe(p.name),
            protocol: p.protocol.map(|p| protocol(&p)).transpose()?,
            target: p.target.map(number).transpose()?,
        })
    };
    let ports = part.ports.into_iter().map(&mut port).collect::<Read<_>>()?;
    Ok(Service {
        key: key.clone(),
        name: part.name.into(),
        hosts: hosts(&part.hosts)?,
        variables: words.pairs(part.variables),
        ports,
        endpoints: part.endpoints.into_iter().map(|e| endpoint(e, words)).collect::<Read<_>>()?,
        left_out,
        labels: words.pairs(part.labels),
        tags: words.tags(part.tags),
        annotations: words.pairs(part.annotations),
        says: part.says.map(|s| says(s, words)).transpose()?.unwrap_or_default(),
    })
}

fn endpoint(part: pb::Endpoint, words: &mut Words) -> Read<Endpoint> {
    let tls_mode = tls_mode(known(part.tls_mode)?);
    let parsed = |text: &str| Address::parse(text).map_err(|e| e.to_string());
    let address = match part.address {
        Some(pb::endpoint::Address::Ip(bytes)) => Address::Ip(ip(&bytes)?),
        Some(pb::endpoint::Address::Name(text) | pb::endpoint::Address::Unix(text)) => parsed(&text)?,
        None => return Err("an endpoint without an address".into()),
    };
    let ports = if part.by_name {
        let mut named: Vec<(Arc<str>, u16)> = Vec::with_capacity(part.ports.len());
        for port in part.ports {
            named.push((words.one(port.name), number(port.number)?));
        }
        named.sort();
        EndpointPorts::Named(named.into())
    } else {
        part.port.map(number).transpose()?.map_or(EndpointPorts::AsService, EndpointPorts::One)
    };
    Ok(Endpoint {
        id: part.id.into(),
        address,
        ports,
        labels: words.pairs(part.labels),
        tags: words.tags(part.tags),
        locality: words.maybe(part.locality),
        network: words.maybe(part.network),
        service_account: words.maybe(part.service_account),
        tls_mode,
        weight: part.weight.map_or(Weight::ONE, Weight::of_thousandths),
    })
}

fn says(part: pb::Says, words: &mut Words) -> Read<Says> {
    let location = match known(part.location)? {
        pb::Location::Unspecified => None,
        pb::Location::Auto => Some(Location::Auto),
        pb::Location::MeshInternal => Some(Location::MeshInternal),
        pb::Location::MeshExternal => Some(Location::MeshExternal),
    };
    let addresses = match known(part.addresses)? {
        pb::Addresses::Unspecified => None,
        pb::Addresses::Virtual => Some(Addresses::Virtual),
        pb::Addresses::Endpoints => Some(Addresses::Endpoints),
        pb::Addresses::None => Some(Addresses::None),
    };
    let ports = part.service_ports.into_iter().map(number).collect::<Read<Vec<u16>>>()?;
    Ok(Says {
        namespace: words.maybe(part.namespace),
        protocol: part.protocol.map(|p| protocol(&p)).transpose()?,
        export_to: part.export_to.map(|to| texts(to.namespaces)),
        location,
        addresses,
        tls_mode: tls_mode(known(part.tls_mode)?),
        service_ports: (!ports.is_empty()).then(|| ports.into()),
        subject_alt_names: texts(part.subject_alt_names),
    })
}

fn admitted(part: pb::Admitted, words: &mut Words) -> Read<Admitted> {
    let left_out = match known(part.left_out)? {
        pb::Reason::Unspecified => None,
        pb::Reason::Dropped => Some(Reason::Dropped),
        pb::Reason::Excluded => Some(Reason::Excluded),
        pb::Reason::NotIncluded => Some(Reason::NotIncluded),
        pb::Reason::Skipped => Some(Reason::Skipped),
        pb::Reason::NotExposed => Some(Reason::NotExposed),
    };
    let owner = part.owner.map(|o| {
        let says = o.says.map(|s| says(s, words)).transpose()?.unwrap_or_default();
        Ok::<_, String>(Box::new(Owner { says, hosts: hosts(&o.hosts)?, ignored: texts(o.ignored) }))
    });
    let (owner, until) = (owner.transpose()?, part.until.map(moment));
    Ok(Admitted { hosts: hosts(&part.hosts)?.into(), left_out, owner, until })
}

fn object(key: &ServiceKey, part: pb::Object, words: &mut Words) -> Read<Object> {
    let collection = Collection::of_name(&part.collection)
        .ok_or_else(|| format!("an object of the unknown kind {:?}", part.collection))?;
    Ok(Object {
        key: key.clone(),
        collection,
        namespace: words.one(part.namespace),
        name: part.name.into(),
        labels: words.pairs(part.labels),
        annotations: words.pairs(part.annotations),
        hosts: hosts(&part.hosts)?,
        body: part.body,
        origin: part.origin.into(),
    })
}

fn held(part: pb::Held, words: &mut Words) -> Read<HeldItem> {
    let mut parts = Vec::with_capacity(part.parts.len());
    for p in part.parts {
        let why = why(p.why.and_then(|w| w.why).ok_or("it is held for an unknown reason")?)?;
        let what = match p.endpoint {
            Some(e) => What::Endpoint(endpoint(e, words)?),
            None => What::Object,
        };
        let (confirmed, doubted, said) = (p.confirmed, p.doubted, p.said);
        parts.push((what, Mark { why, since: moment(p.since), confirmed, doubted, said }));
    }
    Ok(HeldItem::of(part.name.into(), part.whole, parts))
}

fn why(part: pb::why::Why) -> Read<Why> {
    Ok(match part {
        pb::why::Why::Doubt(words) => Why::Doubt(words.into()),
        pb::why::Why::Scope(scope) => Why::Scope(scope.into()),
        pb::why::Why::Shrink(s) => Why::Shrink {
            gone: count(s.gone),
            all: count(s.all),
            limit: u8::try_from(s.limit).map_err(|_| "a limit beyond all")?,
        },
        pb::why::Why::Last(_) => Why::Last,
        pb::why::Why::Frozen(_) => Why::Frozen,
    })
}

fn tls_mode(mode: pb::TlsMode) -> Option<TlsMode> {
    match mode {
        pb::TlsMode::Unspecified => None,
        pb::TlsMode::None => Some(TlsMode::None),
        pb::TlsMode::Istio => Some(TlsMode::Istio),
    }
}

/// A value of an enum; what a newer Chandler wrote there means something that we do not know.
fn known<E: TryFrom<i32>>(value: i32) -> Read<E> {
    E::try_from(value).map_err(|_| format!("the value {value} is of a newer chandler"))
}

fn protocol(name: &str) -> Read<Protocol> {
    Protocol::parse(name).ok_or_else(|| format!("the unknown protocol {name:?}"))
}

fn moment(nanos: u64) -> Moment {
    Moment::after_start(Duration::from_nanos(nanos))
}

fn count(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn number(port: u32) -> Read<u16> {
    u16::try_from(port).map_err(|_| format!("{port} is no port"))
}

fn ip(bytes: &[u8]) -> Read<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    <[u8; 16]>::try_from(bytes).map(IpAddr::from).map_err(|_| "an address of a strange length".into())
}

fn name(host: &str) -> Read<Host> {
    Host::parse(host).map_err(|e| e.to_string())
}

fn hosts(hosts: &[String]) -> Read<Vec<Host>> {
    hosts.iter().map(|host| name(host)).collect()
}

fn texts(texts: Vec<String>) -> Vec<Arc<str>> {
    texts.into_iter().map(Into::into).collect()
}
