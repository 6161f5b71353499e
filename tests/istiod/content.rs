//! Services, ports, endpoints, addresses, labels, localities and weights, as written down.

use serde_json::{Value, json};

use crate::support::{Age, Chandler, Istiod, Place, ShardEndpoint, Sidecar};
use crate::view::entry_where;

const WEB: &str = "
services:
- name: web
  hosts: [Web.Example.Internal]
  location: MESH_INTERNAL
  labels: {team: pay}
  annotations: {owner: somebody}
  ports:
  - {number: 8080, protocol: HTTP}
  - {number: 9090, name: rpc, protocol: GRPC, targetPort: 19090}
  endpoints:
  - {address: 10.0.0.6, ports: {http-8080: 18080}, labels: {version: v2}, locality: eu/b, weight: 30, tlsMode: istio}
  - {address: 10.0.0.5, labels: {version: v1}, locality: eu/a/1, weight: 10}
- name: lines
  hosts: [lines.example.internal]
  namespace: shop
  exportTo: [shop, chandler]
  ports: [{number: 7000, protocol: TCP}]
  endpoints: [{address: 10.0.0.7, port: 17000}, {address: 10.0.0.8, weight: 0}]
";
const HOST: &str = "web.example.internal";

both_ages!(
    services_arrive_as_configured,
    endpoints_reach_a_sidecar_as_configured,
    virtual_addresses_are_in_the_sidecars_dns_table,
    whole_objects_arrive_as_written,
    labels_that_istio_would_refuse_are_made_legal,
    every_host_of_a_service_is_an_entry_of_its_own,
    mutual_tls_is_only_for_endpoints_that_can_inside_of_the_mesh,
    object_that_a_user_wrote_in_a_namespace_of_its_own_wins,
);

