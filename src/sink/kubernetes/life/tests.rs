use std::pin::pin;

use serde_json::{Value, json};

use super::super::desk::Job;
use super::super::metrics::SinksMetrics;
use super::super::object::tests::named;
use super::super::object::{Owner, Wanted};
use super::super::observed::Observed;
use super::*;
use crate::model::service::RegistryName;
use crate::proto::networking::service_entry::Resolution;
use crate::resource::collection::Collection;
use crate::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};
use crate::runtime::status::Status;
use crate::sink::{Form, KubernetesSettings, Takes};
use crate::store::Store;

const SERVICES: usize = 3000;

fn settings() -> KubernetesSettings {
    KubernetesSettings {
        name: "cluster".into(),
        kubeconfig: None,
        context: None,
        field_manager: "chandler".into(),
        instance: None,
        namespaces: Vec::new(),
        create_namespaces: true,
        lease_namespace: None,
        lease_duration: Duration::from_secs(15),
        parallelism: 8,
        inline_endpoints: 500,
    }
}

/// A life that may not write, and what is published.
fn life() -> (Store, Life) {
    let store = Store::default();
    let takes: Takes = [(RegistryName::new("prod"), Form::Inline)].into();
    let (settings, metrics) = (settings(), SinksMetrics::default());
    let owner = Owner::new("home.cluster");
    let writer = Writer {
        client: Client::nowhere(metrics.of("cluster")),
        field_manager: "chandler".into(),
        owner: owner.clone(),
        create_namespaces: true,
        metrics: metrics.of("cluster"),
    };
    let desk = Desk::new(owner, settings.inline_endpoints, &[]);
    let (_, takes) = channel::channel(takes);
    let (store_reader, status) = (store.reader(), Arc::<Status>::default());
    let sink = KubernetesSink { settings, takes, store: store_reader, status, metrics };
    (store, Life::new(Arc::new(sink), writer, desk))
}

/// So many services of five endpoints.
fn made(services: usize) -> Changes {
    let made = (0..services).map(|n| named(&format!("s{n:05}"), 5, Resolution::Static));
    made.map(|r| (r.id.name.clone(), Some(r))).collect()
}

fn snapshot(services: usize) -> Snapshot {
    let content = CollectionSnapshot::default().apply(&made(services));
    Snapshot::default()
        .with(Collection::ServiceEntry, Arc::new(content))
        .with(Collection::WorkloadEntry, Arc::default())
}

#[tokio::test]
async fn others_have_their_turn_between_slices_of_a_large_snapshot() {
    let (store, mut life) = life();
    store.publish(Arc::new(snapshot(SERVICES)));
    let (_place, place) = channel::channel(Place::default());
    let (mut turns, stop) = (0, CancellationToken::new());
    while life.desk.wanted() < SERVICES {
        let before = life.desk.wanted();
        let (_events, events) = mpsc::channel(1);
        {
            let turn = pin!(life.turn(place.clone(), events, &stop));
            assert!(futures_util::poll!(turn).is_pending());
        }
        let done = life.desk.wanted() - before;
        assert!((1..1000).contains(&done), "{done} services, and nobody else had a turn");
        turns += 1;
    }
    assert!(turns > 3, "{turns} turns for all of them");
}

/// One service and its object as the API server shows it at `version`, with `host` in it.
fn shown(key: &Key, wanted: &Wanted, version: u32, host: Option<&str>) -> Value {
    let text = wanted.text(key, "networking.istio.io/v1", Some("uid")).unwrap();
    let mut object: Value = serde_json::from_slice(&text).unwrap();
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    if let Some(host) = host {
        object["spec"]["hosts"] = json!([host]);
    }
    object
}

fn changed(key: &Key, wanted: &Wanted, version: u32, host: Option<&str>) -> Event {
    Event::Changed(Change::of(key.kind, &shown(key, wanted, version, host)))
}

fn written(key: &Key, wanted: &Wanted, version: u32) -> Result<Outcome, WriteError> {
    let shown = serde_json::from_value(shown(key, wanted, version, None)).unwrap();
    let observed = Observed::of(shown, &Owner::new("home.cluster")).settled_by(wanted);
    Ok(Outcome::Written(Box::new(observed)))
}

/// A life that has just begun to write its only object.
fn writing() -> (Life, Key, Wanted) {
    let (_, mut life) = life();
    let takes = life.sink.takes.borrow().clone();
    life.desk.want(Arc::new(snapshot(1)), &takes);
    Kind::ALL.into_iter().for_each(|kind| life.desk.listed(kind, Vec::new()));
    while life.desk.catch_up() {}
    let Some((key, Job::Create(wanted))) = life.desk.next() else { panic!("something to create") };
    (life, key, wanted)
}

#[tokio::test]
async fn the_echo_of_our_own_write_is_not_read_and_what_comes_after_it_is() {
    let (mut life, key, wanted) = writing();
    life.note(key.clone(), written(&key, &wanted, 7)).unwrap();
    assert_eq!(life.desk.pending(), 0);
    // It could say anything: that version of that object is known.
    life.hear(changed(&key, &wanted, 7, Some("other.example"))).unwrap();
    assert_eq!(life.desk.pending(), 0);
    life.hear(changed(&key, &wanted, 8, Some("other.example"))).unwrap();
    assert_eq!(life.desk.pending(), 1, "drift");
}

#[tokio::test]
async fn what_the_watch_says_during_a_write_counts_after_it() {
    let (mut life, key, wanted) = writing();
    life.hear(changed(&key, &wanted, 6, Some("other.example"))).unwrap();
    life.note(key.clone(), written(&key, &wanted, 7)).unwrap();
    assert_eq!(life.desk.pending(), 0, "our write came after it");
    life.hear(changed(&key, &wanted, 8, Some("other.example"))).unwrap();
    assert!(life.desk.next().is_some());
    life.hear(changed(&key, &wanted, 10, Some("other.example"))).unwrap();
    life.note(key.clone(), written(&key, &wanted, 9)).unwrap();
    assert_eq!(life.desk.pending(), 1, "it came after our write");
    assert!(life.desk.next().is_some());
    life.hear(changed(&key, &wanted, 11, None)).unwrap();
    life.hear(Event::Gone(key.clone(), "uid".into())).unwrap();
    life.note(key.clone(), Ok(Outcome::Gone)).unwrap();
    assert!(matches!(life.desk.next(), Some((_, Job::Create(_)))), "what went after it is not there");
}
