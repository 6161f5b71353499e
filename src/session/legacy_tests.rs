//! The rules of the legacy conversation, one by one. Names in parentheses: the reference's test of the same behaviour.

use std::sync::Arc;

use super::tests::{names, resource};
use super::*;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceName};
use crate::resource::legacy::{self, Fitness, Takers};
use crate::session::message::{Mode, Selection};

pub(super) const ENTRIES: &str = "istio/networking/v1alpha3/serviceentries";
const SERVICES: &str = "istio/networking/v1alpha3/virtualservices";
const WORKLOADS: &str = "istio/networking/v1alpha3/workloadentries";
const QUOTAS: &str = "istio/mixer/v1/config/client/quotaspecs";
const SYNTHETIC: &str = "istio/networking/v1alpha3/synthetic/serviceentries";

/// Resources whose name begins with `new` are for 1.5 and newer.
pub(super) fn entries<'a>(list: impl IntoIterator<Item = (&'a str, u8)>) -> Arc<CollectionSnapshot> {
    let fitness = |n: &str| match n.starts_with("new") {
        true => Fitness::of(Takers::From(Pilot::V1_5)),
        false => Fitness::default(),
    };
    let fit = |n: &str, b| Arc::new(Encoded::clone(&resource(n, b)).fit(fitness(n)));
    let changes = list.into_iter().map(|(n, b)| (ResourceName::new("ns", n), Some(fit(n, b)))).collect();
    Arc::new(CollectionSnapshot::default().apply(&changes))
}

fn snapshot(list: &[(&str, u8)]) -> Arc<Snapshot> {
    let empty = Collection::all().fold(Snapshot::default(), |s, c| s.with(c, Arc::default()));
    Arc::new(empty.with(Collection::ServiceEntry, entries(list.iter().copied())))
}

pub(super) fn asks(asked: &str) -> Request {
    let target = match legacy::of_name(asked) {
        Some(Some(collection)) => Target::Known(collection),
        Some(None) => Target::Empty,
        None => Target::Unknown,
    };
    Request {
        asked: asked.into(),
        target,
        mode: Mode::Full,
        nonce: String::new(),
        refusal: None,
        selection: Selection::Replace(Vec::new()),
        held: BTreeMap::new(),
        node: None,
    }
}

pub(super) fn ack(response: &Response) -> Request {
    Request { nonce: response.nonce.to_string(), ..asks(&response.asked) }
}

fn nack(response: &Response) -> Request {
    Request { refusal: Some(Refusal { code: 2, message: "message is nil".into() }), ..ack(response) }
}

pub(super) fn incremental(request: Request) -> Request {
    Request { mode: Mode::Delta, ..request }
}

fn next(session: &mut Session) -> Option<Response> {
    session.next_response(usize::MAX)
}

fn session(list: &[(&str, u8)]) -> Session {
    let mut session = Session::legacy(MAX_UNKNOWN, Pilot::V1_1);
    session.on_snapshot(snapshot(list));
    session
}

/// What a client that asks for changes has been told first: everything.
fn told(list: &[(&str, u8)]) -> (Session, Response) {
    let mut s = session(list);
    s.on_request(incremental(asks(ENTRIES))).unwrap();
    let first = next(&mut s).unwrap();
    (s, first)
}

/// What `session` says once it serves `list`: names that came or changed, names that went.
fn told_next(session: &mut Session, list: &[(&str, u8)]) -> Option<(Mode, Vec<String>, Vec<String>)> {
    session.on_snapshot(snapshot(list));
    let r = next(session)?;
    session.on_request(incremental(ack(&r))).unwrap();
    Some((r.mode, names(&r), r.removed))
}

/// (`TestSourceACKAddUpdateDelete`)
#[test]
fn full_state_follows_additions_updates_and_deletions() {
    let mut s = session(&[("a", 1)]);
    s.on_request(asks(ENTRIES)).unwrap();
    let steps: [&[(&str, u8)]; 5] =
        [&[("a", 1)], &[("a", 2)], &[], &[("a", 1), ("b", 1)], &[("b", 2), ("c", 1)]];
    for (list, nonce) in steps.into_iter().zip(1..) {
        s.on_snapshot(snapshot(list));
        let r = next(&mut s).unwrap();
        let want: Vec<_> = list.iter().map(|(n, _)| format!("ns/{n}")).collect();
        assert_eq!((names(&r), r.mode, &*r.asked), (want, Mode::Full, ENTRIES));
        assert_eq!(r.nonce.to_string(), nonce.to_string(), "from 1, in decimal");
        // Whether it was applied or not: what comes next is whole again.
        s.on_request(if nonce == 2 { nack(&r) } else { ack(&r) }).unwrap();
        assert!(next(&mut s).is_none());
    }
}

