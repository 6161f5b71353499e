//! Applications that register themselves: their instances, what is known of their revisions, and what they declare.
//!
//! An instance that says another revision keeps what it was known to provide until somebody tells what it provides now: it
//! goes on serving meanwhile. What is known of a revision outlives its last instance for a while, as instances come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::instance::{Instance, Read};
use super::metadata::Metadata;
use super::provider::Provider;
use crate::registry::zookeeper::layout::question::{Finding, Key, Target};
use crate::registry::zookeeper::tree::split;

/// Revisions without an instance of which something is remembered.
const REMEMBERED: usize = 256;
/// Instances of a revision that may be asked for it; they all know the same.
const ASKED: usize = 8;

/// All applications.
#[derive(Debug, Default)]
pub(crate) struct Applications {
    all: BTreeMap<Arc<str>, Application>,
    /// The applications that declare each interface.
    declaring: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What was found out.
    known: BTreeMap<Key, Arc<Metadata>>,
    /// Of which revisions of `known` the last instance went, the first to go first.
    unused: VecDeque<Key>,
    /// Why nothing is known of a revision so far.
    failed: BTreeMap<Key, Arc<str>>,
    /// The interfaces that a mapping names for each application, and the other way around.
    mapped: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    mapping: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

#[derive(Debug, Default)]
struct Application {
    /// By path.
    members: BTreeMap<Arc<str>, Member>,
    declares: BTreeSet<Arc<str>>,
}

/// One node.
#[derive(Debug)]
struct Member {
    read: Read,
    /// What it is known to provide; perhaps by an earlier revision.
    known: Option<Arc<Metadata>>,
}

impl Member {
    fn instance(&self) -> Option<&Instance> {
        match &self.read {
            Read::Instance(instance) => Some(instance),
            Read::Foreign | Read::LeftOut(_) => None,
        }
    }

    fn key(&self, application: &Arc<str>) -> Option<Key> {
        let revision = self.instance()?.revision.clone()?;
        Some(Key { application: Arc::clone(application), revision })
    }
}

impl Applications {
    /// The node at `path`, an instance of `application`, holds `data`; `None`: it went.
    pub(crate) fn sync(&mut self, application: &Arc<str>, path: &Arc<str>, data: Option<&[u8]>) {
        let read = data.map(Read::of).filter(|read| *read != Read::Foreign);
        let Some(read) = read else {
            self.drop_member(application, path);
            return;
        };
        let members = &mut self.all.entry(Arc::clone(application)).or_default().members;
        let before = members.remove(path);
        let left = before.as_ref().and_then(|m| m.key(application));
        let mut member = Member { read, known: before.and_then(|m| m.known) };
        if member.instance().is_none() {
            member.known = None;
        }
        let key = member.key(application);
        if let Some(found) = key.as_ref().and_then(|key| self.known.get(key)) {
            member.known = Some(Arc::clone(found));
        }
        members.insert(Arc::clone(path), member);
        self.leave(left.filter(|left| Some(left) != key.as_ref()));
        if let Some(key) = key {
            self.unused.retain(|unused| *unused != key);
        }
    }

    fn drop_member(&mut self, application: &Arc<str>, path: &str) {
        let Some(found) = self.all.get_mut(application) else { return };
        let left = found.members.remove(path).and_then(|m| m.key(application));
        self.leave(left);
    }

    /// An instance said `key` and does no more.
    fn leave(&mut self, key: Option<Key>) {
        let Some(key) = key.filter(|key| !self.says(key)) else { return };
        self.failed.remove(&key);
        if self.known.contains_key(&key) {
            self.unused.retain(|unused| *unused != key);
            self.unused.push_back(key);
        }
        while self.unused.len() > REMEMBERED {
            if let Some(oldest) = self.unused.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }

    /// Whether any instance says `key`.
    fn says(&self, key: &Key) -> bool {
        self.members(&key.application).any(|(_, m)| m.key(&key.application).as_ref() == Some(key))
    }

    fn members(&self, application: &str) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        self.all.get(application).into_iter().flat_map(|a| &a.members)
    }

    /// Takes in what came of a question; whether that is of use to anyone.
    pub(crate) fn learn(&mut self, finding: &Finding) -> bool {
        let Finding { key, outcome } = finding;
        if !self.says(key) {
            return false;
        }
        match outcome {
            Err(why) => drop(self.failed.insert(key.clone(), Arc::clone(why))),
            Ok(metadata) => {
                self.failed.remove(key);
                self.known.insert(key.clone(), Arc::clone(metadata));
                let members = self.all.get_mut(&key.application).into_iter();
                for member in members.flat_map(|a| a.members.values_mut()) {
                    if member.key(&key.application).as_ref() == Some(key) {
                        member.known = Some(Arc::clone(metadata));
                    }
                }
            }
        }
        true
    }

    /// `interface` is provided by `applications`, says the mapping; all whom that concerns.
    pub(crate) fn map(
        &mut self,
        interface: &Arc<str>,
        applications: BTreeSet<Arc<str>>,
    ) -> BTreeSet<Arc<str>> {
        let before = self.mapping.remove(interface).unwrap_or_default();
        for application in before.difference(&applications) {
            if let Some(interfaces) = self.mapped.get_mut(application) {
                interfaces.remove(interface);
                if interfaces.is_empty() {
                    self.mapped.remove(application);
                }
            }
        }
        for application in &applications {
            self.mapped.entry(Arc::clone(application)).or_default().insert(Arc::clone(interface));
        }
        let concerned = before.union(&applications).cloned().collect();
        if !applications.is_empty() {
            self.mapping.insert(Arc::clone(interface), applications);
        }
        concerned
    }

    /// Interfaces that a mapping names.
    pub(crate) fn mapped_interfaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.mapping.keys()
    }

