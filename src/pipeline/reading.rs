//! Which registries have been read. Nothing of a registry reaches the catalog before all of its scopes have been.
//!
//! The same holds when a registry's configuration changes: its last state stays until its new form has been read, and
//! then one replaces the other at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::convert::mapping::Mapping;
use crate::model::change::{Batch, Change, Item};
use crate::model::service::{RegistryName, Scope, ServiceKey};
use crate::pipeline::guard::{self, Ruling};
use crate::pipeline::intake::Generation;
use crate::resource::collection::Collection;

/// One registry as the pipeline is to treat it.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Its name.
    pub name: RegistryName,
    /// Of which configuration of it: another number means that it must be read again.
    pub generation: Generation,
    /// How its services appear.
    pub mapping: Arc<Mapping>,
    /// What must be read before it counts as read.
    pub scopes: Vec<Scope>,
    /// The collections to which it contributes.
    pub feeds: Vec<Collection>,
}

/// What is known of one registry's reads.
#[derive(Debug)]
pub struct Reading {
    active: Option<(Generation, Arc<Mapping>)>,
    next: Option<Staging>,
    feeds: Vec<Collection>,
    /// Why the last read was not believed, until one is.
    doubt: Option<Arc<str>>,
}

/// A read under way.
#[derive(Debug)]
struct Staging {
    generation: Generation,
    mapping: Arc<Mapping>,
    unread: BTreeSet<Scope>,
    items: BTreeMap<ServiceKey, Item>,
}

/// What a batch means.
#[derive(Debug)]
pub enum Outcome {
    /// It comes from a life that is over, or waits until everything has been read.
    Waits,
    /// Everything has been read: this is all that the registry holds.
    Read(Vec<Item>),
    /// The registry had been read before: these are its changes, doubtful ones taken out.
    Changed(Vec<Change>),
}

impl Reading {
    /// A registry that has just been configured.
    #[must_use]
    pub fn new(settings: &RegistrySettings) -> Self {
        Self { active: None, next: Some(Staging::new(settings)), feeds: settings.feeds.clone(), doubt: None }
    }

    /// Perhaps another configuration of the same registry; what was read under the last one stays until this one is
    /// read. Whether it is another.
    pub fn configure(&mut self, settings: &RegistrySettings) -> bool {
        let current = self.next.as_ref().map(|n| n.generation).or(self.active.as_ref().map(|a| a.0));
        let other = current != Some(settings.generation);
        if other {
            self.next = Some(Staging::new(settings));
            self.feeds.clone_from(&settings.feeds);
        }
        other
    }

    /// Whether it has ever been read.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Whether it has been read under its present configuration.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.next.is_none()
    }

    /// How what was read appears.
    #[must_use]
    pub fn mapping(&self) -> Option<&Arc<Mapping>> {
        self.active.as_ref().map(|(_, mapping)| mapping)
    }

    /// The collections to which it contributes.
    #[must_use]
    pub fn feeds(&self, collection: Collection) -> bool {
        self.feeds.contains(&collection)
    }

    /// Scopes whose read is missing.
    pub fn unread(&self) -> impl Iterator<Item = &Scope> {
        self.next.iter().flat_map(|n| &n.unread)
    }

    /// Why the last read was not believed.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Takes in what a life of `generation` says.
    pub fn deliver(&mut self, generation: Generation, batch: Batch) -> Outcome {
        let mut changes = Vec::with_capacity(batch.0.len());
        for change in batch.0 {
            match guard::rule(&change) {
                Ruling::Pass => changes.push(change),
                Ruling::Hold(why) => self.doubt = Some(why),
            }
        }
        if changes.iter().any(|c| matches!(c, Change::Reset { .. })) {
            self.doubt = None;
        }
        match self.next.take_if(|n| n.generation == generation) {
            Some(mut staging) => {
                changes.into_iter().for_each(|c| staging.take(c));
                if !staging.unread.is_empty() {
                    self.next = Some(staging);
                    return Outcome::Waits;
                }
                self.active = Some((generation, staging.mapping));
                Outcome::Read(staging.items.into_values().collect())
            }
            // Of what is replaced nothing is heard any more: its last state stays until the new form has been read.
            None if self.next.is_none() && self.active.as_ref().is_some_and(|(g, _)| *g == generation) => {
                Outcome::Changed(changes)
            }
            None => Outcome::Waits,
        }
    }
}

impl Staging {
    fn new(settings: &RegistrySettings) -> Self {
        Self {
            generation: settings.generation,
            mapping: Arc::clone(&settings.mapping),
            unread: settings.scopes.iter().cloned().collect(),
            items: BTreeMap::new(),
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Reset { scope, items, .. } => {
                self.items.retain(|key, _| key.scope != scope);
                self.items.extend(items.into_iter().map(|i| (i.key().clone(), i)));
                self.unread.remove(&scope);
            }
            // What cannot be read now may have been readable a moment ago.
            Change::Upsert(Item::Refused(key, why)) => {
                self.items.entry(key.clone()).or_insert(Item::Refused(key, why));
            }
            Change::Upsert(item) => {
                self.items.insert(item.key().clone(), item);
            }
            Change::Remove(key, _) => {
                self.items.remove(&key);
            }
        }
    }
}
