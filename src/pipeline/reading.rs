//! Which registries have been read. Nothing of a registry reaches the catalog before all of its scopes have been.
//!
//! The same holds when a registry's configuration changes: its last state stays until its new form has been read, and
//! then one replaces the other at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::convert::policy::Policy;
use crate::model::change::{Batch, Change, Item, Trust};
use crate::model::service::{RegistryName, Scope, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::intake::Generation;
use crate::resource::collection::Collection;

/// One registry as the pipeline is to treat it.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Its name.
    pub name: RegistryName,
    /// Of which configuration of it: another number means that it must be read again.
    pub generation: Generation,
    /// What is taken of it, and how that appears.
    pub policy: Arc<Policy>,
    /// How long it is waited for.
    pub startup: Startup,
    /// What must be read before it counts as read.
    pub scopes: Vec<Scope>,
    /// The collections to which it contributes.
    pub feeds: Vec<Collection>,
    /// What to know it by after a restart.
    pub identity: Identity,
}

/// Hashes of a registry's settings, to tell after a restart whether they are what they were. Without secrets, which must
/// not be on disk even as a hash: another token is no other registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Of what decides what is read, its scopes included.
    pub reads: u64,
    /// Of what decides how that appears.
    pub policy: u64,
}

/// How long the mesh waits for a registry that has never been read (`startup` in the configuration).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Startup {
    /// Whether it is given up on after `wait`: its collections are then answered without it.
    pub optional: bool,
    /// After this time people are told, whatever follows from it.
    pub wait: Duration,
}

impl Default for Startup {
    /// Longer than most restarts of a registry take.
    fn default() -> Self {
        Self { optional: false, wait: Duration::from_secs(60) }
    }
}

/// What a new configuration changes about a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// Nothing about what has been read.
    Nothing,
    /// What was read is to be looked at by another policy.
    Policy,
    /// It has to be read again.
    Reading,
}

/// What is known of one registry's reads.
#[derive(Debug)]
pub struct Reading {
    active: Option<(Generation, Arc<Policy>)>,
    /// Of what is active: under which settings it was read.
    identity: Identity,
    /// What is active was restored, and these scopes have not been read since; empty: it was not, or they have.
    restored: BTreeSet<Scope>,
    next: Option<Staging>,
    feeds: Vec<Collection>,
    startup: Startup,
    /// When it was configured.
    since: Moment,
    /// It has never been read, and that for longer than [`Startup::wait`].
    overdue: bool,
    /// Why the last read was not believed, until one is.
    doubt: Option<Arc<str>>,
}

/// A read under way.
#[derive(Debug)]
struct Staging {
    generation: Generation,
    policy: Arc<Policy>,
    identity: Identity,
    unread: BTreeSet<Scope>,
    items: BTreeMap<ServiceKey, Item>,
    /// Of all of them.
    endpoints: usize,
}

/// What a batch means.
#[derive(Debug)]
pub enum Outcome {
    /// It comes from a life that is over, or waits until everything has been read.
    Waits,
    /// Everything has been read: this is all that the registry holds.
    Read(Vec<Item>),
    /// The registry had been read before: these are its changes.
    Changed(Vec<Change>),
}

impl Reading {
    /// A registry that has just been configured.
    #[must_use]
    pub fn new(settings: &RegistrySettings, now: Moment) -> Self {
        Self {
            active: None,
            identity: Identity::default(),
            restored: BTreeSet::new(),
            next: Some(Staging::new(settings)),
            feeds: settings.feeds.clone(),
            startup: settings.startup,
            since: now,
            overdue: false,
            doubt: None,
        }
    }

    /// Perhaps another configuration of the same registry; what was read under the last one stays until this one is
    /// read.
    pub fn configure(&mut self, settings: &RegistrySettings, now: Moment) -> Novelty {
        self.startup = settings.startup;
        let same = |generation: Generation| generation == settings.generation;
        if let Some(next) = &mut self.next
            && same(next.generation)
        {
            next.policy = Arc::clone(&settings.policy);
            next.identity = settings.identity;
            return Novelty::Nothing;
        }
        match &mut self.active {
            Some((generation, policy)) if same(*generation) => {
                // A registry that was changed and changed back is read no more under what it was in between.
                self.next = None;
                self.identity = settings.identity;
                let other = std::mem::replace(policy, Arc::clone(&settings.policy)) != settings.policy;
                if other { Novelty::Policy } else { Novelty::Nothing }
            }
            _ => {
                self.next = Some(Staging::new(settings));
                self.feeds.clone_from(&settings.feeds);
                (self.since, self.overdue) = (now, false);
                Novelty::Reading
            }
        }
    }

    /// Looks at the clock. Whether people should hear now that the registry has not been read in time.
    pub fn is_newly_overdue(&mut self, now: Moment) -> bool {
        let due = self.deadline().is_some_and(|at| at <= now);
        self.overdue |= due;
        due
    }

