use serde_json::json;

use super::super::object::tests::named;
use super::super::observed::Shown;
use super::*;
use crate::proto::networking::service_entry::Resolution;
use crate::resource::snapshot::{Changes, CollectionSnapshot};

/// A whole snapshot of entries with so many endpoints each, without the registries of which nothing has been read.
fn snapshot(entries: &[(&str, usize)], unread: &[&str]) -> Arc<Snapshot> {
    let made = entries.iter().map(|(name, n)| named(name, *n, Resolution::Static));
    let changes: Changes = made.map(|r| (r.id.name.clone(), Some(r))).collect();
    let content = CollectionSnapshot::default().apply(&changes);
    let unread = unread.iter().map(|name| RegistryName::new(name)).collect();
    let whole = Snapshot::default()
        .with(Collection::ServiceEntry, Arc::new(content))
        .with(Collection::WorkloadEntry, Arc::default());
    Arc::new(whole.without(unread))
}

fn takes(form: Form) -> Takes {
    [(RegistryName::new("prod"), form)].into()
}

fn owner() -> Owner {
    Owner::new("home.cluster")
}

fn desk() -> Desk {
    Desk::new(owner(), 2, &[])
}

/// As the API server shows what we apply.
fn shown(key: &Key, wanted: &Wanted, revision: u64) -> Observed {
    let text = wanted.text(key, "networking.istio.io/v1", None).unwrap();
    let mut object: serde_json::Value = serde_json::from_slice(&text).unwrap();
    object["metadata"]["uid"] = json!(format!("uid of {key}"));
    object["metadata"]["resourceVersion"] = json!(revision.to_string());
    Observed::of(serde_json::from_value::<Shown>(object).unwrap(), &owner())
}

fn list_both(desk: &mut Desk) {
    Kind::ALL.into_iter().for_each(|kind| desk.listed(kind, Vec::new()));
    settle(desk);
}

/// Looks at everything that is new.
fn settle(desk: &mut Desk) {
    while desk.catch_up() {}
}

fn want(desk: &mut Desk, snapshot: Arc<Snapshot>, takes: &Takes) {
    desk.want(snapshot, takes);
    settle(desk);
}

/// Does all there is to do, as the API server would. What was done, in its order.
fn work(desk: &mut Desk) -> Vec<String> {
    let mut done = Vec::new();
    settle(desk);
    while let Some((key, job)) = desk.next() {
        let revision = done.len() as u64 + 1;
        match job {
            Job::Create(wanted) => {
                done.push(format!("+ {key}"));
                desk.seen(key.clone(), shown(&key, &wanted, revision));
            }
            Job::Update(wanted, _) => {
                done.push(format!("~ {key}"));
                desk.seen(key.clone(), shown(&key, &wanted, 1000 + revision));
            }
            Job::Delete(uid) => {
                done.push(format!("- {key}"));
                desk.deleted(&key);
                desk.gone(&key, Some(&uid));
            }
        }
        desk.done(&key);
    }
    done
}

#[test]
fn nothing_is_done_before_all_that_is_there_is_known() {
    let mut desk = desk();
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Auto));
    assert!(desk.next().is_none());
    list_both(&mut desk);
    assert_eq!(work(&mut desk), ["+ ServiceEntry ns/web"]);
    assert_eq!(desk.pending(), 0);
}

#[test]
fn endpoints_are_there_before_their_entry_and_stay_until_it_lets_go() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 3)], &[]), &takes(Form::Auto));
    let done = work(&mut desk);
    assert!(done[..3].iter().all(|d| d.starts_with("+ WorkloadEntry")), "{done:?}");
    assert_eq!(done[3], "+ ServiceEntry ns/web");
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Auto));
    let done = work(&mut desk);
    assert_eq!(done[0], "~ ServiceEntry ns/web", "endpoints in it first");
    assert!(done.len() == 4 && done[1..].iter().all(|d| d.starts_with("- WorkloadEntry")), "{done:?}");
    want(&mut desk, snapshot(&[], &[]), &takes(Form::Auto));
    assert_eq!(work(&mut desk), ["- ServiceEntry ns/web"]);
}

#[test]
fn a_turn_begins_when_those_before_are_over() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 3)], &[]), &takes(Form::Auto));
    let busy: Vec<Key> = std::iter::from_fn(|| desk.next()).map(|(key, _)| key).collect();
    assert_eq!(busy.len(), 3, "the entry waits for its endpoints");
    // One that failed holds up nobody else.
    desk.rest(&busy[0]);
    busy[1..].iter().for_each(|key| desk.done(key));
    let rest: Vec<_> = std::iter::from_fn(|| desk.next()).map(|(key, _)| key).collect();
    assert!(rest.iter().all(|key| *key != busy[0]), "{rest:?}");
}