/// (`TestSourceStaleNonce`)
#[test]
fn a_stale_acknowledgement_and_a_stale_refusal_change_nothing() {
    let (mut s, first) = told(&[("a", 1)]);
    s.on_request(ack(&first)).unwrap();
    s.on_snapshot(snapshot(&[("a", 2)]));
    let second = next(&mut s).unwrap();
    for stale in [ack(&first), nack(&first), Request { nonce: "4711".into(), ..asks(ENTRIES) }] {
        assert_eq!(s.on_request(incremental(stale)), Ok(Event::Stale));
        assert!(next(&mut s).is_none());
    }
    s.on_request(ack(&second)).unwrap();
    s.on_snapshot(snapshot(&[("a", 3)]));
    assert_eq!(next(&mut s).unwrap().mode, Mode::Full, "what a stale request asked for does not count");
}

#[test]
fn a_nonce_for_a_collection_that_was_never_asked_for_subscribes_to_nothing() {
    let mut s = session(&[("a", 1)]);
    let forged = Request { nonce: "1".into(), refusal: Some(Refusal::default()), ..asks(ENTRIES) };
    assert_eq!(s.on_request(forged), Ok(Event::Stale));
    assert!(next(&mut s).is_none() && !s.watches(ENTRIES));
}

/// (`TestSourceConcurrentRequestsForMultipleTypes`)
#[test]
fn collections_are_answered_independently() {
    let mut s = session(&[("a", 1)]);
    for asked in [ENTRIES, SERVICES, QUOTAS] {
        s.on_request(asks(asked)).unwrap();
    }
    let sent: Vec<_> = std::iter::from_fn(|| next(&mut s)).collect();
    assert_eq!(sent.iter().map(|r| &*r.asked).collect::<Vec<_>>(), [QUOTAS, ENTRIES, SERVICES]);
    s.on_snapshot(snapshot(&[("a", 2)]));
    assert!(next(&mut s).is_none());
    s.on_request(ack(&sent[1])).unwrap();
    assert_eq!(&*next(&mut s).unwrap().asked, ENTRIES);
    s.on_request(ack(&sent[2])).unwrap();
    assert!(next(&mut s).is_none(), "equal bytes again would make a Pilot push");
}

/// (`TestCalculateDelta`)
#[test]
fn a_delta_says_what_came_changed_and_went() {
    let (mut s, first) = told(&[]);
    s.on_request(incremental(ack(&first))).unwrap();
    let list = |names: &[&str]| names.iter().map(|n| format!("ns/{n}")).collect::<Vec<_>>();
    let delta = |came: &[&str], went: &[&str]| Some((Mode::Delta, list(came), list(went)));
    assert_eq!(told_next(&mut s, &[("a", 1), ("b", 1)]), delta(&["a", "b"], &[]), "into nothing");
    assert_eq!(told_next(&mut s, &[("a", 1), ("b", 1), ("c", 1)]), delta(&["c"], &[]), "one more");
    assert_eq!(told_next(&mut s, &[("a", 1), ("b", 1), ("c", 1)]), None, "nothing");
    assert_eq!(told_next(&mut s, &[("a", 2), ("b", 1), ("c", 1)]), delta(&["a"], &[]), "one changed");
    assert_eq!(told_next(&mut s, &[("a", 2), ("c", 1)]), delta(&[], &["b"]), "one went");
    assert_eq!(told_next(&mut s, &[("c", 2), ("d", 1)]), delta(&["c", "d"], &["a"]), "all of it");
    assert_eq!(told_next(&mut s, &[]), delta(&[], &["c", "d"]), "all went");
}

/// (`TestSourceACKAddUpdateDelete_Incremental`)
#[test]
fn the_first_response_is_whole_even_if_changes_are_asked_for() {
    let (mut s, first) = told(&[("a", 1)]);
    assert_eq!((first.mode, names(&first).len()), (Mode::Full, 1));
    s.on_request(incremental(ack(&first))).unwrap();
    assert_eq!(told_next(&mut s, &[("a", 2)]).unwrap().0, Mode::Delta);
    // For each collection, not for the stream.
    s.on_request(incremental(asks(SERVICES))).unwrap();
    assert_eq!(next(&mut s).unwrap().mode, Mode::Full);
}

