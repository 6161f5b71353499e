//! A configuration that changes while the program runs.

use serde_json::{Value, json};

use crate::support::{Chandler, PATIENCE, Place, Sotw, eventually};
use crate::{SERVICES, WEB, page_says, page_stops_saying, web};

/// Rewrites the configuration file, as an editor does.
fn rewrite(chandler: &Chandler, change: impl Fn(&str) -> String) {
    let file = chandler.config_file();
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let changed = change(&text);
    assert_ne!(changed, text);
    let beside = file.with_extension("new");
    std::fs::write(&beside, changed).expect("a file");
    std::fs::rename(&beside, &file).expect("a rename");
}

/// The names in a response, sorted.
fn names(response: &Value) -> Vec<&str> {
    let all = response["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut names: Vec<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
    names.sort_unstable();
    names
}

async fn client(chandler: &Chandler) -> Sotw {
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    assert_eq!(names(&client.response(SERVICES).await), ["chandler/web.example.internal"]);
    client
}

#[tokio::test]
async fn new_registry_joins_and_a_removed_one_goes_on_the_same_stream() {
    needs!(Probe);
    let mut chandler = web().await;
    let mut client = client(&chandler).await;
    let more = chandler.config_file().with_file_name("more.yaml");
    std::fs::write(&more, WEB.replace("web", "more")).expect("a file");
    let addition = "- name: more\n  files: {path: more.yaml}\n";
    rewrite(&chandler, |text| format!("{text}{addition}"));
    chandler.process().signal("HUP").await;
    let both = ["chandler/more.example.internal", "chandler/web.example.internal"];
    client.next_where("both services", |line| names(line) == both).await;
    page_says(&chandler, "/syncz", "more: read").await;

    rewrite(&chandler, |text| text.replace(addition, ""));
    chandler.process().signal("HUP").await;
    client.next_where("one service", |line| names(line) == ["chandler/web.example.internal"]).await;
    page_stops_saying(&chandler, "/syncz", "more").await;
    page_stops_saying(&chandler, "/metrics", "registry=\"more\"").await;
}

#[tokio::test]
async fn changed_mapping_takes_effect_without_a_gap() {
    needs!(Probe);
    let chandler = web().await;
    let mut client = client(&chandler).await;
    // Nobody sends a signal: the file is watched.
    rewrite(&chandler, |text| {
        text.replace("files: {path: services}", "files: {path: services}\n  map: {namespace: elsewhere}")
    });
    let response = client.response(SERVICES).await;
    assert_eq!(names(&response), ["elsewhere/web.example.internal"], "there was never nothing");
    eventually("the new configuration in the API", PATIENCE, async || {
        let config = chandler.api("/api/v1/config").await;
        (config["registries"][0]["map"]["namespace"] == "elsewhere").then_some(())
    })
    .await;
}

#[tokio::test]
async fn wrong_configuration_keeps_the_old_one_and_is_seen() {
    needs!(Probe);
    let mut chandler = web().await;
    let mut client = client(&chandler).await;
    page_says(&chandler, "/metrics", "chandler_config_reload_failed 0").await;
    rewrite(&chandler, |text| text.replace("- name: onboard", "- nmae: onboard"));
    chandler.process().signal("HUP").await;
    page_says(&chandler, "/metrics", "chandler_config_reload_failed 1").await;
    // The metric may be read before the log's line is written.
    for words in ["chandler.yaml:5:3", "did you mean `name`"] {
        chandler.process().wait_for_log(words).await;
    }
    // It lives on, by the old one.
    chandler.write_services("web.yaml", &WEB.replace("10.0.0.6", "10.0.0.7"));
    let response = client.response(SERVICES).await;
    assert_eq!(response["resources"][0]["body"]["endpoints"][1], json!({"address": "10.0.0.7"}));

    rewrite(&chandler, |text| text.replace("- nmae: onboard", "- name: onboard"));
    chandler.process().signal("HUP").await;
    page_says(&chandler, "/metrics", "chandler_config_reload_failed 0").await;
}

#[tokio::test]
async fn other_address_is_refused_with_words_and_nothing_of_the_change_holds() {
    let mut chandler = web().await;
    let (old, new) = (chandler.admin.to_string(), "127.0.0.1:1".to_owned());
    rewrite(&chandler, |text| {
        text.replace(&old, &new).replace("services}", "services}\n  map: {namespace: other}")
    });
    chandler.process().signal("HUP").await;
    chandler.process().wait_for_log("cannot change while chandler runs").await;
    page_says(&chandler, "/metrics", "chandler_config_reload_failed 1").await;
    let config = chandler.api("/api/v1/config").await;
    assert_eq!(config["registries"][0]["map"]["namespace"], "chandler", "{config}");
}

#[tokio::test]
async fn broken_services_file_keeps_its_last_content() {
    let mut chandler = web().await;
    chandler.write_services("web.yaml", "services: [{name: web");
    chandler.process().wait_for_log("web.yaml:1:").await;
    let resources = chandler.api("/api/v1/resources?collection=se").await;
    assert_eq!(resources.as_array().map(Vec::len), Some(1));
    assert_eq!(chandler.telemetry("/syncz").await.status, 200);
    chandler.write_services("web.yaml", "services: []\n");
    eventually("the end of the service", PATIENCE, async || {
        let left = chandler.api("/api/v1/resources?collection=se").await;
        left.as_array().is_some_and(Vec::is_empty).then_some(())
    })
    .await;
}
