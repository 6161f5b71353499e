//! Items that are not what their registry says now, and how much room they take: what is refused is kept for people, and
//! must not fill the memory either.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::service::{RegistryName, Service, ServiceKey};
use crate::pipeline::engine::bounded::Load;

/// Why an item is not what its registry says now.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// For people.
    pub why: Arc<str>,
    /// What the registry says, where another policy may take it.
    pub(super) service: Option<Arc<Service>>,
    /// Nothing is served of it: it is the one thing that is known of it.
    alone: bool,
}

impl Refusal {
    pub(super) fn new(why: Arc<str>, service: Option<Arc<Service>>) -> Self {
        Self { why, service, alone: false }
    }

    fn load(&self) -> Load {
        Load { items: usize::from(self.alone), endpoints: self.endpoints() }
    }

    pub(super) fn endpoints(&self) -> usize {
        self.service.as_ref().map_or(0, |service| service.endpoints.len())
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    all: BTreeMap<(RegistryName, ServiceKey), Refusal>,
    load: BTreeMap<RegistryName, Load>,
}

impl Refusals {
    pub(super) fn all(&self) -> &BTreeMap<(RegistryName, ServiceKey), Refusal> {
        &self.all
    }

    pub(super) fn get(&self, registry: &RegistryName, key: &ServiceKey) -> Option<&Refusal> {
        self.all.get(&(registry.clone(), key.clone()))
    }

    /// Notes that an item is refused of which something is served, or nothing (`alone`); what was noted before.
    pub(super) fn insert(
        &mut self,
        place: (RegistryName, ServiceKey),
        refusal: Refusal,
        alone: bool,
    ) -> Option<Refusal> {
        let before = self.remove(&place);
        let refusal = Refusal { alone, ..refusal };
        let load = self.load.entry(place.0.clone()).or_default();
        *load = load.and(refusal.load());
        self.all.insert(place, refusal);
        before
    }

    pub(super) fn remove(&mut self, place: &(RegistryName, ServiceKey)) -> Option<Refusal> {
        let gone = self.all.remove(place)?;
        self.lighten(&place.0, &gone);
        Some(gone)
    }

    /// Removes what of `registry` is not to be kept, and says what that is.
    pub(super) fn retain(
        &mut self,
        registry: &RegistryName,
        keep: impl Fn(&ServiceKey) -> bool,
    ) -> Vec<ServiceKey> {
        let gone = self.all.extract_if(.., |(of, key), _| of == registry && !keep(key));
        let gone: Vec<_> = gone.collect();
        gone.iter().for_each(|(_, refusal)| self.lighten(registry, refusal));
        gone.into_iter().map(|((_, key), _)| key).collect()
    }

    /// How much room those of `registry` take.
    pub(super) fn load(&self, registry: &RegistryName) -> Load {
        self.load.get(registry).copied().unwrap_or_default()
    }

    fn lighten(&mut self, registry: &RegistryName, gone: &Refusal) {
        let Some(load) = self.load.get_mut(registry) else { return };
        *load = load.without(gone.load());
        if *load == Load::default() {
            self.load.remove(registry);
        }
    }
}
