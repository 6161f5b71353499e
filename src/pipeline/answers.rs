//! Answers to people's questions, read off the engine.

use crate::model::catalog::{Catalog, Known};
use crate::model::host::Host;
use crate::model::service::{RegistryName, Service, ServiceKey};
use crate::pipeline::engine::Engine;
use crate::pipeline::reading::Reading;
use crate::pipeline::report::{HostReport, Query, RegistryReport, ServiceReport};

/// Answers `query`; an asker who has left gets nothing.
pub fn answer(engine: &Engine, query: Query) {
    match query {
        Query::Ping(to) => drop(to.send(())),
        Query::Registries(to) => drop(to.send(registries(engine))),
        Query::Services(registry, to) => drop(to.send(services(engine, registry.as_deref()))),
    }
}

/// All registries, in the order of the configuration.
#[must_use]
pub fn registries(engine: &Engine) -> Vec<RegistryReport> {
    engine.readings().map(|(name, reading)| registry(engine, name, reading)).collect()
}

/// How many items and hosts of `name` are refused.
fn rejected(engine: &Engine, name: &RegistryName) -> usize {
    let items = engine.refused().keys().filter(|(of, _)| of == name).count();
    items + engine.desired().refused().iter().filter(|(of, _)| of == name).count()
}

fn registry(engine: &Engine, name: &RegistryName, reading: &Reading) -> RegistryReport {
    let counts = engine.catalog().counts(name);
    RegistryReport {
        name: name.to_string(),
        complete: reading.is_current(),
        unread_scopes: reading.unread().map(|s| s.as_str().to_string()).collect(),
        doubt: reading.doubt().map(str::to_string),
        removed: engine.leaving(name).map(|waits| {
            let names: Vec<_> = waits.iter().map(ToString::to_string).collect();
            format!("removed from the configuration, goes once {} has been read", names.join(", "))
        }),
        services: counts.services,
        endpoints: counts.endpoints,
        objects: counts.objects,
        refused: rejected(engine, name),
        held_endpoints: 0,
    }
}

/// All items in order, or those of one registry; refused ones that nothing is known of included.
#[must_use]
pub fn services(engine: &Engine, only: Option<&str>) -> Vec<ServiceReport> {
    let mut reports = Vec::new();
    for (name, _) in engine.readings().filter(|(n, _)| only.is_none_or(|o| o == n.as_str())) {
        reports.extend(engine.catalog().items(name).map(|known| service(engine, name, known)));
        for ((of, key), why) in engine.refused() {
            if of == name && engine.catalog().item(name, key).is_none() {
                reports.push(unknown(name, key, why));
            }
        }
    }
    reports
}

fn service(engine: &Engine, registry: &RegistryName, known: &Known) -> ServiceReport {
    let key = known.key();
    let (name, kind) = match known {
        Known::Service(s, _) => (s.name.to_string(), "Service"),
        Known::Object(o) => (format!("{}/{}", o.namespace, o.name), o.collection.kind()),
    };
    ServiceReport {
        registry: registry.to_string(),
        key: key.to_string(),
        name,
        kind: kind.to_string(),
        endpoints: known.endpoints(),
        refused: engine.refused().get(&(registry.clone(), key.clone())).map(ToString::to_string),
        lost_to: namesake(engine.catalog(), registry, known),
        hosts: known.hosts().iter().map(|h| host(engine, registry, known, h)).collect(),
    }
}

fn unknown(registry: &RegistryName, key: &ServiceKey, why: &str) -> ServiceReport {
    ServiceReport {
        registry: registry.to_string(),
        key: key.to_string(),
        name: key.to_string(),
        kind: format!("{:?}", key.kind),
        endpoints: 0,
        refused: Some(why.to_string()),
        lost_to: None,
        hosts: Vec::new(),
    }
}

fn host(engine: &Engine, registry: &RegistryName, known: &Known, host: &Host) -> HostReport {
    let mut report = HostReport { host: host.to_string(), ..HostReport::default() };
    let state = engine.desired().host_state(host);
    // Whoever claims it first may have been refused; then this one stands in.
    let stands_in = |s: &Service| state.is_some_and(|state| state.serves(registry, s));
    if let Some(winner) = winner(engine.catalog(), registry, known, host)
        && !matches!(known, Known::Service(s, _) if stands_in(s))
    {
        report.lost_to = Some(winner);
        return report;
    }
    match known {
        // A namesake is served in its place, under the same name but perhaps not for this host.
        Known::Object(_) if namesake(engine.catalog(), registry, known).is_some() => {}
        Known::Object(_) => report.resource = known.object_id().map(|id| id.name.to_string()),
        Known::Service(service, _) => {
            let served = state.filter(|state| state.serves(registry, service));
            report.resource = served.and_then(|s| s.id.as_ref()).map(|id| id.name.to_string());
            if engine
                .catalog()
                .owner(host)
                .is_some_and(|(r, owner)| r == registry && owner.key() == known.key())
            {
                report.refused = state.and_then(|s| s.refused.as_deref()).map(str::to_string);
            }
            let addresses = engine.desired().addresses().get(host);
            report.addresses = addresses.iter().map(ToString::to_string).collect();
        }
    }
    report
}

/// Who has `host` if this item does not. Objects share: Istio merges them.
fn winner(catalog: &Catalog, registry: &RegistryName, known: &Known, host: &Host) -> Option<String> {
    let (of, owner) = catalog.owner(host)?;
    let mine = of == registry && owner.key() == known.key();
    let shared = matches!((known, owner), (Known::Object(_), Known::Object(_)));
    (!mine && !shared).then(|| format!("{of}/{}", owner.key()))
}

/// The object that is served in place of this one: two of one kind, namespace and name cannot both be.
fn namesake(catalog: &Catalog, registry: &RegistryName, known: &Known) -> Option<String> {
    let (of, object) = catalog.object(&known.object_id()?)?;
    (of != registry || object.key != *known.key()).then(|| format!("{of}/{}", object.key))
}
