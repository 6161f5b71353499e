//! What each source said when it last made sense, and what a new reading of it changes. Pure.
//!
//! Belongs to the factory, so that a file that is broken when a later life begins still says what it said before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::change::{Cause, Change, Item};
use crate::model::service::{ItemKind, Scope, ServiceKey};
use crate::registry::files::scan::{SourceName, Stamp};

/// A hash of a source's bytes.
pub(crate) type ContentHash = u128;

/// What a look at a source found.
#[derive(Debug)]
pub(crate) enum Finding {
    /// The bytes that were found last time.
    Same(Stamp),
    /// New bytes that parse. In the order of the keys, each once.
    Items(Stamp, ContentHash, Vec<Item>),
    /// New bytes that do not, or none that can be read (then without a stamp).
    Broken(Option<(Stamp, ContentHash)>, String),
    /// It is not there.
    Gone,
}

/// What is known of one source.
#[derive(Debug, Default)]
struct Known {
    /// Of the bytes that were looked at last, whether they made sense or not.
    last: Option<(Stamp, ContentHash)>,
    /// What it said when it last made sense, by key; absent: it never did.
    items: Option<Vec<Item>>,
    /// Why it makes no sense now.
    fault: Option<Arc<str>>,
}

/// What all sources said.
#[derive(Debug)]
pub(crate) struct Memory {
    scope: Scope,
    sources: BTreeMap<SourceName, Known>,
    /// Those of `sources` that have a fault: few, where there may be many sources.
    faulty: BTreeSet<SourceName>,
}

impl Memory {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, sources: BTreeMap::new(), faulty: BTreeSet::new() }
    }

    /// All sources that are known, broken ones included.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SourceName> {
        self.sources.keys()
    }

    /// The stamp and the hash of what was last found in `name`.
    pub(crate) fn last(&self, name: &SourceName) -> Option<(Stamp, ContentHash)> {
        self.sources.get(name)?.last
    }

    /// Whether `name` said anything when it last made sense.
    pub(crate) fn says_something(&self, name: &SourceName) -> bool {
        self.sources.get(name).and_then(|k| k.items.as_ref()).is_some_and(|items| !items.is_empty())
    }

    /// What the items of `name` are called within it, with which they would appear in a file that it was renamed to.
    pub(crate) fn own_names(&self, name: &SourceName) -> BTreeSet<&str> {
        let items = self.sources.get(name).and_then(|k| k.items.as_deref());
        items.unwrap_or_default().iter().map(|item| own_name(name, item)).collect()
    }

    /// Everything that is there: the items of every source, and each broken source.
    pub(crate) fn all(&self) -> Vec<Item> {
        let mut all = Vec::new();
        for (name, known) in &self.sources {
            all.extend(known.fault.iter().map(|why| self.broken(name, why)));
            all.extend(known.items.iter().flatten().cloned());
        }
        all
    }

    /// The sources that make no sense, and why.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (&SourceName, &str)> {
        self.faulty.iter().filter_map(|name| Some((name, self.sources.get(name)?.fault.as_deref()?)))
    }

    /// Whether something that makes no sense never did, so that it is not known what the registry holds. A directory is
    /// known if anything below it is.
    pub(crate) fn is_incomplete(&self) -> bool {
        let unknown = |name| self.sources.get(name).is_some_and(|k| k.items.is_none());
        let below = |name| self.sources.iter().any(|(other, k)| k.items.is_some() && other.is_under(name));
        self.faulty.iter().any(|name| unknown(name) && !below(name))
    }

    /// What appears in a source that did not have it, by its own names, if anything that was known went elsewhere: what
    /// went and came at once was moved.
    pub(crate) fn arrivals(&self, findings: &BTreeMap<SourceName, Finding>) -> BTreeSet<String> {
        let went = |(name, finding): (&SourceName, &Finding)| {
            matches!(finding, Finding::Gone) && self.says_something(name)
        };
        let mut arrived = BTreeSet::new();
        if !findings.iter().any(went) {
            return arrived;
        }
        for (name, finding) in findings {
            if let Finding::Items(_, _, items) = finding {
                let before = self.own_names(name);
                let own = items.iter().map(|item| own_name(name, item)).filter(|own| !before.contains(own));
                arrived.extend(own.map(ToOwned::to_owned));
            }
        }
        arrived
    }

    /// Takes in what was found and returns what that changes. What went as a whole is silent absence, but for what
    /// arrived elsewhere: that it moved was said.
    pub(crate) fn apply(&mut self, findings: BTreeMap<SourceName, Finding>) -> Vec<Change> {
        let arrived = self.arrivals(&findings);
        let mut changes = Vec::new();
        for (name, finding) in findings {
            match finding {
                Finding::Same(stamp) => self.restamp(&name, stamp),
                Finding::Items(stamp, hash, items) => {
                    self.mend(&name, &mut changes);
                    let known = self.sources.entry(name).or_default();
                    let before = known.items.replace(items).unwrap_or_default();
                    known.last = Some((stamp, hash));
                    difference(&before, known.items.as_deref().unwrap_or_default(), &mut changes);
                }
                Finding::Broken(last, why) => self.break_(name, last, why.into(), &mut changes),
                Finding::Gone => {
                    self.mend(&name, &mut changes);
                    let items = self.sources.remove(&name).and_then(|k| k.items).unwrap_or_default();
                    let cause = |item| match arrived.contains(own_name(&name, item)) {
                        true => Cause::Deleted,
                        false => Cause::Vanished,
                    };
                    changes.extend(items.iter().map(|i| Change::Remove(i.key().clone(), cause(i))));
                }
            }
        }
        changes
    }

    fn restamp(&mut self, name: &SourceName, stamp: Stamp) {
        if let Some(last) = self.sources.get_mut(name).and_then(|k| k.last.as_mut()) {
            last.0 = stamp;
        }
    }

    fn break_(
        &mut self,
        name: SourceName,
        last: Option<(Stamp, ContentHash)>,
        why: Arc<str>,
        changes: &mut Vec<Change>,
    ) {
        let item = self.broken(&name, &why);
        self.faulty.insert(name.clone());
        let known = self.sources.entry(name).or_default();
        known.last = last;
        if known.fault.as_ref() != Some(&why) {
            known.fault = Some(why);
            changes.push(Change::Upsert(item));
        }
    }

    /// Takes back what was said about the source as a whole.
    fn mend(&mut self, name: &SourceName, changes: &mut Vec<Change>) {
        self.faulty.remove(name);
        if self.sources.get_mut(name).and_then(|k| k.fault.take()).is_some() {
            changes.push(Change::Remove(self.key(name), Cause::Deleted));
        }
    }

    fn broken(&self, name: &SourceName, why: &Arc<str>) -> Item {
        Item::Refused(self.key(name), Arc::clone(why))
    }

    /// A source as an item of its own: it has one only while it makes no sense.
    fn key(&self, name: &SourceName) -> ServiceKey {
        ServiceKey { kind: ItemKind::Object, name: name.as_str().into(), scope: self.scope.clone() }
    }
}

