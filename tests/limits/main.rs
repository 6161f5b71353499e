//! Limits and access as a client meets them: a server in this process, real sockets, the generated client. Each limit is
//! exceeded here, and who does not exceed any is never slowed.

// clippy.toml allows these in tests; it does not see that every function here serves one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod rig;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chandler::limit::{Limits, Rate};
use chandler::proto::discovery::DiscoveryRequest;
use chandler::resource::collection::Collection;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use crate::rig::{HUGE, NOTHING, Rules, SE, SIDECAR, Stream, ack, ask, empty, guarded, open, rig, snapshot};

// Who stays within the limits.

/// Asks for everything at once, as a control plane does, and acknowledges all of it.
async fn sync(mut stream: Stream, kinds: &[String]) -> Stream {
    for kind in kinds {
        stream.ask(kind).await;
    }
    let mut missing: BTreeSet<&str> = kinds.iter().map(String::as_str).collect();
    while !missing.is_empty() {
        let response = stream.next().await;
        stream.send(ack(&response)).await;
        assert!(missing.remove(&*response.type_url), "{} twice", response.type_url);
    }
    stream
}

#[tokio::test]
async fn a_thousand_control_planes_that_come_back_at_once_meet_no_limit() {
    let rig = Arc::new(rig(Limits::default()).await);
    rig.store.publish(snapshot(1000));
    // What any Istio asks for, and what newer ones may: 19 collections.
    let kinds =
        Collection::all().map(|c| c.type_url()).chain((0..4).map(|n| format!("future.istio.io/v1/Kind{n}")));
    let kinds: Arc<Vec<String>> = Arc::new(kinds.collect());
    assert_eq!(kinds.len(), 19);
    let mut planes = JoinSet::new();
    for _ in 0..1000 {
        let (rig, kinds) = (Arc::clone(&rig), Arc::clone(&kinds));
        planes.spawn(async move { sync(rig.stream().await, &kinds).await });
    }
    let synced = planes.join_all().await;
    rig.until("all are acknowledged", |rig| {
        let settled = |w: &chandler::runtime::status::WatchStatus| w.acknowledged.is_some();
        rig.status.clients().iter().all(|c| c.watches.len() == 19 && c.watches.values().all(settled))
    })
    .await;
    assert_eq!(rig.deps.census().streams, 1000);
    assert_eq!(rig.all_reached(), [] as [&str; 0]);
    assert_eq!(rig.metric("streams_refused_total{reason=\"too_often\"}"), 0);
    drop(synced);
    rig.until("nothing is left", |rig| rig.deps.census() == NOTHING).await;
}

#[tokio::test]
async fn acknowledgements_are_free() {
    let rig = rig(Limits { requests: Rate::new(1, 1), ..Limits::default() }).await;
    rig.store.publish(snapshot(1));
    let mut stream = rig.stream().await;
    stream.ask(SE).await;
    for size in 2..100 {
        let response = stream.next().await;
        rig.store.publish(snapshot(size));
        stream.send(ack(&response)).await;
    }
    stream.next().await;
    assert_eq!(rig.all_reached(), [] as [&str; 0]);
}

// Who does not.

#[tokio::test]
async fn a_stream_that_asks_too_much_is_read_at_its_rate_and_loses_nothing() {
    let rig = rig(Limits { requests: Rate::new(100, 10), ..Limits::default() }).await;
    rig.store.publish(snapshot(1));
    let (mut stream, start) = (rig.stream().await, Instant::now());
    let out = stream.out.clone();
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        for n in 0..60 {
            out.send(ask(&format!("future.istio.io/v1/Kind{n}"))).await.unwrap();
        }
    });
    for _ in 0..60 {
        let response = stream.next().await;
        stream.send(ack(&response)).await;
    }
    assert!(start.elapsed() >= Duration::from_millis(480), "10 at once and 49 at 100 a second");
    // How often depends on how fast they could be asked.
    assert_eq!(rig.all_reached().len(), 1);
    assert!(rig.reached("requestsPerSecond") >= 1);
}

