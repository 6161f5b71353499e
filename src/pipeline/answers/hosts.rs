//! Who claims a host, and what becomes of each claim.

use super::{host as host_report, winner};
use crate::model::catalog::Known;
use crate::model::endpoint::Address;
use crate::model::host::Host;
use crate::model::merging::Mode;
use crate::model::service::RegistryName;
use crate::pipeline::engine::Engine;
use crate::pipeline::report::{ClaimReport, ContestReport};

/// The hosts that several claim, or the one that is `named` with every endpoint.
pub(super) fn hosts(engine: &Engine, named: Option<&str>) -> Vec<ContestReport> {
    match named {
        None => engine.catalog().contested().map(|host| contest(engine, host, false)).collect(),
        Some(name) => {
            let host = Host::parse(name).ok();
            let host = host.filter(|host| engine.catalog().owner(host).is_some());
            host.iter().map(|host| contest(engine, host, true)).collect()
        }
    }
}

fn contest(engine: &Engine, host: &Host, whole: bool) -> ContestReport {
    let rule = engine.catalog().rule(host);
    let claims: Vec<ClaimReport> = engine
        .catalog()
        .claims(host)
        .map(|(registry, known)| claim(engine, host, registry, known, whole))
        .collect();
    let objects = engine.catalog().claims(host).filter_map(|(_, known)| known.object_id());
    let mut resources: Vec<String> = objects.map(|id| id.name.to_string()).collect();
    let made = engine.desired().host_state(host).and_then(|state| state.id.as_ref());
    resources.extend(made.map(|id| id.name.to_string()));
    ContestReport {
        host: host.to_string(),
        mode: rule.map_or(Mode::Precedence, |rule| rule.mode).as_str().to_owned(),
        registries: rule.map(|r| r.registries.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        resources,
        claims,
    }
}

fn claim(engine: &Engine, host: &Host, registry: &RegistryName, known: &Known, whole: bool) -> ClaimReport {
    let state = engine.desired().host_state(host);
    let said = host_report(engine, registry, known, host);
    let report = ClaimReport {
        registry: registry.to_string(),
        key: known.key().to_string(),
        refused: said.refused,
        left_out: said.left_out,
        ..ClaimReport::default()
    };
    let lost = || winner(engine.catalog(), registry, known, host).map(|first| format!("{first} comes first"));
    match known {
        Known::Object(object) => {
            let name = format!("{}/{}", object.namespace, object.name);
            ClaimReport { name, decides: said.lost_to.is_none(), left_out: lost(), ..report }
        }
        Known::Service(service, _) => {
            let decides = state.is_some_and(|state| state.serves(registry, service));
            let name = service.name.to_string();
            let shared = state.and_then(|state| state.share(registry, service));
            let endpoints: Vec<&Address> = match shared {
                Some(sharer) => sharer.share.endpoints.iter().collect(),
                None if decides => service.endpoints.iter().map(|e| &e.address).collect(),
                None => Vec::new(),
            };
            let contributes = endpoints.len();
            let endpoints =
                if whole { endpoints.iter().map(ToString::to_string).collect() } else { Vec::new() };
            let left_out = if shared.is_some() || decides { report.left_out } else { lost() };
            ClaimReport { name, decides, contributes, endpoints, left_out, ..report }
        }
    }
}
