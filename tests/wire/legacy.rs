//! The legacy wire where we are dialled, as a Pilot of 1.1 to 1.8 sees it.

use std::collections::BTreeMap;

use chandler::proto::mcp::resource_source_client::ResourceSourceClient;
use chandler::proto::mcp::{RequestResources, Resources, SinkNode};
use chandler::resource::legacy::{Fitness, Pilot, Takers};

use super::*;

pub(crate) const ENTRIES: &str = "istio/networking/v1alpha3/serviceentries";
pub(crate) const SERVICES: &str = "istio/networking/v1alpha3/virtualservices";
const QUOTAS: &str = "istio/mixer/v1/config/client/quotaspecs";

type Legacy = Stream<RequestResources, Resources>;

impl Rig {
    async fn legacy(&self) -> Legacy {
        let (out, requests) = mpsc::channel(32);
        let client = ResourceSourceClient::new(self.channel().await);
        let mut client = client.max_decoding_message_size(usize::MAX);
        // Returns with the headers, which come before anything is asked.
        let responses = client.establish_resource_stream(ReceiverStream::new(requests)).await;
        Stream { out, responses: responses.unwrap().into_inner() }
    }
}

pub(crate) fn asks(collection: &str) -> RequestResources {
    let sink_node = Some(SinkNode::default());
    RequestResources { sink_node, collection: collection.into(), ..Default::default() }
}

pub(crate) fn acks(r: &Resources) -> RequestResources {
    RequestResources { response_nonce: r.nonce.clone(), ..asks(&r.collection) }
}

pub(crate) fn nacks(r: &Resources) -> RequestResources {
    let detail = google::rpc::Status { code: 2, message: "message is nil".into(), details: vec![] };
    RequestResources { error_detail: Some(detail), ..acks(r) }
}

fn changes(of: RequestResources) -> RequestResources {
    RequestResources { incremental: true, ..of }
}

/// Name to version, and no resource that would hurt a Pilot.
pub(crate) fn told(r: &Resources) -> BTreeMap<String, String> {
    let one = |r: &mcp::Resource| {
        assert_eq!(
            r.body.as_ref().unwrap().type_url,
            "type.googleapis.com/istio.networking.v1alpha3.ServiceEntry"
        );
        let m = r.metadata.clone().unwrap();
        assert!(m.create_time.is_some() && !m.version.is_empty() && m.name.matches('/').count() == 1);
        (m.name, m.version)
    };
    r.resources.iter().map(one).collect()
}

/// Asks for all that `pilot` asks for, acknowledges all, and returns the answers.
async fn become_ready(stream: &mut Legacy, pilot: Pilot) -> BTreeMap<String, Resources> {
    let all: Vec<_> = pilot.collections().collect();
    for collection in &all {
        stream.send(asks(collection)).await;
    }
    let mut answers = BTreeMap::new();
    for n in 1..=all.len() {
        let r = stream.next().await;
        assert_eq!(r.nonce, n.to_string());
        assert!(!r.incremental && !r.system_version_info.is_empty());
        stream.send(acks(&r)).await;
        answers.insert(r.collection.clone(), r);
    }
    assert_eq!(answers.len(), all.len());
    answers
}

#[tokio::test]
async fn every_pilot_is_answered_for_every_collection_that_it_asks_for() {
    let rig = rig().await;
    rig.publish(&[("a", 10), ("b", 10)]);
    for pilot in Pilot::ALL {
        let mut stream = rig.legacy().await;
        let answers = become_ready(&mut stream, pilot).await;
        assert_eq!(told(&answers[ENTRIES]), expected(&[("a", 10), ("b", 10)]), "{pilot}");
        let others = answers.iter().filter(|(name, _)| *name != ENTRIES);
        assert!(others.into_iter().all(|(_, r)| r.resources.is_empty()), "{pilot}");
    }
}

#[tokio::test]
async fn a_pilot_that_asks_before_anything_is_read_waits() {
    let rig = rig().await;
    let mut stream = rig.legacy().await;
    stream.send(asks(ENTRIES)).await;
    stream.send(asks(QUOTAS)).await;
    assert_eq!(stream.next().await.collection, QUOTAS);
    rig.publish(&[("a", 10)]);
    assert_eq!(told(&stream.next().await), expected(&[("a", 10)]));
}

#[tokio::test]
async fn what_stays_equal_is_not_sent_again() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let mut stream = rig.legacy().await;
    become_ready(&mut stream, Pilot::V1_5).await;
    // Everything anew, and only the entries are different.
    rig.publish(&[("a", 2)]);
    let entries = stream.next().await;
    assert_eq!(told(&entries), expected(&[("a", 2)]));
    stream.send(acks(&entries)).await;
    rig.publish(&[("a", 2)]);
    rig.publish(&[("a", 3)]);
    assert_eq!(told(&stream.next().await), expected(&[("a", 3)]));
}

