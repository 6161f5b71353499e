//! What a person has frozen: nothing is taken away there, whatever a registry says. What comes or changes still does.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::service::RegistryName;

/// A part of what is served, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// Everything.
    All,
    /// One registry.
    Registry(RegistryName),
    /// One service of one registry, by the registry's own name.
    Service(RegistryName, Arc<str>),
}

impl Area {
    /// Whether it holds `service` of `registry`.
    #[must_use]
    pub fn holds(&self, registry: &RegistryName, service: &str) -> bool {
        match self {
            Self::All => true,
            Self::Registry(name) => name == registry,
            Self::Service(of, name) => of == registry && **name == *service,
        }
    }

    /// The registry that it lies in; `None`: in all.
    #[must_use]
    pub fn registry(&self) -> Option<&RegistryName> {
        match self {
            Self::All => None,
            Self::Registry(name) | Self::Service(name, _) => Some(name),
        }
    }

    /// The service that it is.
    #[must_use]
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Service(_, name) => Some(name),
            Self::All | Self::Registry(_) => None,
        }
    }
}

/// All that is frozen. Lasts until it is thawed or the process ends; a reload of the configuration does not touch it.
#[derive(Debug, Default)]
pub struct Frozen(BTreeSet<Area>);

impl Frozen {
    /// Freezes or thaws exactly `area`; thawing everything thaws all areas.
    pub fn set(&mut self, area: Area, frozen: bool) {
        match (frozen, &area) {
            (true, _) => drop(self.0.insert(area)),
            (false, Area::All) => self.0.clear(),
            (false, _) => drop(self.0.remove(&area)),
        }
    }

    /// Whether nothing of `service` of `registry` is to be taken away.
    #[must_use]
    pub fn holds(&self, registry: &RegistryName, service: &str) -> bool {
        self.0.iter().any(|area| area.holds(registry, service))
    }

    /// Whether `registry`, or a service of it, is frozen.
    #[must_use]
    pub fn touches(&self, registry: &RegistryName) -> bool {
        self.0.iter().any(|area| area.registry().is_none_or(|of| of == registry))
    }

    /// What is frozen, in order.
    pub fn areas(&self) -> impl Iterator<Item = &Area> {
        self.0.iter()
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
