//! The whole program, from a real Consul to what a control plane would receive.

use serde_json::json;

use crate::bench::SOON;
use crate::fake::{Fake, Say};
use crate::needs;
use crate::support::{Chandler, Consul, eventually};

fn registry(consul: &str, more: &str) -> String {
    format!("- name: prod\n  consul: {{address: '{consul}'{more}}}")
}

#[tokio::test]
async fn a_service_of_consul_is_served_under_its_dns_name() {
    needs!(Consul);
    let consul = Consul::start().await;
    let web = |port: u16| json!({"Name": "web_api", "Address": "10.0.0.5", "Port": port, "Meta": {"protocol": "http"}});
    consul.register(&web(8080)).await;
    let synced = json!({"Name": "synced", "Address": "10.0.0.6", "Port": 80, "Meta": {"external-source": "kubernetes"}});
    consul.register(&synced).await;
    let address = format!("http://{}", consul.address());
    let mut chandler = Chandler::build().registries(&registry(&address, "")).start().await;
    chandler.synced().await;
    let served = async || {
        let server = chandler.grpc.to_string();
        let arguments = ["get", "serviceentries", "-o", "json", "--server", &server];
        let (status, out, complaints) = Chandler::command(&arguments, std::path::Path::new(".")).await;
        assert!(status.success(), "{complaints}");
        out
    };
    let text = served().await;
    assert!(text.contains("\"web-api.service.consul\"") && text.contains("http-8080"), "{text}");
    assert!(!text.contains("synced"), "what came from Kubernetes does not go back: {text}");
    consul.register(&web(8081)).await;
    eventually("the new port", SOON, async || served().await.contains("8081").then_some(())).await;
}

#[tokio::test]
async fn two_names_that_become_one_host_are_told_apart_and_no_name_harms_another() {
    needs!(Consul);
    let consul = Consul::start().await;
    let long = "long".repeat(75);
    let names = ["pay_service", "pay-service", "Web", "a:b", "two words", "größe", long.as_str()];
    for name in names {
        let service = json!({"Service": name, "Port": 80, "Address": "10.0.0.1"});
        let node = json!({"Node": "far", "Address": "10.7.0.1", "Service": service});
        consul.register_in_catalog(&node).await;
    }
    let address = format!("http://{}", consul.address());
    let mut chandler = Chandler::build().registries(&registry(&address, "")).start().await;
    chandler.synced().await;
    let hosts = eventually("every name", SOON, async || {
        let services = chandler.api("/api/v1/services").await;
        let mut all = Vec::new();
        for row in services.as_array()?.iter().filter(|row| row["name"] != "consul") {
            all.extend(row["hosts"].as_array()?.iter().map(|host| (row["name"].clone(), host.clone())));
        }
        (all.len() == names.len()).then_some(all)
    })
    .await;
    let of = |name: &str| hosts.iter().find(|(n, _)| n == name).map(|(_, host)| host).unwrap();
    for (name, want) in [
        ("pay_service", "pay-service.service.consul"),
        ("pay-service", "pay-service.service.consul"),
        ("Web", "web.service.consul"),
        ("a:b", "a-b.service.consul"),
        ("two words", "two-words.service.consul"),
        ("größe", "gr-e.service.consul"),
    ] {
        assert_eq!(of(name)["host"], want, "{name}");
    }
    let cut = of(&long)["host"].as_str().unwrap();
    assert!(cut.starts_with("longlong") && cut.len() <= 63 + ".service.consul".len(), "{cut}");
    let lost: Vec<_> = hosts.iter().filter(|(_, host)| host["lostTo"].is_string()).map(|(n, _)| n).collect();
    assert_eq!(lost, ["pay_service"], "the first in order owns it: - before _");
    assert!(hosts.iter().all(|(_, host)| host["refused"].is_null()), "{hosts:?}");
}

#[tokio::test]
async fn check_logs_in_and_reads_once() {
    needs!(Consul);
    let consul = Consul::start().await;
    consul.register(&json!({"Name": "web", "Port": 80})).await;
    let dir = tempfile::tempdir().unwrap();
    let check = async |address: &str, timeout: &str| {
        let config = format!("registries:\n{}\n", registry(address, ""));
        std::fs::write(dir.path().join("c.yaml"), config).unwrap();
        Chandler::command(&["check", "--config", "c.yaml", "--connect", "--timeout", timeout], dir.path())
            .await
    };
    let (status, out, complaints) = check(&format!("http://{}", consul.address()), "120s").await;
    assert!(status.success() && out.contains("prod"), "{out}{complaints}");
    let nobody = format!("http://{}", crate::support::free_address());
    let (status, out, complaints) = check(&nobody, "10s").await;
    assert!(
        !status.success() && format!("{out}{complaints}").contains("check the address"),
        "{out}{complaints}"
    );
}

#[tokio::test]
async fn proxies_of_the_environment_are_respected() {
    let proxy = Fake::saying(Say::status("502 Bad Gateway", "no such host")).await;
    let chandler = Chandler::build()
        .registries(&registry("http://consul.example:8500", ""))
        .environment("HTTP_PROXY", &format!("http://{}", proxy.address))
        .environment("http_proxy", &format!("http://{}", proxy.address))
        .environment("NO_PROXY", "")
        .environment("no_proxy", "")
        .start_unready();
    let asked = async || proxy.requests().into_iter().next();
    let request = eventually("a request at the proxy", SOON, asked).await;
    assert!(request.path.starts_with("http://consul.example:8500/v1/"), "{request:?}");
    drop(chandler);
}