#[tokio::test]
async fn streams_of_one_peer_are_read_at_its_rate() {
    let rig = rig(Limits { requests_per_peer: Rate::new(100, 10), ..Limits::default() }).await;
    rig.store.publish(snapshot(1));
    let start = Instant::now();
    for _ in 0..3 {
        let mut stream = rig.stream().await;
        for n in 0..20 {
            stream.ask(&format!("future.istio.io/v1/Kind{n}")).await;
        }
        for _ in 0..20 {
            stream.next().await;
        }
    }
    assert!(start.elapsed() >= Duration::from_millis(480), "10 at once and 49 at 100 a second");
    assert!(rig.reached("requestsPerSecondPerPeer") >= 1);
    assert_eq!(rig.reached("requestsPerSecond"), 0);
}

#[tokio::test]
async fn streams_opened_too_often_are_held_and_refused() {
    let rig = rig(Limits { stream_opens: Rate::new(1, 2), ..Limits::default() }).await;
    let (mut client, start) = (rig.connection().await, Instant::now());
    let mut streams = [open(&mut client).await, open(&mut client).await, open(&mut client).await];
    let status = streams[2].end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(start.elapsed() >= Duration::from_secs(1), "it was not held");
    assert_eq!(rig.reached("streamOpensPerSecond"), 1);
}

#[tokio::test]
async fn too_many_unknown_collections_end_the_stream() {
    let rig = rig(Limits { unknown_collections: 2, ..Limits::default() }).await;
    let mut stream = rig.stream().await;
    for n in 0..3 {
        stream.ask(&format!("future.istio.io/v1/Kind{n}")).await;
    }
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("more than 2 unknown types"), "{status}");
    assert_eq!(rig.all_reached(), ["limits_reached_total{limit=\"unknownCollections\"} 1"]);
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_stream() {
    let rig = rig(Limits { message_size: 1 << 20, ..Limits::default() }).await;
    let mut stream = rig.stream().await;
    stream.send(DiscoveryRequest { version_info: "x".repeat(1 << 20), ..ask(SE) }).await;
    assert_eq!(stream.end().await.code(), Code::OutOfRange);
    assert_eq!(rig.all_reached(), ["limits_reached_total{limit=\"messageSize\"} 1"]);
}

#[tokio::test]
async fn a_stream_that_asks_for_nothing_ends() {
    let rig =
        rig(Limits { first_request_timeout: Some(Duration::from_millis(50)), ..Limits::default() }).await;
    let status = rig.stream().await.end().await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(rig.all_reached(), ["limits_reached_total{limit=\"firstRequestTimeout\"} 1"]);
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_is_only_wondered_about() {
    let rig = rig(Limits { acknowledge_warning: Some(Duration::from_millis(50)), ..Limits::default() }).await;
    rig.store.publish(snapshot(1));
    let mut stream = rig.stream().await;
    stream.ask(SE).await;
    let response = stream.next().await;
    rig.until("the log wonders", |rig| rig.reached("acknowledgeWarning") == 1).await;
    rig.store.publish(snapshot(2));
    stream.send(ack(&response)).await;
    stream.next().await;
}

fn impatient() -> Limits {
    Limits { read_timeout: Some(Duration::from_secs(1)), ..Limits::default() }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let rig = rig(impatient()).await;
    rig.store.publish(snapshot(HUGE));
    let mut stalled = rig.stream().await;
    stalled.ask(SE).await;
    rig.until("it is cut off", |rig| rig.reached("readTimeout") == 1).await;
    rig.until("nothing is left", |rig| rig.deps.census() == NOTHING).await;
    assert!(rig.status.clients().is_empty());
    assert_ne!(stalled.end().await.code(), Code::Ok);
}

#[tokio::test]
async fn a_client_that_does_not_read_the_end_is_cut_off() {
    let rig = rig(impatient()).await;
    rig.store.publish(snapshot(HUGE));
    let stalled = rig.stream().await;
    stalled.ask(SE).await;
    rig.until("its response", |rig| rig.metric("pushes_total") == 1).await;
    stalled.ask("").await;
    rig.until("nothing is left", |rig| rig.deps.census() == NOTHING).await;
    drop(stalled);
}

#[tokio::test]
async fn who_shares_a_connection_with_a_client_that_does_not_read_stays() {
    let rig = rig(impatient()).await;
    rig.store.publish(snapshot(HUGE));
    let mut client = rig.connection().await;
    let (stalled, mut well) = (open(&mut client).await, open(&mut client).await);
    stalled.ask(SE).await;
    rig.until("it has ended", |rig| rig.reached("readTimeout") == 1 && rig.status.clients().len() == 1).await;
    for n in 0..3 {
        well.ask(&format!("future.istio.io/v1/Kind{n}")).await;
        well.next().await;
    }
    assert_eq!(rig.deps.census().streams, 2, "its place is not free before it is gone");
    drop(well);
    rig.until("the connection is cut", |rig| rig.deps.census() == NOTHING).await;
    drop(stalled);
}

// Who says no more.

#[tokio::test]
async fn a_half_closed_stream_is_answered_once_that_is_possible() {
    let rig = rig(Limits::default()).await;
    let stream = rig.stream().await;
    stream.ask(SE).await;
    let mut stream = stream.half_close();
    rig.until("it is known", |rig| rig.metric("requests_total") == 1).await;
    rig.store.publish(snapshot(1));
    assert_eq!(stream.next().await.resources.len(), 1);
    assert!(stream.message().await.unwrap().is_none(), "and it ends well");
}

#[tokio::test]
async fn a_half_closed_stream_that_cannot_be_answered_is_told_so() {
    let rig = rig(impatient()).await;
    let stream = rig.stream().await;
    stream.ask(SE).await;
    let status = stream.half_close().end().await;
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains(SE), "{status}");
}

