//! From what is published to the objects that are wanted, a slice at a time.

use std::sync::Arc;

use super::super::object::{self, Key, Kind, Rule, Wanted};
use super::super::observed::Observed;
use super::{Desk, SourceId};
use crate::model::service::RegistryName;
use crate::resource::encoded::Encoded;
use crate::resource::snapshot::{CollectionSnapshot, Snapshot};
use crate::sink::Takes;

/// Bytes of resources that are looked at before anybody else gets a turn: some milliseconds.
const SLICE: usize = 64 << 10;
/// What a look at an object that is there costs, in such bytes.
const LOOK: usize = 32;

impl Desk {
    /// What is published, and of which registries it is taken. What is not complete keeps what it was. Nothing of it is
    /// looked at before [`catch_up`](Self::catch_up).
    pub(in super::super) fn want(&mut self, snapshot: Arc<Snapshot>, takes: &Takes) {
        let old = std::mem::replace(&mut self.snapshot, Arc::clone(&snapshot));
        let anew = self.takes != *takes;
        if anew {
            self.takes.clone_from(takes);
        }
        let empty = Arc::new(CollectionSnapshot::default());
        for kind in Kind::ALL {
            let collection = kind.collection();
            let Some(new) = snapshot.get(collection) else { continue };
            let before = old.get(collection).filter(|_| !anew).unwrap_or(&empty);
            if anew {
                self.waiting.retain(|(c, _), _| *c != collection);
                let known = self.sources.keys().chain(self.refused.keys());
                let gone = known.filter(|(c, name)| *c == collection && new.get(name.as_str()).is_none());
                self.waiting.extend(gone.map(|id| (id.clone(), None)));
            }
            let diff = new.diff(before);
            self.waiting.extend(diff.removed.into_iter().map(|name| ((collection, name), None)));
            let changed = diff.changed.into_iter().map(|r| ((collection, r.id.name.clone()), Some(r)));
            self.waiting.extend(changed);
        }
        let first = Kind::ALL.iter().any(|k| old.get(k.collection()).is_none());
        if anew || first || old.unread() != snapshot.unread() {
            self.doubt_all();
        }
    }

    /// Looks at a slice of what is new. Whether there is more.
    pub(in super::super) fn catch_up(&mut self) -> bool {
        let mut spent = 0;
        while spent < SLICE {
            if let Some((id, source)) = self.waiting.pop_first() {
                spent += LOOK + source.as_ref().map_or(0, |s| s.body.len());
                match source {
                    Some(source) => self.take(&source),
                    None => self.forget(&id),
                }
            } else if let Some(key) = self.doubted.pop() {
                spent += LOOK;
                self.reconsider(&key);
            } else if self.spared.is_empty() {
                return false;
            } else {
                self.doubted.extend(std::mem::take(&mut self.spared));
            }
        }
        !(self.waiting.is_empty() && self.doubted.is_empty() && self.spared.is_empty())
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
        let name = super::super::name::object(name).into();
        let key = Key { kind, namespace: namespace.into(), name };
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
            if let Some(observed) = self.observed.get_mut(&key) {
                observed.share_with(&wanted, &self.owner);
            }
            // What was wanted and still is has waited, rested and failed as what it is.
            let same = self.wanted.get(&key).is_some_and(|old| old.is_like(&wanted));
            self.wanted.insert(key.clone(), wanted);
            if !same {
                self.touched(&key);
            }
        }
    }

    fn forget(&mut self, id: &SourceId) {
        self.refused.remove(id);
        for key in self.sources.remove(id).unwrap_or_default() {
            self.wanted.remove(&key);
            self.touched(&key);
        }
    }

    /// Entries that were found taken apart stay so where both forms would do, although they were wanted before that was
    /// known.
    pub(super) fn settle_forms(&mut self) {
        let apart = |(key, o): (&Key, &Observed)| {
            let ours = key.kind == Kind::ServiceEntry && o.selecting && o.registry().is_some();
            let wanted = self.wanted.get(key).filter(|w| ours && !w.is_selecting())?;
            Some((key.clone(), Arc::clone(wanted.source())))
        };
        let all: Vec<(Key, Arc<Encoded>)> = self.observed.iter().filter_map(apart).collect();
        for (key, source) in all {
            self.wanted.remove(&key);
            let id = (source.id.collection, source.id.name.clone());
            // What is waiting is newer.
            self.waiting.entry(id).or_insert(Some(source));
        }
    }
}
