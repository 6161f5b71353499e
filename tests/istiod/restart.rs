//! Silence is safe: a Chandler that dies and comes back changes nothing, and replicas cannot be told apart.

use crate::support::{Age, Chandler, Istiod, Place, Sidecar};
use crate::view::{CALM, entry, held, taken_by_istiod, wire};

/// Some of everything that could differ from one start to the next.
fn files() -> Vec<(String, String)> {
    let service = |n: usize| {
        format!(
            "services:\n- name: s{n}\n  hosts: [s{n}.example.internal]\n  labels: {{b: '1', a: '2'}}\n  \
             ports: [{{number: 8080, protocol: HTTP}}, {{number: 80}}]\n  \
             endpoints: [{{address: 10.0.{n}.2, labels: {{z: '1', y: '2'}}}}, {{address: 10.0.{n}.1, weight: 0.5}}]\n\
             - {{name: dns{n}, hosts: [dns{n}.example.internal], ports: [{{number: 443, protocol: TLS}}], \
             endpoints: [{{address: api{n}.example.com}}]}}\n"
        )
    };
    (0..50).map(|n| (format!("{n}.yaml"), service(n))).collect()
}

async fn chandler() -> Chandler {
    let builder = Chandler::build();
    files().iter().fold(builder, |builder, (name, text)| builder.service_file(name, text)).start().await
}

both_ages!(killed_and_restarted_chandler_changes_nothing);

async fn killed_and_restarted_chandler_changes_nothing(age: Age) {
    let mut chandler = chandler().await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    sidecar.endpoints("outbound|8080||s7.example.internal", |found| found.len() == 2).await;
    let before = (istiod.settled(CALM).await, wire(&chandler).await, istiod.triggers().await);
    let all = held(&istiod).await;
    assert!(entry(&all, "s49.example.internal").is_some() && entry(&all, "dns49.example.internal").is_some());

    chandler.kill().await;
    assert!(held(&istiod).await == all, "it keeps what it has");
    chandler.start_again().await;
    taken_by_istiod(&chandler).await;
    let after = (istiod.settled(CALM).await, wire(&chandler).await, istiod.triggers().await);
    assert_eq!(after, before);
    assert!(held(&istiod).await == all, "something disappeared or changed");
}

#[tokio::test]
async fn replicas_serve_the_same_bytes() {
    needs!(Probe);
    let (first, second) = tokio::join!(chandler(), chandler());
    let (bytes, versions) = wire(&first).await;
    assert_eq!(versions.len(), 100);
    assert_eq!(wire(&second).await, (bytes, versions));
}

/// Files that came one after the other give what files give that were there from the start.
#[tokio::test]
async fn order_in_which_services_came_shows_nowhere() {
    needs!(Probe);
    let (whole, mut late) = (chandler().await, Chandler::start("", &[]).await);
    late.synced().await;
    for (name, text) in files().iter().rev() {
        late.write_services(name, text);
    }
    let all = wire(&whole).await;
    crate::support::eventually("the same bytes", crate::support::PATIENCE, async || {
        (wire(&late).await == all).then_some(())
    })
    .await;
}
