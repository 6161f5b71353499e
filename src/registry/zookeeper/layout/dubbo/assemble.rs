//! Providers become services. Where a provider was found does not matter here.
//!
//! An instance is an application's address with the ports that it serves there; its providers of several interfaces or
//! protocols are one instance, and of two instances on one machine each gets its own ports, in order. It says what all of its providers
//! say; it weighs what the heaviest of them weighs, and it is left out only once all of them are disabled. A bare one has a
//! say only where there is no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::provider::Provider;
use super::rule::NotApplied;
use super::url::Fault;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts, Weight};
use crate::model::labels::Labels;
use crate::model::service::{Scope, Service};
use crate::registry::zookeeper::layout::{add_variables, service};

/// `{domain}` of Dubbo's services.
const DOMAIN: &str = "dubbo";
/// The interface in Java's spelling.
pub(crate) const INTERFACE: &str = "chandler/dubbo-interface";
/// Its group.
pub(crate) const GROUP: &str = "chandler/dubbo-group";
/// Its version, dots kept.
pub(crate) const VERSION: &str = "chandler/dubbo-version";
/// Its methods.
pub(crate) const METHODS: &str = "chandler/dubbo-methods";
/// Rules that hold in Dubbo and not in the mesh.
pub(crate) const NOT_APPLIED: &str = "chandler/dubbo-not-applied";
/// An annotation is for people: no more than this of it.
const MAX_ANNOTATION: usize = 4096;

/// What one interface's folder offers.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    /// Its providers with what they are called, rules applied.
    pub(crate) providers: Vec<(Arc<str>, Provider)>,
    /// Names that say no provider, and why.
    pub(crate) faults: Vec<(Arc<str>, Fault)>,
    /// Rules that were not applied.
    pub(crate) not_applied: BTreeSet<NotApplied>,
}

/// Makes services.
#[derive(Debug)]
pub(crate) struct Assembler {
    /// Begins the keys, so that two layouts never share one.
    pub(crate) root: Arc<str>,
    /// Where the services belong.
    pub(crate) scope: Scope,
}

impl Assembler {
    /// A service for each group and version of the interface.
    pub(crate) fn interfaces(&self, interface: &str, offer: &Offer) -> Vec<Service> {
        let mut by_key: BTreeMap<String, Vec<&(Arc<str>, Provider)>> = BTreeMap::new();
        for named in &offer.providers {
            by_key.entry(named.1.service_key()).or_default().push(named);
        }
        let made = by_key.into_iter().filter_map(|(key, providers)| {
            let (_, first) = *providers.first()?;
            let mut made = service(&format!("{}/{key}", self.root), &key, &self.scope, DOMAIN);
            let (group, version) =
                (first.group.as_deref().unwrap_or(""), first.version.as_deref().unwrap_or(""));
            // A host keeps the dots of the interface as labels; a version's would look like more of them.
            let dashed = version.replace('.', "-");
            add_variables(
                &mut made,
                &[
                    ("name", interface),
                    ("interface", interface),
                    ("group", group),
                    ("version", &dashed),
                    ("application", &common_application(&providers)),
                ],
            );
            let methods: BTreeSet<&str> = providers.iter().flat_map(|(_, p)| p.methods()).collect();
            let methods = methods.into_iter().collect::<Vec<_>>().join(",");
            let about = [(INTERFACE, interface), (GROUP, group), (VERSION, version), (METHODS, &methods)];
            fill(&mut made, &providers, &about, &offer.not_applied);
            Some(made)
        });
        made.collect()
    }

    /// The service of an application: all that it provides in `offers`. `None`: it provides nothing.
    pub(crate) fn application(&self, application: &str, offers: &[Offer]) -> Option<Service> {
        let all = offers.iter().flat_map(|offer| &offer.providers);
        let providers: Vec<_> = all.filter(|(_, p)| p.application.as_deref() == Some(application)).collect();
        if providers.is_empty() {
            return None;
        }
        let mut made = service(&format!("{}#{application}", self.root), application, &self.scope, DOMAIN);
        add_variables(&mut made, &[("application", application)]);
        let not_applied = offers.iter().flat_map(|offer| offer.not_applied.iter().cloned()).collect();
        fill(&mut made, &providers, &[], &not_applied);
        Some(made)
    }
}

