//! What is published, and when: a collection once all that feed it have been read or given up on, a change with its lane.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::service::RegistryName;
use crate::model::time::Moment;
use crate::pipeline::debounce::Lane;
use crate::pipeline::desired;
use crate::pipeline::engine::Engine;
use crate::pipeline::reading::Reading;
use crate::resource::collection::Collection;
use crate::resource::snapshot::{CollectionSnapshot, Snapshot};

impl Engine {
    /// What is to be published now, if anything: collections that have become complete, and lanes that are due.
    pub fn flush(&mut self, now: Moment) -> Option<Arc<Snapshot>> {
        if !self.touched.is_empty() {
            return None;
        }
        let fresh: BTreeSet<Collection> =
            Collection::all().filter(|c| self.published.get(*c).is_none() && self.is_complete(*c)).collect();
        let due = self.debounce.due(now);
        if fresh.is_empty() && due.is_none() {
            return self.flush_unread();
        }
        // Empty collections too: "nothing" is an answer once it is known to be the truth.
        let mut next = fresh
            .iter()
            .fold((*self.published).clone(), |s, c| s.with(*c, Arc::new(CollectionSnapshot::default())));
        if !fresh.is_empty() {
            let first = self.desired.take(Lane::Topology, |c| fresh.contains(&c));
            next = desired::rebuild(&next, first);
        }
        if let Some(lane) = due {
            let changes = self.desired.take(lane, |c| next.get(c).is_some());
            self.debounce.flushed(lane, now);
            // What waited may have been taken back, or gone out with a first answer.
            if fresh.is_empty() && changes.is_empty() {
                return self.flush_unread();
            }
            next = desired::rebuild(&next, changes);
        }
        if self.desired.is_empty() {
            next = next.without(self.unread());
        }
        self.published = Arc::new(next);
        Some(Arc::clone(&self.published))
    }

    /// The same snapshot once more, if a registry has been read and brought nothing new.
    fn flush_unread(&mut self) -> Option<Arc<Snapshot>> {
        // Before anything is complete nobody asks.
        let complete = Collection::all().any(|c| self.published.get(c).is_some());
        if !complete || !self.desired.is_empty() || *self.published.unread() == self.unread() {
            return None;
        }
        self.published = Arc::new((*self.published).clone().without(self.unread()));
        Some(Arc::clone(&self.published))
    }

    /// Registries of which nobody knows what they hold now: of what is missing none was seen to go.
    fn unread(&self) -> BTreeSet<RegistryName> {
        let unread = |r: &Reading| !r.is_active() || r.is_restored();
        self.readings.iter().filter(|(_, r)| unread(r)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether every registry that feeds `collection` has been read or given up on. One that nobody feeds is complete.
    fn is_complete(&self, collection: Collection) -> bool {
        let done = |r: &Reading| r.is_active() || r.is_given_up();
        self.readings.values().filter(|r| r.feeds(collection)).all(done)
    }
}