    /// Goes on with what was saved under the settings `saved`, as if that had just been read: under the same settings what
    /// is read next are changes of it, under others it stays until their first read.
    pub fn restore(&mut self, settings: &RegistrySettings, saved: Identity) {
        let same = saved.reads == settings.identity.reads;
        // No life has this number: of what is replaced nothing is heard any more.
        let generation = if same { settings.generation } else { Generation::default() };
        self.active = Some((generation, Arc::clone(&settings.policy)));
        self.identity = Identity { reads: saved.reads, policy: settings.identity.policy };
        self.next = (!same).then(|| Staging::new(settings));
        self.restored = settings.scopes.iter().cloned().collect();
    }

    /// Whether what is served of it is what was saved: not all of it has been read since.
    #[must_use]
    pub fn is_restored(&self) -> bool {
        !self.restored.is_empty()
    }

    /// The settings under which it was read; `None`: it never was.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.active.is_some().then_some(self.identity)
    }

    /// When it will have been waited for long enough; `None`: it has been read, or that was told.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let waits = !self.is_active() || self.is_restored();
        (waits && !self.overdue).then(|| self.since.plus(self.startup.wait))
    }

    /// Whether it is done without until it has been read.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        !self.is_active() && self.overdue && self.startup.optional
    }

    /// How long it is waited for.
    #[must_use]
    pub fn startup(&self) -> Startup {
        self.startup
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

    /// What is taken of what was read, and how it appears.
    #[must_use]
    pub fn policy(&self) -> Option<&Arc<Policy>> {
        self.active.as_ref().map(|(_, policy)| policy)
    }

    /// The collections to which it contributes.
    #[must_use]
    pub fn feeds(&self, collection: Collection) -> bool {
        self.feeds.contains(&collection)
    }

    /// Scopes whose read is missing.
    pub fn unread(&self) -> impl Iterator<Item = &Scope> {
        let restored = self.restored.iter().filter(|_| self.next.is_none());
        self.next.iter().flat_map(|n| &n.unread).chain(restored)
    }

    /// Why the last read was not believed.
    #[must_use]
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// Takes in what a life of `generation` says.
    pub fn deliver(&mut self, generation: Generation, batch: Batch) -> Outcome {
        for change in &batch.0 {
            if let Change::Reset { trust, .. } = change {
                self.doubt = match trust {
                    Trust::Doubtful(why) => Some(Arc::clone(why)),
                    Trust::Complete => None,
                };
            }
        }
        match self.next.take_if(|n| n.generation == generation) {
            Some(mut staging) => {
                batch.0.into_iter().for_each(|c| staging.take(c));
                if !staging.unread.is_empty() {
                    self.next = Some(staging);
                    return Outcome::Waits;
                }
                self.active = Some((generation, staging.policy));
                self.identity = staging.identity;
                self.restored.clear();
                Outcome::Read(staging.items.into_values().collect())
            }
            // Of what is replaced nothing is heard any more: its last state stays until the new form has been read.
            None if self.next.is_none() && self.active.as_ref().is_some_and(|(g, _)| *g == generation) => {
                for change in &batch.0 {
                    if let Change::Reset { scope, trust: Trust::Complete, .. } = change {
                        self.restored.remove(scope);
                    }
                }
                Outcome::Changed(batch.0)
            }
            None => Outcome::Waits,
        }
    }
}

impl Staging {
    fn new(settings: &RegistrySettings) -> Self {
        Self {
            generation: settings.generation,
            policy: Arc::clone(&settings.policy),
            identity: settings.identity,
            unread: settings.scopes.iter().cloned().collect(),
            items: BTreeMap::new(),
            endpoints: 0,
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            // Nothing is known with which it could be weighed.
            Change::Reset { trust: Trust::Doubtful(_), .. } => {}
            Change::Reset { scope, items, .. } => {
                self.items.retain(|key, _| key.scope != scope);
                self.endpoints = self.items.values().map(endpoints).sum();
                items.into_iter().for_each(|item| self.put(item));
                self.unread.remove(&scope);
            }
            // What cannot be read now may have been readable a moment ago.
            Change::Upsert(Item::Refused(key, why)) => {
                if !self.items.contains_key(&key) {
                    self.put(Item::Refused(key, why));
                }
            }
            Change::Upsert(item) => self.put(item),
            Change::Remove(key, _) => {
                self.endpoints -= self.items.remove(&key).as_ref().map_or(0, endpoints);
            }
        }
    }

    /// Takes `item` unless the registry's bounds are behind it already: so one too many is seen, and no more are kept.
    fn put(&mut self, item: Item) {
        let bounds = self.policy.bounds;
        let full = self.items.len() > bounds.services || self.endpoints > bounds.endpoints;
        if full && !self.items.contains_key(item.key()) {
            return;
        }
        self.endpoints += endpoints(&item);
        self.endpoints -= self.items.insert(item.key().clone(), item).as_ref().map_or(0, endpoints);
    }
}

fn endpoints(item: &Item) -> usize {
    match item {
        Item::Service(service) => service.endpoints.len(),
        Item::Object(_) | Item::Refused(..) => 0,
    }
}