/// The application of all providers; empty where they differ.
fn common_application(providers: &[&(Arc<str>, Provider)]) -> String {
    let all: BTreeSet<Option<&str>> = providers.iter().map(|(_, p)| p.application.as_deref()).collect();
    match all.first() {
        Some(Some(one)) if all.len() == 1 => (*one).to_owned(),
        _ => String::new(),
    }
}

fn fill(
    service: &mut Service,
    providers: &[&(Arc<str>, Provider)],
    about: &[(&str, &str)],
    not_applied: &BTreeSet<NotApplied>,
) {
    let words: Vec<&str> = not_applied.iter().map(NotApplied::as_str).collect();
    let words = words.join("; ");
    let present = about.iter().copied().chain([(NOT_APPLIED, words.as_str())]).filter(|(_, v)| !v.is_empty());
    service.annotations = present.map(|(k, v)| (k, cut(v))).collect();
    let mut instances: BTreeMap<(&Address, Option<&Arc<str>>), Ports<'_>> = BTreeMap::new();
    for (id, provider) in providers {
        let ports = instances.entry((&provider.address, provider.application.as_ref())).or_default();
        let of_protocol = ports.entry(&provider.port_name).or_default();
        of_protocol.entry(provider.port).or_default().push((id, provider));
    }
    for ((address, _), ports) in instances {
        let most = ports.values().map(BTreeMap::len).max().unwrap_or_default();
        for nth in 0..most {
            let own = ports.iter().filter_map(|(name, ports)| Some((*name, ports.iter().nth(nth)?)));
            instance(service, address, &own.collect::<Vec<_>>());
        }
    }
}

/// An application's providers at one address, by protocol and port.
type Ports<'a> = BTreeMap<&'a Arc<str>, BTreeMap<u16, Vec<(&'a Arc<str>, &'a Provider)>>>;
/// The providers of one instance: by protocol, the port and who serves it.
type Own<'a> = (&'a Arc<str>, (&'a u16, &'a Vec<(&'a Arc<str>, &'a Provider)>));

/// Adds one instance, or leaves it out.
fn instance(service: &mut Service, address: &Address, own: &[Own<'_>]) {
    let all = || own.iter().flat_map(|(_, (_, providers))| providers.iter());
    let bare = all().all(|(_, p)| p.is_bare());
    let counts = |p: &Provider| p.is_enabled() && (bare || !p.is_bare());
    let enabled: Vec<&Provider> = all().map(|(_, p)| *p).filter(|p| counts(p)).collect();
    let Some((id, _)) = all().min_by_key(|(id, _)| *id) else { return };
    if enabled.is_empty() {
        service.left_out.add("disabled", Arc::clone(id));
        return;
    }
    let served = own.iter().filter(|(_, (_, providers))| providers.iter().any(|(_, p)| p.is_enabled()));
    let ports: Vec<(Arc<str>, u16)> = served.map(|(name, (port, _))| (Arc::clone(name), **port)).collect();
    service.endpoints.push(Endpoint {
        id: Arc::clone(id),
        labels: common_labels(&enabled),
        weight: enabled.iter().map(|p| p.weight()).max().unwrap_or(Weight::ONE),
        ..Endpoint::at(address.clone(), EndpointPorts::Named(ports.into()))
    });
}

/// What all of them say.
fn common_labels(providers: &[&Provider]) -> Labels {
    let mut rest = providers.iter();
    let Some(first) = rest.next() else { return Labels::EMPTY };
    let mut common: BTreeMap<&str, &str> = first.labels().collect();
    for provider in rest {
        let own: BTreeMap<&str, &str> = provider.labels().collect();
        common.retain(|key, value| own.get(key) == Some(value));
    }
    common.into_iter().collect()
}

/// At most [`MAX_ANNOTATION`] bytes of `text`.
fn cut(text: &str) -> &str {
    let end =
        text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_ANNOTATION).last();
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
