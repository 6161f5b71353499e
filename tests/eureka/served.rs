//! From a real server to what a mesh is served, through the whole program.

use serde_json::{Value, json};

use crate::bench::SOON;
use crate::fake::{Fake, Say};
use crate::faults::EMPTY;
use crate::support::{Ask, Chandler, Eureka, eventually, instance};

fn registry(eureka: &Eureka, more: &str) -> String {
    format!(
        "- name: spring\n  eureka: {{servers: ['http://{}/eureka'], interval: 200ms, settle: 0s{more}}}",
        eureka.address()
    )
}

/// Every host that is claimed, with the registry's own name of its service, and what became of it.
async fn hosts(chandler: &Chandler) -> Vec<(String, String, Value)> {
    let services = chandler.api("/api/v1/services").await;
    let mut all = Vec::new();
    for row in services.as_array().expect("a list") {
        for host in row["hosts"].as_array().into_iter().flatten() {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            all.push((text(&host["host"]), text(&row["name"]), host.clone()));
        }
    }
    all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    all
}

#[tokio::test]
async fn names_that_are_no_dns_names_become_hosts_and_two_that_become_one_are_told_apart() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    let long = "x".repeat(300);
    let names = ["Pay_Service", "pay-service", "a:b", "two words", "größe", long.as_str(), "plain"];
    for (n, name) in names.iter().enumerate() {
        let mut one = instance(name, &format!("10.0.0.{n}"), 8080, 90);
        one["instance"]["app"] = json!(name);
        let path = format!("/eureka/apps/{}", chandler::registry::http::segment(name));
        let answer = eureka.ask(Ask::new("POST", path).json(&one)).await;
        assert_eq!(answer.status, 204, "{name}: {}", answer.body);
    }
    let mut chandler = Chandler::build().registries(&registry(&eureka, "")).start().await;
    chandler.synced().await;
    let hosts = eventually("every name", SOON, async || {
        Some(hosts(&chandler).await).filter(|h| h.len() == names.len())
    })
    .await;
    let host = |of: &str| hosts.iter().find(|(_, name, _)| name == of).map(|(host, ..)| host.as_str());
    assert_eq!(host("PLAIN"), Some("plain.eureka"));
    assert_eq!(host("A:B"), Some("a-b.eureka"));
    assert_eq!(host("TWO WORDS"), Some("two-words.eureka"));
    // As Java writes it in upper case.
    assert_eq!(host("GRÖSSE"), Some("gr-sse.eureka"));
    assert_eq!(
        (host("PAY_SERVICE"), host("PAY-SERVICE")),
        (Some("pay-service.eureka"), Some("pay-service.eureka"))
    );
    let lost: Vec<&str> =
        hosts.iter().filter(|(_, _, h)| h["lostTo"].is_string()).map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(lost, ["PAY_SERVICE"], "the first in order owns it: - before _");
    let cut = hosts.iter().find(|(_, name, _)| name.len() == 300).expect("the long one");
    assert!(cut.0.len() <= 63 + ".eureka".len() && cut.0.starts_with("xxx"), "{}", cut.0);
    for (host, name, row) in &hosts {
        assert!(row["refused"].is_null(), "{name} as {host}: {row}");
    }
}

#[tokio::test]
async fn check_logs_in_reads_once_and_says_what_there_is() {
    needs!(Eureka);
    let eureka = Eureka::build().credentials("reader", "s3cret").start().await;
    eureka.register(&instance("orders", "10.0.0.1", 8080, 90)).await;
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("password"), "s3cret\n").expect("a file");
    let file = |credentials: &str| {
        let text = format!("registries:\n{}\n", registry(&eureka, credentials));
        std::fs::write(dir.path().join("chandler.yaml"), text).expect("a file");
    };
    let check = ["check", "--config", "chandler.yaml", "--connect"];
    file(", username: reader, passwordFile: password");
    let (status, out, complaints) = Chandler::command(&check, dir.path()).await;
    assert!(status.success() && out.contains("spring"), "{out}\n{complaints}");
    let (status, out, complaints) =
        Chandler::command(&["render", "--config", "chandler.yaml"], dir.path()).await;
    assert!(status.success(), "{complaints}");
    for words in ["orders.eureka", "http-8080", "10.0.0.1", "chandler/registry: spring"] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[tokio::test]
async fn check_waits_for_a_server_that_is_fresh_and_empty_and_says_so() {
    let fresh = Fake::saying(Say::json(EMPTY)).await;
    let dir = tempfile::tempdir().expect("a folder");
    let text = format!(
        "registries:\n- name: spring\n  eureka: {{servers: ['{}'], interval: 200ms, settle: 4s}}\n",
        fresh.url()
    );
    std::fs::write(dir.path().join("chandler.yaml"), text).expect("a file");
    let check = ["check", "--config", "chandler.yaml", "--connect"];
    let (status, out, complaints) = Chandler::command(&check, dir.path()).await;
    assert!(status.success() && out.contains("spring"), "{out}\n{complaints}");
    for words in ["Waiting until these are read", "it knows nothing, as after a restart"] {
        assert!(complaints.contains(words), "{words}: {complaints}");
    }
}

#[tokio::test]
async fn what_is_registered_later_is_served_and_what_goes_down_is_not() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    eureka.register(&instance("orders", "10.0.0.1", 8080, 90)).await;
    let mut chandler = Chandler::build().registries(&registry(&eureka, "")).start().await;
    chandler.synced().await;
    let endpoints = async |want: u64| {
        eventually(&format!("{want} endpoints"), SOON, async || {
            let registries = chandler.api("/api/v1/registries").await;
            (registries[0]["endpoints"] == want).then_some(())
        })
        .await;
    };
    endpoints(1).await;
    eureka.register(&instance("orders", "10.0.0.2", 8080, 90)).await;
    endpoints(2).await;
    eureka.override_status("ORDERS", "10.0.0.1:orders:8080", "OUT_OF_SERVICE").await;
    endpoints(1).await;
}
