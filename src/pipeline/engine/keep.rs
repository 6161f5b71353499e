//! What of the engine's state is saved, and how it goes on with what was.
//!
//! What is to be saved costs in proportion to what changed: catalog and guards note the items, the work notes the hosts.
//! An engine that nobody saves notes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::model::catalog::{Known, Step};
use crate::model::host::Host;
use crate::model::service::{RegistryName, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::engine::{Engine, Refusal};
use crate::pipeline::image::{HostImage, Image, ItemImage, News, RefusedImage, RegistryImage};
use crate::pipeline::reading::{Identity, Reading, RegistrySettings};

/// What has changed since it was last saved.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// Whether anybody saves.
    on: bool,
    /// Beside what the catalog has noted.
    items: BTreeSet<(RegistryName, ServiceKey)>,
    hosts: BTreeSet<Host>,
    frozen: bool,
    /// The registries that were named last.
    registries: Vec<(RegistryName, Identity)>,
}

/// How old what was restored was, and when that was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    age: Duration,
    at: Moment,
}

/// What came back from disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Registries.
    pub registries: usize,
    /// Their services.
    pub services: usize,
    /// How old the oldest of them is.
    pub age: Duration,
    /// Those whose settings have changed since: what was saved of them stays until they have been read.
    pub changed: Vec<RegistryName>,
    /// Those that were not restored because they are too old, and how old that is.
    pub too_old: Vec<(RegistryName, Duration)>,
}

impl Engine {
    /// From now on what changes is noted for [`Engine::take_news`].
    pub fn keep_news(&mut self) {
        self.unsaved.on = true;
        self.catalog.note_changes();
    }

    /// Whether anything changed since the last [`Engine::take_news`].
    #[must_use]
    pub fn has_news(&self) -> bool {
        let u = &self.unsaved;
        let changed = u.frozen || !u.items.is_empty() || !u.hosts.is_empty() || self.catalog.has_noted();
        u.on && (changed || u.registries != self.saved_registries())
    }

    /// What changed since the last call, to be saved; if nothing did, still what time it is. Best while no work is left: what
    /// services are and what their hosts remember then fit together.
    pub fn take_news(&mut self, now: Moment) -> News {
        let registries = self.saved_registries();
        let mut items = std::mem::take(&mut self.unsaved.items);
        items.append(&mut self.catalog.take_noted());
        let hosts = std::mem::take(&mut self.unsaved.hosts);
        self.unsaved.frozen = false;
        let aged = |(name, identity): &(RegistryName, Identity)| {
            (name.clone(), *identity, self.restored_age(name, now).unwrap_or_default())
        };
        let named = registries.iter().map(aged).collect();
        self.unsaved.registries = registries;
        News {
            now,
            registries: named,
            items: items.into_iter().map(|place| (place.clone(), self.item_image(&place))).collect(),
            hosts: hosts.into_iter().map(|h| (h.clone(), self.desired.image(&h, &self.published))).collect(),
            frozen: self.frozen.areas().cloned().collect(),
        }
    }

    /// Goes on with `image`, which was saved `age` ago: to be called before anything is delivered. Registries that are older
    /// than `max_age` or not configured are left out of it; their addresses stay until all that are configured have been read.
    pub fn restore(&mut self, image: Image, age: Duration, max_age: Duration) -> Restored {
        let Image { now, mut registries, mut hosts, frozen } = image;
        frozen.into_iter().for_each(|area| self.frozen.set(area, true));
        let addresses = hosts.iter_mut().map(|(h, image)| (h.clone(), std::mem::take(&mut image.addresses)));
        self.desired.addresses_mut().restore(addresses.collect());
        let mut restored = Restored::default();
        for settings in self.settings.registries.clone() {
            let name = &settings.name;
            self.readings.insert(name.clone(), Reading::new(&settings, now));
            let Some(image) = registries.remove(name) else { continue };
            let age = age.saturating_add(image.age);
            if age > max_age {
                restored.too_old.push((name.clone(), age));
                continue;
            }
            restored.registries += 1;
            restored.age = restored.age.max(age);
            if image.identity.reads != settings.identity.reads {
                restored.changed.push(name.clone());
            }
            self.restored.insert(name.clone(), Age { age, at: now });
            self.restore_registry(&settings, image, now);
            restored.services += self.catalog.counts(name).services;
        }
        let all = self.catalog.everything();
        for (host, image) in hosts {
            self.restore_host(host, image);
        }
        self.touch(all);
        restored
    }

