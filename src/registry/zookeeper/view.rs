//! What one life knows and has said: the mirror, the layouts that look at it, and the services that follow. Pure.
//!
//! A change is said once and only if it changes a service. What went because a node was deleted was deregistered: the
//! deletion is the registry's own word, whether the owner asked for it or its session ran out (ZooKeeper deletes in both
//! cases, and reports both alike). What is missing after everything was read anew is told by the `Reset`: nobody said why.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::change::{Cause, Change, Item};
use crate::model::service::{Service, ServiceKey};
use crate::registry::zookeeper::layout::question::{Finding, Question};
use crate::registry::zookeeper::layout::{Layout, Wants};
use crate::registry::zookeeper::tree::{Tree, below, join};

/// What a read of one node found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is there; what was asked for of it.
    There {
        /// Its data.
        data: Option<Vec<u8>>,
        /// The names of all nodes below it.
        children: Option<Vec<String>>,
    },
    /// There is no such node.
    Absent,
    /// It may not be read.
    Denied,
}

/// A unit of a layout.
type UnitId = (usize, Arc<str>);

/// The view of one life.
#[derive(Default)]
pub(crate) struct View {
    layouts: Vec<Box<dyn Layout>>,
    tree: Tree,
    said: BTreeMap<UnitId, BTreeMap<ServiceKey, Arc<Service>>>,
    faults: BTreeMap<UnitId, Vec<String>>,
    /// Whether any layout settled something since its questions were looked at.
    settled: bool,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("units", &self.said.len()).finish_non_exhaustive()
    }
}

impl View {
    /// Nothing was said yet; `known` is what an earlier life read, for what may not be read any more.
    pub(crate) fn new(layouts: Vec<Box<dyn Layout>>, known: Tree) -> Self {
        Self { layouts, tree: known, ..Self::default() }
    }

    /// The mirror.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whether anything looks at the mirror.
    pub(crate) fn has_layouts(&self) -> bool {
        !self.layouts.is_empty()
    }

    /// For the next life: what is known, as if nothing of it had been said.
    pub(crate) fn forget_said(self) -> Self {
        Self::new(self.layouts, self.tree)
    }

    /// What any layout wants to know of the node at `path`.
    pub(crate) fn wants(&self, path: &str) -> Wants {
        self.layouts.iter().fold(Wants::Nothing, |wants, layout| wants.and(layout.wants(path)))
    }

    /// The subtrees that are looked at; none lies in another.
    pub(crate) fn roots(&self) -> Vec<Arc<str>> {
        let all: BTreeSet<Arc<str>> = self.layouts.iter().flat_map(|layout| layout.roots()).collect();
        all.iter().filter(|root| !all.iter().any(|other| below(root, other).is_some())).cloned().collect()
    }

    /// There is a node at `path` of which only the name is wanted.
    pub(crate) fn put(&mut self, path: &str) {
        self.tree.put(path);
        self.note(path);
    }

    /// The node at `path` and all below it are gone.
    pub(crate) fn remove(&mut self, path: &str) {
        for gone in self.tree.remove(path) {
            self.note(&gone);
        }
    }

    /// What of `paths` is to be read.
    pub(crate) fn tasks(&self, paths: Vec<Arc<str>>) -> Vec<(Arc<str>, Wants)> {
        let wanted = paths.into_iter().map(|path| (self.wants(&path), path));
        wanted.filter(|(wants, _)| *wants > Wants::Name).map(|(wants, path)| (path, wants)).collect()
    }

    /// Takes in what a read of the node at `path` found; the nodes below it that are new.
    pub(crate) fn take(&mut self, path: &Arc<str>, answer: &Answer) -> Vec<Arc<str>> {
        match answer {
            Answer::Absent => self.remove(path),
            Answer::Denied => self.tree.deny(path),
            Answer::There { .. } => return self.take_in(path, answer),
        }
        Vec::new()
    }

    fn take_in(&mut self, path: &Arc<str>, answer: &Answer) -> Vec<Arc<str>> {
        if self.tree.is_denied(path) {
            // What was known of it may have changed meanwhile: all below it is new.
            self.remove(path);
        }
        let mut tree = std::mem::take(&mut self.tree);
        let gone = forget(&mut tree, path, answer);
        let new = put(&mut tree, path, answer, |path| self.wants(path));
        self.tree = tree;
        self.note(path);
        gone.iter().chain(&new).for_each(|path| self.note(path));
        new
    }