/// What follows the source in the key of one of its items.
pub(crate) fn own_name<'a>(source: &SourceName, item: &'a Item) -> &'a str {
    item.key().name.get(source.as_str().len() + 1..).unwrap_or_default()
}

/// What turns `before` into `after`; both are in the order of their keys.
fn difference(before: &[Item], after: &[Item], changes: &mut Vec<Change>) {
    let old: BTreeMap<&ServiceKey, &Item> = before.iter().map(|i| (i.key(), i)).collect();
    let new: BTreeSet<&ServiceKey> = after.iter().map(Item::key).collect();
    for item in after.iter().filter(|i| old.get(i.key()) != Some(i)) {
        let empty = matches!(item, Item::Service(service) if service.endpoints.is_empty());
        if empty && old.get(item.key()).is_some_and(|old| endpoints(old) > 0) {
            // That they are gone was written: it is no silence. What cannot be read says nothing of the kind.
            changes.push(Change::Remove(item.key().clone(), Cause::Deregistered));
        }
        changes.push(Change::Upsert(item.clone()));
    }
    let removed = old.into_keys().filter(|k| !new.contains(k));
    changes.extend(removed.map(|k| Change::Remove(k.clone(), Cause::Deleted)));
}

fn endpoints(item: &Item) -> usize {
    match item {
        Item::Service(s) => s.endpoints.len(),
        Item::Object(_) | Item::Refused(..) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::service::Service;

    fn stamp() -> Stamp {
        Stamp::of(&std::fs::metadata(".").unwrap())
    }

    fn memory() -> Memory {
        Memory::new(Scope::new("files"))
    }

    /// A service of `source`; `revision` is part of what it says.
    fn item(source: &str, own: u8, revision: u8) -> Item {
        let (kind, name) = (ItemKind::Service, format!("{source}#{own}").into());
        let key = ServiceKey { kind, name, scope: Scope::new("files") };
        Item::Service(Arc::new(Service::new(key, revision.to_string())))
    }

    fn apply(memory: &mut Memory, source: &str, finding: Finding) -> Vec<Change> {
        memory.apply(BTreeMap::from([(SourceName::new(source), finding)]))
    }

    fn said(source: &str, items: &[(u8, u8)]) -> Finding {
        Finding::Items(stamp(), 0, items.iter().map(|(own, rev)| item(source, *own, *rev)).collect())
    }

    #[test]
    fn only_what_is_different_is_said() {
        let mut m = memory();
        assert_eq!(apply(&mut m, "a", said("a", &[(1, 0), (2, 0), (3, 0)])).len(), 3);
        let changes = apply(&mut m, "a", said("a", &[(1, 0), (2, 1)]));
        let gone = Change::Remove(item("a", 3, 0).key().clone(), Cause::Deleted);
        assert_eq!(changes, [Change::Upsert(item("a", 2, 1)), gone]);
        assert!(apply(&mut m, "a", Finding::Same(stamp())).is_empty());
    }

    #[test]
    fn what_cannot_be_read_any_more_does_not_take_its_endpoints_away() {
        use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
        let Item::Service(plain) = item("a", 1, 0) else { unreachable!() };
        let endpoint = Endpoint::at(Address::parse("10.0.0.5").unwrap(), EndpointPorts::AsService);
        let with = Item::Service(Arc::new(Service { endpoints: vec![endpoint], ..(*plain).clone() }));
        let refused = Item::Refused(plain.key.clone(), "no sense".into());
        let said = |items: &[&Item]| Finding::Items(stamp(), 0, items.iter().copied().cloned().collect());
        let mut m = memory();
        apply(&mut m, "a", said(&[&with]));
        assert_eq!(apply(&mut m, "a", said(&[&refused])), [Change::Upsert(refused)]);
        apply(&mut m, "a", said(&[&with]));
        let gone = Change::Remove(plain.key.clone(), Cause::Deregistered);
        let empty = Item::Service(plain);
        assert_eq!(apply(&mut m, "a", said(&[&empty])), [gone, Change::Upsert(empty)]);
    }

    #[test]
    fn what_moves_is_said_to_have_moved_and_what_goes_with_it_is_silent_absence() {
        let mut m = memory();
        apply(&mut m, "a", said("a", &[(1, 0), (2, 0)]));
        let findings = [("a", Finding::Gone), ("b", said("b", &[(1, 0)]))];
        let changes = m.apply(findings.map(|(name, f)| (SourceName::new(name), f)).into());
        let gone = |own, cause| Change::Remove(item("a", own, 0).key().clone(), cause);
        let came = Change::Upsert(item("b", 1, 0));
        assert_eq!(changes, [gone(1, Cause::Deleted), gone(2, Cause::Vanished), came]);
    }

    #[test]
    fn a_fault_is_said_once_and_taken_back() {
        let mut m = memory();
        apply(&mut m, "a", said("a", &[(1, 0)]));
        assert_eq!(apply(&mut m, "a", Finding::Broken(None, "why".into())).len(), 1);
        assert!(apply(&mut m, "a", Finding::Broken(None, "why".into())).is_empty());
        assert_eq!(m.all().len(), 2);
        let changes = apply(&mut m, "a", said("a", &[(1, 0)]));
        assert!(matches!(&changes[..], [Change::Remove(key, Cause::Deleted)] if &*key.name == "a"));
    }

    #[test]
    fn what_never_made_sense_makes_the_whole_unknown_and_what_once_did_does_not() {
        let mut m = memory();
        apply(&mut m, "a", Finding::Broken(None, "why".into()));
        assert!(m.is_incomplete());
        apply(&mut m, "a", said("a", &[]));
        apply(&mut m, "a", Finding::Broken(None, "why".into()));
        assert!(!m.is_incomplete());
        apply(&mut m, "d", Finding::Broken(None, "a directory".into()));
        apply(&mut m, "d-x/b", said("d-x/b", &[(1, 0)]));
        assert!(m.is_incomplete());
        apply(&mut m, "d/b", said("d/b", &[(1, 0)]));
        assert!(!m.is_incomplete());
    }

    fn finding() -> impl Strategy<Value = (usize, Option<Vec<(u8, u8)>>, bool)> {
        let items = prop::collection::btree_map(0_u8..4, 0_u8..2, 0..4).prop_map(|m| m.into_iter().collect());
        (0_usize..3, prop::option::of(items), any::<bool>())
    }

    proptest! {
        /// Whoever applies the changes knows what the memory knows, so that a life's words and its next `Reset` agree.
        #[test]
        fn the_changes_of_any_history_add_up_to_everything(history in prop::collection::vec(finding(), 0..30)) {
            let mut m = memory();
            let mut mirror = BTreeMap::new();
            for (source, items, broken) in history {
                let name = ["a", "b", "b/c"][source];
                let finding = match items {
                    Some(items) => said(name, &items),
                    None if broken => Finding::Broken(None, "why".into()),
                    None => Finding::Gone,
                };
                for change in apply(&mut m, name, finding) {
                    match change {
                        Change::Upsert(item) => { mirror.insert(item.key().clone(), item); }
                        Change::Remove(key, _) => prop_assert!(mirror.remove(&key).is_some(), "{key}"),
                        Change::Reset { .. } => prop_assert!(false),
                    }
                }
                let all: BTreeMap<_, _> = m.all().into_iter().map(|i| (i.key().clone(), i)).collect();
                prop_assert_eq!(&all, &mirror);
            }
        }
    }
}