#[test]
fn an_unread_registry_deletes_nothing() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Auto));
    work(&mut desk);
    want(&mut desk, snapshot(&[], &["prod"]), &takes(Form::Auto));
    assert!(work(&mut desk).is_empty());
    want(&mut desk, snapshot(&[], &[]), &takes(Form::Auto));
    assert_eq!(work(&mut desk), ["- ServiceEntry ns/web"]);
}

#[test]
fn nothing_is_deleted_before_every_collection_is_complete() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("old", 1)], &[]), &takes(Form::Auto));
    work(&mut desk);
    let observed: Vec<_> = desk.all_of_ours().map(|(key, o)| (key.clone(), o.clone())).collect();
    let mut fresh = self::desk();
    fresh.listed(Kind::WorkloadEntry, Vec::new());
    fresh.listed(Kind::ServiceEntry, observed);
    let half = Snapshot::default().with(Collection::ServiceEntry, Arc::default());
    want(&mut fresh, Arc::new(half), &takes(Form::Auto));
    assert!(work(&mut fresh).is_empty());
    want(&mut fresh, snapshot(&[], &[]), &takes(Form::Auto));
    assert_eq!(work(&mut fresh), ["- ServiceEntry ns/old"]);
}

#[test]
fn a_restart_finds_everything_as_it_wants_it() {
    let mut desk = desk();
    list_both(&mut desk);
    let content = || snapshot(&[("web", 1), ("many", 3)], &[]);
    want(&mut desk, content(), &takes(Form::Auto));
    assert_eq!(work(&mut desk).len(), 5);
    let observed = |kind| -> Vec<_> {
        let of_kind = desk.all_of_ours().filter(|(key, _)| key.kind == kind);
        of_kind.map(|(key, o)| (key.clone(), o.clone())).collect()
    };
    let mut fresh = self::desk();
    want(&mut fresh, content(), &takes(Form::Auto));
    Kind::ALL.into_iter().for_each(|kind| fresh.listed(kind, observed(kind)));
    assert!(work(&mut fresh).is_empty());
    // Where both forms would do, it stays as it was found.
    let mut fresh = Desk::new(owner(), 4, &[]);
    want(&mut fresh, content(), &takes(Form::Auto));
    Kind::ALL.into_iter().for_each(|kind| fresh.listed(kind, observed(kind)));
    assert!(work(&mut fresh).is_empty());
}

#[test]
fn an_object_of_somebody_else_stays_and_is_named() {
    let mut desk = desk();
    let object = json!({"metadata": {"name": "web", "namespace": "ns", "uid": "u", "resourceVersion": "1"}, "spec": {}});
    let theirs = Observed::of(serde_json::from_value(object).unwrap(), &owner());
    let key = Key { kind: Kind::ServiceEntry, namespace: "ns".into(), name: "web".into() };
    desk.listed(Kind::WorkloadEntry, Vec::new());
    desk.listed(Kind::ServiceEntry, vec![(key.clone(), theirs)]);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Auto));
    assert!(work(&mut desk).is_empty());
    assert!(desk.refused()[0].1.contains("made by somebody else"), "{:?}", desk.refused());
    desk.gone(&key, Some("u"));
    assert!(desk.refused().is_empty());
    assert_eq!(work(&mut desk), ["+ ServiceEntry ns/web"]);
}

#[test]
fn changes_while_nobody_writes_are_one_write() {
    let mut desk = desk();
    list_both(&mut desk);
    for n in [1, 2, 1, 2, 1] {
        want(&mut desk, snapshot(&[("web", n)], &[]), &takes(Form::Inline));
    }
    assert_eq!(work(&mut desk), ["+ ServiceEntry ns/web"]);
}

#[test]
fn what_the_watch_says_too_late_is_no_drift() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Inline));
    let (key, Job::Create(old)) = desk.next().unwrap() else { panic!("a create") };
    desk.seen(key.clone(), shown(&key, &old, 1));
    desk.done(&key);
    want(&mut desk, snapshot(&[("web", 2)], &[]), &takes(Form::Inline));
    let (_, Job::Update(new, _)) = desk.next().unwrap() else { panic!("an update") };
    desk.seen(key.clone(), shown(&key, &new, 2));
    desk.done(&key);
    desk.seen(key.clone(), shown(&key, &old, 1));
    assert!(desk.next().is_none());
    desk.seen(key.clone(), shown(&key, &old, 3));
    assert!(matches!(desk.next(), Some((_, Job::Update(..)))), "but a later one is");
}

