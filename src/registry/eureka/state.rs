//! What is known of one Eureka cluster, and what of a server's answer is believed. Pure: answers and the time come in,
//! batches and the next step go out.
//!
//! - A full read is proven complete by its own hash code. It becomes a `Reset`; what it *says* (an instance that is down
//!   now, one that moved) goes before it in the same batch as changes of its own, so that only silent absence is left for
//!   the `Reset` to show.
//! - A delta is applied, whatever is in it for the second time, and the hash code compared afterwards. Where they differ,
//!   something was missed: a full read follows.
//! - A server that knows nothing, or nothing older than `settle`, has probably just been started: its clients come back
//!   with their next heartbeat, half a minute later. What it says is added to what is known, what it lacks is not taken
//!   away, and the read is sent as doubtful. So is one whose own hash code does not fit.
//! - Servers are never added up: all servers of a cluster know the same, sooner or later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::compose::{Shape, compose, has_served, scope};
use super::instance::{Action, Applications, Instance, InstanceKey};
use super::ledger::{Ledger, Names, Slot};
use super::reading::{Deltas, Reading, cause};
use crate::model::change::{Batch, Cause, Change, Item, Trust};
use crate::model::time::Moment;

/// How long a server remembers a change for its deltas; who was away longer has missed some.
const RETENTION: Duration = Duration::from_secs(180);
/// A server's cache of the full list can miss the last of many changes, and is renewed after 180 s; twice that for one that
/// is asked in between. What it lacks meanwhile is not gone.
const STALE_CACHE: Duration = Duration::from_secs(360);
/// A server whose clients come and go keeps looking young; after so many times `settle` it is believed.
const PATIENCE: u32 = 3;
/// One that knew something and knows nothing at all after a restart has probably lost its clients with its network: it is
/// believed after so many times `settle`, ten minutes by default.
const EMPTY_PATIENCE: u32 = 13;

/// How answers are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// By which names instances are published.
    pub names: Names,
    /// How instances become services.
    pub shape: Shape,
    /// How long a server that has just been started is not believed about what it lacks.
    pub settle: Duration,
    /// How often everything is read although deltas suffice: they lose a change of metadata without a trace.
    pub full_every: Duration,
}

/// What to ask next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Everything, beginning with this server.
    Full(usize),
    /// What changed, of this server.
    Delta(usize),
}

/// Whether a full read is believed about what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is.
    Believed,
    /// It is not, for this reason.
    Doubted(Arc<str>),
}

/// All that is known of the cluster. Outlives the lives of its registry.
#[derive(Debug)]
pub(super) struct State {
    rules: Rules,
    ledger: Ledger,
    /// What was last said of each slot.
    spoken: BTreeMap<Slot, Item>,
    /// Whether a full read has ever been believed.
    complete: bool,
    server: usize,
    /// Whether the ledger is what `server` last said.
    in_step: bool,
    last_full: Option<Moment>,
    last_answer: Option<Moment>,
    /// Until when the server is not asked for deltas, which it does not give.
    no_deltas_until: Option<Moment>,
    doubted_since: Option<Moment>,
    doubt: Option<Arc<str>>,
    /// Who a server said is gone, and when: for a while its caches may show them again.
    gone: BTreeMap<InstanceKey, Moment>,
    nameless: Vec<Arc<str>>,
    stale: usize,
}

