//! How a call finds the service, row by row.

use std::collections::BTreeSet;

use crate::mesh::{BYPASS, FIRST, Mesh, SECOND, Wanted};
use crate::support::Age;

const HOST: &str = "web.example.internal";

both_ages!(
    host_by_its_virtual_address_is_taken,
    host_resolved_to_an_instance_is_taken_by_its_name_where_http_has_no_address,
    host_resolved_to_an_instance_is_bypassed_where_tcp_or_unset_has_a_virtual_address,
    host_resolved_to_an_instance_fails_under_registry_only,
    instance_chosen_by_the_client_is_bypassed_with_a_virtual_address_or_none,
    every_instance_is_taken_with_addresses_of_endpoints_and_no_protocol,
    every_instance_is_taken_with_addresses_of_endpoints_and_tcp,
    http_with_addresses_of_endpoints_is_published_unset_and_every_instance_taken,
    instances_on_different_ports_are_reached_on_their_own,
);

/// `web` with two instances: what follows its name, and its ports.
fn web(keys: &str, ports: &str, instance_port: u16) -> String {
    format!(
        "services:\n- name: web\n  hosts: [{HOST}]\n  {keys}\n  ports: [{ports}]\n  endpoints:\n  \
         - {{address: {FIRST}, port: {instance_port}}}\n  - {{address: {SECOND}, port: {instance_port}}}\n"
    )
}

/// Calls until both instances have answered: Envoy chooses among them.
macro_rules! both_answer {
    ($call:expr) => {{
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            seen.insert($call.await);
            if seen.len() == 2 {
                break;
            }
        }
        assert_eq!(seen, BTreeSet::from(["first".to_owned(), "second".to_owned()]));
    }};
}

async fn host_by_its_virtual_address_is_taken(age: Age) {
    let ports = "{number: 8080, protocol: HTTP}, {number: 7000, protocol: TCP}, {number: 9000}";
    let services = format!(
        "services:\n- name: web\n  hosts: [{HOST}]\n  ports: [{ports}]\n  \
         endpoints: [{{address: {FIRST}}}, {{address: {SECOND}}}]\n"
    );
    let mut mesh = Mesh::start(age, &services).await;
    for (name, ip) in [("first", FIRST), ("second", SECOND)] {
        mesh.http(name, &format!("{ip}:8080")).await;
        mesh.tcp(name, &format!("{ip}:7000")).await;
        mesh.http(name, &format!("{ip}:9000")).await;
    }
    let at = mesh.virtual_address(HOST).await;
    mesh.envoy.listener(&format!("{at}_7000")).await;
    for port in [8080, 7000, 9000] {
        let hosts = [format!("{FIRST}:{port}"), format!("{SECOND}:{port}")];
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        mesh.envoy.hosts_are(&format!("outbound|{port}||{HOST}"), &hosts).await;
    }
    for port in [8080, 9000] {
        let (url, cluster) = (format!("http://{HOST}:{port}/"), format!("outbound|{port}||{HOST}"));
        both_answer!(mesh.http_taken(&url, &format!("{at}:{port}"), &cluster));
    }
    both_answer!(mesh.tcp_taken(&format!("{at}:7000"), &format!("outbound|7000||{HOST}")));
}

async fn host_resolved_to_an_instance_is_taken_by_its_name_where_http_has_no_address(age: Age) {
    let services = web("addresses: none", "{number: 8080, protocol: HTTP}", 8080);
    let mut mesh = Mesh::start(age, &services).await;
    mesh.http("first", &format!("{FIRST}:8080")).await;
    mesh.http("second", &format!("{SECOND}:8080")).await;
    mesh.envoy.listener("0.0.0.0_8080").await;
    let cluster = format!("outbound|8080||{HOST}");
    mesh.envoy.hosts_are(&cluster, &[&format!("{FIRST}:8080"), &format!("{SECOND}:8080")]).await;
    // Whatever instance the registry's DNS had named: the Host header decides, and Envoy chooses the instance.
    both_answer!(mesh.http_taken(&format!("http://{HOST}:8080/"), &format!("{FIRST}:8080"), &cluster));
}

async fn host_resolved_to_an_instance_is_bypassed_where_tcp_or_unset_has_a_virtual_address(age: Age) {
    let services =
        web("protocol: auto", "{number: 7000, protocol: TCP}, {number: 9000}", 0).replace(", port: 0", "");
    let mut mesh = Mesh::start(age, &services).await;
    mesh.tcp("first", &format!("{FIRST}:7000")).await;
    mesh.http("first", &format!("{FIRST}:9000")).await;
    let at = mesh.virtual_address(HOST).await;
    mesh.envoy.listener(&format!("{at}_7000")).await;
    mesh.envoy.listener(&format!("{at}_9000")).await;
    assert_eq!(mesh.tcp_taken(&format!("{FIRST}:7000"), BYPASS).await, "first");
    assert_eq!(
        mesh.http_taken(&format!("http://{HOST}:9000/"), &format!("{FIRST}:9000"), BYPASS).await,
        "first"
    );
}

