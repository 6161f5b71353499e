//! The rules of the conversation, one by one.

use bytes::Bytes;

use super::*;
use crate::model::labels::Labels;
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use crate::session::message::{Content, Mode, Node, Selection, Versions};

pub(super) const SE: &str = "networking.istio.io/v1/ServiceEntry";
const OLD_SE: &str = "networking.istio.io/v1alpha3/ServiceEntry";
const OLD_VS: &str = "networking.istio.io/v1alpha3/VirtualService";
const WASM: &str = "extensions.istio.io/v1alpha1/WasmPlugin";
const MESH_CONFIG: &str = "core/v1alpha1/MeshConfig";

pub(super) fn resource(name: &str, body: u8) -> Arc<Encoded> {
    let id = ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("ns", name) };
    let body = Bytes::from(vec![body; 100]);
    Arc::new(Encoded::new(id, Labels::EMPTY, Labels::EMPTY, body, TopologyHash::default()))
}

fn entries(list: &[(&str, u8)]) -> Arc<CollectionSnapshot> {
    let changes = list.iter().map(|(n, b)| (ResourceName::new("ns", n), Some(resource(n, *b)))).collect();
    Arc::new(CollectionSnapshot::default().apply(&changes))
}

/// ServiceEntries as given; everything else complete and empty.
fn snapshot(list: &[(&str, u8)]) -> Arc<Snapshot> {
    let empty = Collection::all().fold(Snapshot::default(), |s, c| s.with(c, Arc::default()));
    Arc::new(empty.with(Collection::ServiceEntry, entries(list)))
}

