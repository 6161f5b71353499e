//! All instances that are known, found by every name that clients call them by. Pure.
//!
//! A *slot* is a name in lower case: Eureka tells no cases apart. What is asked for under it is the application of that
//! name, else the instances that say so in `vipAddress`, else those that say so in `secureVipAddress`: one slot is one
//! service, so that an application and the virtual address that it usually repeats do not fight over a host.
//! Every change costs in proportion to itself and says which slots it touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::instance::{HashCode, Instance, InstanceKey};

/// A name in lower case.
pub(super) type Slot = Arc<str>;

/// By which names instances are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// Applications by their names.
    pub app: bool,
    /// Virtual addresses, as Ribbon and Spring's clients resolve them.
    pub vip: bool,
    /// Virtual addresses of secure ports.
    pub secure_vip: bool,
}

impl Default for Names {
    /// Applications.
    fn default() -> Self {
        Self { app: true, vip: false, secure_vip: false }
    }
}

/// Which kind of name has a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An application.
    App,
    /// A virtual address.
    Vip,
    /// A virtual address of secure ports.
    SecureVip,
}

type Members = BTreeMap<Slot, BTreeSet<InstanceKey>>;

/// All instances.
#[derive(Debug)]
pub(super) struct Ledger {
    names: Names,
    apps: BTreeMap<Slot, BTreeMap<Arc<str>, Instance>>,
    vips: Members,
    secure_vips: Members,
    hash: HashCode,
    faults: BTreeMap<InstanceKey, Arc<str>>,
    len: usize,
}

impl Ledger {
    /// Nothing is known.
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            apps: BTreeMap::new(),
            vips: Members::new(),
            secure_vips: Members::new(),
            hash: HashCode::default(),
            faults: BTreeMap::new(),
            len: 0,
        }
    }

    /// How many instances there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The hash code over all of them.
    pub(super) fn hash(&self) -> &HashCode {
        &self.hash
    }

    /// Instances that make no sense, and why.
    pub(super) fn faults(&self) -> &BTreeMap<InstanceKey, Arc<str>> {
        &self.faults
    }

    /// What is known under `key`.
    pub(super) fn get(&self, key: &InstanceKey) -> Option<&Instance> {
        self.apps.get(&key.app)?.get(&key.id)
    }

    /// Every instance's key.
    pub(super) fn keys(&self) -> impl Iterator<Item = &InstanceKey> {
        self.apps.values().flat_map(BTreeMap::values).map(|i| &i.key)
    }

    /// Takes in an instance; one that is as it was touches nothing.
    pub(super) fn put(&mut self, instance: Instance, touched: &mut BTreeSet<Slot>) {
        if self.get(&instance.key) == Some(&instance) {
            return;
        }
        self.remove(&instance.key, touched);
        self.slots_of(&instance, touched);
        self.index(&instance, |members, key| {
            members.insert(key);
        });
        self.hash.add(instance.status);
        if let Err(why) = &instance.facts {
            self.faults.insert(instance.key.clone(), Arc::clone(why));
        }
        self.len += 1;
        let key = instance.key.clone();
        self.apps.entry(key.app).or_default().insert(key.id, instance);
    }

    /// Forgets an instance; whether it was there.
    pub(super) fn remove(&mut self, key: &InstanceKey, touched: &mut BTreeSet<Slot>) -> bool {
        let Some(app) = self.apps.get_mut(&key.app) else { return false };
        let Some(old) = app.remove(&key.id) else { return false };
        if app.is_empty() {
            self.apps.remove(&key.app);
        }
        self.slots_of(&old, touched);
        self.index(&old, |members, key| {
            members.remove(&key);
        });
        self.hash.remove(old.status);
        self.faults.remove(key);
        self.len -= 1;
        true
    }

    /// What is asked for under `slot`, in the order of the keys; `None`: nothing.
    pub(super) fn members(&self, slot: &str) -> Option<(Kind, Vec<&Instance>)> {
        if let Some(app) = self.apps.get(slot).filter(|_| self.names.app) {
            return Some((Kind::App, app.values().collect()));
        }
        let resolve = |keys: &BTreeSet<InstanceKey>| keys.iter().filter_map(|k| self.get(k)).collect();
        if let Some(keys) = self.vips.get(slot) {
            return Some((Kind::Vip, resolve(keys)));
        }
        Some((Kind::SecureVip, resolve(self.secure_vips.get(slot)?)))
    }

    fn slots_of(&self, instance: &Instance, touched: &mut BTreeSet<Slot>) {
        if self.names.app {
            touched.insert(Arc::clone(&instance.key.app));
        }
        let vips = instance.vips.iter().filter(|_| self.names.vip);
        let secure = instance.secure_vips.iter().filter(|_| self.names.secure_vip);
        touched.extend(vips.chain(secure).map(|name| Slot::from(name.to_lowercase())));
    }

    fn index(&mut self, instance: &Instance, change: impl Fn(&mut BTreeSet<InstanceKey>, InstanceKey)) {
        let lists = [
            (self.names.vip, &instance.vips, &mut self.vips),
            (self.names.secure_vip, &instance.secure_vips, &mut self.secure_vips),
        ];
        for (_, names, members) in lists.into_iter().filter(|(wanted, ..)| *wanted) {
            for name in names {
                let slot = Slot::from(name.to_lowercase());
                let of = members.entry(Arc::clone(&slot)).or_default();
                change(of, instance.key.clone());
                if of.is_empty() {
                    members.remove(&slot);
                }
            }
        }
    }
}
