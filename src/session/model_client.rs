//! A client that applies what it gets, driven by random steps: whatever happens, it ends with what is served.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{SE, names, resource};
use super::*;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceName};
use crate::session::message::{Content, Mode, Selection};

/// Names that resources may have; few, so that steps meet.
const POOL: u8 = 6;

#[derive(Debug, Clone)]
enum Step {
    /// What is served changes: contents by name, absent for gone.
    Publish(Vec<(u8, Option<u8>)>),
    /// The oldest response on its way arrives.
    Receive { accept: bool },
    /// The client subscribes; `*` is [`POOL`].
    Subscribe(u8),
    /// The client unsubscribes.
    Unsubscribe(u8),
    /// A request about a response that is settled or never was.
    Stale,
    /// The collection is incomplete, as after a new registry was configured.
    Silence,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0..POOL, prop::option::of(0..3_u8)), 1..4).prop_map(Step::Publish),
        6 => any::<bool>().prop_map(|x| Step::Receive { accept: x }),
        1 => Just(Step::Receive { accept: true }),
        1 => (0..=POOL).prop_map(Step::Subscribe),
        1 => (0..=POOL).prop_map(Step::Unsubscribe),
        1 => Just(Step::Stale),
        1 => Just(Step::Silence),
    ]
}

fn short(n: u8) -> String {
    format!("s{n}")
}

fn full(n: u8) -> String {
    if n == POOL { "*".into() } else { format!("ns/{}", short(n)) }
}

/// One stream's two ends.
struct World {
    session: Session,
    mode: Mode,
    served: BTreeMap<u8, u8>,
    everything: bool,
    explicit: bool,
    wanted: BTreeSet<String>,
    /// What the client has applied: name to version.
    has: BTreeMap<String, Version>,
    on_the_way: VecDeque<Response>,
    /// Not to be sent again, unless the client asks for something after that.
    refused: Option<Version>,
    asked: bool,
}

impl World {
    fn new(mode: Mode, wanted: &BTreeSet<u8>, had: &BTreeMap<u8, u8>) -> Self {
        let wanted: BTreeSet<String> = wanted.iter().map(|n| full(*n)).collect();
        let has = had.iter().map(|(n, b)| (full(*n), resource(&short(*n), *b).version));
        let has = has.filter(|(n, _)| mode == Mode::Delta && (wanted.is_empty() || wanted.contains(n)));
        let mut world = Self {
            session: Session::default(),
            mode,
            served: BTreeMap::new(),
            everything: wanted.is_empty(),
            explicit: !wanted.is_empty(),
            has: has.collect(),
            wanted,
            on_the_way: VecDeque::new(),
            refused: None,
            asked: false,
        };
        let held = world.has.iter().map(|(n, v)| (n.clone(), v.to_string())).collect();
        let first: Vec<String> = world.wanted.iter().cloned().collect();
        world.request("foreign", None, (first, Vec::new()), held);
        world
    }

    fn request(
        &mut self,
        nonce: &str,
        refusal: Option<Refusal>,
        (subscribe, unsubscribe): (Vec<String>, Vec<String>),
        held: BTreeMap<String, String>,
    ) -> Event {
        let selection = match self.mode {
            Mode::Delta => Selection::Change { subscribe, unsubscribe },
            Mode::Full => {
                let star = (self.everything && self.explicit).then(|| "*".to_owned());
                Selection::Replace(self.wanted.iter().cloned().chain(star).collect())
            }
        };
        let (mode, nonce) = (self.mode, nonce.to_owned());
        let target = Target::Known(Collection::ServiceEntry);
        let request = Request { asked: SE.into(), target, mode, nonce, refusal, selection, held, node: None };
        let event = self.session.on_request(request).unwrap();
        self.drain();
        event
    }

    fn settle(&mut self, nonce: &str, refusal: Option<Refusal>) -> Event {
        self.request(nonce, refusal, Default::default(), BTreeMap::new())
    }

    /// Takes what is due; never more than one may be on its way.
    fn drain(&mut self) {
        while let Some(response) = self.session.next_response(usize::MAX) {
            assert!(self.on_the_way.is_empty(), "two unacknowledged");
            let asked = std::mem::take(&mut self.asked);
            assert!(asked || self.refused != Some(response.version), "the refused version again");
            self.on_the_way.push_back(response);
        }
    }

    fn publish(&mut self) {
        let all = self
            .served
            .iter()
            .map(|(n, b)| (ResourceName::new("ns", &short(*n)), Some(resource(&short(*n), *b))));
        let content = Arc::new(CollectionSnapshot::default().apply(&all.collect()));
        self.session.on_snapshot(Arc::new(Snapshot::default().with(Collection::ServiceEntry, content)));
        self.drain();
    }

