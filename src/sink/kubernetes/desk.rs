//! What is wanted beside what there is, and what is to be done about the difference. No clock, no socket.
//!
//! - Touched is only what carries our labels: managed by chandler, this installation's, of some registry. An object of
//!   somebody else that stands in our way stays, and is named.
//! - Nothing is deleted before its collection is complete, nor while its registry is among those of which nothing has been
//!   read.
//! - Work waits by object, never by change: however much changes while nobody can write, each object is written once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::object::{self, Key, Kind, Owner, Rule, Wanted};
use super::observed::Observed;
use crate::model::service::RegistryName;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceName};
use crate::resource::snapshot::{CollectionSnapshot, Snapshot};
use crate::sink::{Form, Takes};

/// What is to be done about one object.
#[derive(Debug, Clone)]
pub(super) enum Job {
    /// There is none.
    Create(Wanted),
    /// It is ours and differs. The uid is of the one that was seen.
    Update(Wanted, Arc<str>),
    /// It is ours and not wanted. The uid is of the one that was seen.
    Delete(Arc<str>),
}

/// In this order: endpoints are there before an entry selects them, and stay until none does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    WriteEndpoint,
    WriteEntry,
    DeleteEntry,
    DeleteEndpoint,
}

fn turn(job: &Job, kind: Kind) -> Turn {
    match (job, kind) {
        (Job::Create(_) | Job::Update(..), Kind::WorkloadEntry) => Turn::WriteEndpoint,
        (Job::Create(_) | Job::Update(..), Kind::ServiceEntry) => Turn::WriteEntry,
        (Job::Delete(_), Kind::ServiceEntry) => Turn::DeleteEntry,
        (Job::Delete(_), Kind::WorkloadEntry) => Turn::DeleteEndpoint,
    }
}

/// Where a resource came from: the collections can name things alike.
type SourceId = (Collection, ResourceName);

/// Both sides, and the work between them.
#[derive(Debug)]
pub(super) struct Desk {
    owner: Owner,
    takes: Takes,
    inline_endpoints: usize,
    /// The only namespaces that count; empty: all.
    namespaces: BTreeSet<String>,
    snapshot: Arc<Snapshot>,
    wanted: BTreeMap<Key, Wanted>,
    sources: BTreeMap<SourceId, Vec<Key>>,
    /// Resources without objects, and why.
    refused: BTreeMap<SourceId, String>,
    observed: BTreeMap<Key, Observed>,
    /// Kinds of which all objects have been seen.
    listed: BTreeSet<Kind>,
    /// What differs and nobody works at.
    ready: BTreeSet<(Turn, Key)>,
    busy: BTreeMap<Key, Turn>,
    /// What failed and is not tried again until its time comes.
    resting: BTreeSet<Key>,
    /// What is wanted and cannot be, because an object of somebody else has its name.
    taken: BTreeSet<Key>,
}

impl Desk {
    /// Nothing is wanted and nothing has been seen.
    #[must_use]
    pub(super) fn new(owner: Owner, inline_endpoints: usize, namespaces: &[String]) -> Self {
        Self {
            owner,
            takes: Takes::new(),
            inline_endpoints,
            namespaces: namespaces.iter().cloned().collect(),
            snapshot: Arc::default(),
            wanted: BTreeMap::new(),
            sources: BTreeMap::new(),
            refused: BTreeMap::new(),
            observed: BTreeMap::new(),
            listed: BTreeSet::new(),
            ready: BTreeSet::new(),
            busy: BTreeMap::new(),
            resting: BTreeSet::new(),
            taken: BTreeSet::new(),
        }
    }