fn request(asked: &str) -> Request {
    let target = match Collection::of_type_url(asked) {
        Some(collection) => Target::Known(collection),
        None if asked == MESH_CONFIG => Target::Silent,
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

fn ack(response: &Response) -> Request {
    Request { nonce: response.nonce.to_string(), ..request(&response.asked) }
}

fn nack(response: &Response) -> Request {
    Request { refusal: Some(Refusal { code: 3, message: "no".into() }), ..ack(response) }
}

fn of_names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn delta(subscribe: &[&str], unsubscribe: &[&str]) -> Request {
    let (subscribe, unsubscribe) = (of_names(subscribe), of_names(unsubscribe));
    Request { mode: Mode::Delta, selection: Selection::Change { subscribe, unsubscribe }, ..request(SE) }
}

fn delta_ack(response: &Response) -> Request {
    Request { nonce: response.nonce.to_string(), ..delta(&[], &[]) }
}

fn next(session: &mut Session) -> Option<Response> {
    session.next_response(usize::MAX)
}

pub(super) fn names(response: &Response) -> Vec<String> {
    match &response.content {
        Content::Whole(all) => all.iter().map(|r| r.id.name.to_string()).collect(),
        Content::Picked(some) => some.iter().map(|r| r.id.name.to_string()).collect(),
    }
}

fn session(list: &[(&str, u8)]) -> Session {
    let mut session = Session::default();
    session.on_snapshot(snapshot(list));
    session
}

/// A session whose client asked for everything and has been sent it.
fn served(list: &[(&str, u8)]) -> (Session, Response) {
    let mut session = session(list);
    session.on_request(request(SE)).unwrap();
    let first = next(&mut session).unwrap();
    (session, first)
}

#[test]
fn a_first_request_is_initial_whatever_nonce_it_carries() {
    let mut s = session(&[("a", 1)]);
    let foreign = Request { nonce: "2026-08-22 12:00:00 +0000 UTC m=+1.5".into(), ..request(SE) };
    assert_eq!(s.on_request(foreign), Ok(Event::Subscribed));
    let other = Request { nonce: "1".into(), refusal: Some(Refusal::default()), ..request(WASM) };
    assert_eq!(s.on_request(other), Ok(Event::Subscribed));
    let asked: Vec<_> = std::iter::from_fn(|| next(&mut s)).map(|r| r.asked.to_string()).collect();
    assert_eq!(asked, [WASM, SE]);
}

#[test]
fn a_collection_that_is_not_complete_is_answered_with_silence_until_it_is() {
    let mut s = Session::default();
    s.on_request(request(SE)).unwrap();
    assert!(next(&mut s).is_none());
    s.on_snapshot(snapshot(&[]));
    let first = next(&mut s).unwrap();
    assert!(names(&first).is_empty() && !first.version.to_string().is_empty());
}

#[test]
fn each_name_of_a_kind_is_answered_under_itself() {
    let mut s = session(&[("a", 1)]);
    s.on_request(request(SE)).unwrap();
    s.on_request(request(OLD_SE)).unwrap();
    let (x, y) = (next(&mut s).unwrap(), next(&mut s).unwrap());
    assert_eq!((&*x.asked, &*y.asked), (SE, OLD_SE));
    assert_ne!(x.nonce, y.nonce);
    assert_eq!(names(&x), names(&y));
}

#[test]
fn an_unknown_name_is_answered_empty_at_once_and_mesh_config_never() {
    let mut s = Session::default();
    s.on_request(request("x.example/v9/Thing")).unwrap();
    assert_eq!(s.on_request(request(MESH_CONFIG)), Ok(Event::Ignored));
    let only = next(&mut s).unwrap();
    assert_eq!((&*only.asked, names(&only).len()), ("x.example/v9/Thing", 0));
    assert!(!only.version.to_string().is_empty());
    assert!(matches!(s.on_request(ack(&only)), Ok(Event::Acknowledged { .. })));
    s.on_snapshot(snapshot(&[("a", 1)]));
    assert!(next(&mut s).is_none());
}

#[test]
fn what_changes_while_a_response_is_unacknowledged_waits_and_only_the_newest_is_sent() {
    let (mut s, first) = served(&[("a", 1)]);
    for body in 2..5 {
        s.on_snapshot(snapshot(&[("a", body)]));
        assert!(next(&mut s).is_none());
    }
    s.on_request(ack(&first)).unwrap();
    let second = next(&mut s).unwrap();
    assert_eq!(second.version, entries(&[("a", 4)]).version());
    assert!(next(&mut s).is_none());
}

#[test]
fn an_acknowledged_version_is_not_sent_again() {
    let (mut s, first) = served(&[("a", 1)]);
    let event = s.on_request(ack(&first)).unwrap();
    assert_eq!(event, Event::Acknowledged { nonce: first.nonce, version: first.version });
    assert!(next(&mut s).is_none());
    s.on_snapshot(snapshot(&[("a", 1)]));
    assert!(next(&mut s).is_none());
}

#[test]
fn nack_keeps_the_acknowledged_version_and_is_not_answered_with_the_refused_one() {
    let (mut s, first) = served(&[("a", 1)]);
    s.on_request(ack(&first)).unwrap();
    s.on_snapshot(snapshot(&[("a", 2)]));
    let second = next(&mut s).unwrap();
    let event = s.on_request(nack(&second)).unwrap();
    assert!(matches!(&event, Event::Refused { refusal, .. } if refusal.message == "no"), "{event:?}");
    assert!(next(&mut s).is_none());
    s.on_snapshot(snapshot(&[("a", 2)]));
    assert!(next(&mut s).is_none(), "the refused version again");
    s.on_snapshot(snapshot(&[("a", 1)]));
    assert!(next(&mut s).is_none(), "the client still has it");
    s.on_snapshot(snapshot(&[("a", 3)]));
    assert_eq!(next(&mut s).unwrap().version, entries(&[("a", 3)]).version());
}

#[test]
fn a_stale_nonce_changes_nothing() {
    let (mut s, first) = served(&[("a", 1)]);
    s.on_request(ack(&first)).unwrap();
    s.on_snapshot(snapshot(&[("a", 2)]));
    let second = next(&mut s).unwrap();
    for stale in [ack(&first), nack(&first), Request { nonce: "77".into(), ..request(SE) }] {
        assert_eq!(s.on_request(stale), Ok(Event::Stale));
        assert!(next(&mut s).is_none(), "one is unacknowledged");
    }
    assert!(matches!(s.on_request(ack(&second)), Ok(Event::Acknowledged { .. })));
}

#[test]
fn an_empty_nonce_subscribes_again_and_never_acknowledges() {
    let (mut s, first) = served(&[("a", 1)]);
    assert_eq!(s.on_request(request(SE)), Ok(Event::Subscribed));
    assert!(next(&mut s).is_none(), "one is unacknowledged");
    s.on_request(ack(&first)).unwrap();
    assert_eq!(next(&mut s).unwrap().version, first.version);
}

#[test]
fn a_named_subset_is_full_state_of_its_own_version() {
    let mut s = session(&[("a", 1), ("b", 1)]);
    let of = |names: &[&str], nonce: &str| Request {
        nonce: nonce.into(),
        selection: Selection::Replace(of_names(names)),
        ..request(SE)
    };
    s.on_request(of(&["ns/a", "ns/gone"], "")).unwrap();
    let first = next(&mut s).unwrap();
    assert_eq!(names(&first), ["ns/a"]);
    assert_eq!(first.version, entries(&[("a", 1)]).version());
    s.on_request(of(&["ns/a", "ns/gone"], &first.nonce.to_string())).unwrap();
    s.on_snapshot(snapshot(&[("a", 1), ("b", 2)]));
    assert!(next(&mut s).is_none(), "b is none of its business");
    s.on_request(of(&["ns/a", "ns/b"], &first.nonce.to_string())).unwrap();
    assert_eq!(names(&next(&mut s).unwrap()), ["ns/a", "ns/b"]);
}

#[test]
fn delta_sends_what_changed_and_what_went() {
    let mut s = session(&[("a", 1), ("b", 1), ("c", 1)]);
    s.on_request(delta(&[], &[])).unwrap();
    let first = next(&mut s).unwrap();
    assert!(matches!(first.content, Content::Whole(_)));
    s.on_request(delta_ack(&first)).unwrap();
    s.on_snapshot(snapshot(&[("a", 2), ("c", 1), ("d", 1)]));
    let second = next(&mut s).unwrap();
    assert_eq!((names(&second), &second.removed), (of_names(&["ns/a", "ns/d"]), &of_names(&["ns/b"])));
    // Refused: the next one still starts from what was acknowledged.
    s.on_request(Request { refusal: Some(Refusal::default()), ..delta_ack(&second) }).unwrap();
    assert!(next(&mut s).is_none());
    s.on_snapshot(snapshot(&[("a", 2), ("d", 1)]));
    let third = next(&mut s).unwrap();
    assert_eq!((names(&third), &third.removed), (of_names(&["ns/a", "ns/d"]), &of_names(&["ns/b", "ns/c"])));
}

#[test]
fn delta_starts_from_what_the_client_says_it_holds() {
    let mut s = session(&[("a", 1), ("b", 1), ("c", 1)]);
    let version = |name, body| resource(name, body).version.to_string();
    let held = [
        ("ns/a".to_owned(), version("a", 1)),
        ("ns/b".to_owned(), version("b", 9)),
        ("ns/gone".to_owned(), "whatever".to_owned()),
    ];
    s.on_request(Request { held: held.into(), ..delta(&["*"], &[]) }).unwrap();
    let first = next(&mut s).unwrap();
    assert_eq!((names(&first), &first.removed), (of_names(&["ns/b", "ns/c"]), &of_names(&["ns/gone"])));
}

#[test]
fn a_delta_client_that_holds_everything_is_still_answered() {
    let mut s = session(&[("a", 1)]);
    let held = [("ns/a".to_owned(), resource("a", 1).version.to_string())];
    s.on_request(Request { held: held.into(), ..delta(&[], &[]) }).unwrap();
    let first = next(&mut s).unwrap();
    assert!(names(&first).is_empty() && first.removed.is_empty());
}

#[test]
fn delta_subscriptions_apply_whatever_the_nonce() {
    let mut s = session(&[("a", 1), ("b", 1)]);
    s.on_request(delta(&["ns/a", "ns/none"], &[])).unwrap();
    let first = next(&mut s).unwrap();
    assert_eq!((names(&first), &first.removed), (of_names(&["ns/a"]), &of_names(&["ns/none"])));
    s.on_request(delta_ack(&first)).unwrap();
    assert_eq!(s.on_request(Request { nonce: "99".into(), ..delta(&["ns/b"], &[]) }), Ok(Event::Subscribed));
    let second = next(&mut s).unwrap();
    assert_eq!(names(&second), ["ns/b"]);
    s.on_request(Request { nonce: second.nonce.to_string(), ..delta(&[], &["ns/a"]) }).unwrap();
    s.on_snapshot(snapshot(&[("a", 2), ("b", 1)]));
    assert!(next(&mut s).is_none());
    s.on_request(delta(&["*"], &[])).unwrap();
    assert_eq!(names(&next(&mut s).unwrap()), ["ns/a", "ns/b"]);
}

#[test]
fn large_answers_wait_while_small_ones_go() {
    let mut s = session(&[("a", 1)]);
    s.on_request(request(SE)).unwrap();
    s.on_request(request("networking.istio.io/v1/Sidecar")).unwrap();
    assert_eq!(&*s.next_response(10).unwrap().asked, "networking.istio.io/v1/Sidecar");
    assert!(s.next_response(10).is_none());
    assert_eq!(&*next(&mut s).unwrap().asked, SE);
}

#[test]
fn what_a_stream_may_ask_for_is_bounded() {
    let mut s = session(&[]);
    let unknown = (0..10_000).map(|n| s.on_request(request(&format!("x/v1/Kind{n}")))).find_map(Result::err);
    assert!(matches!(unknown, Some(ProtocolError::TooMuch(_))));
    assert_eq!(s.watches.len(), MAX_UNKNOWN);
    let long = request(&"x".repeat(MAX_ASKED_BYTES + 1));
    assert!(matches!(session(&[]).on_request(long), Err(ProtocolError::Malformed(_))));
    let mut s = session(&[]);
    let many = |n: usize| (0..10_000).map(|i| format!("ns/{n}/{i:040}")).collect::<Vec<_>>();
    let change = |n| Selection::Change { subscribe: many(n), unsubscribe: many(n) };
    let mut asks = (0..40).map(|n| Request { mode: Mode::Delta, selection: change(n), ..request(SE) });
    assert!(asks.all(|r| s.on_request(r).is_ok()), "what is given up costs nothing");
    let change = |n| Selection::Change { subscribe: many(n), unsubscribe: Vec::new() };
    let mut asks = (0..40).map(|n| Request { mode: Mode::Delta, selection: change(n), ..request(SE) });
    assert!(asks.any(|r| matches!(s.on_request(r), Err(ProtocolError::TooMuch(_)))));
}

fn istiod(asked: &str) -> Request {
    let node = Node { id: "sidecar~10.0.0.1~test-1.default~x".into(), generator: "api".into() };
    Request { node: Some(node), nonce: "2026-08-22".into(), ..request(asked) }
}

/// What a stock istiod that asks for `types` gets for its ServiceEntries, and whether with versions.
fn met(types: &[&str]) -> (Session, Vec<Response>) {
    let mut s = session(&[("a", 1)]);
    s.on_request(istiod(MESH_CONFIG)).unwrap();
    let mut sent = Vec::new();
    for asked in types {
        s.on_request(request(asked)).unwrap();
        sent.extend(std::iter::from_fn(|| next(&mut s)));
    }
    (s, sent)
}

#[test]
fn an_istiod_that_knows_wasm_plugins_gets_versions() {
    let (_, sent) = met(&[OLD_SE, OLD_VS, WASM]);
    let asked: Vec<_> = sent.iter().map(|r| &*r.asked).collect();
    assert_eq!(asked, [OLD_VS, WASM, OLD_SE], "content waits until the generation is known");
    assert!(sent.iter().all(|r| r.versions == Versions::Sent));
}

#[test]
fn an_istiod_that_asks_for_v1_gets_versions_at_once() {
    let (_, sent) = met(&[SE]);
    assert_eq!((sent.len(), sent[0].versions), (1, Versions::Sent));
}

#[test]
fn an_istiod_that_knows_no_wasm_plugins_gets_no_versions_once_it_has_asked_for_all() {
    let (mut s, sent) = met(&[OLD_SE, OLD_VS]);
    assert_eq!(sent.len(), 1);
    s.on_request(ack(&sent[0])).unwrap();
    let entries = next(&mut s).unwrap();
    assert_eq!((&*entries.asked, entries.versions), (OLD_SE, Versions::Withheld));
}

#[test]
fn a_client_that_is_no_stock_istiod_is_not_waited_for() {
    let mut s = session(&[("a", 1)]);
    s.on_request(istiod(OLD_SE)).unwrap();
    assert_eq!(next(&mut s).unwrap().versions, Versions::Sent);
}
