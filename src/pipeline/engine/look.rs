//! Touched hosts and objects, one at a time: who claims a host, in which order, and what becomes of it.

use std::sync::Arc;

use crate::model::catalog::Known;
use crate::model::host::Host;
use crate::model::merging::{Mode, Rule};
use crate::model::time::Moment;
use crate::pipeline::debounce::Lane;
use crate::pipeline::desired::{Candidate, Claimants};
use crate::pipeline::engine::Engine;
use crate::pipeline::reading::Reading;
use crate::resource::encoded::ResourceId;

impl Engine {
    pub(super) fn look_at_object(&mut self, id: &ResourceId) -> Option<Lane> {
        let object = self.catalog.object(id).map(|(registry, o)| (registry.clone(), Arc::clone(o)));
        // A generated resource of the same name yields to the object, or returns.
        if let Ok(host) = Host::parse(id.name.parts().1)
            && self.catalog.owner(&host).is_some()
        {
            self.touched.hosts.insert(host);
        }
        let object = object.as_ref().map(|(registry, o)| (registry, &**o));
        self.desired.object(id, object, &self.published)
    }

    pub(super) fn look_at_host(&mut self, host: &Host, now: Moment) -> Option<Lane> {
        let candidates: Vec<Candidate<'_>> = self
            .catalog
            .claims(host)
            .map_while(|(registry, known)| match known {
                Known::Service(service, admitted) => Some((registry, service, admitted)),
                // Objects own first: where one does, nothing is generated.
                Known::Object(_) => None,
            })
            .filter_map(|(registry, service, admitted)| {
                let policy = self.readings.get(registry).and_then(Reading::policy)?;
                let (mapping, select) = (policy.mapping(&service.name)?, &policy.select);
                let empty_service_ttl = policy.limits(&service.name).empty_service_ttl;
                Some(Candidate { registry, mapping, select, service, admitted, empty_service_ttl })
            })
            .collect();
        if candidates.is_empty() {
            return self.desired.release(host, &self.catalog, &self.published);
        }
        let claimants = claimants(self.catalog.rule(host), candidates, |c| {
            self.guards.get(c.registry).is_some_and(|g| g.is_lingering(&c.service.key))
        });
        let (lane, verdicts) = self.desired.services(host, &claimants, now, &self.catalog, &self.published);
        self.verdicts.extend(verdicts);
        lane
    }
}

/// Who has the host by `rule`, and who stands behind. What is empty and only lingers keeps nobody out; where registries
/// share the host it keeps its place, so that nothing moves before its time is over. Of a registry's services one shares.
fn claimants<'a>(
    rule: Option<&Rule>,
    mut candidates: Vec<Candidate<'a>>,
    lingers: impl Fn(&Candidate<'_>) -> bool,
) -> Claimants<'a> {
    let Some(rule) = rule.filter(|rule| rule.mode != Mode::Precedence) else {
        if candidates.len() > 1 {
            candidates.sort_by_cached_key(lingers);
        }
        return Claimants { candidates, sharing: 1, mode: Mode::Precedence };
    };
    let (mut firsts, mut rest) = (Vec::new(), Vec::new());
    for of_one in candidates.chunk_by_mut(|a, b| a.registry == b.registry) {
        of_one.sort_by_cached_key(&lingers);
        let named = of_one.first().is_some_and(|c| rule.place(c.registry).is_some());
        let (first, others) = of_one.split_at(usize::from(named));
        firsts.extend_from_slice(first);
        rest.extend_from_slice(others);
    }
    rest.sort_by_cached_key(lingers);
    let sharing = firsts.len().max(1);
    Claimants { candidates: [firsts, rest].concat(), sharing, mode: rule.mode }
}
