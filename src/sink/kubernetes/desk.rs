//! What is wanted beside what there is, and what is to be done about the difference. No clock, no socket.
//!
//! - Touched is only what carries our labels: managed by chandler, this installation's, of some registry. An object of
//!   somebody else that stands in our way stays, and is named.
//! - Nothing is deleted before its collection is complete, nor while its registry is among those of which nothing has been
//!   read.
//! - What is published is looked at in slices ([`Desk::catch_up`]), so that ten thousand services at once hold up nobody.
//!   Until the last of them nothing is deleted: what seems unwanted may be wanted by one that was not looked at yet.
//! - Work waits by object, never by change: however much changes while nobody can write, each object is written once.

mod intake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::object::{Key, Kind, Owner, Wanted};
use super::observed::Observed;
use crate::model::service::RegistryName;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceName};
use crate::resource::snapshot::Snapshot;
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

impl Turn {
    /// Those that there are for a kind.
    fn of(kind: Kind) -> [Self; 2] {
        match kind {
            Kind::WorkloadEntry => [Self::WriteEndpoint, Self::DeleteEndpoint],
            Kind::ServiceEntry => [Self::WriteEntry, Self::DeleteEntry],
        }
    }
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
    /// Resources that came, changed or (`None`) went, and were not looked at yet.
    waiting: BTreeMap<SourceId, Option<Arc<Encoded>>>,
    wanted: BTreeMap<Key, Wanted>,
    sources: BTreeMap<SourceId, Vec<Key>>,
    /// Resources without objects, and why.
    refused: BTreeMap<SourceId, String>,
    observed: BTreeMap<Key, Observed>,
    /// Kinds of which all objects have been seen.
    listed: BTreeSet<Kind>,
    /// Objects to be looked at again, in no order and maybe more than once.
    doubted: Vec<Key>,
    /// What is to be deleted once nothing is waiting.
    spared: BTreeSet<Key>,
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
            waiting: BTreeMap::new(),
            wanted: BTreeMap::new(),
            sources: BTreeMap::new(),
            refused: BTreeMap::new(),
            observed: BTreeMap::new(),
            listed: BTreeSet::new(),
            doubted: Vec::new(),
            spared: BTreeSet::new(),
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

    /// All objects of a kind. Whatever else was known is gone.
    pub(super) fn listed(&mut self, kind: Kind, all: Vec<(Key, Observed)>) {
        let keys: BTreeSet<&Key> = all.iter().map(|(key, _)| key).collect();
        let gone: Vec<Key> =
            self.observed.keys().filter(|k| k.kind == kind && !keys.contains(*k)).cloned().collect();
        gone.iter().for_each(|key| self.gone(key, None));
        for (key, observed) in all {
            if let Some(key) = self.note(key, observed) {
                self.resting.remove(&key);
                self.doubted.push(key);
            }
        }
        if self.listed.insert(kind) {
            self.settle_forms();
            self.doubt_all();
        }
    }

    /// Its objects are not known any more: nobody can list them.
    pub(super) fn unlisted(&mut self, kind: Kind) {
        self.listed.remove(&kind);
        self.doubt_all();
    }

    /// An object came or changed.
    pub(super) fn seen(&mut self, key: Key, now: Observed) {
        if let Some(key) = self.note(key, now) {
            self.touched(&key);
        }
    }

    /// Writes down what an object is, unless something newer is known.
    fn note(&mut self, key: Key, mut now: Observed) -> Option<Key> {
        let key = match self.wanted.get_key_value(&key) {
            Some((shared, wanted)) => {
                now.share_with(wanted, &self.owner);
                shared.clone()
            }
            None => key,
        };
        match self.observed.get_mut(&key) {
            Some(old) if !old.is_overtaken_by(&now) => return None,
            Some(old) => *old = old.replaced_by(now),
            None => {
                self.observed.insert(key.clone(), now);
            }
        }
        Some(key)
    }

    /// Whether the object is known in exactly this state.
    #[must_use]
    pub(super) fn knows(&self, key: &Key, uid: &str, version: &str) -> bool {
        self.observed.get(key).is_some_and(|o| o.is_at(uid, version))
    }

    /// Whether somebody works at it.
    #[must_use]
    pub(super) fn is_busy(&self, key: &Key) -> bool {
        self.busy.contains_key(key)
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

    fn doubt_all(&mut self) {
        self.doubted = self.wanted.keys().chain(self.observed.keys()).cloned().collect();
    }

    fn reconsider(&mut self, key: &Key) {
        for turn in Turn::of(key.kind) {
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
        match self.job(key) {
            Some(Job::Delete(_)) if !self.waiting.is_empty() => {
                self.spared.insert(key.clone());
            }
            Some(job) => {
                self.ready.insert((turn(&job, key.kind), key.clone()));
            }
            None => {}
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
        loop {
            let (turn, key) = self.ready.first()?.clone();
            // Whoever comes later in the order waits until those before are done.
            if self.busy.values().any(|t| *t < turn) {
                return None;
            }
            self.ready.pop_first();
            match self.job(&key) {
                Some(Job::Delete(_)) if !self.waiting.is_empty() => {
                    self.spared.insert(key);
                }
                Some(job) => {
                    self.busy.insert(key.clone(), turn);
                    return Some((key, job));
                }
                // It has been settled since it got ready.
                None => {}
            }
        }
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

    /// Objects that wait to be written or deleted, or are at it, or failed; a resource that was not looked at counts for
    /// one. 0: everything is as it should be.
    #[must_use]
    pub(super) fn pending(&self) -> usize {
        let unknown = self.waiting.len() + usize::from(!self.doubted.is_empty());
        self.ready.len() + self.busy.len() + self.resting.len() + unknown
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
