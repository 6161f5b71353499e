//! What is held and what is frozen, for people.

use std::collections::BTreeMap;

use crate::convert::policy::Policy;
use crate::model::service::{RegistryName, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::engine::Engine;
use crate::pipeline::guard::{Guard, HeldItem, Mark, What, Why};
use crate::pipeline::report::{AreaReport, HeldReport};

/// How many addresses of a service are named.
const NAMED: usize = 10;

/// All that is held, by registry and item; what is held of one item for two reasons stands there twice.
#[must_use]
pub fn held(engine: &Engine, now: Moment) -> Vec<HeldReport> {
    let mut reports = Vec::new();
    for (name, reading) in engine.readings() {
        let Some(policy) = reading.policy() else { continue };
        for (key, item) in engine.guard(name).into_iter().flat_map(Guard::held) {
            let frozen = engine.frozen().holds(name, &item.name);
            let mut by_reason: BTreeMap<&Why, Vec<(&What, &Mark)>> = BTreeMap::new();
            item.parts().for_each(|part| by_reason.entry(&part.1.why).or_default().push(part));
            let row = |(why, parts): (&Why, Vec<_>)| HeldReport {
                frozen,
                ..report(name, policy, key, item, &(why, parts), now)
            };
            reports.extend(by_reason.into_iter().map(row));
        }
    }
    reports
}

fn report(
    registry: &RegistryName,
    policy: &Policy,
    key: &ServiceKey,
    item: &HeldItem,
    (why, parts): &(&Why, Vec<(&What, &Mark)>),
    now: Moment,
) -> HeldReport {
    let limits = policy.limits(&item.name);
    let marks = || parts.iter().map(|(_, mark)| *mark);
    let addresses = parts.iter().filter_map(|(what, _)| match what {
        What::Endpoint(e) => Some(e.address.to_string()),
        What::Object => None,
    });
    let stays = |mark: &Mark| mark.since.plus(limits.removal_hold).since(now);
    HeldReport {
        registry: registry.to_string(),
        scope: key.scope.as_str().to_owned(),
        service: item.name.to_string(),
        endpoints: addresses.clone().count(),
        addresses: addresses.take(NAMED).collect(),
        reason: why.to_string(),
        held_seconds: marks().map(|m| now.since(m.since).as_secs()).max().unwrap_or_default(),
        confirmed: marks().map(|m| m.confirmed).min().unwrap_or_default(),
        confirm_reads: marks().map(|m| limits.confirmations(m.doubted)).max().unwrap_or_default(),
        remaining_seconds: marks().map(|m| stays(m).as_secs()).max().unwrap_or_default(),
        frozen: false,
    }
}

/// What is frozen, in order.
#[must_use]
pub fn frozen(engine: &Engine) -> Vec<AreaReport> {
    let report = |area: &crate::pipeline::guard::freeze::Area| AreaReport {
        registry: area.registry().map(ToString::to_string),
        service: area.service().map(str::to_owned),
    };
    engine.frozen().areas().map(report).collect()
}