#[tokio::test]
async fn a_nack_reaches_status_and_metrics_and_the_next_content_comes_whole() {
    let rig = rig().await;
    rig.publish(&[("a", 1)]);
    let mut stream = rig.legacy().await;
    stream.send(changes(asks(ENTRIES))).await;
    let first = stream.next().await;
    stream.send(nacks(&first)).await;
    stream.send(asks(SERVICES)).await;
    assert_eq!(stream.next().await.collection, SERVICES);
    let client = rig.status.clients()[0].clone();
    assert_eq!(
        (client.wire, client.watches[ENTRIES].nack.as_deref()),
        ("mcp", Some("message is nil (code 2, Unknown)"))
    );
    assert_eq!(rig.metric("chandler_nacks_total{collection=\"serviceentries\"}"), 1);
    rig.publish(&[("a", 2), ("b", 1)]);
    let next = stream.next().await;
    assert_eq!((told(&next), next.incremental), (expected(&[("a", 2), ("b", 1)]), false));
}

#[tokio::test]
async fn an_incremental_client_that_comes_back_keeps_nothing_that_is_gone() {
    let rig = rig().await;
    rig.publish(&[("a", 1), ("b", 1)]);
    let mut stream = rig.legacy().await;
    stream.send(changes(asks(ENTRIES))).await;
    let first = stream.next().await;
    assert!(!first.incremental, "the first is whole");
    let held = told(&first);
    stream.send(changes(acks(&first))).await;
    rig.publish(&[("a", 2), ("b", 1)]);
    let delta = stream.next().await;
    assert!(delta.incremental && delta.removed_resources.is_empty());
    assert_eq!(told(&delta), expected(&[("a", 2)]));
    drop(stream);

    rig.publish(&[("b", 1), ("c", 1)]);
    let mut stream = rig.legacy().await;
    stream.send(RequestResources { initial_resource_versions: held, ..changes(asks(ENTRIES)) }).await;
    let delta = stream.next().await;
    assert!(delta.incremental);
    assert_eq!((told(&delta), delta.removed_resources), (expected(&[("c", 1)]), vec!["ns/a".to_owned()]));
    stream.send(changes(asks(SERVICES))).await;
    let other = stream.next().await;
    assert!(!other.incremental, "it said nothing of what it holds of these");
}

/// `old` for all, `new` for 1.5 and newer.
fn of_two_ages() -> Arc<Snapshot> {
    let newer = Encoded::clone(&resource("new", 1)).fit(Fitness::of(Takers::From(Pilot::V1_5)));
    let both = [resource("old", 1), Arc::new(newer)];
    let changes = both.into_iter().map(|r| (r.id.name.clone(), Some(r))).collect();
    let content = Arc::new(CollectionSnapshot::default().apply(&changes));
    Arc::new(Arc::unwrap_or_clone(snapshot(&[])).with(Collection::ServiceEntry, content))
}

#[tokio::test]
async fn each_pilot_gets_what_its_release_takes_and_a_version_of_that() {
    let rig = rig().await;
    rig.store.publish(of_two_ages());
    for pilot in Pilot::ALL {
        let mut stream = rig.legacy().await;
        let answers = become_ready(&mut stream, pilot).await;
        let names: Vec<_> = told(&answers[ENTRIES]).into_keys().collect();
        if pilot < Pilot::V1_5 {
            assert_eq!(names, ["ns/old"], "{pilot}");
            assert_eq!(answers[ENTRIES].system_version_info, collection(&[("old", 1)]).version().to_string());
        } else {
            assert_eq!(names, ["ns/new", "ns/old"], "{pilot}");
            assert_eq!(
                answers[ENTRIES].system_version_info,
                collection(&[("new", 1), ("old", 1)]).version().to_string()
            );
        }
    }
}

#[tokio::test]
async fn who_asks_for_one_collection_only_is_answered_all_the_same() {
    let rig = rig().await;
    rig.store.publish(of_two_ages());
    let mut stream = rig.legacy().await;
    stream.send(asks(ENTRIES)).await;
    let strict = stream.next().await;
    assert_eq!(told(&strict).into_keys().collect::<Vec<_>>(), ["ns/old"]);
    stream.send(acks(&strict)).await;
    stream.send(asks("istio/networking/v1alpha3/workloadgroups")).await;
    let mut next = stream.next().await;
    if next.collection != ENTRIES {
        next = stream.next().await;
    }
    assert_eq!(told(&next).into_keys().collect::<Vec<_>>(), ["ns/new", "ns/old"]);
}

