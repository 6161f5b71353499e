//! The whole program: a configuration, a ZooKeeper, and what clients are told.

use crate::support::{Chandler, ZooKeeper, eventually};
use crate::world::{EPHEMERAL, PERSISTENT, SOON, Writer, provider};

const SPRING: &str = r#"{"name":"stock","id":"1","address":"10.9.9.9","port":32773,"sslPort":null,
    "payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","metadata":{"instance_status":"UP"}}}"#;

fn config(server: &ZooKeeper) -> String {
    format!("- name: zk\n  zookeeper:\n    servers: ['{}']\n    sessionTimeout: 4s\n", server.address())
}

async fn hosts(chandler: &Chandler) -> Vec<String> {
    let page = chandler.api("/api/v1/resources").await;
    let rows = page.as_array().cloned().unwrap_or_default();
    rows.iter().filter_map(|r| Some(r.get("name")?.as_str()?.to_owned())).collect()
}

async fn eventually_hosts(chandler: &Chandler, want: &[&str]) {
    let what = format!("{want:?}");
    let check = async || {
        let found = hosts(chandler).await;
        want.iter()
            .all(|w| found.iter().any(|f| f.ends_with(w)))
            .then_some(())
            .filter(|()| found.len() == want.len())
    };
    eventually(&what, SOON, check).await;
}

#[tokio::test]
async fn a_configuration_of_three_lines_serves_dubbo_and_spring() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("demo.Greet", "10.0.0.1:20880", "version=1.0"), "", &EPHEMERAL).await;
    writer.put("/services/stock", "", &PERSISTENT).await;
    writer.put("/services/stock/1", SPRING, &EPHEMERAL).await;
    let mut chandler = Chandler::build().registries(&config(&server)).start().await;
    chandler.synced().await;
    eventually_hosts(&chandler, &["app.dubbo", "stock.zookeeper"]).await;
    eventually("both hosts", SOON, async || {
        let services = chandler.api("/api/v1/services").await.to_string();
        ["app.dubbo", "stock.zookeeper"].iter().all(|host| services.contains(host)).then_some(())
    })
    .await;

    let arguments =
        ["check", "--connect", "--config", chandler.config_file().to_str().unwrap()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (status, output, complaints) = Chandler::command(&arguments, std::path::Path::new(".")).await;
    assert!(status.success(), "{output}\n{complaints}");
    let render = ["render", "--config", chandler.config_file().to_str().unwrap()].map(str::to_owned);
    let render: Vec<&str> = render.iter().map(String::as_str).collect();
    let (status, output, complaints) = Chandler::command(&render, std::path::Path::new(".")).await;
    assert!(status.success(), "{complaints}");
    for text in ["tcp-dubbo-20880", "protocol: TCP", "http-32773", "protocol: HTTP", "10.9.9.9"] {
        assert!(output.contains(text), "{text} in {output}");
    }
}

#[tokio::test]
async fn by_interface_every_group_and_version_has_a_host_of_its_own() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let query = "group=gray&version=1.0.0&methods=greet&dubbo.tag=blue&weight=50";
    writer.put(&provider("demo.Greet", "10.0.0.1:20880", query), "", &EPHEMERAL).await;
    writer.put(&provider("demo.Greet", "10.0.0.2:20880", ""), "", &EPHEMERAL).await;
    writer.put("/dubbo/demo.Greet/routers/rule", "", &PERSISTENT).await;
    let config = format!("{}    layouts: [{{dubbo: {{by: both}}}}]\n", config(&server));
    let mut chandler = Chandler::build().registries(&config).start().await;
    chandler.synced().await;
    eventually_hosts(&chandler, &["app.dubbo", "/demo.greet.dubbo", "demo.greet.gray.1-0-0.dubbo"]).await;
    let services = chandler.api("/api/v1/services").await.to_string();
    assert!(!services.contains("refused"), "{services}");
    let arguments = ["render", "--config", chandler.config_file().to_str().unwrap()].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (_, output, complaints) = Chandler::command(&arguments, std::path::Path::new(".")).await;
    for text in
        ["chandler/dubbo-interface: demo.Greet", "dubbo.tag: blue", "rule (routing rules are not applied)"]
    {
        assert!(output.contains(text), "{text} in {output}{complaints}");
    }
}

#[tokio::test]
async fn a_program_that_was_paused_past_its_session_serves_what_is_there_now() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", "application=one"), "", &EPHEMERAL).await;
    let of = |application: &str| provider("a.B", "10.0.0.2:1", &format!("application={application}"));
    writer.put(&of("two"), "", &EPHEMERAL).await;
    // What went while nobody looked is silent absence: it goes once further reads agree, and as soon as that is allowed.
    let guard = "  guard: {confirmReads: 1, removalHold: 1s, emptyServiceTTL: 1s}\n";
    let registries = format!("{}{guard}", config(&server));
    let mut chandler = Chandler::build().registries(&registries).start().await;
    chandler.synced().await;
    eventually_hosts(&chandler, &["one.dubbo", "two.dubbo"]).await;
    server.sessions(2).await;
    chandler.process().signal("STOP").await;
    server.sessions(1).await;
    writer.delete(&of("two")).await;
    writer.put(&of("three"), "", &EPHEMERAL).await;
    chandler.process().signal("CONT").await;
    eventually_hosts(&chandler, &["one.dubbo", "three.dubbo"]).await;
    chandler.process().wait_for_log("the ZooKeeper session expired").await;
    server.sessions(2).await;
}
