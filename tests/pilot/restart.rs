//! Silence is safe: a Chandler that dies, comes back or is exchanged changes nothing.

use crate::support::{Chandler, PATIENCE, Pilot, Release, SINK_ENTRIES, Switch, eventually};
use crate::view::{CALM, but_entries, hundred};

every_release!(
    restarted_chandler_changes_nothing,
    exchanged_chandler_takes_no_service_away,
    restarted_pilot_gets_everything_again,
);

async fn chandler() -> Chandler {
    Chandler::start("", &[("hundred.yaml", &hundred())]).await
}

/// What must not change: the objects, the services and what proxies are told.
async fn all_of(pilot: &Pilot) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut told = Vec::new();
    for host in ["s0.example.internal", "s99.example.internal"] {
        told.extend(
            pilot.shards(host).await.into_iter().map(|one| format!("{host} {}:{}", one.address, one.port)),
        );
    }
    (pilot.objects().await, pilot.hosts().await, told)
}

/// Waits until every collection was acknowledged once more than in `before`, looking all the while whether anything is gone.
async fn told_again(pilot: &Pilot, before: &std::collections::BTreeMap<String, f64>, rounds: f64) {
    eventually("every collection to be acknowledged again", PATIENCE, async || {
        assert_eq!(pilot.hosts().await.len(), 100, "a service disappeared");
        let now = pilot.acks().await;
        before.iter().all(|(name, count)| now[name] >= count + rounds).then_some(())
    })
    .await;
}

async fn restarted_chandler_changes_nothing(release: Release) {
    let mut chandler = chandler().await;
    let pilot = Pilot::start(release, chandler.grpc).await;
    let (inbound, acks) = pilot.settled(CALM).await;
    let all = all_of(&pilot).await;
    assert_eq!((all.0.len(), all.1.len(), all.2.len()), (100, 100, 4));

    chandler.kill().await;
    assert!(all_of(&pilot).await == all, "it keeps what it has");
    chandler.start_again().await;
    told_again(&pilot, &acks, 1.0).await;
    assert!(all_of(&pilot).await == all, "something disappeared or changed");
    let (after, acks_after) = pilot.settled(CALM).await;
    assert_eq!(acks_after[SINK_ENTRIES], acks[SINK_ENTRIES] + 1.0);
    // The other collections cannot be helped: each message of theirs is a push. Entries that are the same are none.
    let others = f64::from(u32::try_from(but_entries(acks).len()).expect("a few"));
    assert_eq!(after["config"], inbound["config"] + others, "{inbound:?}, {after:?}");
    assert_eq!((after.get("eds"), after.get("svc")), (inbound.get("eds"), inbound.get("svc")));
}

async fn exchanged_chandler_takes_no_service_away(release: Release) {
    let (first, second) = tokio::join!(chandler(), chandler());
    let switch = Switch::start(first.grpc).await;
    let pilot = Pilot::start(release, switch.address()).await;
    let (inbound, acks) = pilot.settled(CALM).await;
    let all = all_of(&pilot).await;
    switch.turn(second.grpc);
    told_again(&pilot, &acks, 1.0).await;
    switch.turn(first.grpc);
    told_again(&pilot, &acks, 2.0).await;
    assert!(switch.passed() >= 3);
    assert!(all_of(&pilot).await == all, "something disappeared or changed");
    let (after, _) = pilot.settled(CALM).await;
    assert_eq!((after.get("eds"), after.get("svc")), (inbound.get("eds"), inbound.get("svc")));
}

async fn restarted_pilot_gets_everything_again(release: Release) {
    let chandler = chandler().await;
    let mut pilot = Pilot::start(release, chandler.grpc).await;
    pilot.settled(CALM).await;
    let all = all_of(&pilot).await;
    pilot.restart().await;
    pilot.settled(CALM).await;
    assert!(all_of(&pilot).await == all, "something disappeared or changed");
}