    /// Keeps in line what `application` declares now; what it declares and declared before.
    pub(crate) fn index(&mut self, application: &Arc<str>) -> BTreeSet<Arc<str>> {
        let now = self.declared_by(application);
        let Some(found) = self.all.get_mut(application) else { return BTreeSet::new() };
        let before = std::mem::replace(&mut found.declares, now.clone());
        if found.members.is_empty() {
            self.all.remove(application);
        }
        for interface in before.difference(&now) {
            if let Some(applications) = self.declaring.get_mut(interface) {
                applications.remove(application);
                if applications.is_empty() {
                    self.declaring.remove(interface);
                }
            }
        }
        for interface in now.difference(&before) {
            self.declaring.entry(Arc::clone(interface)).or_default().insert(Arc::clone(application));
        }
        before.into_iter().chain(now).collect()
    }

    fn declared_by(&self, application: &Arc<str>) -> BTreeSet<Arc<str>> {
        let mut now = BTreeSet::new();
        for (_, member) in self.members(application) {
            match &member.known {
                Some(metadata) => now.extend(metadata.interfaces().cloned()),
                None if self.is_left_to_mapping(application, member) => {
                    now.extend(self.mapped.get(application).into_iter().flatten().cloned());
                }
                None => {}
            }
        }
        now
    }

    /// Whether nobody tells what it provides, so that a mapping is better than nothing.
    fn is_left_to_mapping(&self, application: &Arc<str>, member: &Member) -> bool {
        member.known.is_none()
            && member.instance().is_some()
            && member.key(application).is_none_or(|key| self.failed.contains_key(&key))
    }

    /// The applications that declare `interface`.
    pub(crate) fn declaring(&self, interface: &str) -> impl Iterator<Item = &Arc<str>> {
        self.declaring.get(interface).into_iter().flatten()
    }

    /// The interfaces that `application` declares.
    pub(crate) fn declares(&self, application: &str) -> impl Iterator<Item = &Arc<str>> {
        self.all.get(application).into_iter().flat_map(|a| &a.declares)
    }

    /// `application`'s instances as providers of `interface`, as far as that is known.
    pub(crate) fn known(&self, application: &Arc<str>, interface: &str) -> Vec<(Arc<str>, Provider)> {
        let members = self.members(application).map(|(_, member)| member);
        let known = members.filter_map(|m| Some((m.instance()?, m.known.as_ref()?)));
        let offered = known.flat_map(|(i, metadata)| metadata.of(interface).iter().map(move |o| (i, o)));
        offered.filter_map(|(instance, offered)| instance.provide(application, offered)).collect()
    }

    /// Those of which nobody tells what they provide, as providers of what a mapping names.
    pub(crate) fn guessed(&self, application: &Arc<str>, interface: &Arc<str>) -> Vec<(Arc<str>, Provider)> {
        if !self.mapped.get(application).is_some_and(|interfaces| interfaces.contains(interface)) {
            return Vec::new();
        }
        let members = self.members(application).map(|(_, member)| member);
        let left = members.filter(|m| self.is_left_to_mapping(application, m)).filter_map(Member::instance);
        left.flat_map(|instance| instance.mapped(application, interface)).collect()
    }

    /// `application`'s instances with their ports and nothing else.
    pub(crate) fn bare(&self, application: &Arc<str>) -> Vec<(Arc<str>, Provider)> {
        let instances = self.members(application).filter_map(|(_, member)| member.instance());
        instances.flat_map(|instance| instance.bares(application)).collect()
    }

    /// Revisions of which nothing is known: what is asked for, the instances that say it, who may be asked, and why
    /// nothing is known so far.
    pub(crate) fn unknown(&self, application: &Arc<str>) -> Vec<Unknown<'_>> {
        let mut by_key: BTreeMap<Key, Vec<&Instance>> = BTreeMap::new();
        for (_, member) in self.members(application) {
            if let (Some(key), Some(instance)) = (member.key(application), member.instance())
                && !self.known.contains_key(&key)
            {
                by_key.entry(key).or_default().push(instance);
            }
        }
        let one = |(key, instances): (Key, Vec<_>)| {
            let targets: BTreeSet<Target> =
                instances.iter().filter_map(|i: &&Instance| i.target.clone()).collect();
            let why = self.failed.get(&key).map(|why| &**why);
            Unknown { targets: targets.into_iter().take(ASKED).collect(), why, key, instances }
        };
        by_key.into_iter().map(one).collect()
    }

    /// What of `application`'s nodes was left out or dropped, and why.
    pub(crate) fn odd(&self, application: &str) -> Vec<(Arc<str>, &'static str)> {
        let ours = self.members(application).any(|(_, m)| m.instance().is_some());
        let reason = |member: &Member, id: &str| match &member.read {
            Read::LeftOut(fault) if ours || id.contains(':') => Some(*fault),
            Read::Instance(instance) => instance.odd,
            Read::LeftOut(_) | Read::Foreign => None,
        };
        let named = self.members(application).filter_map(|(path, member)| {
            let (_, id) = split(path)?;
            Some((Arc::from(id), reason(member, id)?))
        });
        named.collect()
    }

    /// Every application with its nodes' paths, for whoever reads all of them anew.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.all.iter().flat_map(|(name, a)| a.members.keys().map(move |path| (name, path)))
    }
}

/// A revision of which nothing is known.
#[derive(Debug)]
pub(crate) struct Unknown<'a> {
    /// Which.
    pub(crate) key: Key,
    /// The instances that say it.
    pub(crate) instances: Vec<&'a Instance>,
    /// Who may be asked.
    pub(crate) targets: Vec<Target>,
    /// Why nothing is known so far; absent: nobody has been asked yet.
    pub(crate) why: Option<&'a str>,
}
