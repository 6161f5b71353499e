//! One full read of a server, brought up to date by the delta right after it, and what it says of its own completeness. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::instance::{Action, Applications, HashCode, Instance, InstanceKey, Lease};
use crate::model::change::Cause;

/// A full read, ready to be judged.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) present: BTreeMap<InstanceKey, Instance>,
    /// What a delta right after it says is gone.
    pub(super) deleted: BTreeMap<InstanceKey, Cause>,
    /// Whom only that delta shows, not the list.
    added: BTreeSet<InstanceKey>,
    pub(super) hash: HashCode,
    /// As the server says it; absent: it says none, or some of what it lists cannot be counted.
    pub(super) claimed: Option<Box<str>>,
    /// Since when the server knows the instance that it has known longest; its clock.
    pub(super) oldest: Option<u64>,
    /// The server's clock; absent: it does not say.
    pub(super) now: Option<u64>,
    pub(super) nameless: Vec<Arc<str>>,
    pub(super) stale: usize,
    pub(super) deltas: Deltas,
}

/// What came of asking for a delta right after a full read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Deltas {
    /// Nothing: the next read is full again.
    #[default]
    Unknown,
    /// One of the server's two caches is older than the other: the next read is full again.
    Misfit,
    /// It fits: further deltas go on from there.
    Fit,
    /// The server gives none.
    None,
}

impl Reading {
    /// What a server answered to a full read at `now`, in milliseconds of its clock.
    pub(super) fn new(answer: Applications, now: Option<u64>) -> Self {
        let claimed = answer.hash.filter(|_| answer.nameless.is_empty());
        let mut reading = Self {
            present: BTreeMap::new(),
            deleted: BTreeMap::new(),
            added: BTreeSet::new(),
            hash: HashCode::default(),
            claimed,
            oldest: None,
            now,
            nameless: answer.nameless,
            stale: 0,
            deltas: Deltas::Unknown,
        };
        for entry in answer.entries {
            reading.put(entry.instance, entry.lease);
        }
        reading
    }

    /// Brings it up to date with a delta of the same server: the two come from different caches, and a full read may be
    /// the older one. `false`, and nothing changed: they do not fit together.
    pub(super) fn refine(&mut self, delta: &Applications) -> bool {
        let Some(claimed) = delta.hash.as_deref() else { return false };
        let mut hash = self.hash.clone();
        let mut seen: BTreeMap<&InstanceKey, Option<&Instance>> = BTreeMap::new();
        for entry in &delta.entries {
            let key = &entry.instance.key;
            let before = match seen.get(key) {
                Some(earlier) => *earlier,
                None => self.present.get(key),
            };
            before.iter().for_each(|i| hash.remove(i.status));
            let after = (entry.action == Action::Put).then_some(&entry.instance);
            after.iter().for_each(|i| hash.add(i.status));
            seen.insert(key, after);
        }
        if !hash.is(claimed) {
            self.deltas = Deltas::Misfit;
            return false;
        }
        for entry in &delta.entries {
            let key = &entry.instance.key;
            match entry.action {
                Action::Put => {
                    self.deleted.remove(key);
                    if !self.present.contains_key(key) {
                        self.added.insert(key.clone());
                    }
                    self.put(entry.instance.clone(), entry.lease);
                }
                Action::Delete => {
                    self.take(key);
                    self.added.remove(key);
                    self.deleted.insert(key.clone(), cause(entry.lease.expired()));
                }
            }
        }
        self.claimed = Some(claimed.into());
        self.deltas = Deltas::Fit;
        true
    }

    /// Leaves out whom an older cache shows again although the server has said since that they are gone (`gone`): in the
    /// list, where the delta does not fit it, and in the delta where only that shows them. It fits all the same when one
    /// came and one went between the two. Somebody who is really back is seen by the next read.
    pub(super) fn without(&mut self, gone: impl Fn(&InstanceKey) -> bool) {
        let suspects: Vec<InstanceKey> = match self.deltas {
            Deltas::Fit => self.added.iter().filter(|key| gone(key)).cloned().collect(),
            Deltas::Misfit => self.present.keys().filter(|key| gone(key)).cloned().collect(),
            Deltas::Unknown | Deltas::None => return,
        };
        for key in &suspects {
            self.take(key);
        }
        if !suspects.is_empty() {
            self.deltas = Deltas::Misfit;
        }
    }

    /// The server gives no deltas.
    pub(super) fn without_deltas(&mut self) {
        self.deltas = Deltas::None;
    }

    /// How many instances it has.
    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    fn put(&mut self, mut instance: Instance, lease: Lease) {
        self.take(&instance.key);
        instance.stale = self.now.is_some_and(|now| lease.is_stale(now));
        let since = Some(lease.since).filter(|s| *s > 0);
        self.oldest = self.oldest.into_iter().chain(since).min();
        self.hash.add(instance.status);
        self.stale += usize::from(instance.stale);
        self.present.insert(instance.key.clone(), instance);
    }

    fn take(&mut self, key: &InstanceKey) {
        if let Some(old) = self.present.remove(key) {
            self.hash.remove(old.status);
            self.stale -= usize::from(old.stale);
        }
    }

    /// Whether the server says itself that something is missing here.
    pub(super) fn is_broken(&self) -> Option<String> {
        let claimed = self.claimed.as_deref().filter(|c| !self.hash.is(c))?;
        Some(format!("its hash code says {claimed:?}, what it lists is {:?}", self.hash.to_string()))
    }

    /// How long the server has known anything.
    pub(super) fn age(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.now?.saturating_sub(self.oldest?)))
    }
}

/// Why an instance went that a delta says is gone.
pub(super) fn cause(expired: bool) -> Cause {
    if expired { Cause::Expired } else { Cause::Deregistered }
}
