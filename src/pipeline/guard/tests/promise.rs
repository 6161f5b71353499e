//! The promise of the guard, for every sequence of what a registry says, under every setting.
//!
//! A [`Ledger`] stands beside it that knows only what was said and when, never what the guard thinks. After each event it says
//! which of the endpoints that were served may be gone by now and which must be; nothing else may be missing, and nothing
//! may stay beyond its time. Where what came lately makes up for what goes, the ledger is content with what is certain.

use proptest::prelude::*;

use super::*;

const SERVICES: usize = 4;
/// The first two services are in one scope, the others in the other.
const SCOPES: [(&str, std::ops::Range<usize>); 2] = [("a", 0..2), ("b", 2..4)];
/// What came is remembered for so long.
const LATELY: Duration = Duration::from_secs(600);

/// Endpoints by service.
type All = Vec<BTreeSet<u8>>;

/// One thing that happens to a registry of four services with up to eight endpoints each.
#[derive(Debug, Clone)]
enum Event {
    /// A complete read of one scope. Services without endpoints are in it, empty, or not at all.
    Read {
        scope: usize,
        shows: All,
        named: bool,
    },
    /// The same, and it is not to be believed.
    Doubt {
        scope: usize,
        shows: All,
        named: bool,
    },
    /// A word about one service.
    Upsert(usize, BTreeSet<u8>),
    /// Services are not there any more, and nobody says why.
    Vanish(BTreeSet<usize>),
    /// A service is not there any more, and the registry says why.
    Said(usize, Cause),
    /// The registry names those that serve nothing: all but these.
    Critical(usize, BTreeSet<u8>),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let some = || proptest::collection::btree_set(0_u8..8, 0..=8);
    let most = || proptest::collection::btree_set(0_u8..8, 5..=8);
    let shows = move || {
        prop_oneof![
            3 => proptest::collection::vec(some(), 2),
            3 => proptest::collection::vec(most(), 2),
            1 => Just(vec![BTreeSet::new(); 2]),
        ]
    };
    let cause = prop_oneof![Just(Cause::Deregistered), Just(Cause::Unhealthy), Just(Cause::Expired)];
    prop_oneof![
        6 => (0_usize..2, shows(), any::<bool>()).prop_map(|(scope, shows, named)| Event::Read { scope, shows, named }),
        3 => (0_usize..2, shows(), any::<bool>()).prop_map(|(scope, shows, named)| Event::Doubt { scope, shows, named }),
        3 => (0..SERVICES, some()).prop_map(|(n, e)| Event::Upsert(n, e)),
        2 => proptest::collection::btree_set(0..SERVICES, 1..=2).prop_map(Event::Vanish),
        1 => (0..SERVICES, cause).prop_map(|(n, cause)| Event::Said(n, cause)),
        1 => (0..SERVICES, some()).prop_map(|(n, e)| Event::Critical(n, e)),
        3 => (0_u64..40).prop_map(Event::Pass),
        1 => (590_u64..700).prop_map(Event::Pass),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let (shrink, hold) =
        (prop_oneof![Just(0_u8), Just(30), Just(100)], prop_oneof![Just(0_u64), Just(10), Just(60)]);
    (shrink, any::<bool>(), 0_u32..4, hold).prop_map(
        |(registry_shrink_limit, empty_service_hold, confirm_reads, hold)| {
            let removal_hold = Duration::from_secs(hold);
            Limits {
                registry_shrink_limit,
                empty_service_hold,
                confirm_reads,
                removal_hold,
                ..Limits::default()
            }
        },
    )
}

fn byte(n: usize, e: u8) -> u8 {
    u8::try_from(n).unwrap() * 10 + e
}

fn scope_of(n: usize) -> usize {
    SCOPES.iter().position(|(_, services)| services.contains(&n)).unwrap()
}

fn key_of(n: usize) -> ServiceKey {
    key_in(SCOPES[scope_of(n)].0, &format!("s{n}"))
}

fn item(n: usize, endpoints: &BTreeSet<u8>) -> Item {
    Item::Service(Arc::new(made(key_of(n), endpoints.iter().map(|e| byte(n, *e)))))
}

fn reset(scope: usize, shows: &All, named: bool, trust: Trust) -> Change {
    let (name, services) = &SCOPES[scope];
    let items = services.clone().zip(shows).filter(|(_, e)| named || !e.is_empty());
    let items = items.map(|(n, e)| item(n, e)).collect();
    Change::Reset { scope: Scope::new(name), items, trust }
}

fn tell(rig: &mut Rig, event: &Event) {
    match event {
        Event::Read { scope, shows, named } => rig.say(vec![reset(*scope, shows, *named, Trust::Complete)]),
        Event::Doubt { scope, shows, named } => {
            rig.say(vec![reset(*scope, shows, *named, Trust::Doubtful("restarted empty".into()))]);
        }
        Event::Upsert(n, endpoints) => rig.say(vec![Change::Upsert(item(*n, endpoints))]),
        Event::Vanish(services) => {
            rig.say(services.iter().map(|n| Change::Remove(key_of(*n), Cause::Vanished)).collect());
        }
        Event::Said(n, cause) => rig.say(vec![Change::Remove(key_of(*n), *cause)]),
        Event::Critical(n, left) => {
            let mut service = made(key_of(*n), left.iter().map(|e| byte(*n, *e)));
            for e in (0..8).filter(|e| !left.contains(e)) {
                service.left_out.add("critical", format!("i{}", byte(*n, e)));
            }
            rig.say(vec![Change::Upsert(Item::Service(Arc::new(service)))]);
        }
        Event::Pass(seconds) => rig.pass(*seconds),
    }
}

fn served(rig: &Rig) -> All {
    let all = rig.served();
    let of = |n: usize| all.get(&format!("s{n}")).into_iter().flatten().map(|b| b - byte(n, 0)).collect();
    (0..SERVICES).map(of).collect()
}

/// An endpoint that is served and was not shown when its registry last spoke of it, believed or not.
#[derive(Debug)]
struct Lack {
    since: Moment,
    /// Further words that agreed and are believed.
    agreed: u32,
    doubted: bool,
    /// It is not only its own service that lost much: a word that shows others of that does not let it go.
    general: bool,
}

/// What may be gone, by what was said.
struct Ledger {
    limits: Limits,
    now: Moment,
    /// What was shown by the last word that is believed.
    shown: All,
    lacks: BTreeMap<(usize, u8), Lack>,
    /// How many endpoints may have come, and when the last did.
    grown: Vec<(usize, Moment)>,
    /// May be gone after this event.
    may_go: BTreeSet<(usize, u8)>,
    /// Must be.
    must_go: BTreeSet<(usize, u8)>,
}

impl Ledger {
    fn new(limits: Limits, shown: All) -> Self {
        let grown = vec![(0, Moment::START); SERVICES];
        let (lacks, may_go, must_go) = Default::default();
        Self { limits, now: Moment::START, shown, lacks, grown, may_go, must_go }
    }