#[tokio::test]
async fn half_closed_before_it_is_read_a_collection_is_still_answered() {
    let rig = rig().await;
    let mut stream = rig.legacy().await;
    stream.send(asks(ENTRIES)).await;
    stream.send(asks(QUOTAS)).await;
    let (gone, _) = mpsc::channel(1);
    stream.out = gone;
    assert_eq!(stream.next().await.collection, QUOTAS);
    rig.publish(&[("a", 10)]);
    assert_eq!(told(&stream.next().await), expected(&[("a", 10)]));
    assert_eq!(stream.end().await.code(), Code::Ok);
    rig.until("the stream is forgotten", |r| r.clients() == 0).await;
}

#[tokio::test]
async fn bad_requests_end_their_own_stream_with_a_clear_status() {
    let rig = rig().await;
    rig.publish(&[("a", 10)]);
    let mut other = rig.legacy().await;
    become_ready(&mut other, Pilot::V1_6).await;

    let mut stream = rig.legacy().await;
    stream.send(asks("")).await;
    let status = stream.end().await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let mut stream = rig.legacy().await;
    stream.send(asks(&"x".repeat(1 << 20))).await;
    let status = stream.end().await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let mut stream = rig.legacy().await;
    let out = stream.out.clone();
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        for n in 0..1000 {
            if out.send(asks(&format!("x/v1/things{n}"))).await.is_err() {
                return;
            }
        }
    });
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");

    rig.publish(&[("a", 11)]);
    assert_eq!(told(&other.next().await), expected(&[("a", 11)]));
}

#[tokio::test]
async fn who_never_says_who_it_is_is_answered_all_the_same() {
    let rig = rig().await;
    rig.publish(&[("a", 10)]);
    let mut stream = rig.legacy().await;
    stream.send(RequestResources { sink_node: None, ..asks(ENTRIES) }).await;
    let first = stream.next().await;
    assert_eq!(told(&first), expected(&[("a", 10)]));
    stream.send(RequestResources { sink_node: None, ..acks(&first) }).await;
    rig.publish(&[("a", 11)]);
    assert_eq!(told(&stream.next().await), expected(&[("a", 11)]));
    assert_eq!(rig.status.clients()[0].node, "");
}

#[tokio::test]
async fn nonsense_about_responses_is_passed_over() {
    let rig = rig().await;
    rig.publish(&[("a", 10)]);
    let mut stream = rig.legacy().await;
    let odd = Resources { nonce: "9".into(), collection: ENTRIES.into(), ..Default::default() };
    stream.send(nacks(&odd)).await; // never asked for
    let trigger =
        Resources { nonce: String::new(), collection: "$triggerCollection".into(), ..Default::default() };
    stream.send(nacks(&trigger)).await;
    stream.send(RequestResources { response_nonce: "n".repeat(1 << 20), ..asks(SERVICES) }).await;
    let held = [("ns/a".to_owned(), "v".repeat(1 << 20))].into();
    stream.send(RequestResources { initial_resource_versions: held, ..changes(asks(ENTRIES)) }).await;
    let r = stream.next().await;
    assert_eq!((told(&r), &*r.nonce), (expected(&[("a", 10)]), "1"));
    for stale in ["0", "2", "-1", "１"] {
        stream.send(RequestResources { response_nonce: stale.into(), ..asks(ENTRIES) }).await;
    }
    stream.send(acks(&r)).await;
    rig.publish(&[("a", 11)]);
    assert_eq!(told(&stream.next().await), expected(&[("a", 11)]));
}

#[tokio::test]
async fn who_cannot_receive_so_much_is_not_sent_it_ever_faster() {
    let rig = rig().await;
    rig.publish(&[("a", 5 << 20)]);
    for n in 0..2 {
        let mut stream = rig.legacy().await;
        stream.send(asks(ENTRIES)).await;
        assert!(stream.next().await.resources.len() == 1);
        drop(stream); // as a Pilot does on which it is too large
        rig.until("the stream is gone", |r| r.clients() == 0).await;
        assert_eq!(rig.metric("chandler_pushes_total{wire=\"mcp\",collection=\"serviceentries\"}"), n + 1);
    }
    let mut stream = rig.legacy().await;
    let before = tokio::time::Instant::now();
    stream.send(asks(ENTRIES)).await;
    stream.send(asks(QUOTAS)).await;
    assert_eq!(stream.next().await.collection, QUOTAS, "what is small goes at once");
    let large = stream.next().await;
    assert!(before.elapsed() >= Duration::from_millis(900), "{:?}", before.elapsed());
    stream.send(acks(&large)).await;
    let bytes = rig.metric("chandler_legacy_response_bytes{collection=\"serviceentries\"}");
    assert!(bytes > 5 << 20 && rig.metric("chandler_legacy_response_limit_bytes") == 4 << 20);
}