async fn services_arrive_as_configured(age: Age) {
    let chandler = Chandler::start("", &[("web.yaml", WEB)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;

    let entry = istiod.config("ServiceEntry", "chandler", HOST).await.expect("the entry is in configz");
    assert_eq!(entry["metadata"]["labels"]["team"], "pay");
    assert_eq!(entry["metadata"]["annotations"]["owner"], "somebody");
    assert_eq!(entry["metadata"]["annotations"]["chandler/registry"], "onboard");
    assert_eq!(entry["metadata"]["annotations"]["chandler/service"], "web");
    let spec = &entry["spec"];
    assert_eq!((&spec["hosts"], &spec["resolution"]), (&json!([HOST]), &json!("STATIC")));
    assert_eq!(spec["location"], "MESH_INTERNAL");
    let address = spec["addresses"][0].as_str().expect("a virtual address").to_owned();
    let first: u8 = address.split('.').next().and_then(|octet| octet.parse().ok()).expect("IPv4");
    assert!((244..=247).contains(&first), "{address} is not of our range");
    let ports = json!([
        {"number": 8080, "name": "http-8080", "protocol": "HTTP"},
        {"number": 9090, "name": "rpc", "protocol": "GRPC", "targetPort": 19090},
    ]);
    assert_eq!(spec["ports"], ports);
    let endpoints: Vec<&Value> =
        spec["endpoints"].as_array().expect("endpoints").iter().map(|one| &one["address"]).collect();
    assert_eq!(endpoints, ["10.0.0.5", "10.0.0.6"], "sorted, however they are written");

    let service = istiod.service(HOST).await.expect("a service was made of the entry");
    assert_eq!(service["defaultAddress"], address.as_str());
    let numbers: Vec<&Value> =
        service["ports"].as_array().expect("ports").iter().map(|p| &p["port"]).collect();
    assert_eq!(numbers, [8080, 9090]);

    let other = istiod.config("ServiceEntry", "shop", "lines.example.internal").await.expect("the other one");
    assert_eq!(other["spec"]["exportTo"], json!(["chandler", "shop"]));
    assert_ne!(other["spec"]["addresses"][0], address.as_str());
}

async fn endpoints_reach_a_sidecar_as_configured(age: Age) {
    let chandler = Chandler::start("", &[("web.yaml", WEB)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let shown = |one: &ShardEndpoint| (one.address.clone(), one.port, one.port_name.clone());
    let wanted = |address: &str, port, name: &str| (address.to_owned(), port, name.to_owned());
    let found = istiod.endpoints_where(HOST, "endpoints of every port", |all| all.len() == 4).await;
    assert_eq!(
        found.iter().map(shown).collect::<Vec<_>>(),
        [
            wanted("10.0.0.5", 8080, "http-8080"),
            wanted("10.0.0.5", 19090, "rpc"),
            wanted("10.0.0.6", 18080, "http-8080"),
            wanted("10.0.0.6", 19090, "rpc"),
        ]
    );
    // As ten to thirty; Istio knows shares only.
    assert_eq!((found[0].weight, found[2].weight), (1, 3));
    assert_eq!((&*found[0].locality, &*found[2].locality), ("eu/a/1", "eu/b"));
    assert_eq!((&*found[0].tls_mode, &*found[2].tls_mode), ("disabled", "istio"));
    assert_eq!(found[0].labels.get("version").map(String::as_str), Some("v1"));

    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    let clusters = sidecar.response("CDS").await;
    let names = clusters["names"].as_array().expect("names");
    assert!(names.contains(&json!("outbound|8080||web.example.internal")), "{names:?}");
    assert!(names.contains(&json!("outbound|9090||web.example.internal")), "{names:?}");
    let endpoints = sidecar.endpoints("outbound|8080||web.example.internal", |found| found.len() == 2).await;
    let row =
        |one: &Value| ["address", "port", "weight", "locality", "tls"].map(|column| one[column].clone());
    let rows: Vec<_> = endpoints.iter().map(row).collect();
    assert!(
        rows.contains(&[json!("10.0.0.5"), json!(8080), json!(1), json!("eu/a/1"), json!(false)]),
        "{rows:?}"
    );
    assert!(
        rows.contains(&[json!("10.0.0.6"), json!(18080), json!(3), json!("eu/b"), json!(true)]),
        "{rows:?}"
    );
    let lines = istiod.endpoints("lines.example.internal").await;
    assert_eq!(
        lines.iter().map(shown).collect::<Vec<_>>(),
        [wanted("10.0.0.7", 17000, "tcp-7000")],
        "weight 0 is left out"
    );
}

/// An application that asks its sidecar for the host gets the address that its sidecar then listens on.
async fn virtual_addresses_are_in_the_sidecars_dns_table(age: Age) {
    let chandler = Chandler::start("", &[("web.yaml", WEB)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let entry = istiod.config("ServiceEntry", "chandler", HOST).await.expect("the entry is in configz");
    let flags = ["-name-table", "-meta", "DNS_CAPTURE=true"];
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &flags);
    let table = sidecar.response("NDS").await;
    let rows = table["detail"].as_array().expect("rows of the table");
    let row = rows.iter().find(|row| row["host"] == HOST).expect("the host is in the table");
    assert_eq!(row["addresses"], entry["spec"]["addresses"]);
}

const OBJECTS: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: erp, namespace: back-office, labels: {team: erp}}
spec:
  hosts: [erp.example.internal]
  addresses: [10.9.9.9]
  ports: [{number: 8443, name: https-erp, protocol: HTTPS}]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: erp}}
---
apiVersion: networking.istio.io/v1beta1
kind: WorkloadEntry
metadata: {name: erp-1, namespace: back-office}
spec: {address: 10.20.4.12, labels: {app: erp}, locality: eu/c, weight: 7}
";

async fn whole_objects_arrive_as_written(age: Age) {
    let chandler = Chandler::start("", &[("erp.yaml", OBJECTS)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let entry = istiod.config("ServiceEntry", "back-office", "erp").await.expect("the entry");
    assert_eq!(entry["metadata"]["labels"], json!({"team": "erp"}));
    assert_eq!(entry["spec"]["addresses"], json!(["10.9.9.9"]));
    assert_eq!(entry["spec"]["workloadSelector"], json!({"labels": {"app": "erp"}}));
    let workload = istiod.config("WorkloadEntry", "back-office", "erp-1").await.expect("the workload");
    assert_eq!(workload["spec"]["weight"], 7);
    let found = istiod.endpoints_where("erp.example.internal", "the workload", |all| all.len() == 1).await;
    assert_eq!((&*found[0].address, found[0].port, found[0].weight), ("10.20.4.12", 8443, 7));
}

async fn labels_that_istio_would_refuse_are_made_legal(age: Age) {
    let long = "x".repeat(70);
    let file = format!(
        "services:\n- name: odd\n  hosts: [odd.example.internal]\n  ports: [{{number: 80, protocol: HTTP}}]\n  \
         endpoints:\n  - {{address: 10.0.0.5, labels: {{version: {long}, zone: 'b c', plain: yes-it-is}}}}\n"
    );
    let chandler = Chandler::start("", &[("odd.yaml", &file)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let entry = entry_where(&istiod, "odd.example.internal", "the entry", |_| true).await;
    let labels = entry["spec"]["endpoints"][0]["labels"].as_object().expect("labels").clone();
    assert_eq!(labels["plain"], "yes-it-is");
    assert!(
        labels.values().all(|value| value.as_str().is_some_and(|v| v.len() <= 63 && !v.contains(' '))),
        "{labels:?}"
    );
}

/// Istio refuses several hosts in one entry where a port is neither HTTP nor TLS.
async fn every_host_of_a_service_is_an_entry_of_its_own(age: Age) {
    let file = "services:\n- name: two\n  hosts: [a.example.internal, b.example.internal]\n  \
                ports: [{number: 7000, protocol: TCP}]\n  endpoints: [{address: 10.0.0.5}]\n";
    let chandler = Chandler::start("", &[("two.yaml", file)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let mut addresses = Vec::new();
    for host in ["a.example.internal", "b.example.internal"] {
        let entry = entry_where(&istiod, host, host, |_| true).await;
        assert_eq!(entry["spec"]["hosts"], json!([host]));
        addresses.push(entry["spec"]["addresses"][0].clone());
    }
    assert!(addresses[0].is_string() && addresses[0] != addresses[1], "{addresses:?}");
}

async fn mutual_tls_is_only_for_endpoints_that_can_inside_of_the_mesh(age: Age) {
    let service = |name: &str, keys: &str| {
        format!(
            "- name: {name}\n  hosts: [{name}.example.internal]\n{keys}  ports: [{{number: 8080, protocol: HTTP}}]\n  \
             endpoints: [{{address: 10.0.0.5, tlsMode: istio}}, {{address: 10.0.0.6}}]\n"
        )
    };
    let file = format!("services:\n{}{}", service("in", ""), service("out", "  location: MESH_EXTERNAL\n"));
    let chandler = Chandler::start("", &[("services.yaml", &file)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let entry = entry_where(&istiod, "in.example.internal", "the entry", |_| true).await;
    assert_eq!(entry["spec"]["location"], "MESH_INTERNAL", "an endpoint can, so the service is inside");
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    let clusters = sidecar.response("CDS").await;
    let tls = |name: &str| {
        let all = clusters["detail"].as_array().expect("clusters");
        all.iter().find(|one| one["name"] == name).map(|one| one["tls"].clone())
    };
    assert_eq!(tls("outbound|8080||in.example.internal"), Some(json!(true)));
    assert_eq!(tls("outbound|8080||out.example.internal"), Some(json!(false)));
    let endpoints = sidecar.endpoints("outbound|8080||in.example.internal", |found| found.len() == 2).await;
    let by_address =
        |address: &str| endpoints.iter().find(|one| one["address"] == address).map(|one| one["tls"].clone());
    assert_eq!((by_address("10.0.0.5"), by_address("10.0.0.6")), (Some(json!(true)), Some(json!(false))));
}

/// What we make is dated later than anything that anybody writes. (In our own namespace Istio merges both.)
async fn object_that_a_user_wrote_in_a_namespace_of_its_own_wins(age: Age) {
    let chandler = Chandler::start("", &[("web.yaml", WEB)]).await;
    let own = format!(
        "apiVersion: networking.istio.io/v1alpha3\nkind: ServiceEntry\nmetadata: {{name: own, namespace: shop}}\n\
         spec:\n  hosts: [{HOST}]\n  addresses: [10.9.9.9]\n  ports: [{{number: 8080, name: http, protocol: HTTP}}]\n  \
         resolution: STATIC\n  endpoints: [{{address: 10.9.0.1}}]\n"
    );
    let istiod = Istiod::build(age, chandler.grpc).object(&own).start().await;
    let all = istiod.configz().await;
    let entries = all.iter().filter(|one| one["spec"]["hosts"] == json!([HOST])).count();
    assert_eq!(entries, 2, "both are there");
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &["-namespace", "apps"]);
    let endpoints = sidecar.endpoints("outbound|8080||web.example.internal", |found| !found.is_empty()).await;
    let addresses: Vec<&Value> = endpoints.iter().map(|one| &one["address"]).collect();
    assert_eq!(addresses, ["10.9.0.1"]);
}