    /// Notes what `event` says, while `before` is served.
    fn note(&mut self, event: &Event, before: &All) {
        self.may_go.clear();
        self.must_go.clear();
        match event {
            Event::Read { scope, shows, .. } => self.read(SCOPES[*scope].1.clone(), shows, before),
            Event::Doubt { scope, shows, .. } => self.doubt(SCOPES[*scope].1.clone(), shows, before),
            Event::Upsert(n, endpoints) => self.word(*n, endpoints, before),
            Event::Vanish(services) => self.vanish(services, before),
            Event::Said(n, _) => self.said(*n, &BTreeSet::new(), before),
            Event::Critical(n, left) => self.said(*n, left, before),
            Event::Pass(seconds) => self.now = self.now.plus(Duration::from_secs(*seconds)),
        }
    }

    fn read(&mut self, services: std::ops::Range<usize>, shows: &All, before: &All) {
        let (mut gone, mut net) = (Vec::new(), 0);
        for (n, now) in services.clone().zip(shows) {
            let lost: Vec<u8> = before[n].difference(now).copied().collect();
            self.grow(n, now, before);
            net += lost.len().saturating_sub(self.lately(n));
            gone.extend(lost.into_iter().map(|e| (n, e, now.is_empty())));
        }
        let nothing_left = shows.iter().all(BTreeSet::is_empty);
        let all = before.iter().map(BTreeSet::len).sum();
        let general = self.limits.is_too_much(net, all) || nothing_left && !gone.is_empty();
        for (n, e, last) in gone {
            self.lacked(n, e, true, general || last && self.limits.empty_service_hold, Some(general));
        }
        for (n, now) in services.zip(shows) {
            self.show(n, now);
        }
    }

    fn doubt(&mut self, services: std::ops::Range<usize>, shows: &All, before: &All) {
        for (n, now) in services.zip(shows) {
            self.grow(n, now, before);
            for e in before[n].difference(now) {
                let lack = Lack { since: self.now, agreed: 0, doubted: true, general: true };
                self.lacks.entry((n, *e)).or_insert(lack);
            }
            // What it shows is there.
            for e in now {
                self.lacks.remove(&(n, *e));
            }
        }
    }

    fn word(&mut self, n: usize, now: &BTreeSet<u8>, before: &All) {
        let last = now.is_empty() && self.limits.empty_service_hold;
        for e in before[n].difference(now) {
            let general = self.lacks.get(&(n, *e)).is_some_and(|lack| lack.general);
            self.lacked(n, *e, false, last || general, last.then_some(false));
        }
        self.grow(n, now, before);
        self.show(n, now);
    }

    fn vanish(&mut self, services: &BTreeSet<usize>, before: &All) {
        let gone = services.iter().map(|n| before[*n].len()).sum();
        let general = self.limits.is_too_much(gone, before.iter().map(BTreeSet::len).sum());
        for n in services {
            for e in &before[*n] {
                self.lacked(*n, *e, false, general || self.limits.empty_service_hold, Some(general));
            }
            self.show(*n, &BTreeSet::new());
        }
    }

