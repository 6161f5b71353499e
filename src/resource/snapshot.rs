//! The whole of what is served at one instant: immutable, shared, versioned per collection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use crate::model::service::RegistryName;
use crate::resource::block::{Block, MAX_BYTES, MIN_BYTES, SPLIT_BYTES, weight};
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceName, Version};
use crate::resource::legacy::{Needs, Pilot};

/// Every collection at one instant. A collection that is absent is not complete yet: it is answered with silence.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    collections: [Option<Arc<CollectionSnapshot>>; Collection::COUNT],
    unread: Arc<BTreeSet<RegistryName>>,
}

impl Snapshot {
    /// The collection's content, or `None` as long as a registry that feeds it has not been read.
    #[must_use]
    pub fn get(&self, collection: Collection) -> Option<&Arc<CollectionSnapshot>> {
        self.collections.get(collection.index())?.as_ref()
    }

    /// This snapshot with one collection replaced.
    #[must_use]
    pub fn with(mut self, collection: Collection, content: Arc<CollectionSnapshot>) -> Self {
        if let Some(slot) = self.collections.get_mut(collection.index()) {
            *slot = Some(content);
        }
        self
    }

    /// Registries of which nothing is known so far, so that what is missing here may still be there.
    #[must_use]
    pub fn unread(&self) -> &BTreeSet<RegistryName> {
        &self.unread
    }

    /// This snapshot, made without these registries.
    #[must_use]
    pub fn without(mut self, unread: BTreeSet<RegistryName>) -> Self {
        if *self.unread != unread {
            self.unread = Arc::new(unread);
        }
        self
    }
}

/// Resources that came, changed or (`None`) went.
pub type Changes = BTreeMap<ResourceName, Option<Arc<Encoded>>>;

/// One collection: a sorted sequence of blocks.
#[derive(Debug, Default)]
pub struct CollectionSnapshot {
    blocks: Vec<Arc<Block>>,
    version: u128,
    len: usize,
    bytes: usize,
    needs: Needs,
    /// What Pilots that do not take all of it get.
    fit: [OnceLock<Arc<Self>>; Pilot::ALL.len()],
}

impl CollectionSnapshot {
    fn of(blocks: Vec<Arc<Block>>) -> Self {
        let version = blocks.iter().fold(0_u128, |sum, b| sum.wrapping_add(b.share()));
        let len = blocks.iter().map(|b| b.resources().len()).sum();
        let bytes = blocks.iter().map(|b| b.bytes()).sum();
        let needs = blocks.iter().fold(Needs::default(), |sum, b| sum.with(b.needs()));
        Self { blocks, version, len, bytes, needs, fit: Default::default() }
    }

    /// What `pilot` gets of it: resources that it would refuse are left out, as it would leave them out itself; so its
    /// version is of what is sent. All clients share it, and its blocks outlive it as any block does.
    #[must_use]
    pub fn fit_for(self: &Arc<Self>, pilot: Pilot) -> Arc<Self> {
        if self.needs.all_fit(pilot) {
            return Arc::clone(self);
        }
        let pilot = self.needs.oldest_like(pilot);
        let make = || Arc::new(Self::of(self.blocks.iter().filter_map(|b| b.fit_for(pilot)).collect()));
        match self.fit.get(pilot.index()) {
            Some(slot) => Arc::clone(slot.get_or_init(make)),
            None => make(),
        }
    }

    /// A hash of all names and versions: independent of the order in which they came and of the blocks.
    #[must_use]
    pub fn version(&self) -> Version {
        Version(self.version)
    }