impl State {
    /// Nothing is known.
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            ledger: Ledger::new(rules.names),
            rules,
            spoken: BTreeMap::new(),
            complete: false,
            server: 0,
            in_step: false,
            last_full: None,
            last_answer: None,
            no_deltas_until: None,
            doubted_since: None,
            doubt: None,
            gone: BTreeMap::new(),
            nameless: Vec::new(),
            stale: 0,
        }
    }

    /// A new life begins: what the last one was told may never have arrived.
    pub(super) fn begin(&mut self) {
        self.in_step = false;
        self.no_deltas_until = None;
    }

    /// Everything is to be read next, although deltas suffice.
    pub(super) fn read_everything(&mut self) {
        self.in_step = false;
    }

    /// What to ask next.
    pub(super) fn plan(&self, now: Moment) -> Plan {
        let within = |at: Option<Moment>, limit| at.is_some_and(|at| now.since(at) < limit);
        let delta = self.in_step
            && self.doubt.is_none()
            && self.wants_deltas(now)
            && within(self.last_full, self.rules.full_every)
            && within(self.last_answer, RETENTION);
        if delta { Plan::Delta(self.server) } else { Plan::Full(self.server) }
    }

    /// Whether the server is to be asked for deltas at all.
    pub(super) fn wants_deltas(&self, now: Moment) -> bool {
        self.no_deltas_until.is_none_or(|until| now >= until)
    }

    /// The server does not give deltas (403, 404). It is asked again some time, for it may be a proxy that said so.
    pub(super) fn no_deltas(&mut self, now: Moment) {
        self.no_deltas_until = Some(now.plus(self.rules.full_every));
        self.in_step = false;
    }

    /// The server answered, and word for word what it answered last: nothing changed.
    pub(super) fn same_again(&mut self, now: Moment) {
        self.last_answer = Some(now);
    }

    /// Takes in a delta. What it says is a fact, whether or not it is all: `false` asks for a full read.
    pub(super) fn delta(&mut self, delta: Applications, now: Moment) -> (Batch, bool) {
        self.last_answer = Some(now);
        let (mut touched, mut causes) = (BTreeSet::new(), BTreeMap::new());
        for entry in delta.entries {
            match entry.action {
                Action::Put => {
                    let mut instance = entry.instance;
                    self.gone.remove(&instance.key);
                    // Only a full read tells, and what stood in the queue before it would take it back.
                    let known = self.ledger.get(&instance.key);
                    instance.stale =
                        known.is_some_and(|k| k.stale && *k == Instance { stale: true, ..instance.clone() });
                    self.ledger.put(instance, &mut touched);
                }
                Action::Delete => {
                    let mut gone = BTreeSet::new();
                    self.ledger.remove(&entry.instance.key, &mut gone);
                    note_cause(&mut causes, &gone, cause(entry.lease.expired()));
                    touched.extend(gone);
                    self.gone.insert(entry.instance.key, now);
                }
            }
        }
        self.in_step = delta.hash.as_deref().is_none_or(|hash| self.ledger.hash().is(hash));
        (Batch(self.changes(&touched, &causes)), self.in_step)
    }

    /// Whether a full read is to be believed.
    pub(super) fn judge(&self, reading: &Reading, now: Moment) -> Verdict {
        if let Some(why) = reading.is_broken() {
            return Verdict::Doubted(why.into());
        }
        let lacking = self.lacking(reading).count();
        if self.complete && lacking == 0 {
            return Verdict::Believed;
        }
        let doubted_for = self.doubted_since.map_or(Duration::ZERO, |since| now.since(since));
        if self.complete && reading.deltas == Deltas::Misfit && doubted_for < STALE_CACHE {
            let words = "what it lists and what it says has changed do not fit together, one of them is old";
            return Verdict::Doubted(
                format!("{words}: {lacking} of {} instances are missing", self.ledger.len()).into(),
            );
        }
        let settle = self.rules.settle;
        let what = if self.complete {
            format!("{lacking} of {} instances are not back yet", self.ledger.len())
        } else {
            format!("its clients may not be back yet; if they are, wait {settle:?}, or set `settle` lower")
        };
        if reading.present.is_empty() {
            if doubted_for < if self.complete { settle * EMPTY_PATIENCE } else { settle } {
                return Verdict::Doubted(format!("it knows nothing, as after a restart: {what}").into());
            }
        } else if reading.age().is_some_and(|age| age < settle) && doubted_for < settle * PATIENCE {
            let words = format!("it knows nothing older than {settle:?}, as after a restart: {what}");
            return Verdict::Doubted(words.into());
        }
        Verdict::Believed
    }

    /// Takes in a full read of `server`.
    pub(super) fn full(
        &mut self,
        mut reading: Reading,
        verdict: Verdict,
        server: usize,
        now: Moment,
    ) -> Batch {
        self.gone.retain(|_, since| now.since(*since) < RETENTION);
        reading.without(|key| self.gone.contains_key(key));
        match reading.deltas {
            Deltas::None => self.no_deltas(now),
            _ if server != self.server => self.no_deltas_until = None,
            _ => {}
        }
        (self.server, self.in_step) = (server, reading.deltas == Deltas::Fit);
        (self.last_full, self.last_answer) = (Some(now), Some(now));
        (self.nameless, self.stale) = (reading.nameless.clone(), reading.stale);
        let doubt = match &verdict {
            Verdict::Believed => None,
            Verdict::Doubted(why) => Some(Arc::clone(why)),
        };
        let shown = doubt.is_some().then(|| self.only(&reading));
        let explicit = self.merge(&reading);
        self.gone.extend(reading.deleted.keys().map(|key| (key.clone(), now)));
        self.doubt = doubt.clone();
        let mut batch = if self.complete { explicit } else { Vec::new() };
        let (items, trust) = match (doubt, shown) {
            (Some(why), Some(items)) => {
                self.doubted_since.get_or_insert(now);
                (items, Trust::Doubtful(why))
            }
            _ => {
                self.doubted_since = None;
                self.forget_lacking(&reading);
                self.complete = true;
                (self.spoken.values().cloned().collect(), Trust::Complete)
            }
        };
        batch.push(Change::Reset { scope: scope(), items, trust });
        Batch(batch)
    }

    /// Why what the server lacks is not believed to be gone.
    pub(super) fn doubt(&self) -> Option<&Arc<str>> {
        self.doubt.as_ref()
    }

    /// Instances that make no sense, and why; each `APP/id: reason`.
    pub(super) fn faults(&self) -> impl Iterator<Item = String> {
        let named = self.ledger.faults().iter().map(|(key, why)| format!("{}/{}: {why}", key.app, key.id));
        named.chain(self.nameless.iter().map(|app| format!("{app}: an instance without any name")))
    }

    /// How many instances the server keeps although their leases have run out, as of the last full read.
    pub(super) fn stale(&self) -> usize {
        self.stale
    }

    fn lacking<'a>(&'a self, reading: &'a Reading) -> impl Iterator<Item = &'a InstanceKey> {
        let there =
            |key: &InstanceKey| reading.present.contains_key(key) || reading.deleted.contains_key(key);
        self.ledger.keys().filter(move |key| !there(key))
    }

    /// Adds all that a full read says; what it lacks stays.
    fn merge(&mut self, reading: &Reading) -> Vec<Change> {
        let (mut touched, mut causes) = (BTreeSet::new(), BTreeMap::new());
        for instance in reading.present.values() {
            self.ledger.put(instance.clone(), &mut touched);
        }
        for (key, cause) in &reading.deleted {
            let mut gone = BTreeSet::new();
            self.ledger.remove(key, &mut gone);
            note_cause(&mut causes, &gone, *cause);
            touched.extend(gone);
        }
        self.changes(&touched, &causes)
    }

    /// Forgets what a full read lacks, which its `Reset` shows.
    fn forget_lacking(&mut self, reading: &Reading) {
        let lacking: Vec<InstanceKey> = self.lacking(reading).cloned().collect();
        let mut touched = BTreeSet::new();
        for key in lacking {
            self.ledger.remove(&key, &mut touched);
        }
        drop(self.changes(&touched, &BTreeMap::new()));
    }

    /// What has to be said of the slots that were touched.
    fn changes(&mut self, touched: &BTreeSet<Slot>, causes: &BTreeMap<Slot, Cause>) -> Vec<Change> {
        let mut changes = Vec::new();
        for slot in touched {
            let before = self.spoken.get(slot);
            let served = before.is_some_and(has_served);
            let after = self.ledger.members(slot).map(|m| compose(slot, m, &self.rules.shape, served));
            if before == after.as_ref() {
                continue;
            }
            // Who is taken out is not named any more; that the last one was is the server's word all the same.
            if let (Some(old), Some(cause)) = (before, causes.get(slot))
                && after.as_ref().is_some_and(|a| a.key() == old.key() && endpoints(a) == 0)
                && endpoints(old) > 0
            {
                changes.push(Change::Remove(old.key().clone(), *cause));
            }
            let moved = before.filter(|b| after.as_ref().is_none_or(|a| a.key() != b.key()));
            if let Some(old) = moved {
                let cause = causes.get(slot).copied().unwrap_or(Cause::Deregistered);
                changes.push(Change::Remove(old.key().clone(), cause));
            }
            match after {
                Some(item) => {
                    self.spoken.insert(Arc::clone(slot), item.clone());
                    changes.push(Change::Upsert(item));
                }
                None => {
                    self.spoken.remove(slot);
                }
            }
        }
        changes
    }

    /// What a read holds by itself.
    fn only(&self, reading: &Reading) -> Vec<Item> {
        let (mut ledger, mut slots) = (Ledger::new(self.rules.names), BTreeSet::new());
        for instance in reading.present.values() {
            ledger.put(instance.clone(), &mut slots);
        }
        let item = |slot: &Slot| {
            let served = self.spoken.get(slot).is_some_and(has_served);
            Some(compose(slot, ledger.members(slot)?, &self.rules.shape, served))
        };
        slots.iter().filter_map(item).collect()
    }
}

fn endpoints(item: &Item) -> usize {
    match item {
        Item::Service(s) => s.endpoints.len(),
        Item::Object(_) | Item::Refused(..) => 0,
    }
}

/// A name whose last instances went for different reasons was taken out by somebody.
fn note_cause(causes: &mut BTreeMap<Slot, Cause>, slots: &BTreeSet<Slot>, cause: Cause) {
    for slot in slots {
        let noted = causes.entry(Arc::clone(slot)).or_insert(cause);
        if cause == Cause::Deregistered {
            *noted = cause;
        }
    }
}

#[cfg(test)]
mod tests;