    /// What the registry itself says is gone at once, held or not.
    fn said(&mut self, n: usize, left: &BTreeSet<u8>, before: &All) {
        self.must_go.extend(before[n].difference(left).map(|e| (n, *e)));
        self.grow(n, left, before);
        self.show(n, left);
    }

    /// An endpoint that is served is not shown by a word that is believed. `general`: what its reason is from now on.
    fn lacked(&mut self, n: usize, e: u8, whole: bool, suspicious: bool, general: Option<bool>) {
        if !suspicious {
            self.may_go.insert((n, e));
        }
        match self.lacks.get_mut(&(n, e)) {
            Some(lack) if whole || !lack.doubted => {
                lack.agreed += 1;
                lack.general = general.unwrap_or(lack.general);
            }
            Some(_) => {}
            None => {
                let general = suspicious && general == Some(true);
                self.lacks.insert((n, e), Lack { since: self.now, agreed: 0, doubted: false, general });
            }
        }
    }

    fn show(&mut self, n: usize, now: &BTreeSet<u8>) {
        for e in now {
            self.lacks.remove(&(n, *e));
        }
        self.shown[n].clone_from(now);
    }

    fn grow(&mut self, n: usize, now: &BTreeSet<u8>, before: &All) {
        let came = now.difference(&before[n]).count();
        if came > 0 {
            self.grown[n] = (self.lately(n) + came, self.now);
        }
    }

    fn lately(&self, n: usize) -> usize {
        let (came, at) = self.grown[n];
        if self.now.since(at) < LATELY { came } else { 0 }
    }

    fn is_due(&self, lack: &Lack) -> bool {
        lack.agreed >= self.limits.confirmations(lack.doubted)
            && self.now.since(lack.since) >= self.limits.removal_hold
    }

    /// Whether `after` may be served where `before` was.
    fn check(&mut self, before: &All, after: &All) -> Result<(), TestCaseError> {
        for n in 0..SERVICES {
            prop_assert!(self.shown[n].is_subset(&after[n]), "s{n}: not all that is shown is served");
            for e in before[n].difference(&after[n]).map(|e| (n, *e)) {
                let due = self.lacks.get(&e).is_some_and(|lack| self.is_due(lack));
                let may = due || self.may_go.contains(&e) || self.must_go.contains(&e);
                prop_assert!(may, "{e:?} went too soon: {:?}", self.lacks.get(&e));
            }
            for e in after[n].iter().map(|e| (n, *e)) {
                prop_assert!(!self.must_go.contains(&e), "{e:?} is gone by its registry's own word");
                let late = self.lacks.get(&e).filter(|lack| self.is_due(lack));
                prop_assert!(late.is_none(), "{e:?} stays beyond its time: {late:?}");
            }
        }
        self.lacks.retain(|(n, e), _| after[*n].contains(e));
        Ok(())
    }
}

/// Reads that agree, as often as the guard asks for them: within the time of the hold, and of the reads, and one pause more.
fn settle(rig: &mut Rig, limits: &Limits, shown: &All) {
    let pause = limits.read_again_after();
    let reads = pause * (limits.confirm_reads + 1);
    let began = rig.now;
    while rig.now.since(began) <= limits.removal_hold.max(reads) + pause {
        let read = |scope: usize| {
            let shows = SCOPES[scope].1.clone().map(|n| shown[n].clone()).collect();
            reset(scope, &shows, false, Trust::Complete)
        };
        (0..SCOPES.len()).for_each(|scope| rig.say(vec![read(scope)]));
        rig.pass(pause.as_secs().max(1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn nothing_goes_too_soon_and_nothing_stays_too_long(
        limits in limits(),
        events in proptest::collection::vec(event(), 1..24),
    ) {
        let mut rig = Rig { engine: Engine::new(settings(policy(limits), &["a", "b"])), now: Moment::START };
        let full: All = vec![(0..8).collect(); SERVICES];
        let first = |scope: usize| reset(scope, &full[SCOPES[scope].1.clone()].to_vec(), true, Trust::Complete);
        rig.say(vec![first(0), first(1)]);
        let mut ledger = Ledger::new(limits, full);
        for event in &events {
            let before = served(&rig);
            ledger.note(event, &before);
            tell(&mut rig, event);
            ledger.check(&before, &served(&rig))?;
            let held = rig.engine.guard(&name()).into_iter().flat_map(Guard::held);
            let held: usize = held.map(|(_, item)| item.endpoints()).sum();
            prop_assert_eq!(held, rig.held(), "what is counted is what there is");
        }
        settle(&mut rig, &limits, &ledger.shown);
        prop_assert_eq!(rig.held(), 0);
        prop_assert_eq!(served(&rig), ledger.shown);
    }
}
