//! What changes arrives as what it is, and nothing else moves a Pilot.

use crate::support::{Chandler, PATIENCE, Pilot, Release, eventually};
use crate::view::{BESIDE, CALM, WEB, but_entries, hosts_are, service, web};

const ONE: &str = "{address: 10.0.0.5}";
const TWO: &str = "{address: 10.0.0.6}";

every_release!(
    addition_and_deletion_arrive,
    endpoint_change_arrives_as_endpoints_only,
    endpoints_keep_ports_of_their_own_when_they_change,
    last_endpoint_goes_and_comes_back,
    change_of_names_is_a_change_of_the_cluster,
    same_bytes_again_move_nothing,
    change_of_entries_sends_no_other_collection_again,
);

/// `web` with one endpoint and `beside`, before a Pilot that has both.
async fn line(release: Release) -> (Chandler, Pilot) {
    let beside = service("beside", "10.0.0.9");
    let chandler = Chandler::start("", &[("web.yaml", &web(&[ONE])), ("beside.yaml", &beside)]).await;
    let pilot = Pilot::start(release, chandler.grpc).await;
    hosts_are(&pilot, &[BESIDE, WEB]).await;
    (chandler, pilot)
}

async fn addition_and_deletion_arrive(release: Release) {
    let (chandler, pilot) = line(release).await;
    chandler.write_services("late.yaml", &service("late", "10.0.0.7"));
    hosts_are(&pilot, &[BESIDE, "late.example.internal", WEB]).await;
    pilot.endpoints_are("late.example.internal", &["10.0.0.7:8081"]).await;
    chandler.write_services("web.yaml", "services: []\n");
    hosts_are(&pilot, &[BESIDE, "late.example.internal"]).await;
    assert_eq!(
        pilot.objects().await,
        [format!("chandler/{BESIDE}"), "chandler/late.example.internal".to_owned()]
    );
    eventually("its endpoints to be gone", PATIENCE, async || {
        (pilot.shards(WEB).await.is_empty() && pilot.endpoints(WEB).await.is_empty()).then_some(())
    })
    .await;
}

/// What Pilot would tell a proxy, as `address:port`.
async fn told(pilot: &Pilot, host: &str, wanted: &[&str]) {
    let what = format!("{wanted:?} as what proxies are told of {host}");
    let mut last = Vec::new();
    eventually(&what, PATIENCE, async || {
        let shards = pilot.shards(host).await;
        let mut shown: Vec<String> =
            shards.iter().map(|one| format!("{}:{}", one.address, one.port)).collect();
        shown.dedup();
        if shown != last {
            eprintln!("proxies are told {shown:?}");
            last.clone_from(&shown);
        }
        (shown == wanted).then_some(())
    })
    .await;
}

async fn endpoint_change_arrives_as_endpoints_only(release: Release) {
    let (chandler, pilot) = line(release).await;
    let (before, _) = pilot.settled(CALM).await;
    chandler.write_services("web.yaml", &web(&[ONE, TWO]));
    told(&pilot, WEB, &["10.0.0.5:8080", "10.0.0.6:8080"]).await;
    chandler.write_services("web.yaml", &web(&[TWO]));
    told(&pilot, WEB, &["10.0.0.6:8080"]).await;
    pilot.endpoints_are(WEB, &["10.0.0.6:8080"]).await;
    let (after, _) = pilot.settled(CALM).await;
    assert!(after["eds"] >= before.get("eds").unwrap_or(&0.0) + 2.0, "{before:?}, {after:?}");
    assert_eq!(after.get("svc"), before.get("svc"), "no service was touched");
    assert_eq!(full_pushes(&before, &after), 0.0, "{before:?}, {after:?}");
}

/// How often it was to push everything. A change of endpoints is counted as `config` too: that is how it asks for a push.
fn full_pushes(before: &Counts, after: &Counts) -> f64 {
    let more = |kind: &str| after.get(kind).unwrap_or(&0.0) - before.get(kind).unwrap_or(&0.0);
    more("config") - more("eds")
}

type Counts = std::collections::BTreeMap<String, f64>;

