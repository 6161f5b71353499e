//! What changes arrives as what it is: endpoints as endpoints, everything else whole, and nothing where nothing changed.

use serde_json::json;

use crate::support::{Age, Chandler, Istiod, Place, ShardEndpoint, Sidecar};
use crate::view::{CALM, entry_gone, entry_where, reported, taken_by_istiod, wire};

const HOST: &str = "web.example.internal";
const CLUSTER: &str = "outbound|8080||web.example.internal";

/// The service `web` with these endpoints, written in YAML.
fn web(endpoints: &[&str]) -> String {
    let endpoints = endpoints.join(", ");
    format!(
        "services:\n- name: web\n  hosts: [{HOST}]\n  ports: [{{number: 8080, protocol: HTTP}}]\n  endpoints: [{endpoints}]\n"
    )
}

const ONE: &str = "{address: 10.0.0.5}";
const TWO: &str = "{address: 10.0.0.6}";
const BESIDE: &str = "
services:
- name: beside
  hosts: [beside.example.internal]
  ports: [{number: 8081, protocol: TCP}]
  endpoints: [{address: 10.0.0.9}]
";

both_ages!(
    endpoint_change_arrives_as_endpoints_only,
    deletion_arrives,
    new_service_arrives,
    service_emptied_of_endpoints_stays,
    rename_of_a_services_file_changes_nothing,
    service_becomes_dns_and_static_again,
);

struct Line {
    chandler: Chandler,
    istiod: Istiod,
    sidecar: Sidecar,
}

