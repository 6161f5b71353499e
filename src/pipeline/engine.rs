//! Everything that the pipeline decides, without its task: changes in, work in slices, snapshots out. No clock, no channel.

mod admit;
mod bounded;
mod guarded;
mod keep;
mod look;
mod publish;
mod refusals;
mod registries;
mod succeed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::admit::Before;
pub use self::admit::Ignored;
pub use self::bounded::Crowding;
use self::bounded::Outside;
pub use self::guarded::Guarded;
pub use self::keep::Restored;
use self::keep::{Age, Unsaved};
pub use self::refusals::Refusal;
use self::refusals::Refusals;
use crate::convert::vip::VirtualAddresses;
use crate::model::catalog::{Catalog, Known, Step, Touched};
use crate::model::change::Change;
use crate::model::host::Host;
use crate::model::merging::Merging;
use crate::model::service::{RegistryName, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::debounce::{Cadence, Debounce};
use crate::pipeline::desired::{Desired, Terms, Verdict};
use crate::pipeline::guard::Guard;
use crate::pipeline::guard::freeze::Frozen;
use crate::pipeline::intake::Delivery;
use crate::pipeline::reading::{Outcome, Reading, RegistrySettings};
use crate::resource::snapshot::Snapshot;

/// All that a reload may change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The registries in the order of the configuration, which decides between them.
    pub registries: Vec<RegistrySettings>,
    /// How they share hosts.
    pub merging: Merging,
    /// Where virtual addresses come from; empty: there are none.
    pub virtual_ranges: Vec<ipnet::IpNet>,
    /// Addresses that are given by hand.
    pub pins: BTreeMap<Host, std::net::IpAddr>,
    /// What holds for every conversion.
    pub terms: Terms,
    /// How long changes are gathered.
    pub cadence: Cadence,
}

/// The state of the pipeline.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    readings: BTreeMap<RegistryName, Reading>,
    /// Registries that are no longer configured and still served, and who has to be read before they go.
    leaving: BTreeMap<RegistryName, BTreeSet<RegistryName>>,
    catalog: Catalog,
    /// What each registry's words are weighed by, once it has been read.
    guards: BTreeMap<RegistryName, Guard>,
    frozen: Frozen,
    guarded: Vec<Guarded>,
    /// Items that are beyond the bounds of their registry.
    outside: Outside,
    crowding: Vec<Crowding>,
    desired: Desired,
    debounce: Debounce,
    /// Not looked at yet. Nothing is published while there is any, so that a batch goes out whole.
    touched: Touched,
    refused: Refusals,
    published: Arc<Snapshot>,
    /// The moment of the call that is under way.
    now: Moment,
    /// Services of which something holds for a time only (see `Admitted::until`).
    fading: BTreeSet<(Moment, RegistryName, ServiceKey)>,
    verdicts: Vec<Verdict>,
    ignored: Vec<Ignored>,
    complaints: Vec<String>,
    /// Registries that have been read since people were last told.
    read: Vec<RegistryName>,
    /// Registries that have not been read in time, since people were last told.
    overdue: Vec<RegistryName>,
    unsaved: Unsaved,
    /// How old what was restored is, registry by registry.
    restored: BTreeMap<RegistryName, Age>,
    /// Hosts whose addresses were restored and that nobody claims so far.
    unclaimed: BTreeSet<Host>,
}