// Who may not.

#[tokio::test]
async fn who_is_not_admitted_is_told_after_a_second() {
    let rules = Rules::forbidding(&[]);
    rules.nobody.store(true, Ordering::Relaxed);
    let rig = guarded(Limits::default(), rules).await;
    let start = Instant::now();
    let status = rig.stream().await.end().await;
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    assert!(start.elapsed() >= Duration::from_secs(1), "it was not held");
    assert_eq!(rig.metric("streams_refused_total{reason=\"unauthenticated\"}"), 1);
}

#[tokio::test]
async fn what_a_peer_may_not_read_is_never_answered_empty_if_there_is_something() {
    let rules = Rules::forbidding(&[Collection::ServiceEntry, Collection::Sidecar]);
    let rig = guarded(Limits::default(), rules).await;
    let mut early = rig.stream().await;
    early.ask(SE).await;
    rig.until("it is known", |rig| rig.metric("requests_total") == 1).await;
    rig.store.publish(Arc::new(empty()));
    assert_eq!(early.next().await.resources.len(), 0, "where there is nothing, empty is the truth");
    let mut other = rig.stream().await;
    other.ask(SIDECAR).await;
    assert_eq!(other.next().await.resources.len(), 0);
    rig.store.publish(snapshot(1));
    let status = early.end().await;
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "serviceentries: not for you"));
    let (mut late, start) = (rig.stream().await, Instant::now());
    late.ask(SE).await;
    assert_eq!(late.message().await.unwrap_err().code(), Code::PermissionDenied);
    assert!(start.elapsed() >= Duration::from_millis(990), "it was not held");
    assert_eq!(rig.metric("streams_refused_total{reason=\"forbidden\"}"), 2);
    // Whose collection is still empty, or who may read, is not concerned.
    other.ask("networking.istio.io/v1/Gateway").await;
    assert_eq!(other.next().await.resources.len(), 0);
}

#[tokio::test]
async fn what_is_withdrawn_is_not_sent_any_more() {
    let rules = Rules::forbidding(&[]);
    let rig = guarded(Limits::default(), Arc::<Rules>::clone(&rules)).await;
    rig.store.publish(snapshot(1));
    let mut stream = rig.stream().await;
    stream.ask(SE).await;
    let first = stream.next().await;
    stream.send(ack(&first)).await;
    rules.forbid(&[Collection::ServiceEntry]);
    rig.store.publish(snapshot(2));
    assert_eq!(stream.message().await.unwrap_err().code(), Code::PermissionDenied);
}