/// `web` with one endpoint and `beside`, before a sidecar that has all of it.
async fn line(age: Age) -> Line {
    let chandler = Chandler::start("", &[("web.yaml", &web(&[ONE])), ("beside.yaml", BESIDE)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    sidecar.endpoints(CLUSTER, |found| found.len() == 1).await;
    Line { chandler, istiod, sidecar }
}

async fn endpoint_change_arrives_as_endpoints_only(age: Age) {
    let Line { chandler, istiod, mut sidecar } = line(age).await;
    let before = istiod.settled(CALM).await;
    let triggers = istiod.triggers().await;
    for endpoints in [&[ONE, TWO][..], &[TWO]] {
        chandler.write_services("web.yaml", &web(endpoints));
        sidecar
            .endpoints(CLUSTER, |found| {
                found.len() == endpoints.len() && found.iter().any(|one| one["address"] == "10.0.0.6")
            })
            .await;
    }
    let after = istiod.settled(CALM).await;
    assert!(after["eds"] > before["eds"]);
    for kind in ["cds", "lds", "rds"] {
        assert_eq!(after.get(kind), before.get(kind), "{kind}: {before:?}, {after:?}");
    }
    let mut now = istiod.triggers().await;
    assert!(now.remove("endpoint").is_some_and(|count| count >= 2.0), "{now:?}");
    let mut then = triggers;
    then.remove("endpoint");
    assert_eq!(now, then, "nothing else made it push");
}

/// 1.18.7 overlooks all of these on an address that it knows.
async fn change_of_a_known_endpoint(changed: &str, arrived: impl Fn(&ShardEndpoint) -> bool) {
    let Line { chandler, istiod, sidecar: _connected } = line(Age::Newest).await;
    let before = istiod.settled(CALM).await;
    chandler.write_services("web.yaml", &web(&[changed]));
    istiod.endpoints_where(HOST, changed, |all| all.len() == 1 && arrived(&all[0])).await;
    let after = istiod.settled(CALM).await;
    assert!(after["eds"] > before["eds"]);
    assert_eq!(after.get("cds"), before.get("cds"), "{before:?}, {after:?}");
}

#[tokio::test]
async fn changed_port_arrives_as_endpoints_only() {
    needs!(IstiodNewest, Probe);
    change_of_a_known_endpoint("{address: 10.0.0.5, port: 18080}", |one| one.port == 18080).await;
}

#[tokio::test]
async fn changed_weight_arrives_as_endpoints_only() {
    needs!(IstiodNewest, Probe);
    let Line { chandler, istiod, sidecar: _connected } = line(Age::Newest).await;
    chandler.write_services("web.yaml", &web(&[ONE, TWO]));
    istiod
        .endpoints_where(HOST, "equal weights", |all| all.len() == 2 && all[0].weight == all[1].weight)
        .await;
    let before = istiod.settled(CALM).await;
    chandler.write_services("web.yaml", &web(&["{address: 10.0.0.5, weight: 5}", TWO]));
    istiod
        .endpoints_where(HOST, "a weight of five to one", |all| {
            all.len() == 2 && all[1].weight > 0 && all[0].weight == 5 * all[1].weight
        })
        .await;
    let after = istiod.settled(CALM).await;
    assert!(after["eds"] > before["eds"]);
    assert_eq!(after.get("cds"), before.get("cds"), "{before:?}, {after:?}");
}

#[tokio::test]
async fn changed_locality_arrives_as_endpoints_only() {
    needs!(IstiodNewest, Probe);
    change_of_a_known_endpoint("{address: 10.0.0.5, locality: eu/c}", |one| one.locality == "eu/c").await;
}

#[tokio::test]
async fn changed_label_arrives_as_endpoints_only() {
    needs!(IstiodNewest, Probe);
    let labelled = |one: &ShardEndpoint| one.labels.get("version").is_some_and(|v| v == "v2");
    change_of_a_known_endpoint("{address: 10.0.0.5, labels: {version: v2}}", labelled).await;
}

async fn deletion_arrives(age: Age) {
    let Line { chandler, istiod, mut sidecar } = line(age).await;
    chandler.write_services("web.yaml", "services: []\n");
    entry_gone(&istiod, HOST).await;
    assert!(entry_where(&istiod, "beside.example.internal", "its neighbour", |_| true).await.is_object());
    sidecar
        .next_where("clusters without it", |line| {
            let names = line["names"].as_array();
            line["type"] == "CDS" && names.is_some_and(|names| !names.contains(&json!(CLUSTER)))
        })
        .await;
    assert_eq!(istiod.service(HOST).await, None);
    assert_eq!(istiod.endpoints(HOST).await, []);
}

async fn new_service_arrives(age: Age) {
    let Line { chandler, istiod: _alive, mut sidecar } = line(age).await;
    let late = BESIDE.replace("beside", "late").replace("8081", "8082");
    chandler.write_services("deep/er/late.yaml", &late);
    let endpoints = sidecar.endpoints("outbound|8082||late.example.internal", |found| found.len() == 1).await;
    assert_eq!(endpoints[0]["address"], "10.0.0.9");
}

async fn service_emptied_of_endpoints_stays(age: Age) {
    let Line { chandler, istiod, mut sidecar } = line(age).await;
    let address = entry_where(&istiod, HOST, "the entry", |_| true).await["spec"]["addresses"].clone();
    chandler.write_services("web.yaml", &web(&[]));
    // Most istiods overlook it, were it not for a label: their proxies would go on calling what has gone.
    sidecar.endpoints(CLUSTER, <[_]>::is_empty).await;
    let entry = entry_where(&istiod, HOST, "the entry", |_| true).await;
    assert!(entry["spec"]["endpoints"].as_array().is_none_or(Vec::is_empty), "{entry}");
    assert_eq!((&entry["spec"]["addresses"], &entry["spec"]["resolution"]), (&address, &"STATIC".into()));
    assert!(istiod.service(HOST).await.is_some());
    chandler.write_services("web.yaml", &web(&[TWO]));
    sidecar.endpoints(CLUSTER, |found| found.len() == 1 && found[0]["address"] == "10.0.0.6").await;
}

/// Where only istiods are served that see it without a label.
#[tokio::test]
async fn last_endpoint_goes_and_comes_as_endpoints_only_where_no_older_istiod_is_served() {
    needs!(IstiodNewest, Probe);
    let chandler = Chandler::start("mesh: {istio: {xds: \"1.30\"}}", &[("web.yaml", &web(&[ONE]))]).await;
    let istiod = Istiod::start(Age::Newest, chandler.grpc, "").await;
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    sidecar.endpoints(CLUSTER, |found| found.len() == 1).await;
    let before = istiod.settled(CALM).await;
    chandler.write_services("web.yaml", &web(&[]));
    sidecar.endpoints(CLUSTER, <[_]>::is_empty).await;
    chandler.write_services("web.yaml", &web(&[TWO]));
    sidecar.endpoints(CLUSTER, |found| found.len() == 1).await;
    assert_eq!(istiod.settled(CALM).await.get("cds"), before.get("cds"));
}

async fn rename_of_a_services_file_changes_nothing(age: Age) {
    let Line { chandler, istiod, sidecar: _connected } = line(age).await;
    let (before, bytes) = (istiod.settled(CALM).await, wire(&chandler).await);
    let folder = chandler.services_dir();
    std::fs::rename(folder.join("web.yaml"), folder.join("renamed.yaml")).expect("a rename");
    reported(&chandler, "the file under its new name", |row| row["key"] == "renamed.yaml#web").await;
    taken_by_istiod(&chandler).await;
    assert_eq!(istiod.settled(CALM).await, before);
    assert_eq!(wire(&chandler).await, bytes);
}

async fn service_becomes_dns_and_static_again(age: Age) {
    let Line { chandler, istiod, mut sidecar } = line(age).await;
    let kind_is = |wanted: &'static str| {
        move |line: &serde_json::Value| {
            let clusters = line["detail"].as_array().cloned().unwrap_or_default();
            line["type"] == "CDS"
                && clusters.iter().any(|one| one["name"] == CLUSTER && one["type"] == wanted)
        }
    };
    chandler.write_services("web.yaml", &web(&[ONE, "{address: localhost.example}"]));
    entry_where(&istiod, HOST, "resolution DNS", |one| one["spec"]["resolution"] == "DNS").await;
    sidecar.next_where("a DNS cluster", kind_is("STRICT_DNS")).await;
    chandler.write_services("web.yaml", &web(&[]));
    let entry =
        entry_where(&istiod, HOST, "resolution STATIC", |one| one["spec"]["resolution"] == "STATIC").await;
    assert!(entry["spec"]["endpoints"].as_array().is_none_or(Vec::is_empty));
    chandler.write_services("web.yaml", &web(&[ONE]));
    sidecar.next_where("an EDS cluster", kind_is("EDS")).await;
    istiod.endpoints_where(HOST, "its endpoint", |all| all.len() == 1).await;
}