/// (`TestSourceACKAddUpdateDelete_Incremental`)
#[test]
fn a_refused_delta_is_computed_again_from_what_was_acknowledged() {
    let (mut s, first) = told(&[("a", 1), ("b", 1)]);
    s.on_request(incremental(ack(&first))).unwrap();
    s.on_snapshot(snapshot(&[("a", 2)]));
    let refused = next(&mut s).unwrap();
    s.on_request(incremental(nack(&refused))).unwrap();
    assert!(next(&mut s).is_none(), "not the same again");
    s.on_snapshot(snapshot(&[("a", 2), ("c", 1)]));
    let again = next(&mut s).unwrap();
    assert_eq!((names(&again), again.removed), (vec!["ns/a".into(), "ns/c".into()], vec!["ns/b".into()]));
}

/// (`TestSourceACKAddUpdateDelete_Incremental`)
#[test]
fn a_client_may_change_its_mind_with_every_request() {
    let (mut s, first) = told(&[("a", 1), ("b", 1)]);
    s.on_request(ack(&first)).unwrap();
    s.on_snapshot(snapshot(&[("a", 2), ("b", 1)]));
    let whole = next(&mut s).unwrap();
    assert_eq!((whole.mode, names(&whole).len()), (Mode::Full, 2));
    // The whole that was sent to who wanted wholes is not remembered: one more, then changes.
    s.on_request(incremental(ack(&whole))).unwrap();
    assert_eq!(told_next(&mut s, &[("a", 3), ("b", 1)]).unwrap().0, Mode::Full);
    assert_eq!(told_next(&mut s, &[("a", 4), ("b", 1)]).unwrap().0, Mode::Delta);
    // A stock sink's refusal asks for the whole.
    s.on_snapshot(snapshot(&[("a", 5), ("b", 1)]));
    let delta = next(&mut s).unwrap();
    s.on_request(nack(&delta)).unwrap();
    s.on_snapshot(snapshot(&[("a", 6), ("b", 1)]));
    assert_eq!(next(&mut s).unwrap().mode, Mode::Full);
}

#[test]
fn a_client_that_comes_back_is_told_what_changed_and_what_went_meanwhile() {
    let version = |n, b| resource(n, b).version.to_string();
    let held = [
        ("ns/a".to_owned(), version("a", 1)),
        ("ns/b".into(), version("b", 1)),
        ("ns/gone".into(), version("gone", 1)),
        ("ns/odd".into(), "v".repeat(1 << 20)),
    ];
    let mut s = session(&[("a", 1), ("b", 2), ("c", 1), ("odd", 1)]);
    s.on_request(incremental(Request { held: held.into(), ..asks(ENTRIES) })).unwrap();
    let first = next(&mut s).unwrap();
    assert_eq!(first.mode, Mode::Delta);
    assert_eq!(names(&first), ["ns/b", "ns/c", "ns/odd"]);
    assert_eq!(first.removed, ["ns/gone"]);
}

#[test]
fn what_a_client_claims_to_hold_counts_only_if_it_asks_for_changes() {
    let held: BTreeMap<_, _> = [("ns/a".to_owned(), resource("a", 1).version.to_string())].into();
    let mut s = session(&[("a", 1)]);
    s.on_request(Request { held: held.clone(), ..asks(ENTRIES) }).unwrap();
    let first = next(&mut s).unwrap();
    assert_eq!((first.mode, names(&first).len()), (Mode::Full, 1));
    // Nor does it take from a client what it has in a collection that we never have.
    s.on_request(incremental(Request { held, ..asks(SYNTHETIC) })).unwrap();
    let empty = next(&mut s).unwrap();
    assert_eq!((empty.mode, empty.removed.len(), names(&empty).len()), (Mode::Full, 0, 0));
}

#[test]
fn who_asks_again_is_told_the_whole_again() {
    let (mut s, first) = told(&[("a", 1)]);
    s.on_request(incremental(ack(&first))).unwrap();
    assert!(next(&mut s).is_none());
    s.on_request(incremental(asks(ENTRIES))).unwrap();
    let again = next(&mut s).unwrap();
    assert_eq!((again.mode, names(&again).len()), (Mode::Full, 1));
}

#[test]
fn every_collection_of_every_pilot_is_answered_and_none_counts_as_unknown() {
    let mut s = session(&[]);
    let all: std::collections::BTreeSet<_> =
        Pilot::ALL.iter().flat_map(|p| p.collections()).chain([SYNTHETIC]).collect();
    for asked in &all {
        s.on_request(asks(asked)).unwrap();
    }
    assert_eq!(s.unknown, 0);
    let answered: Vec<_> = std::iter::from_fn(|| next(&mut s)).collect();
    assert_eq!(answered.len(), all.len());
    assert!(answered.iter().all(|r| names(r).is_empty() && !r.version.to_string().is_empty()));
}