    fn wants(&self, name: &str) -> bool {
        self.everything || self.wanted.contains(name)
    }

    fn receive(&mut self, accept: bool) {
        let Some(response) = self.on_the_way.pop_front() else { return };
        let nonce = response.nonce.to_string();
        if !accept {
            self.refused = Some(response.version);
            let event = self.settle(&nonce, Some(Refusal::default()));
            assert!(matches!(event, Event::Refused { .. }));
            return;
        }
        self.refused = None;
        let sent: Vec<_> = match &response.content {
            Content::Whole(all) => all.iter().cloned().collect(),
            Content::Picked(some) => some.clone(),
        };
        if self.mode == Mode::Full {
            self.has.clear();
        }
        for r in sent {
            if self.wants(r.id.name.as_str()) {
                self.has.insert(r.id.name.to_string(), r.version);
            }
        }
        for name in &response.removed {
            assert!(!names(&response).contains(name), "{name} both sent and removed");
            self.has.remove(name);
        }
        assert!(matches!(self.settle(&nonce, None), Event::Acknowledged { .. }));
    }

    fn subscribe(&mut self, n: u8) {
        // A client that asks again has dropped what it had: the server must not rely on it.
        if n == POOL {
            self.everything = true;
            self.has.clear();
        } else {
            self.has.remove(&full(n));
            self.wanted.insert(full(n));
        }
        self.explicit = true;
        self.asked = true;
        self.request("", None, (vec![full(n)], Vec::new()), BTreeMap::new());
    }

    fn unsubscribe(&mut self, n: u8) {
        if n == POOL {
            self.everything = false;
            self.explicit = true;
            let wanted = self.wanted.clone();
            self.has.retain(|name, _| wanted.contains(name));
        } else if self.wanted.remove(&full(n)) {
            self.has.remove(&full(n));
            self.explicit = true;
        }
        self.asked = true;
        self.request("", None, (Vec::new(), vec![full(n)]), BTreeMap::new());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(changes) => {
                for (n, body) in changes {
                    match body {
                        Some(body) => self.served.insert(n, body),
                        None => self.served.remove(&n),
                    };
                }
                self.publish();
            }
            Step::Receive { accept } => self.receive(accept),
            Step::Subscribe(n) => self.subscribe(n),
            Step::Unsubscribe(n) => self.unsubscribe(n),
            Step::Stale => {
                assert_eq!(self.settle("4711", None), Event::Stale);
            }
            Step::Silence => {
                self.session.on_snapshot(Arc::default());
                assert!(
                    self.session.next_response(usize::MAX).is_none(),
                    "silence is safe, emptiness is not"
                );
            }
        }
    }

    /// The client accepts everything from now on, and something new is served.
    fn quiesce(&mut self) {
        // A full-state subset has a version of its own, so that one has to change whatever is in it.
        let fresh = if self.mode == Mode::Full { POOL } else { 1 };
        self.served.extend((0..fresh).map(|n| (n, 99)));
        self.publish();
        while !self.on_the_way.is_empty() {
            self.receive(true);
        }
    }

    /// The version of what the client has, computed from nothing but names and versions.
    fn client_version(&self) -> Version {
        Version(self.has.iter().fold(0, |sum, (name, version)| {
            let (_, short) = name.split_once('/').unwrap();
            let mut r = Encoded::clone(&resource(short, 0));
            r.version = *version;
            sum.wrapping_add(r.share())
        }))
    }

    fn want_version(&self) -> Version {
        let wanted = self.served.iter().filter(|(n, _)| self.wants(&full(**n)));
        Version(wanted.fold(0, |sum, (n, b)| sum.wrapping_add(resource(&short(*n), *b).share())))
    }
}

fn ends_with_what_is_served(mode: Mode, wanted: &BTreeSet<u8>, had: &BTreeMap<u8, u8>, steps: Vec<Step>) {
    let mut world = World::new(mode, wanted, had);
    for step in steps {
        world.take(step);
    }
    world.quiesce();
    // A full-state client that wants nothing is told nothing.
    if mode == Mode::Delta || world.everything || !world.wanted.is_empty() {
        assert_eq!(world.client_version(), world.want_version(), "{:?}", world.has);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_full_state_client_ends_with_what_is_served(
        wanted in prop::collection::btree_set(0..POOL, 0..3),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        ends_with_what_is_served(Mode::Full, &wanted, &BTreeMap::new(), steps);
    }

    #[test]
    fn any_delta_client_ends_with_what_is_served(
        wanted in prop::collection::btree_set(0..POOL, 0..3),
        had in prop::collection::btree_map(0..POOL, 0..3_u8, 0..4),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        ends_with_what_is_served(Mode::Delta, &wanted, &had, steps);
    }
}