    /// How old what is served of `registry` is, where that was restored and has not been read since.
    #[must_use]
    pub fn restored_age(&self, registry: &RegistryName, now: Moment) -> Option<Duration> {
        let age = self
            .restored
            .get(registry)
            .filter(|_| self.readings.get(registry).is_some_and(Reading::is_restored));
        age.map(|r| r.age.saturating_add(now.since(r.at)))
    }

    /// What is done with `host` is to be saved.
    pub(super) fn note_host(&mut self, host: &Host) {
        if self.unsaved.on {
            self.unsaved.hosts.insert(host.clone());
        }
    }

    /// What is known of `items` of `registry` beside the catalog is to be saved.
    pub(super) fn note_items(
        &mut self,
        registry: &RegistryName,
        items: impl IntoIterator<Item = ServiceKey>,
    ) {
        if self.unsaved.on {
            self.unsaved.items.extend(items.into_iter().map(|key| (registry.clone(), key)));
        }
    }

    /// What is frozen is to be saved.
    pub(super) fn note_frozen(&mut self) {
        self.unsaved.frozen = true;
    }

    /// Forgets what is held of `registry`.
    pub(super) fn forget_guard(&mut self, registry: &RegistryName) {
        if let Some(guard) = self.guards.remove(registry) {
            let keys: Vec<_> = guard.held_keys().cloned().collect();
            self.note_items(registry, keys);
        }
    }

    /// Forgets the refusals of `registry` that `keep` does not want.
    pub(super) fn retain_refused(&mut self, registry: &RegistryName, keep: impl Fn(&ServiceKey) -> bool) {
        let gone = self.refused.retain(registry, keep);
        self.note_items(registry, gone);
    }

    /// Once everything that is configured has been read, addresses of hosts that nobody claims are free again.
    pub(super) fn release_unclaimed(&mut self) {
        let read = |r: &Reading| r.is_current() && !r.is_restored();
        if self.unclaimed.is_empty() || !self.readings.values().all(read) {
            return;
        }
        for host in std::mem::take(&mut self.unclaimed) {
            if self.catalog.claims(&host).next().is_none() {
                self.desired.addresses_mut().release(&host);
                self.note_host(&host);
            }
        }
    }

    fn restore_registry(&mut self, settings: &RegistrySettings, image: RegistryImage, now: Moment) {
        let (name, identity) = (&settings.name, image.identity);
        if let Some(reading) = self.readings.get_mut(name) {
            reading.restore(settings, identity);
        }
        let known = image.items.values().filter_map(|item| item.known.clone()).collect();
        let step = Step::Reset { scope: None, items: known, kept: BTreeSet::new() };
        self.catalog.apply(name, vec![step]);
        let mut guard = self.guards.remove(name).unwrap_or_default();
        let view = self.view(name, &settings.policy, now);
        image.items.iter().for_each(|(key, item)| guard.restore(&view, key, item));
        self.guards.insert(name.clone(), guard);
        for (key, item) in image.items {
            self.note_items(name, [key.clone()]);
            if let Some(Known::Service(_, admitted)) = &item.known {
                self.fading.extend(admitted.until.map(|at| (at, name.clone(), key.clone())));
            }
            if let Some(RefusedImage { why, service }) = item.refused {
                let alone = item.known.is_none();
                self.refused.insert((name.clone(), key), Refusal::new(why, service), alone);
            }
        }
        if identity.policy != settings.identity.policy {
            self.readmit(name);
        }
    }

    /// Of a host that nobody claims so far only the address stays.
    fn restore_host(&mut self, host: Host, image: HostImage) {
        self.note_host(&host);
        if self.catalog.claims(&host).next().is_some() {
            self.desired.restore(&host, image);
        } else if !self.desired.addresses().get(&host).is_empty() {
            self.unclaimed.insert(host);
        }
    }

    /// Registries that are configured and have been read or restored.
    fn saved_registries(&self) -> Vec<(RegistryName, Identity)> {
        let names = self.settings.registries.iter().map(|r| &r.name);
        names.filter_map(|name| Some((name.clone(), self.readings.get(name)?.identity()?))).collect()
    }

    fn item_image(&self, place: &(RegistryName, ServiceKey)) -> Option<ItemImage> {
        let (registry, key) = place;
        let refused = self
            .refused
            .get(registry, key)
            .map(|r| RefusedImage { why: Arc::clone(&r.why), service: r.service.clone() });
        let known = self.catalog.item(registry, key).cloned();
        let mut image = ItemImage { known, refused, ..ItemImage::default() };
        if let Some(guard) = self.guards.get(registry).filter(|_| !image.is_empty()) {
            guard.note_in(key, &mut image);
        }
        (!image.is_empty()).then_some(image)
    }
}

#[cfg(test)]
mod tests;