impl Engine {
    /// An engine that has read nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let addresses = VirtualAddresses::new(settings.virtual_ranges.clone(), settings.pins.clone());
        let mut engine = Self {
            readings: BTreeMap::new(),
            leaving: BTreeMap::new(),
            catalog: Catalog::default(),
            guards: BTreeMap::new(),
            frozen: Frozen::default(),
            guarded: Vec::new(),
            outside: Outside::new(),
            crowding: Vec::new(),
            desired: Desired::new(settings.terms.clone(), addresses),
            debounce: Debounce::new(settings.cadence),
            touched: Touched::default(),
            refused: Refusals::default(),
            published: Arc::default(),
            now: Moment::START,
            fading: BTreeSet::new(),
            verdicts: Vec::new(),
            ignored: Vec::new(),
            complaints: Vec::new(),
            read: Vec::new(),
            overdue: Vec::new(),
            unsaved: Unsaved::default(),
            restored: BTreeMap::new(),
            unclaimed: BTreeSet::new(),
            settings,
        };
        engine.set_registries(Moment::START);
        engine
    }

    /// Takes over new settings. What a changed registry says stays until its new form has been read, a removed one stays
    /// until what the same reload brought has.
    pub fn configure(&mut self, settings: Settings, now: Moment) {
        self.now = now;
        let old = std::mem::replace(&mut self.settings, settings);
        self.debounce.set_cadence(self.settings.cadence);
        let addresses = old.virtual_ranges != self.settings.virtual_ranges || old.pins != self.settings.pins;
        if addresses {
            let (ranges, pins) = (self.settings.virtual_ranges.clone(), self.settings.pins.clone());
            let exhausted = self.desired.addresses_mut().reconfigure(ranges, pins);
            self.complaints.extend(exhausted.iter().map(ToString::to_string));
        }
        self.desired.set_terms(self.settings.terms.clone());
        self.set_registries(now);
        if addresses || old.terms != self.settings.terms {
            let everything = self.catalog.everything();
            self.touch(everything);
        }
    }

    /// Takes in what a registry says.
    pub fn deliver(&mut self, delivery: Delivery, now: Moment) {
        self.now = now;
        let Some(reading) = self.readings.get_mut(&delivery.registry) else { return };
        let (registry, restored) = (delivery.registry, reading.is_restored());
        match reading.deliver(delivery.generation, delivery.batch) {
            Outcome::Waits => {}
            Outcome::Read(items) => self.succeed(&registry, items, now),
            Outcome::Changed(changes) => {
                self.change(&registry, changes, now);
                if restored && self.readings.get(&registry).is_some_and(|r| !r.is_restored()) {
                    self.read.push(registry);
                }
            }
        }
        self.release_unclaimed();
    }

    /// Looks at up to `budget` touched objects and hosts. Whether any are left.
    pub fn work(&mut self, budget: usize, now: Moment) -> bool {
        self.now = now;
        let expired = self.desired.expired(now);
        self.touched.merge(expired);
        self.look_at_the_clock(now);
        self.let_go_in_time(now);
        self.forget_in_time();
        for _ in 0..budget {
            let lane = if let Some(id) = self.touched.objects.pop_first() {
                self.look_at_object(&id)
            } else if let Some(host) = self.touched.hosts.pop_first() {
                self.note_host(&host);
                self.look_at_host(&host, now)
            } else {
                return false;
            };
            if let Some(lane) = lane {
                self.debounce.note(lane, now);
            }
        }
        !self.touched.is_empty()
    }

    /// When there is something to do although nobody says anything.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let given_up = self.readings.values().filter_map(Reading::deadline).min();
        let held = self.guards.values().filter_map(Guard::deadline).min();
        let fading = self.fading.first().map(|(at, ..)| *at);
        let all = [self.debounce.deadline(), self.desired.next_expiry(), given_up, held, fading];
        all.into_iter().flatten().min()
    }

    /// What is served now.
    #[must_use]
    pub fn published(&self) -> &Arc<Snapshot> {
        &self.published
    }

    /// What people should hear of since the last call.
    pub fn take_verdicts(&mut self) -> Vec<Verdict> {
        std::mem::take(&mut self.verdicts)
    }

    /// Registries that have been read completely since the last call: for the first time, or under new settings.
    pub fn take_read(&mut self) -> Vec<RegistryName> {
        std::mem::take(&mut self.read)
    }

    /// Registries that have not been read in time, since the last call.
    pub fn take_overdue(&mut self) -> Vec<RegistryName> {
        std::mem::take(&mut self.overdue)
    }

    /// What owners of services say and what does not count, since the last call.
    pub fn take_ignored(&mut self) -> Vec<Ignored> {
        std::mem::take(&mut self.ignored)
    }

    /// What is wrong with no item in particular, since the last call.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }

    /// Everything that is known.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What became of every host.
    #[must_use]
    pub fn desired(&self) -> &Desired {
        &self.desired
    }

    /// The registries in the order of the configuration, and those that are leaving, with what is known of their reads.
    pub fn readings(&self) -> impl Iterator<Item = (&RegistryName, &Reading)> {
        let names = self.settings.registries.iter().map(|r| &r.name).chain(self.leaving.keys());
        names.filter_map(|name| Some((name, self.readings.get(name)?)))
    }

    /// Who has to be read before `name`, which is no longer configured, goes; `None`: it is configured.
    #[must_use]
    pub fn leaving(&self, name: &RegistryName) -> Option<&BTreeSet<RegistryName>> {
        self.leaving.get(name)
    }

    /// Why items are not what their registry says now.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<(RegistryName, ServiceKey), Refusal> {
        self.refused.all()
    }

    fn touch(&mut self, touched: Touched) {
        let readings = &self.readings;
        let policy_of = |r: &RegistryName| readings.get(r)?.policy().cloned();
        let exhausted = self.desired.allocate(&touched.hosts, &self.catalog, policy_of);
        self.complaints.extend(exhausted.iter().map(ToString::to_string));
        self.touched.merge(touched);
    }

    fn step(&mut self, registry: &RegistryName, change: Change) -> Option<Step> {
        match change {
            Change::Upsert(item) => {
                let taken = self.has_room(registry, &item);
                taken.then(|| self.admit(registry, item, Before::Same).ok().map(Step::Put))?
            }
            Change::Remove(key, _) => {
                self.forget_outside(registry, &key);
                self.refused.remove(&(registry.clone(), key.clone()));
                let until = match self.catalog.item(registry, &key) {
                    Some(Known::Service(_, admitted)) => admitted.until,
                    Some(Known::Object(_)) | None => None,
                };
                self.fade(registry, &key, until, None);
                self.note_items(registry, [key.clone()]);
                Some(Step::Drop(key))
            }
            Change::Reset { scope, items, .. } => {
                let taken = self.within_bounds(registry, Some(&scope), items);
                let (items, mut kept) = self.sort_out(registry, taken.items, Before::Same);
                kept.extend(taken.kept);
                self.retain_refused(registry, |key| key.scope != scope || kept.contains(key));
                Some(Step::Reset { scope: Some(scope), items, kept })
            }
        }
    }
}

#[cfg(test)]
mod tests;
