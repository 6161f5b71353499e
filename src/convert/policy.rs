//! What is taken of a registry and how it appears: `select`, `map` and `services` of one entry of the configuration.
//!
//! Another policy needs no other read: all that it decides follows from what is known already.

use crate::convert::mapping::{Globs, Mapping};
use crate::convert::select::Select;
use crate::model::bounds::Bounds;
use crate::model::limits::Limits;

/// All that decides about the services of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which services and instances are taken.
    pub select: Select,
    /// How they appear.
    pub map: Mapping,
    /// Exceptions by the registry's own name, the most specific first; the first that matches decides, alone.
    pub exceptions: Vec<Exception>,
    /// How much it may silently lose.
    pub guard: Limits,
    /// How much of the registry is taken at all.
    pub bounds: Bounds,
}

/// What holds for some services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Whose names match.
    pub names: Globs,
    /// What becomes of them.
    pub fate: Fate,
    /// How much they may silently lose; absent: what the registry may.
    pub guard: Option<Limits>,
}

/// What becomes of the services of an [`Exception`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// They are left out.
    Dropped,
    /// They appear so; whole, with what the registry's own mapping says where the exception is silent.
    Mapped(Box<Mapping>),
}

impl Policy {
    /// Every way in which a service may appear.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        let mapped = self.exceptions.iter().filter_map(|e| match &e.fate {
            Fate::Mapped(mapping) => Some(&**mapping),
            Fate::Dropped => None,
        });
        std::iter::once(&self.map).chain(mapped)
    }

    /// How a service of this name appears; `None`: it is dropped.
    #[must_use]
    pub fn mapping(&self, name: &str) -> Option<&Mapping> {
        match self.exception(name).map(|e| &e.fate) {
            None => Some(&self.map),
            Some(Fate::Mapped(mapping)) => Some(mapping),
            Some(Fate::Dropped) => None,
        }
    }

    /// How much a service of this name may silently lose.
    #[must_use]
    pub fn limits(&self, name: &str) -> &Limits {
        self.exception(name).and_then(|e| e.guard.as_ref()).unwrap_or(&self.guard)
    }

    fn exception(&self, name: &str) -> Option<&Exception> {
        self.exceptions.iter().find(|e| e.names.is_match(name))
    }
}

impl From<Mapping> for Policy {
    /// Takes everything.
    fn from(map: Mapping) -> Self {
        Self {
            select: Select::default(),
            map,
            exceptions: Vec::new(),
            guard: Limits::default(),
            bounds: Bounds::default(),
        }
    }
}