/// The names are in the cluster, which endpoints alone do not touch: 1.5 forgets it.
async fn change_of_names_is_a_change_of_the_cluster(release: Release) {
    let (chandler, pilot) = line(release).await;
    chandler.write_services("web.yaml", &web(&["{address: one.example.com}"]));
    pilot.endpoints_are(WEB, &["one.example.com:8080"]).await;
    let (before, _) = pilot.settled(CALM).await;
    chandler.write_services("web.yaml", &web(&["{address: two.example.com}"]));
    pilot.endpoints_are(WEB, &["two.example.com:8080"]).await;
    let (after, _) = pilot.settled(CALM).await;
    assert!(full_pushes(&before, &after) >= 1.0, "{before:?}, {after:?}");
}

/// 1.5 and 1.6 give proxies the service's port when they push endpoints alone.
async fn endpoints_keep_ports_of_their_own_when_they_change(release: Release) {
    let (chandler, pilot) = line(release).await;
    let (moved, other) =
        ("{address: 10.0.0.5, ports: {http-8080: 18080}}", "{address: 10.0.0.6, ports: {http-8080: 28080}}");
    chandler.write_services("web.yaml", &web(&[moved]));
    told(&pilot, WEB, &["10.0.0.5:18080"]).await;
    chandler.write_services("web.yaml", &web(&[moved, other]));
    told(&pilot, WEB, &["10.0.0.5:18080", "10.0.0.6:28080"]).await;
    chandler.write_services("web.yaml", &web(&[other]));
    told(&pilot, WEB, &["10.0.0.6:28080"]).await;
    chandler.write_services("web.yaml", &web(&[TWO]));
    told(&pilot, WEB, &["10.0.0.6:8080"]).await;
}

/// 1.5 to 1.7 overlook it where nothing of the service changes.
async fn last_endpoint_goes_and_comes_back(release: Release) {
    let (chandler, pilot) = line(release).await;
    chandler.write_services("web.yaml", &web(&[]));
    told(&pilot, WEB, &[]).await;
    pilot.endpoints_are(WEB, &[]).await;
    assert_eq!(pilot.hosts().await, [BESIDE, WEB], "the service stays");
    chandler.write_services("web.yaml", &web(&[TWO]));
    told(&pilot, WEB, &["10.0.0.6:8080"]).await;
    pilot.endpoints_are(WEB, &["10.0.0.6:8080"]).await;
}

/// Another file, other formatting, another order: nothing that is sent.
async fn same_bytes_again_move_nothing(release: Release) {
    let (chandler, pilot) = line(release).await;
    chandler.write_services("web.yaml", &web(&[ONE, TWO]));
    told(&pilot, WEB, &["10.0.0.5:8080", "10.0.0.6:8080"]).await;
    let before = pilot.settled(CALM).await;
    chandler.write_services("web.yaml", &web(&[TWO, ONE]).replace("HTTP", "http"));
    // A later change shows that the one before it was read.
    chandler.write_services("beside.yaml", &service("beside", "10.0.0.10"));
    pilot.endpoints_are(BESIDE, &["10.0.0.10:8081"]).await;
    let after = pilot.settled(CALM).await;
    let entries = |acks: &std::collections::BTreeMap<String, f64>| acks[crate::support::SINK_ENTRIES];
    assert_eq!(
        entries(&after.1),
        entries(&before.1) + 1.0,
        "one message, for the change of the other service"
    );
    assert_eq!(after.0["eds"], before.0["eds"] + 1.0, "and one push, for that service");
}

/// A Pilot pushes everything for each message of any other collection.
async fn change_of_entries_sends_no_other_collection_again(release: Release) {
    let (chandler, pilot) = line(release).await;
    let (_, before) = pilot.settled(CALM).await;
    for n in 10..15 {
        let address = format!("10.0.0.{n}");
        chandler.write_services("beside.yaml", &service("beside", &address));
        pilot.endpoints_are(BESIDE, &[&format!("{address}:8081")]).await;
    }
    chandler.write_services("late.yaml", &service("late", "10.0.0.7"));
    hosts_are(&pilot, &[BESIDE, "late.example.internal", WEB]).await;
    let (_, after) = pilot.settled(CALM).await;
    assert_eq!(but_entries(after.clone()), but_entries(before.clone()));
    assert_eq!(after[crate::support::SINK_ENTRIES], before[crate::support::SINK_ENTRIES] + 6.0);
}