    /// Everything was read anew, and nothing of it has been said.
    pub(crate) fn replace(&mut self, tree: Tree) {
        self.tree = tree;
        self.said.clear();
        self.faults.clear();
        for layout in &mut self.layouts {
            layout.restart(&self.tree);
        }
        self.changes();
    }

    /// All that there is.
    pub(crate) fn items(&self) -> Vec<Item> {
        self.said.values().flat_map(BTreeMap::values).cloned().map(Item::Service).collect()
    }

    /// What follows from all that was taken in since the last time.
    pub(crate) fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (at, layout) in self.layouts.iter_mut().enumerate() {
            for unit in layout.settle(&self.tree) {
                self.settled = true;
                let id = (at, unit.name);
                let now = unit.services.into_iter().map(|s| (s.key.clone(), Arc::new(s))).collect();
                tell(self.said.get(&id), &now, &mut changes);
                set(&mut self.faults, &id, unit.faults, Vec::is_empty);
                set(&mut self.said, &id, now, BTreeMap::is_empty);
            }
        }
        changes
    }

    /// What layouts must know that is not in the tree; `None`: nothing changed since the last time.
    pub(crate) fn questions(&mut self) -> Option<Vec<Question>> {
        let all = || self.layouts.iter().flat_map(|layout| layout.questions());
        std::mem::take(&mut self.settled).then(|| all().collect())
    }

    /// Takes in what came of a question.
    pub(crate) fn learn(&mut self, finding: &Finding) {
        self.layouts.iter_mut().for_each(|layout| layout.learn(finding));
    }

    /// How many services there are.
    pub(crate) fn services(&self) -> usize {
        self.said.values().map(BTreeMap::len).sum()
    }

    /// What makes no sense and belongs to no service, in order.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults.values().flatten().map(String::as_str)
    }

    fn note(&mut self, path: &str) {
        self.layouts.iter_mut().for_each(|layout| layout.note(path));
    }
}

/// Takes out of `tree` what a list at `path` does not name any more; all paths that went.
fn forget(tree: &mut Tree, path: &str, answer: &Answer) -> Vec<Arc<str>> {
    let Answer::There { children: Some(children), .. } = answer else { return Vec::new() };
    let names: BTreeSet<&str> = children.iter().map(String::as_str).collect();
    tree.missing(path, &names).into_iter().flat_map(|gone| tree.remove(&gone)).collect()
}

/// Puts what was found at `path` into `tree`; the nodes below it that are new.
pub(crate) fn put(
    tree: &mut Tree,
    path: &Arc<str>,
    answer: &Answer,
    wants: impl Fn(&str) -> Wants,
) -> Vec<Arc<str>> {
    let Answer::There { data, children } = answer else { return Vec::new() };
    tree.allow(path);
    match data {
        Some(data) => tree.put_data(path, data),
        None => tree.put(path),
    }
    let mut new = Vec::new();
    for name in children.iter().flatten() {
        let child = join(path, name);
        if wants(&child) != Wants::Nothing && tree.get(&child).is_none() {
            tree.put(&child);
            new.push(child);
        }
    }
    new
}

fn set<T>(map: &mut BTreeMap<UnitId, T>, id: &UnitId, value: T, is_empty: impl Fn(&T) -> bool) {
    if is_empty(&value) {
        map.remove(id);
    } else {
        map.insert(id.clone(), value);
    }
}

/// What differs between what was said of a unit and what it is now.
fn tell(
    before: Option<&BTreeMap<ServiceKey, Arc<Service>>>,
    now: &BTreeMap<ServiceKey, Arc<Service>>,
    changes: &mut Vec<Change>,
) {
    for (key, service) in now {
        if before.and_then(|b| b.get(key)) != Some(service) {
            changes.push(Change::Upsert(Item::Service(Arc::clone(service))));
        }
    }
    for key in before.into_iter().flat_map(BTreeMap::keys).filter(|key| !now.contains_key(*key)) {
        changes.push(Change::Remove(key.clone(), Cause::Deregistered));
    }
}

#[cfg(test)]
mod tests;
