//! The whole program, from a real Consul to what a control plane would receive.

use serde_json::json;

use crate::fake::{Fake, Say};
use crate::needs;
use crate::support::{Chandler, Consul, PATIENCE, eventually};

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
    eventually("the new port", PATIENCE, async || served().await.contains("8081").then_some(())).await;
}

#[tokio::test]
async fn check_logs_in_and_reads_once() {
    needs!(Consul);
    let consul = Consul::start().await;
    consul.register(&json!({"Name": "web", "Port": 80})).await;
    let dir = tempfile::tempdir().unwrap();
    let check = async |address: &str| {
        let config = format!("registries:\n{}\n", registry(address, ", limits: {connect: 1s, read: 1s}"));
        std::fs::write(dir.path().join("c.yaml"), config).unwrap();
        Chandler::command(&["check", "--config", "c.yaml", "--connect", "--timeout", "5s"], dir.path()).await
    };
    let (status, out, complaints) = check(&format!("http://{}", consul.address())).await;
    assert!(status.success() && out.contains("prod"), "{out}{complaints}");
    let nobody = format!("http://{}", crate::support::free_address());
    let (status, out, complaints) = check(&nobody).await;
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
    let request = eventually("a request at the proxy", PATIENCE, asked).await;
    assert!(request.path.starts_with("http://consul.example:8500/v1/"), "{request:?}");
    drop(chandler);
}
