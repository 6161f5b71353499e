//! Items on their way into the catalog: whether each makes sense, is taken, and what people should hear about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::convert::admission::Last;
use crate::convert::{admission, object, validate};
use crate::model::admitted::Admitted;
use crate::model::catalog::{Known, Step};
use crate::model::change::Item;
use crate::model::service::{RegistryName, Service, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::desired::Verdict;
use crate::pipeline::engine::Engine;
use crate::pipeline::engine::refusals::Refusal;
use crate::pipeline::reading::Reading;

/// What the owner of a service says and what does not count.
#[derive(Debug)]
pub struct Ignored {
    /// The registry that knows the service.
    pub registry: RegistryName,
    /// The registry's own name of it.
    pub item: Arc<str>,
    /// What was said, and why it does not count.
    pub what: Vec<Arc<str>>,
}

/// By which policy an item was looked at before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// By the same: what was decided is what the next decision follows from.
    Same,
    /// By another, or never.
    Other,
}

impl Engine {
    /// Items that make sense, and the keys of those that do not.
    pub(super) fn sort_out(
        &mut self,
        registry: &RegistryName,
        items: Vec<Item>,
        before: Before,
    ) -> (Vec<Known>, BTreeSet<ServiceKey>) {
        let (mut known, mut kept) = (Vec::with_capacity(items.len()), BTreeSet::new());
        for item in items {
            match self.admit(registry, item, before) {
                Ok(item) => known.push(item),
                Err(key) => {
                    kept.insert(key);
                }
            }
        }
        (known, kept)
    }

    /// Decides whether an item is taken and which hosts it claims, or notes why it is refused: whatever was known of it stays.
    pub(super) fn admit(
        &mut self,
        registry: &RegistryName,
        item: Item,
        before: Before,
    ) -> Result<Known, ServiceKey> {
        let refused = |why: Arc<str>| Refusal::new(why, None);
        let admitted = match item {
            Item::Refused(key, why) => Err((key, refused(why))),
            Item::Object(object) => {
                let verdict = validate::check(&object::encode(&object), self.settings.terms.oldest);
                if verdict.is_accepted() {
                    Ok(Known::Object(object))
                } else {
                    let why: Vec<_> = verdict.refusals.iter().map(ToString::to_string).collect();
                    let why = format!("{}: Istio would refuse it: {}", object.origin, why.join("; "));
                    Err((object.key.clone(), refused(why.into())))
                }
            }
            Item::Service(service) => self.admit_service(registry, service, before),
        };
        match admitted {
            Ok(known) => {
                self.say(registry, known.key().clone(), None);
                Ok(known)
            }
            Err((key, refusal)) => {
                self.say(registry, key.clone(), Some(refusal));
                Err(key)
            }
        }
    }

    fn admit_service(
        &mut self,
        registry: &RegistryName,
        service: Arc<Service>,
        before: Before,
    ) -> Result<Known, (ServiceKey, Refusal)> {
        let Some(policy) = self.readings.get(registry).and_then(Reading::policy) else {
            let why = "the registry is not configured".into();
            return Err((service.key.clone(), Refusal::new(why, None)));
        };
        let last = match self.catalog.item(registry, &service.key) {
            Some(Known::Service(service, admitted)) => Some((Arc::clone(service), Arc::clone(admitted))),
            Some(Known::Object(_)) | None => None,
        };
        let follows = last.as_ref().filter(|_| before == Before::Same);
        let follows = follows.map(|(service, admitted)| Last { service, admitted });
        match admission::admit(&service, policy, follows, self.now) {
            Ok(admitted) => {
                self.note_ignored(
                    registry,
                    &service,
                    &admitted,
                    last.as_ref().map(|(_, admitted)| &**admitted),
                );
                let before = last.as_ref().and_then(|(_, admitted)| admitted.until);
                self.fade(registry, &service.key, before, admitted.until);
                Ok(Known::Service(service, Arc::new(admitted)))
            }
            Err(e) => {
                let why = e.to_string().into();
                Err((service.key.clone(), Refusal::new(why, Some(service))))
            }
        }
    }

    /// Of a service something holds until `after`, no longer until `before`. There is one moment for each at most: a service
    /// that changes without end must not pile them up.
    pub(super) fn fade(
        &mut self,
        registry: &RegistryName,
        key: &ServiceKey,
        before: Option<Moment>,
        after: Option<Moment>,
    ) {
        if before != after {
            self.fading.extend(after.map(|at| (at, registry.clone(), key.clone())));
            if let Some(at) = before {
                self.fading.remove(&(at, registry.clone(), key.clone()));
            }
        }
    }

    /// Looks again at services of which something held for a time only that is over now.
    pub(super) fn forget_in_time(&mut self) {
        while let Some((at, registry, key)) = self.fading.pop_first() {
            if at > self.now {
                self.fading.insert((at, registry, key));
                break;
            }
            // Where that has settled otherwise since, nothing changes.
            let Some(Known::Service(service, _)) = self.catalog.item(&registry, &key) else { continue };
            let item = Item::Service(Arc::clone(service));
            let step = self.admit(&registry, item, Before::Same).ok().map(Step::Put);
            let touched = self.catalog.apply(&registry, step.into_iter().collect());
            self.touch(touched);
        }
    }

    /// People hear once of what is ignored.
    fn note_ignored(
        &mut self,
        registry: &RegistryName,
        service: &Service,
        now: &Admitted,
        last: Option<&Admitted>,
    ) {
        let known = last.and_then(|l| l.owner.as_ref()).map_or(&[][..], |o| &o.ignored);
        let all = now.owner.as_ref().map_or(&[][..], |o| &o.ignored);
        let what: Vec<_> = all.iter().filter(|words| !known.contains(words)).cloned().collect();
        if !what.is_empty() {
            let (registry, item) = (registry.clone(), Arc::clone(&service.key.name));
            self.ignored.push(Ignored { registry, item, what });
        }
    }

    /// Notes why an item is refused, or that it no longer is; people hear of it if that is news.
    fn say(&mut self, registry: &RegistryName, key: ServiceKey, refusal: Option<Refusal>) {
        let (item, place_key) = (Arc::clone(&key.name), key.clone());
        let place = (registry.clone(), key);
        let refused = refusal.as_ref().map(|r| Arc::clone(&r.why));
        let before = match refusal {
            Some(refusal) => {
                let alone = self.catalog.item(&place.0, &place.1).is_none();
                self.refused.insert(place, refusal, alone)
            }
            None => self.refused.remove(&place),
        };
        if before.map(|r| r.why) != refused {
            self.note_items(registry, [place_key]);
            self.verdicts.push(Verdict { registry: registry.clone(), item, host: None, refused });
        }
    }
}