    /// Its blocks, sorted.
    #[must_use]
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// How many resources it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none: the truth, once it is complete.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// About how many bytes it takes on a wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All resources in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Encoded>> {
        self.blocks.iter().flat_map(|b| b.resources())
    }

    /// The resource of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Encoded>> {
        let after = self.blocks.partition_point(|b| b.first().is_some_and(|f| f.as_str() <= name));
        let resources = self.blocks.get(after.checked_sub(1)?)?.resources();
        let at = resources.binary_search_by(|r| r.id.name.as_str().cmp(name)).ok()?;
        resources.get(at)
    }

    /// This collection with `changes` made. Blocks that no change falls into are shared with it.
    #[must_use]
    pub fn apply(&self, changes: &Changes) -> Self {
        let mut rebuild = Rebuild::default();
        let mut rest = changes.iter().peekable();
        for (i, block) in self.blocks.iter().enumerate() {
            let end = self.blocks.get(i + 1).and_then(|b| b.first());
            let mut mine = Vec::new();
            while let Some(change) = rest.next_if(|(name, _)| end.is_none_or(|end| *name < end)) {
                mine.push(change);
            }
            if mine.is_empty() {
                rebuild.keep(block);
            } else {
                rebuild.replace(merge(block.resources(), &mine));
            }
        }
        // Only into an empty collection: otherwise the last block takes all that is left.
        rebuild.replace(rest.filter_map(|(_, r)| r.clone()).collect());
        Self::of(rebuild.finish())
    }

    /// What leads from `old` to this collection: resources that came or changed, and names that went.
    #[must_use]
    pub fn diff(&self, old: &Self) -> Difference {
        let mut difference = Difference::default();
        let (mut a, mut b) = (Cursor::new(&old.blocks), Cursor::new(&self.blocks));
        loop {
            if a.skip_shared(&mut b) {
                continue;
            }
            match (a.peek(), b.peek()) {
                (None, None) => return difference,
                (Some(x), Some(y)) if x.id.name == y.id.name => {
                    if x.version != y.version {
                        difference.changed.push(Arc::clone(y));
                    }
                    a.advance();
                    b.advance();
                }
                (Some(x), y) if y.is_none_or(|y| x.id.name < y.id.name) => {
                    difference.removed.push(x.id.name.clone());
                    a.advance();
                }
                (_, Some(y)) => {
                    difference.changed.push(Arc::clone(y));
                    b.advance();
                }
                (Some(_), None) => a.advance(), // covered by the third arm
            }
        }
    }
}

/// What leads from one state of a collection to another.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// Came or changed, sorted.
    pub changed: Vec<Arc<Encoded>>,
    /// Went, sorted.
    pub removed: Vec<ResourceName>,
}

/// Blocks on their way into a collection: too small ones join their neighbours, too large ones are split evenly.
#[derive(Default)]
struct Rebuild {
    done: Vec<Arc<Block>>,
    /// Resources of rebuilt blocks that are not cut into new ones yet.
    open: Vec<Arc<Encoded>>,
    open_bytes: usize,
}

impl Rebuild {
    fn keep(&mut self, block: &Arc<Block>) {
        if self.open_bytes > 0 && self.open_bytes < MIN_BYTES {
            self.replace(block.resources().to_vec());
        } else {
            self.close();
            self.done.push(Arc::clone(block));
        }
    }

    fn replace(&mut self, resources: Vec<Arc<Encoded>>) {
        self.open_bytes += resources.iter().map(|r| weight(r)).sum::<usize>();
        self.open.extend(resources);
    }

    /// Makes one block of what is open, or equal ones if that would be too large.
    fn close(&mut self) {
        let blocks = if self.open_bytes <= MAX_BYTES { 1 } else { self.open_bytes.div_ceil(SPLIT_BYTES) };
        let share = self.open_bytes / blocks;
        let (mut block, mut bytes) = (Vec::new(), 0);
        for r in std::mem::take(&mut self.open) {
            bytes += weight(&r);
            block.push(r);
            if bytes >= share {
                self.done.push(Arc::new(Block::new(std::mem::take(&mut block))));
                bytes = 0;
            }
        }
        if !block.is_empty() {
            self.done.push(Arc::new(Block::new(block)));
        }
        self.open_bytes = 0;
    }

    fn finish(mut self) -> Vec<Arc<Block>> {
        if self.open_bytes > 0
            && self.open_bytes < MIN_BYTES
            && let Some(last) = self.done.pop()
        {
            let tail = std::mem::take(&mut self.open);
            self.open_bytes = 0;
            self.replace(last.resources().to_vec());
            self.replace(tail);
        }
        self.close();
        self.done
    }
}

