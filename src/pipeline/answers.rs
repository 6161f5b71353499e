//! Answers to people's questions, read off the engine.

pub mod held;
mod hosts;
mod instances;

use std::sync::Arc;

use crate::model::catalog::{Catalog, Known};
use crate::model::host::Host;
use crate::model::service::{RegistryName, Service, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::answers::instances::{Instances, said};
use crate::pipeline::engine::Engine;
use crate::pipeline::guard::Guard;
use crate::pipeline::reading::Reading;
use crate::pipeline::report::{HostReport, Query, RegistryReport, ServiceReport, Wanted};

/// Answers `query`; an asker who has left gets nothing, but what a person wants done is done.
pub fn answer(engine: &mut Engine, query: Query, now: Moment) {
    match query {
        Query::Registries(to) => drop(to.send(registries(engine, now))),
        Query::Services(wanted, to) => drop(to.send(services(engine, &wanted))),
        Query::Hosts(named, to) => drop(to.send(hosts::hosts(engine, named.as_deref()))),
        Query::Held(to) => drop(to.send(held::held(engine, now))),
        Query::Frozen(to) => drop(to.send(held::frozen(engine))),
        Query::Release(area, to) => drop(to.send(engine.release(&area, now))),
        Query::Freeze(area, frozen, to) => {
            engine.freeze(area, frozen, now);
            drop(to.send(held::frozen(engine)));
        }
        #[cfg(test)]
        Query::Fail(how) => how(),
    }
}

/// All registries, in the order of the configuration.
#[must_use]
pub fn registries(engine: &Engine, now: Moment) -> Vec<RegistryReport> {
    engine.readings().map(|(name, reading)| registry(engine, name, reading, now)).collect()
}

/// How many items and hosts of `name` are refused.
fn rejected(engine: &Engine, name: &RegistryName) -> usize {
    let items = engine.refused().keys().filter(|(of, _)| of == name).count();
    items + engine.desired().refused().iter().filter(|(of, _)| of == name).count()
}

fn registry(engine: &Engine, name: &RegistryName, reading: &Reading, now: Moment) -> RegistryReport {
    let counts = engine.catalog().counts(name);
    RegistryReport {
        name: name.to_string(),
        complete: reading.is_current() && !reading.is_restored(),
        restored_seconds: engine.restored_age(name, now).map(|age| age.as_secs()),
        unread_scopes: reading.unread().map(|s| s.as_str().to_string()).collect(),
        doubt: reading.doubt().map(str::to_string),
        removed: engine.leaving(name).map(|waits| {
            let names: Vec<_> = waits.iter().map(ToString::to_string).collect();
            format!("removed from the configuration, goes once {} has been read", names.join(", "))
        }),
        given_up: reading.is_given_up(),
        services: counts.services,
        left_out: counts.left_out,
        endpoints: counts.endpoints,
        objects: counts.objects,
        refused: rejected(engine, name),
        held_endpoints: engine.guard(name).map_or(0, Guard::held_endpoints),
        over_limit: engine.outside(name),
        frozen: engine.frozen().touches(name),
    }
}

/// The items that are `wanted`, in order; refused ones that nothing is known of included.
#[must_use]
pub fn services(engine: &Engine, wanted: &Wanted) -> Vec<ServiceReport> {
    let of_name = |name: &str, key: &ServiceKey| {
        wanted.name.as_deref().is_none_or(|wanted| wanted == name || wanted == &*key.name)
    };
    let mut reports = Vec::new();
    let only = wanted.registry.as_deref();
    for (name, _) in engine.readings().filter(|(n, _)| only.is_none_or(|o| o == n.as_str())) {
        let known = engine.catalog().items(name).filter(|known| match known {
            Known::Service(s, _) => of_name(&s.name, &s.key),
            Known::Object(o) => of_name(&format!("{}/{}", o.namespace, o.name), &o.key),
        });
        reports.extend(known.map(|known| service(engine, name, known, wanted.name.is_some())));
        for ((of, key), refusal) in engine.refused() {
            if of == name && of_name(&key.name, key) && engine.catalog().item(name, key).is_none() {
                reports.push(ServiceReport {
                    refused: Some(refusal.why.to_string()),
                    ..blank(name, key, key.to_string(), &format!("{:?}", key.kind))
                });
            }
        }
    }
    reports
}

fn service(engine: &Engine, registry: &RegistryName, known: &Known, whole: bool) -> ServiceReport {
    let key = known.key();
    let refusal = engine.refused().get(&(registry.clone(), key.clone()));
    let common = |name: String, kind: &str| ServiceReport {
        endpoints: known.endpoints(),
        refused: refusal.map(|r| r.why.to_string()),
        lost_to: namesake(engine.catalog(), registry, known),
        hosts: known.hosts().iter().map(|h| host(engine, registry, known, h)).collect(),
        ..blank(registry, key, name, kind)
    };
    match known {
        Known::Object(o) => common(format!("{}/{}", o.namespace, o.name), o.collection.kind()),
        Known::Service(service, admitted) => {
            let owner = admitted.owner.as_deref();
            let policy = engine.readings().find(|(name, _)| *name == registry).and_then(|(_, r)| r.policy());
            let instances = Instances::of(service, admitted, policy.map(Arc::as_ref));
            ServiceReport {
                left_out: admitted.left_out.map(|r| r.as_str().to_owned()),
                owner_says: owner.map(said).unwrap_or_default(),
                ignored: owner.map_or(&[][..], |o| &o.ignored).iter().map(ToString::to_string).collect(),
                instances_left_out: instances.left_out(),
                instances: if whole { instances.all() } else { Vec::new() },
                ..common(service.name.to_string(), "Service")
            }
        }
    }
}

fn blank(registry: &RegistryName, key: &ServiceKey, name: String, kind: &str) -> ServiceReport {
    ServiceReport {
        registry: registry.to_string(),
        scope: key.scope.as_str().to_owned(),
        key: key.to_string(),
        name,
        kind: kind.to_owned(),
        ..ServiceReport::default()
    }
}

fn host(engine: &Engine, registry: &RegistryName, known: &Known, host: &Host) -> HostReport {
    let mut report = HostReport { host: host.to_string(), ..HostReport::default() };
    let state = engine.desired().host_state(host);
    // Whoever claims it first may have been refused; then this one stands in.
    let stands_in =
        |s: &Service| state.is_some_and(|s2| s2.serves(registry, s) || s2.share(registry, s).is_some());
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
            let share = state.and_then(|state| state.share(registry, service));
            if let Some(sharer) = share {
                report.mode = state.map(|state| state.mode.as_str().to_owned());
                report.contributes = Some(sharer.share.endpoints.len());
                report.left_out = sharer.share.left_out.as_deref().map(str::to_owned);
                report.refused = state.and_then(|s| s.refused_other(registry, service)).map(str::to_owned);
            }
            let served = state.filter(|state| share.is_some() || state.serves(registry, service));
            report.resource = served.and_then(|s| s.id.as_ref()).map(|id| id.name.to_string());
            if engine
                .catalog()
                .owner(host)
                .is_some_and(|(r, owner)| r == registry && owner.key() == known.key())
            {
                report.refused = state.and_then(|s| s.refused.as_deref()).map(str::to_string);
            }
            report.notes = served.map(|s| s.notes.clone()).unwrap_or_default();
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
