//! A client of the legacy protocol that applies what it gets, driven by random steps. Whatever happens, the version that
//! is claimed of a response is the one of what the client then holds; it computes that from nothing but names and
//! versions, as the reference's stress test does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::legacy_tests::{ENTRIES, ack, asks, entries, incremental};
use super::tests::resource;
use super::*;
use crate::resource::collection::Collection;
use crate::resource::encoded::Encoded;
use crate::session::message::{Content, Mode};

/// The later ones are for 1.5 and newer.
const NAMES: [&str; 6] = ["a", "b", "c", "newa", "newb", "newc"];

#[derive(Debug, Clone)]
enum Step {
    /// What is served changes: contents by name, absent for gone.
    Publish(Vec<(usize, Option<u8>)>),
    /// The oldest response on its way arrives; whether it is applied, and what is asked for next.
    Receive { accept: bool, incremental: bool },
    /// The client asks anew.
    Again { incremental: bool },
    /// A request about a response that is settled or never was.
    Stale { incremental: bool },
    /// The connection breaks, and the client comes back; it may say what it has.
    Reconnect { incremental: bool, says: bool },
    /// The client asks for something that only 1.6 asks for.
    Newer,
    /// The collection is incomplete.
    Silence,
}

fn step() -> impl Strategy<Value = Step> {
    let publish = prop::collection::vec((0..NAMES.len(), prop::option::of(0..3_u8)), 1..4);
    let two = || any::<(bool, bool)>();
    prop_oneof![
        5 => publish.prop_map(Step::Publish),
        8 => two().prop_map(|(accept, incremental)| Step::Receive { accept: accept || incremental, incremental }),
        2 => two().prop_map(|(accept, incremental)| Step::Receive { accept, incremental }),
        1 => any::<bool>().prop_map(|incremental| Step::Again { incremental }),
        2 => any::<bool>().prop_map(|incremental| Step::Stale { incremental }),
        1 => two().prop_map(|(incremental, says)| Step::Reconnect { incremental, says }),
        1 => Just(Step::Newer),
        1 => Just(Step::Silence),
    ]
}

/// One stream's two ends.
#[derive(Default)]
struct World {
    session: Session,
    served: BTreeMap<usize, u8>,
    has: BTreeMap<String, Version>,
    on_the_way: VecDeque<Response>,
    /// What the request that is answered next asked for.
    asked: Mode,
    /// Whether the client has been told anything on this stream, or has said what it has.
    began: bool,
    newer: bool,
}

impl World {
    fn connect(&mut self, mode: Mode, says: bool) {
        self.session = Session::legacy(MAX_UNKNOWN, Pilot::V1_1);
        self.on_the_way.clear();
        (self.began, self.newer) = (false, false);
        self.publish();
        let held = if says {
            self.has.iter().map(|(n, v)| (n.clone(), v.to_string())).collect()
        } else {
            BTreeMap::new()
        };
        self.began = mode == Mode::Delta && !held.is_empty();
        self.ask(Request { held, mode, ..asks(ENTRIES) });
        self.session.waited();
        self.drain();
    }

    fn ask(&mut self, request: Request) -> Event {
        let mode = request.mode;
        let event = self.session.on_request(request).unwrap();
        if event != Event::Stale {
            self.asked = mode;
        }
        self.drain();
        event
    }

    /// Takes what is due; never more than one may be on its way.
    fn drain(&mut self) {
        while let Some(r) = self.session.next_response(usize::MAX) {
            if &*r.asked != ENTRIES {
                continue;
            }
            assert!(self.on_the_way.is_empty(), "two unacknowledged");
            assert!(r.mode == Mode::Full || self.asked == Mode::Delta, "changes that nobody asked for");
            assert!(r.mode == Mode::Full || self.began, "changes of nothing");
            self.began = true;
            self.on_the_way.push_back(r);
        }
    }

    fn publish(&mut self) {
        let content = entries(self.served.iter().map(|(n, b)| (NAMES[*n], *b)));
        let empty = Snapshot::default().with(Collection::WorkloadEntry, Arc::default());
        self.session.on_snapshot(Arc::new(empty.with(Collection::ServiceEntry, content)));
        self.drain();
    }

    fn receive(&mut self, accept: bool, mode: Mode) {
        let Some(r) = self.on_the_way.pop_front() else { return };
        if !accept {
            let refused = Request { refusal: Some(Refusal::default()), mode, ..ack(&r) };
            assert!(matches!(self.ask(refused), Event::Refused { .. }));
            return;
        }
        let sent: Vec<_> = match &r.content {
            Content::Whole(all) => all.iter().cloned().collect(),
            Content::Picked(some) => some.clone(),
        };
        if r.mode == Mode::Full {
            assert!(r.removed.is_empty());
            self.has.clear();
        }
        self.has.extend(sent.iter().map(|r| (r.id.name.to_string(), r.version)));
        for name in &r.removed {
            self.has.remove(name);
        }
        assert_eq!(self.version(), r.version, "{:?} after {r:?}", self.has);
        assert!(matches!(self.ask(Request { mode, ..ack(&r) }), Event::Acknowledged { .. }));
    }

    /// The version of what the client has.
    fn version(&self) -> Version {
        Version(self.has.iter().fold(0, |sum, (name, version)| {
            let (_, short) = name.split_once('/').unwrap();
            let mut r = Encoded::clone(&resource(short, 0));
            r.version = *version;
            sum.wrapping_add(r.share())
        }))
    }

    fn take(&mut self, step: Step) {
        let mode = |incremental| if incremental { Mode::Delta } else { Mode::Full };
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
            Step::Receive { accept, incremental } => self.receive(accept, mode(incremental)),
            Step::Again { incremental } => {
                self.ask(Request { mode: mode(incremental), ..asks(ENTRIES) });
            }
            Step::Stale { incremental } => {
                let stale = Request { nonce: "4711".into(), mode: mode(incremental), ..asks(ENTRIES) };
                assert_eq!(self.ask(stale), Event::Stale);
            }
            Step::Reconnect { incremental, says } => self.connect(mode(incremental), says),
            Step::Newer => {
                self.newer = true;
                self.session
                    .on_request(incremental(asks("istio/networking/v1alpha3/workloadentries")))
                    .unwrap();
                self.drain();
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
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_pilot_holds_what_its_versions_say_and_ends_with_what_it_may_have(
        first in any::<bool>(),
        steps in prop::collection::vec(step(), 0..50),
    ) {
        let mut world = World::default();
        world.connect(if first { Mode::Delta } else { Mode::Full }, false);
        for step in steps {
            world.take(step);
        }
        // Something new is served, and the client accepts all.
        world.served.insert(0, 99);
        world.publish();
        while !world.on_the_way.is_empty() {
            world.receive(true, Mode::Delta);
        }
        let fits = |n: &usize| world.newer || !NAMES[*n].starts_with("new");
        let want: BTreeMap<_, _> = world.served.iter().filter(|(n, _)| fits(n))
            .map(|(n, b)| (format!("ns/{}", NAMES[*n]), resource(NAMES[*n], *b).version)).collect();
        prop_assert_eq!(&world.has, &want);
    }
}