#[test]
fn a_registry_that_goes_elsewhere_takes_its_objects_along() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Auto));
    work(&mut desk);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &Takes::new());
    assert_eq!(work(&mut desk), ["- ServiceEntry ns/web"]);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Workloads));
    assert_eq!(work(&mut desk).len(), 2);
}

#[test]
fn only_named_namespaces_are_written() {
    let mut desk = Desk::new(owner(), 2, &["other".to_owned()]);
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 1)], &[]), &takes(Form::Auto));
    assert!(work(&mut desk).is_empty());
    assert!(desk.refused()[0].1.contains("namespaces"), "{:?}", desk.refused());
}

/// So many entries of these many endpoints.
fn many(entries: usize, endpoints: usize) -> Arc<Snapshot> {
    let names: Vec<String> = (0..entries).map(|n| format!("s{n:05}")).collect();
    let entries: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), endpoints)).collect();
    snapshot(&entries, &[])
}

#[test]
fn a_large_snapshot_is_looked_at_in_slices() {
    let mut desk = desk();
    list_both(&mut desk);
    desk.want(many(2000, 2), &takes(Form::Inline));
    assert_eq!((desk.wanted(), desk.pending()), (0, 2000), "nothing is looked at before its turn");
    let (mut slices, mut before) = (0, 0);
    while desk.catch_up() {
        slices += 1;
        let slice = desk.wanted() - before;
        assert!((1..1000).contains(&slice), "{slice} entries in one slice");
        before = desk.wanted();
        assert_eq!(desk.pending(), 2000, "what was looked at and what was not");
    }
    assert!(slices > 1);
    assert_eq!(work(&mut desk).len(), 2000);
}

#[test]
fn nothing_is_deleted_before_everything_was_looked_at() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, many(2000, 2), &takes(Form::Inline));
    work(&mut desk);
    let observed: Vec<_> = desk.all_of_ours().map(|(key, o)| (key.clone(), o.clone())).collect();
    let (last, gone) = observed.iter().max_by_key(|(key, _)| key.clone()).cloned().unwrap();
    let mut fresh = self::desk();
    fresh.want(many(1999, 3), &takes(Form::Inline));
    fresh.listed(Kind::WorkloadEntry, Vec::new());
    fresh.listed(Kind::ServiceEntry, observed);
    let (mut deleted, mut more) = (Vec::new(), true);
    while more {
        more = fresh.catch_up();
        fresh.seen(last.clone(), gone.clone());
        while let Some((key, job)) = fresh.next() {
            match job {
                Job::Update(..) | Job::Create(_) => fresh.rest(&key),
                Job::Delete(_) => {
                    assert!(fresh.waiting.is_empty(), "{key} although it may be wanted");
                    deleted.push(key.to_string());
                    fresh.gone(&key, None);
                    fresh.done(&key);
                    more = false;
                }
            }
        }
    }
    assert_eq!(deleted, ["ServiceEntry ns/s01999"]);
}

#[test]
fn what_changes_while_it_waits_is_looked_at_once_and_as_it_is_then() {
    let mut desk = desk();
    list_both(&mut desk);
    desk.want(many(2000, 1), &takes(Form::Inline));
    desk.catch_up();
    desk.want(many(1500, 2), &takes(Form::Inline));
    settle(&mut desk);
    let done = work(&mut desk);
    assert_eq!(done.len(), 1500);
    assert!(done.iter().all(|d| d.starts_with("+ ServiceEntry")), "{:?}", &done[..3]);
    assert!(desk.wanted() == 1500 && desk.pending() == 0);
}

#[test]
fn an_endpoint_that_stays_is_not_looked_at_when_another_comes() {
    let mut desk = desk();
    list_both(&mut desk);
    want(&mut desk, snapshot(&[("web", 3)], &[]), &takes(Form::Workloads));
    let (resting, _) = desk.next().unwrap();
    desk.rest(&resting);
    want(&mut desk, snapshot(&[("web", 4)], &[]), &takes(Form::Workloads));
    let next: Vec<Key> = std::iter::from_fn(|| desk.next()).map(|(key, _)| key).collect();
    assert!(next.len() == 3 && !next.contains(&resting), "its failure was not about the other");
}