/// `old` with the changes that fall into it; both sorted.
fn merge(old: &[Arc<Encoded>], changes: &[(&ResourceName, &Option<Arc<Encoded>>)]) -> Vec<Arc<Encoded>> {
    let mut out = Vec::with_capacity(old.len() + changes.len());
    let mut old = old.iter().peekable();
    for (name, resource) in changes {
        while let Some(r) = old.next_if(|r| r.id.name < **name) {
            out.push(Arc::clone(r));
        }
        old.next_if(|r| r.id.name == **name);
        out.extend((*resource).clone());
    }
    out.extend(old.cloned());
    out
}

/// A place in a sequence of blocks.
struct Cursor<'a> {
    blocks: &'a [Arc<Block>],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(blocks: &'a [Arc<Block>]) -> Self {
        Self { blocks, at: 0 }
    }

    /// Steps over the current blocks if both cursors stand at the start of the very same one.
    fn skip_shared(&mut self, other: &mut Self) -> bool {
        let (Some((x, xs)), Some((y, ys))) = (self.blocks.split_first(), other.blocks.split_first()) else {
            return false;
        };
        let shared = self.at == 0 && other.at == 0 && Arc::ptr_eq(x, y);
        if shared {
            self.blocks = xs;
            other.blocks = ys;
        }
        shared
    }

    fn peek(&self) -> Option<&'a Arc<Encoded>> {
        self.blocks.first()?.resources().get(self.at)
    }

    fn advance(&mut self) {
        self.at += 1;
        if let Some((first, rest)) = self.blocks.split_first()
            && self.at >= first.resources().len()
        {
            self.blocks = rest;
            self.at = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::model::labels::Labels;
    use crate::proto::networking::{ServiceEntry, ServicePort};
    use crate::resource::encoded::{ResourceId, TopologyHash};
    use crate::resource::legacy::{Fitness, Takers};

    fn resource(n: u32, content: u8) -> Arc<Encoded> {
        let name = ResourceName::new("ns", &format!("s{n:05}"));
        let id = ResourceId { collection: Collection::ServiceEntry, name };
        // Large enough that a few hundred make several blocks.
        let body = Bytes::from(vec![content; 1500]);
        Arc::new(Encoded::new(id, Labels::EMPTY, Labels::EMPTY, body, TopologyHash::default()))
    }

    fn changes(list: &[(u32, Option<u8>)]) -> Changes {
        let name = |n: &u32| ResourceName::new("ns", &format!("s{n:05}"));
        list.iter().map(|(n, c)| (name(n), c.map(|c| resource(*n, c)))).collect()
    }

    fn built(model: &BTreeMap<u32, u8>) -> CollectionSnapshot {
        let all: Vec<_> = model.iter().map(|(n, c)| (*n, Some(*c))).collect();
        CollectionSnapshot::default().apply(&changes(&all))
    }

    fn check(s: &CollectionSnapshot, model: &BTreeMap<u32, u8>) {
        let want: Vec<_> = model.iter().map(|(n, c)| resource(*n, *c)).collect();
        assert!(s.iter().eq(want.iter()));
        assert_eq!(s.len(), model.len());
        assert_eq!(s.version(), built(model).version());
        let many = s.blocks().len() > 1;
        for b in s.blocks() {
            assert!(!b.resources().is_empty());
            let one = 4 << 10; // a cut falls behind the resource that reaches it
            assert!(b.bytes() <= MAX_BYTES + one && (!many || b.bytes() + 8 * one >= MIN_BYTES), "{b:?}");
        }
    }

    #[test]
    fn a_change_rebuilds_its_block_and_shares_the_others() {
        let model: BTreeMap<u32, u8> = (0..2000).map(|n| (n, 0)).collect();
        let old = built(&model);
        let new = old.apply(&changes(&[(1000, Some(1))]));
        let fresh = new.blocks().iter().filter(|b| !old.blocks().iter().any(|o| Arc::ptr_eq(o, b))).count();
        assert!(old.blocks().len() > 10);
        assert_eq!(fresh, 1);
        let d = new.diff(&old);
        assert_eq!((d.changed.len(), d.removed.len()), (1, 0));
        assert_eq!(new.get("ns/s01000").unwrap().body[0], 1);
        assert!(new.get("ns/zzz").is_none() && new.get("a").is_none());
    }

    fn shares(s: &CollectionSnapshot) -> Version {
        Version(s.iter().fold(0, |sum, r| sum.wrapping_add(r.share())))
    }

    #[test]
    fn what_a_pilot_gets_is_made_once_for_all_clients_and_snapshots() {
        let some = |n: u32| {
            let r = Encoded::clone(&resource(n, 0));
            let takers = if n.is_multiple_of(500) { Takers::From(Pilot::V1_5) } else { Takers::ALL };
            (r.id.name.clone(), Some(Arc::new(r.fit(Fitness::of(takers)))))
        };
        let old = Arc::new(CollectionSnapshot::default().apply(&(0..2000).map(some).collect()));
        assert!(Arc::ptr_eq(&old, &old.fit_for(Pilot::V1_5)), "all of it");
        let view = old.fit_for(Pilot::V1_4);
        assert_eq!((view.len(), view.version()), (1996, shares(&view)));
        assert!(view.get("ns/s00500").is_none() && view.get("ns/s00501").is_some());
        assert!(Arc::ptr_eq(&view, &old.fit_for(Pilot::V1_1)), "nothing tells the two apart");
        let new = Arc::new(old.apply(&changes(&[(1001, Some(1))]))).fit_for(Pilot::V1_4);
        let fresh = new.blocks().iter().filter(|b| !view.blocks().iter().any(|o| Arc::ptr_eq(o, b))).count();
        assert_eq!(fresh, 1);
    }

    #[test]
    fn a_pilot_that_cannot_sniff_gets_tcp_and_its_own_version() {
        let port = ServicePort { number: 80, name: "a".into(), ..Default::default() };
        let http =
            ServicePort { number: 81, name: "b".into(), protocol: "HTTP".into(), ..Default::default() };
        let entry = ServiceEntry { ports: vec![port, http], ..Default::default() };
        let (mut r, all) = (Encoded::clone(&resource(0, 0)), Takers::ALL);
        r.body = entry.encode_to_vec().into();
        let r = Encoded::new(r.id, r.labels, r.annotations, r.body, r.topology);
        let r =
            Arc::new(r.fit(Fitness { as_is: Takers::From(Pilot::V1_3), as_tcp: all, ..Fitness::default() }));
        let change = [(r.id.name.clone(), Some(Arc::clone(&r)))].into();
        let served = Arc::new(CollectionSnapshot::default().apply(&change));
        let view = served.fit_for(Pilot::V1_2);
        let got = view.iter().next().unwrap();
        let protocols = ServiceEntry::decode(&*got.body).unwrap().ports;
        assert_eq!(protocols.iter().map(|p| p.protocol.as_str()).collect::<Vec<_>>(), ["TCP", "HTTP"]);
        assert_ne!(got.version, r.version);
        assert_eq!(view.version(), shares(&view));
        assert_eq!(served.fit_for(Pilot::V1_3).version(), served.version());
    }

    proptest! {
        #[test]
        fn any_changes_keep_order_versions_and_differences(
            steps in prop::collection::vec(prop::collection::vec((0..600_u32, prop::option::of(0..3_u8)), 0..200), 1..6)
        ) {
            let mut model = BTreeMap::new();
            let mut now = CollectionSnapshot::default();
            for step in steps {
                let before: BTreeMap<u32, u8> = model.clone();
                for (n, c) in &step {
                    match c { Some(c) => { model.insert(*n, *c); } None => { model.remove(n); } }
                }
                let next = now.apply(&changes(&step));
                check(&next, &model);
                let d = next.diff(&now);
                let changed = model.iter().filter(|(n, c)| before.get(n) != Some(c)).count();
                let removed = before.keys().filter(|n| !model.contains_key(n)).count();
                prop_assert_eq!((d.changed.len(), d.removed.len()), (changed, removed));
                now = next;
            }
        }
    }
}