async fn host_resolved_to_an_instance_fails_under_registry_only(age: Age) {
    let services = web("protocol: auto", "{number: 7000, protocol: TCP}", 7000);
    let mut mesh = Mesh::start_with(age, &services, Wanted { registry_only: true }).await;
    mesh.tcp("first", &format!("{FIRST}:7000")).await;
    mesh.tcp("second", &format!("{SECOND}:7000")).await;
    let at = mesh.virtual_address(HOST).await;
    let cluster = format!("outbound|7000||{HOST}");
    mesh.envoy.listener(&format!("{at}_7000")).await;
    mesh.envoy.hosts_are(&cluster, &[&format!("{FIRST}:7000"), &format!("{SECOND}:7000")]).await;
    let (answer, took) = mesh.call_tcp(&format!("{FIRST}:7000")).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(!took.contains(&cluster) && !took.contains(&BYPASS.to_owned()), "{took:?}");
    mesh.tcp_taken(&format!("{at}:7000"), &cluster).await;
}

async fn instance_chosen_by_the_client_is_bypassed_with_a_virtual_address_or_none(age: Age) {
    let services = format!(
        "{}{}",
        web("addresses: virtual", "{number: 8080, protocol: HTTP}, {number: 7000, protocol: TCP}", 0)
            .replace(", port: 0", ""),
        web("addresses: none", "{number: 8081, protocol: HTTP}", 0)
            .replace(", port: 0", "")
            .replace("services:\n", "")
            .replace("web", "bare")
    );
    let mut mesh = Mesh::start(age, &services).await;
    mesh.http("first", &format!("{FIRST}:8080")).await;
    mesh.http("first", &format!("{FIRST}:8081")).await;
    mesh.tcp("first", &format!("{FIRST}:7000")).await;
    let at = mesh.virtual_address(HOST).await;
    mesh.envoy.listener(&format!("{at}_7000")).await;
    mesh.envoy.listener("0.0.0.0_8081").await;
    for port in [8080, 8081] {
        let instance = format!("{FIRST}:{port}");
        assert_eq!(mesh.http_taken(&format!("http://{instance}/"), &instance, BYPASS).await, "first");
    }
    assert_eq!(mesh.tcp_taken(&format!("{FIRST}:7000"), BYPASS).await, "first");
}

/// Calls both instances by their addresses; whichever is called, the service takes the call and chooses.
async fn every_instance_is_taken(age: Age, ports: &str, http: bool) -> Mesh {
    let mut mesh = Mesh::start(age, &web("addresses: endpoints", ports, 8080)).await;
    let (first, second) = (format!("{FIRST}:8080"), format!("{SECOND}:8080"));
    for (name, at) in [("first", &first), ("second", &second)] {
        if http {
            mesh.http(name, at).await;
        } else {
            mesh.tcp(name, at).await;
        }
    }
    let cluster = format!("outbound|8080||{HOST}");
    mesh.envoy.hosts_are(&cluster, &[&first, &second]).await;
    for ip in [FIRST, SECOND] {
        mesh.envoy.listener(&format!("{ip}_8080")).await;
    }
    for at in [&first, &second] {
        if http {
            both_answer!(mesh.http_taken(&format!("http://{at}/"), at, &cluster));
        } else {
            both_answer!(mesh.tcp_taken(at, &cluster));
        }
    }
    mesh
}

async fn every_instance_is_taken_with_addresses_of_endpoints_and_no_protocol(age: Age) {
    every_instance_is_taken(age, "{number: 8080}", true).await;
}

async fn every_instance_is_taken_with_addresses_of_endpoints_and_tcp(age: Age) {
    every_instance_is_taken(age, "{number: 8080, protocol: TCP}", false).await;
}

/// With HTTP declared Envoy would take calls to one of the addresses only, so Chandler does not declare it.
async fn http_with_addresses_of_endpoints_is_published_unset_and_every_instance_taken(age: Age) {
    let mesh = every_instance_is_taken(age, "{number: 8080, protocol: HTTP}", true).await;
    let entry = mesh.istiod.config("ServiceEntry", "chandler", HOST).await.expect("the entry");
    let port = &entry["spec"]["ports"][0];
    assert!(port.get("protocol").is_none(), "{port}");
}

async fn instances_on_different_ports_are_reached_on_their_own(age: Age) {
    let services = format!(
        "services:\n- name: web\n  hosts: [{HOST}]\n  ports: [{{number: 80, protocol: HTTP}}]\n  endpoints:\n  \
         - {{address: {FIRST}, ports: {{http-80: 18080}}}}\n  - {{address: {SECOND}, ports: {{http-80: 28080}}}}\n"
    );
    let mut mesh = Mesh::start(age, &services).await;
    mesh.http("first", &format!("{FIRST}:18080")).await;
    mesh.http("second", &format!("{SECOND}:28080")).await;
    let at = mesh.virtual_address(HOST).await;
    let cluster = format!("outbound|80||{HOST}");
    mesh.envoy.listener("0.0.0.0_80").await;
    mesh.envoy.hosts_are(&cluster, &[&format!("{FIRST}:18080"), &format!("{SECOND}:28080")]).await;
    both_answer!(mesh.http_taken(&format!("http://{HOST}/"), &format!("{at}:80"), &cluster));
}
