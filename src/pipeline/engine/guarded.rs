//! What a registry says on its way through its guard, and what becomes of what that holds: by time, and by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::policy::Policy;
use crate::model::catalog::Touched;
use crate::model::change::Change;
use crate::model::service::RegistryName;
use crate::model::time::Moment;
use crate::pipeline::engine::Engine;
use crate::pipeline::guard::freeze::{Area, Frozen};
use crate::pipeline::guard::{Guard, News, View};
use crate::pipeline::reading::Reading;

/// How often a registry is read again of which there was too much: nobody else tells what came meanwhile.
const LET_IN_AFTER: Duration = Duration::from_secs(60);

/// Something that is held, or no longer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The registry that knows it.
    pub registry: RegistryName,
    /// Items by what became of them, with the number of their endpoints.
    pub news: BTreeMap<(News, Arc<str>), usize>,
}

impl Engine {
    /// Takes in what of `changes` passes.
    pub(super) fn change(&mut self, registry: &RegistryName, changes: Vec<Change>, now: Moment) {
        self.with_guard(registry, |engine, guard, policy| {
            let vanishing = Guard::weigh(&engine.view(registry, policy, now), &changes);
            let mut touched = Touched::default();
            for change in changes {
                // One by one: the next is weighed against what this one leaves.
                let passed = guard.pass(&engine.view(registry, policy, now), change, vanishing.as_ref());
                let steps = passed.and_then(|c| engine.step(registry, c)).into_iter().collect();
                touched.merge(engine.catalog.apply(registry, steps));
            }
            touched
        });
    }

    /// Lets go what time alone holds no longer.
    pub(super) fn let_go_in_time(&mut self, now: Moment) {
        let due = |guard: &Guard| guard.deadline().is_some_and(|at| at <= now);
        let names: Vec<_> = self.guards.iter().filter(|(_, g)| due(g)).map(|(n, _)| n.clone()).collect();
        for registry in names {
            self.follow(&registry, now, Guard::due);
        }
    }

    /// Lets go, by hand, what is held in `area`; how many endpoints and objects that is.
    pub fn release(&mut self, area: &Area, now: Moment) -> usize {
        self.now = now;
        let names: Vec<_> = self.guards.keys().cloned().collect();
        let before = self.held_parts();
        for registry in names {
            self.follow(&registry, now, |guard, view| {
                guard.let_go(view, |item, _| area.holds(view.registry, &item.name))
            });
        }
        before.saturating_sub(self.held_parts())
    }

    /// Freezes or thaws `area`, by hand.
    pub fn freeze(&mut self, area: Area, frozen: bool, now: Moment) {
        self.now = now;
        self.frozen.set(area, frozen);
        self.note_frozen();
        if !frozen {
            let names: Vec<_> = self.guards.keys().cloned().collect();
            names.iter().for_each(|registry| self.follow(registry, now, Guard::thaw));
        }
    }

    /// What is frozen.
    #[must_use]
    pub fn frozen(&self) -> &Frozen {
        &self.frozen
    }

    /// The guard of a registry; `None`: nothing was ever held of it.
    #[must_use]
    pub fn guard(&self, registry: &RegistryName) -> Option<&Guard> {
        self.guards.get(registry)
    }

    /// What is held or no longer is, since the last call.
    pub fn take_guarded(&mut self) -> Vec<Guarded> {
        std::mem::take(&mut self.guarded)
    }

    /// The registries of which something is held (or had no room and may have some), and how often each should be read until
    /// that is decided.
    #[must_use]
    pub fn read_again(&self) -> BTreeMap<RegistryName, Duration> {
        let every = |(name, guard): (&RegistryName, &Guard)| {
            let policy = self.readings.get(name)?.policy()?;
            Some((name.clone(), guard.read_again(policy)?))
        };
        let held: BTreeMap<_, _> = self.guards.iter().filter_map(every).collect();
        let waiting = self.to_be_let_in().filter(|name| !held.contains_key(*name));
        let waiting: Vec<_> = waiting.map(|name| (name.clone(), LET_IN_AFTER)).collect();
        held.into_iter().chain(waiting).collect()
    }

    fn follow(
        &mut self,
        registry: &RegistryName,
        now: Moment,
        decide: impl FnOnce(&mut Guard, &View<'_>) -> Vec<Change>,
    ) {
        self.with_guard(registry, |engine, guard, policy| {
            let changes = decide(guard, &engine.view(registry, policy, now));
            let steps = changes.into_iter().filter_map(|c| engine.step(registry, c)).collect();
            engine.catalog.apply(registry, steps)
        });
    }

    pub(super) fn with_guard(
        &mut self,
        registry: &RegistryName,
        work: impl FnOnce(&mut Self, &mut Guard, &Policy) -> Touched,
    ) {
        let Some(policy) = self.readings.get(registry).and_then(Reading::policy).cloned() else { return };
        let mut guard = self.guards.remove(registry).unwrap_or_default();
        let touched = work(self, &mut guard, &policy);
        self.note_items(registry, guard.take_noted());
        let news = guard.take_news();
        if !news.is_empty() {
            self.guarded.push(Guarded { registry: registry.clone(), news });
        }
        self.guards.insert(registry.clone(), guard);
        self.touch(touched);
    }

    pub(super) fn view<'a>(
        &'a self,
        registry: &'a RegistryName,
        policy: &'a Policy,
        now: Moment,
    ) -> View<'a> {
        View { registry, catalog: &self.catalog, policy, frozen: &self.frozen, now }
    }

    fn held_parts(&self) -> usize {
        self.guards.values().flat_map(Guard::held).map(|(_, item)| item.parts().count()).sum()
    }
}
