//! The share of what is published that is for some readers: without the resources of certain registries.
//!
//! A change costs what changed. Where nothing is left out, the share is the whole, the very same snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::service::RegistryName;
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;
use crate::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};
use crate::store::{Store, StoreReader};

/// Registries whose resources are left out.
pub type LeftOut = BTreeSet<RegistryName>;

/// The share, published anew at each [`follow`](Self::follow).
#[derive(Debug, Default)]
pub struct View {
    share: Store,
    before: Option<Both>,
}

impl View {
    /// A reader of the share that has seen nothing yet.
    #[must_use]
    pub fn reader(&self) -> StoreReader {
        self.share.reader()
    }

    /// Publishes the share of `whole`.
    pub fn follow(&mut self, whole: Arc<Snapshot>, left_out: &LeftOut) {
        let before = self.before.take().filter(|b| b.left_out == *left_out);
        let share = share(&whole, left_out, before.as_ref());
        self.share.publish(Arc::clone(&share));
        self.before = Some(Both { whole, share, left_out: left_out.clone() });
    }
}

#[derive(Debug)]
struct Both {
    whole: Arc<Snapshot>,
    share: Arc<Snapshot>,
    left_out: LeftOut,
}

fn share(whole: &Arc<Snapshot>, left_out: &LeftOut, before: Option<&Both>) -> Arc<Snapshot> {
    if left_out.is_empty() {
        return Arc::clone(whole);
    }
    let names: BTreeSet<&str> = left_out.iter().map(RegistryName::as_str).collect();
    let is_out = |r: &Encoded| r.registry().is_some_and(|r| names.contains(r));
    let empty = Arc::new(CollectionSnapshot::default());
    let complete = Collection::all().filter_map(|c| Some((c, whole.get(c)?)));
    Arc::new(complete.fold(Snapshot::default(), |out, (collection, new)| {
        let old =
            |pick: fn(&Both) -> &Snapshot| before.and_then(|b| pick(b).get(collection)).unwrap_or(&empty);
        let (whole_before, share_before) = (old(|b| &b.whole), old(|b| &b.share));
        if Arc::ptr_eq(whole_before, new) && !Arc::ptr_eq(new, &empty) {
            return out.with(collection, Arc::clone(share_before));
        }
        let difference = new.diff(whole_before);
        let gone = difference.removed.into_iter().map(|name| (name, None));
        let kept = |r: Arc<Encoded>| (r.id.name.clone(), (!is_out(&r)).then_some(r));
        let changes: Changes = gone.chain(difference.changed.into_iter().map(kept)).collect();
        out.with(collection, Arc::new(share_before.apply(&changes)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::labels::Labels;
    use crate::resource::encoded::{ResourceId, ResourceName, TopologyHash};

    fn resource(name: &str, registry: &str, content: u8) -> Arc<Encoded> {
        let name = ResourceName::new("ns", name);
        let id = ResourceId { collection: Collection::ServiceEntry, name };
        let body = vec![content].into();
        let made = Encoded::new(id, Labels::EMPTY, Labels::EMPTY, body, TopologyHash::default());
        Arc::new(made.held_by(RegistryName::new(registry)))
    }

    fn snapshot(of: &[(&str, &str, u8)]) -> Arc<Snapshot> {
        let changes: Changes = of
            .iter()
            .map(|(name, registry, content)| resource(name, registry, *content))
            .map(|r| (r.id.name.clone(), Some(r)))
            .collect();
        let content = Arc::new(CollectionSnapshot::default().apply(&changes));
        Arc::new(Snapshot::default().with(Collection::ServiceEntry, content))
    }

    fn names(s: &Snapshot) -> Vec<String> {
        let content = s.get(Collection::ServiceEntry);
        content.into_iter().flat_map(|c| c.iter()).map(|r| r.id.name.to_string()).collect()
    }

    #[test]
    fn where_nothing_is_left_out_the_share_is_the_whole() {
        let whole = snapshot(&[("a", "x", 0)]);
        assert!(Arc::ptr_eq(&share(&whole, &LeftOut::new(), None), &whole));
    }

    #[test]
    fn a_share_made_step_by_step_is_the_one_made_at_once() {
        let left_out: LeftOut = [RegistryName::new("y")].into();
        let steps = [
            snapshot(&[("a", "x", 0), ("b", "y", 0)]),
            snapshot(&[("a", "y", 1), ("b", "x", 1), ("c", "x", 0)]),
            snapshot(&[("b", "x", 2), ("d", "y", 0)]),
        ];
        let mut before: Option<Both> = None;
        for (whole, want) in steps.iter().zip([&["ns/a"][..], &["ns/b", "ns/c"], &["ns/b"]]) {
            let made = share(whole, &left_out, before.as_ref());
            let at_once = share(whole, &left_out, None);
            assert_eq!(names(&made), want);
            let version = |s: &Snapshot| s.get(Collection::ServiceEntry).map(|c| c.version());
            assert_eq!(version(&made), version(&at_once));
            before = Some(Both { whole: Arc::clone(whole), share: made, left_out: left_out.clone() });
        }
    }

    #[test]
    fn what_is_not_complete_stays_silent() {
        let left_out: LeftOut = [RegistryName::new("y")].into();
        let made = share(&snapshot(&[("b", "y", 0)]), &left_out, None);
        assert!(made.get(Collection::ServiceEntry).is_some_and(|c| c.is_empty()));
        assert!(made.get(Collection::Gateway).is_none());
    }
}