    /// Whose objects are ours.
    #[must_use]
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// What is published, and of which registries it is taken. What is not complete keeps what it was.
    pub(super) fn want(&mut self, snapshot: Arc<Snapshot>, takes: &Takes) {
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(&snapshot));
        let anew = self.takes != *takes;
        if anew {
            self.takes.clone_from(takes);
        }
        let empty = Arc::new(CollectionSnapshot::default());
        for kind in Kind::ALL {
            let Some(new) = snapshot.get(kind.collection()) else { continue };
            let before = old.get(kind.collection()).filter(|_| !anew).unwrap_or(&empty);
            let diff = new.diff(before);
            if anew {
                let gone = self
                    .sources
                    .keys()
                    .filter(|(c, name)| *c == kind.collection() && new.get(name.as_str()).is_none());
                let gone: Vec<_> = gone.cloned().collect();
                gone.iter().for_each(|id| self.forget(id));
            }
            diff.removed.into_iter().for_each(|name| self.forget(&(kind.collection(), name)));
            diff.changed.iter().for_each(|source| self.take(source));
        }
        let first = Kind::ALL.iter().any(|k| old.get(k.collection()).is_none());
        if anew || first || old.unread() != snapshot.unread() {
            self.reconsider_all();
        }
    }

    /// Puts the objects of `source` in place of those that it had.
    fn take(&mut self, source: &Arc<Encoded>) {
        let id = (source.id.collection, source.id.name.clone());
        let form = source.registry().and_then(|r| self.takes.get(&RegistryName::new(r)).copied());
        let Some(form) = form else { return self.forget(&id) };
        let rule = Rule { form, inline_endpoints: self.inline_endpoints };
        match object::objects(source, &self.owner, rule, self.is_apart(source)) {
            Ok(objects) => {
                let outside = !self.is_inside(source.id.name.parts().0);
                self.refused.remove(&id);
                if outside {
                    self.refused.insert(id.clone(), "its namespace is not among `namespaces`".into());
                }
                self.replace(id, if outside { Vec::new() } else { objects });
            }
            // What was written stays, as a resource that became wrong stays on the wires.
            Err(e) => {
                self.refused.insert(id, e.to_string());
            }
        }
    }

    fn is_inside(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    /// Whether the endpoints of `source` are objects of their own now, by what we wrote or find written.
    fn is_apart(&self, source: &Encoded) -> bool {
        let (namespace, name) = source.id.name.parts();
        let kind = Kind::ServiceEntry;
        let key = Key { kind, namespace: namespace.into(), name: super::name::object(name).into() };
        let written = self.observed.get(&key).filter(|o| o.registry().is_some()).map(|o| o.selecting);
        self.wanted.get(&key).map(Wanted::is_selecting).or(written).unwrap_or(false)
    }

    fn replace(&mut self, id: SourceId, objects: Vec<(Key, Wanted)>) {
        let keys: Vec<Key> = objects.iter().map(|(key, _)| key.clone()).collect();
        let old = self.sources.insert(id, keys.clone()).unwrap_or_default();
        for key in old.iter().filter(|key| keys.binary_search(key).is_err()) {
            self.wanted.remove(key);
            self.touched(key);
        }
        for (key, wanted) in objects {
            self.wanted.insert(key.clone(), wanted);
            self.touched(&key);
        }
    }

    fn forget(&mut self, id: &SourceId) {
        self.refused.remove(id);
        for key in self.sources.remove(id).unwrap_or_default() {
            self.wanted.remove(&key);
            self.touched(&key);
        }
    }

    /// All objects of a kind. Whatever else was known is gone.
    pub(super) fn listed(&mut self, kind: Kind, all: Vec<(Key, Observed)>) {
        let keys: BTreeSet<Key> = all.iter().map(|(key, _)| key.clone()).collect();
        let gone: Vec<Key> =
            self.observed.keys().filter(|k| k.kind == kind && !keys.contains(*k)).cloned().collect();
        gone.iter().for_each(|key| self.gone(key, None));
        all.into_iter().for_each(|(key, observed)| self.seen(key, observed));
        if self.listed.insert(kind) {
            self.settle_forms();
            self.reconsider_all();
        }
    }

    /// Its objects are not known any more: nobody can list them.
    pub(super) fn unlisted(&mut self, kind: Kind) {
        self.listed.remove(&kind);
        self.reconsider_all();
    }

    /// Entries that were found taken apart stay so where both forms would do, although they were wanted before that was
    /// known.
    fn settle_forms(&mut self) {
        let apart = |(key, o): (&Key, &Observed)| {
            let ours = key.kind == Kind::ServiceEntry && o.selecting && o.registry().is_some();
            let wanted = self.wanted.get(key).filter(|w| ours && !w.is_selecting())?;
            Some((key.clone(), Arc::clone(wanted.source())))
        };
        let all: Vec<(Key, Arc<Encoded>)> = self.observed.iter().filter_map(apart).collect();
        for (key, source) in all {
            self.wanted.remove(&key);
            self.take(&source);
        }
    }

    /// An object came or changed.
    pub(super) fn seen(&mut self, key: Key, now: Observed) {
        match self.observed.get_mut(&key) {
            Some(old) if !old.is_overtaken_by(&now) => return,
            Some(old) => *old = old.replaced_by(now),
            None => {
                self.observed.insert(key.clone(), now);
            }
        }
        self.touched(&key);
    }

    /// An object went; with its uid, if another of that name may have come since.
    pub(super) fn gone(&mut self, key: &Key, uid: Option<&str>) {
        if self.observed.get(key).is_some_and(|o| uid.is_none_or(|uid| *o.uid == *uid)) {
            self.observed.remove(key);
        }
        self.touched(key);
    }

    /// A deletion was taken; the object goes when the watch says so.
    pub(super) fn deleted(&mut self, key: &Key) {
        if let Some(o) = self.observed.get_mut(key) {
            o.leaving = true;
        }
    }

    /// Whether there is anything to do, or to be said, about it.
    #[must_use]
    pub(super) fn is_of_interest(&self, key: &Key) -> bool {
        self.busy.contains_key(key) || self.job(key).is_some()
    }

    /// Something about the object is new: whatever it was resting from is over.
    fn touched(&mut self, key: &Key) {
        self.resting.remove(key);
        self.reconsider(key);
    }

    fn reconsider_all(&mut self) {
        let keys: BTreeSet<Key> = self.wanted.keys().chain(self.observed.keys()).cloned().collect();
        keys.iter().for_each(|key| self.reconsider(key));
    }

    fn reconsider(&mut self, key: &Key) {
        for turn in [Turn::WriteEndpoint, Turn::WriteEntry, Turn::DeleteEntry, Turn::DeleteEndpoint] {
            self.ready.remove(&(turn, key.clone()));
        }
        let foreign = self.observed.get(key).is_some_and(|o| o.registry().is_none());
        if foreign && self.wanted.contains_key(key) {
            self.taken.insert(key.clone());
        } else {
            self.taken.remove(key);
        }
        if self.busy.contains_key(key) || self.resting.contains(key) {
            return;
        }
        if let Some(job) = self.job(key) {
            self.ready.insert((turn(&job, key.kind), key.clone()));
        }
    }

    /// What there is to do about one object.
    fn job(&self, key: &Key) -> Option<Job> {
        if !self.listed.contains(&key.kind) {
            return None;
        }
        match (self.wanted.get(key), self.observed.get(key)) {
            (Some(wanted), None) => Some(Job::Create(wanted.clone())),
            (Some(wanted), Some(o)) => {
                let differs = o.registry().is_some() && !o.leaving && !o.is(wanted);
                differs.then(|| Job::Update(wanted.clone(), Arc::clone(&o.uid)))
            }
            (None, Some(o)) => {
                let may = !o.leaving && o.registry().is_some_and(|r| self.may_delete(r));
                may.then(|| Job::Delete(Arc::clone(&o.uid)))
            }
            (None, None) => None,
        }
    }

    /// Whether what `registry` does not show can be told from what it has not shown yet.
    fn may_delete(&self, registry: &str) -> bool {
        Kind::ALL.iter().all(|k| self.snapshot.get(k.collection()).is_some())
            && !self.snapshot.unread().iter().any(|r| super::name::label(r.as_str()) == registry)
    }

    /// The next thing to do, which the caller is busy with from now on.
    pub(super) fn next(&mut self) -> Option<(Key, Job)> {
        let (turn, key) = self.ready.first()?.clone();
        // Whoever comes later in the order waits until those before are done.
        if self.busy.values().any(|t| *t < turn) {
            return None;
        }
        self.ready.remove(&(turn, key.clone()));
        let job = self.job(&key)?;
        self.busy.insert(key.clone(), turn);
        Some((key, job))
    }

    /// Nobody is busy with it any more; it is looked at again.
    pub(super) fn done(&mut self, key: &Key) {
        self.busy.remove(key);
        self.reconsider(key);
    }

    /// It failed, and is left alone until it is [`woken`](Self::wake) or changes.
    pub(super) fn rest(&mut self, key: &Key) {
        self.busy.remove(key);
        self.resting.insert(key.clone());
        self.reconsider(key);
    }

    /// It may be tried again.
    pub(super) fn wake(&mut self, key: &Key) {
        self.touched(key);
    }

    /// Everything that is to be done now, in its order.
    pub(super) fn plan(&self) -> impl Iterator<Item = (&Key, Job)> {
        self.ready.iter().filter_map(|(_, key)| Some((key, self.job(key)?)))
    }

    /// Objects that are wanted.
    #[must_use]
    pub(super) fn wanted(&self) -> usize {
        self.wanted.len()
    }

    /// Objects that wait to be written or deleted, or are at it, or failed.
    #[must_use]
    pub(super) fn pending(&self) -> usize {
        self.ready.len() + self.busy.len() + self.resting.len()
    }

    /// Whether all objects of all kinds are known.
    #[must_use]
    pub(super) fn is_listed(&self) -> bool {
        Kind::ALL.iter().all(|kind| self.listed.contains(kind))
    }

    /// What cannot be written: resources without objects, and objects whose name somebody else has.
    #[must_use]
    pub(super) fn refused(&self) -> Vec<(String, String)> {
        let refused =
            self.refused.iter().map(|((c, name), why)| (format!("{} {name}", c.kind()), why.clone()));
        let taken = self.taken.iter().filter_map(|key| {
            let stranger = self.observed.get(key)?.stranger()?;
            Some((
                key.to_string(),
                format!("an object of that name is there, made by {stranger}: it stays as it is"),
            ))
        });
        refused.chain(taken).collect()
    }

    /// Every object of ours that there is, for its removal: entries before their endpoints.
    pub(super) fn all_of_ours(&self) -> impl Iterator<Item = (&Key, &Observed)> {
        self.observed.iter().rev().filter(|(_, o)| o.registry().is_some() && !o.leaving)
    }
}

/// The registries of `takes` that are written in `form`, for what people are shown.
#[must_use]
pub(super) fn takes_shown(takes: &Takes) -> Vec<String> {
    let one = |(name, form): (&RegistryName, &Form)| match form {
        Form::Auto => name.to_string(),
        form => format!("{name} ({})", form.name()),
    };
    takes.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