/// What a Pilot that asks in this order has been told of ServiceEntries by the time it has acknowledged all.
fn pilot(order: &[&str]) -> Vec<Vec<String>> {
    let mut s = session(&[("a", 1), ("new", 1)]);
    let mut told = Vec::new();
    let mut unread = Vec::new();
    for asked in order {
        s.on_request(asks(asked)).unwrap();
        unread.extend(std::iter::from_fn(|| next(&mut s)));
    }
    while let Some(r) = unread.pop() {
        s.on_request(ack(&r)).unwrap();
        if &*r.asked == ENTRIES {
            told.push(names(&r));
        }
        unread.extend(std::iter::from_fn(|| next(&mut s)));
    }
    told
}

#[test]
fn a_pilot_is_told_once_and_in_its_own_form_in_whatever_order_it_asks() {
    let modern = [WORKLOADS, ENTRIES, SERVICES, QUOTAS];
    let ancient = [QUOTAS, ENTRIES, SERVICES];
    for turn in 0..4 {
        let mut order = modern;
        order.rotate_left(turn);
        assert_eq!(pilot(&order), [["ns/a", "ns/new"]], "{order:?}");
        let mut order = ancient;
        order.rotate_left(turn % 3);
        assert_eq!(pilot(&order), [["ns/a"]], "{order:?}");
    }
}

#[test]
fn a_client_with_nothing_to_acknowledge_is_taken_for_the_oldest_after_a_while() {
    let mut s = session(&[("a", 1), ("new", 1)]);
    s.on_request(asks(ENTRIES)).unwrap();
    assert!(next(&mut s).is_none() && s.is_waiting());
    s.waited();
    let strict = next(&mut s).unwrap();
    assert_eq!((names(&strict), strict.left_out), (vec!["ns/a".to_owned()], 1));
    assert!(!s.is_waiting());
    // What it asks for later tells more, and what it gets is another version then.
    s.on_request(ack(&strict)).unwrap();
    s.on_request(asks(WORKLOADS)).unwrap();
    let sent: Vec<_> = std::iter::from_fn(|| next(&mut s)).collect();
    let liberal = sent.iter().find(|r| &*r.asked == ENTRIES).unwrap();
    assert_eq!(names(liberal), ["ns/a", "ns/new"]);
    assert_ne!(liberal.version, strict.version);
}

#[test]
fn what_is_the_same_for_all_releases_waits_for_nothing() {
    let mut s = session(&[("a", 1)]);
    s.on_request(asks(ENTRIES)).unwrap();
    assert!(!s.is_waiting());
    assert_eq!(names(&next(&mut s).unwrap()), ["ns/a"]);
}

#[test]
fn the_configured_release_holds_where_the_stream_tells_of_none_newer() {
    let mut s = Session::legacy(MAX_UNKNOWN, Pilot::V1_5);
    s.on_snapshot(snapshot(&[("a", 1), ("new", 1)]));
    s.on_request(asks(ENTRIES)).unwrap();
    assert_eq!(names(&next(&mut s).unwrap()), ["ns/a", "ns/new"]);
}

#[test]
fn a_change_of_what_a_release_does_not_get_is_not_sent_to_it() {
    let mut s = session(&[("a", 1), ("new", 1)]);
    s.on_request(asks(ENTRIES)).unwrap();
    s.waited();
    let first = next(&mut s).unwrap();
    s.on_request(ack(&first)).unwrap();
    s.on_snapshot(snapshot(&[("a", 1), ("new", 2)]));
    assert!(next(&mut s).is_none());
    s.on_snapshot(snapshot(&[("a", 1)]));
    assert!(next(&mut s).is_none());
    s.on_snapshot(snapshot(&[]));
    assert!(next(&mut s).is_some());
}

#[test]
fn a_service_that_loses_what_an_old_pilot_needs_goes_from_it_as_a_removal() {
    let (mut s, first) = told(&[("a", 1)]);
    s.on_request(incremental(ack(&first))).unwrap();
    let gone = Arc::new(Encoded::clone(&resource("a", 2)).fit(Fitness::of(Takers::From(Pilot::V1_5))));
    let change = [(gone.id.name.clone(), Some(gone))].into_iter().collect();
    let content = Arc::new(CollectionSnapshot::default().apply(&change));
    s.on_snapshot(Arc::new(Snapshot::default().with(Collection::ServiceEntry, content)));
    let r = next(&mut s).unwrap();
    assert_eq!((r.mode, names(&r).len(), r.removed), (Mode::Delta, 0, vec!["ns/a".to_owned()]));
}

#[test]
fn a_thousand_collections_end_the_stream() {
    let mut s = session(&[]);
    let mut asks = (0..1000).map(|n| s.on_request(asks(&format!("x/v1/things{n}"))));
    assert!(matches!(asks.find_map(Result::err), Some(ProtocolError::TooMuch(_))));
}
