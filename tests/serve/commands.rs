//! `get`, `status`, `check` and `render`.

use serde_json::{Value, json};

use crate::support::{Chandler, Place, Process, Sotw};
use crate::{SERVICES, WEB, printed, web};

/// The documents of a YAML text.
fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("not YAML ({error}):\n{text}"))
}

#[tokio::test]
async fn get_prints_every_form_over_both_wires() {
    let chandler = web().await;
    let server = chandler.grpc.to_string();
    for wire in ["xds", "delta"] {
        let get = async |form| printed(&["get", "se", "--server", &server, "--wire", wire, "-o", form]).await;
        let table = get("table").await;
        assert!(table.starts_with("NAMESPACE") && table.contains("web.example.internal"), "{table}");
        let wide = get("wide").await;
        assert!(wide.contains("VERSION") && wide.contains("chandler"), "{wide}");
        assert_eq!(get("name").await, "serviceentry.networking.istio.io/web.example.internal\n");
        let yaml = documents(&get("yaml").await);
        let list: Value = serde_json::from_str(&get("json").await).expect("JSON");
        assert_eq!((&list["kind"], &list["items"]), (&json!("List"), &json!(yaml)));
        assert_eq!(yaml[0]["metadata"]["name"], "web.example.internal");
        assert_eq!(yaml[0]["spec"]["endpoints"].as_array().map(Vec::len), Some(2));
    }
    let one = printed(&["get", "se", "web.example.internal", "--server", &server, "-o", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&one).expect("JSON")["kind"], "ServiceEntry");
}

#[tokio::test]
async fn get_says_what_is_wrong_with_its_exit_code() {
    let chandler = web().await;
    let server = chandler.grpc.to_string();
    let dir = chandler.services_dir();
    for (arguments, code, words) in [
        (&["get", "se", "missing", "--server", &server][..], 1, "\"missing\" not found"),
        (&["get", "se", "--server", "127.0.0.1:1"], 1, "127.0.0.1:1"),
        (&["get", "bananas"], 2, "serviceentries"),
    ] {
        let (status, output, complaints) = Chandler::command(arguments, &dir).await;
        assert_eq!(status.code(), Some(code), "{arguments:?}: {complaints}");
        assert!(complaints.contains(words), "{arguments:?}: {complaints}");
        assert_eq!(output, "");
    }
}

#[tokio::test]
async fn get_watches_what_changes() {
    for wire in ["xds", "delta"] {
        let chandler = web().await;
        let mut command = Place::Host.command(Chandler::program());
        command.args(["get", "se", "--watch", "--wire", wire, "--server", &chandler.grpc.to_string()]);
        let mut get = Process::start("chandler-get", command);
        get.wait_for_log("ADDED").await;
        chandler.write_services("web.yaml", &WEB.replace("10.0.0.6", "10.0.0.7"));
        get.wait_for_log("MODIFIED").await;
        chandler.write_services("web.yaml", "services: []");
        get.wait_for_log("DELETED").await;
    }
}

#[tokio::test]
async fn status_shows_registries_and_clients() {
    needs!(Probe);
    let chandler = web().await;
    let admin = chandler.admin.to_string();
    let mut client =
        Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES, "-node-id", "its-own-name"]);
    client.response(SERVICES).await;
    crate::support::eventually("its acknowledgement", crate::support::PATIENCE, async || {
        printed(&["status", "--admin", &admin]).await.contains("SYNCED").then_some(())
    })
    .await;
    let table = printed(&["status", "--admin", &admin]).await;
    assert!(table.contains("onboard") && table.contains("its-own-name"), "{table}");
    let rows: Value =
        serde_json::from_str(&printed(&["status", "--admin", &admin, "-o", "json"]).await).expect("JSON");
    assert_eq!(rows["registries"][0]["endpoints"], 2);
    assert_eq!(rows["clients"][0]["node"], "its-own-name");
}

#[tokio::test]
async fn status_of_a_server_whose_client_objects_ends_with_1() {
    needs!(Probe);
    let chandler = web().await;
    let mut client = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES, "-nack", SERVICES]);
    client.response(SERVICES).await;
    let admin = chandler.admin.to_string();
    crate::support::eventually("its refusal", crate::support::PATIENCE, async || {
        let (status, output, _) =
            Chandler::command(&["status", "--admin", &admin], &chandler.services_dir()).await;
        (status.code() == Some(1) && output.contains("refused because the test asked for it")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn check_accepts_what_serve_accepts_and_connects() {
    let chandler = web().await;
    let config = chandler.config_file().display().to_string();
    assert!(printed(&["check", "--config", &config]).await.contains("right"));
    let said = printed(&["check", "--config", &config, "--connect"]).await;
    assert!(said.contains("onboard"), "{said}");

    chandler.write_services("bad.yaml", &WEB.replace("web", "bad").replace("8080", "0"));
    let (status, said, _) =
        Chandler::command(&["check", "--config", &config, "--connect"], &chandler.services_dir()).await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("bad.yaml"), "{said}");
}

#[tokio::test]
async fn wrong_configuration_is_shown_whole_with_places_and_ends_with_2() {
    let dir = tempfile::tempdir().expect("a folder");
    let wrong = "registries:\n- name: a\n  files: {path: x}\n  mpa: {}\n- name: a\n  files: {pth: x}\n";
    std::fs::write(dir.path().join("wrong.yaml"), wrong).expect("a file");
    for command in ["check", "serve", "render"] {
        let (status, output, said) =
            Chandler::command(&[command, "--config", "wrong.yaml"], dir.path()).await;
        assert_eq!((status.code(), output.as_str()), (Some(2), ""), "{command}: {said}");
        for words in ["wrong.yaml:4:3", "did you mean `map`", "wrong.yaml:5:9", "wrong.yaml:6:11"] {
            assert!(said.contains(words), "{command}: {words} is missing in\n{said}");
        }
    }
}

#[tokio::test]
async fn rendered_documents_are_objects_and_the_same_as_those_served() {
    let chandler = web().await;
    let config = chandler.config_file().display().to_string();
    let rendered = documents(&printed(&["render", "--config", &config]).await);
    for one in &rendered {
        assert!(one["apiVersion"].is_string() && one["kind"].is_string(), "{one}");
        assert!(one["metadata"]["name"].is_string(), "{one}");
    }
    assert_eq!(rendered[0]["kind"], "Namespace");
    let (served, entries) = (chandler.grpc.to_string(), &rendered[1..]);
    assert!(entries.iter().all(|one| one["spec"].is_object()));
    let got = printed(&["get", "se", "--server", &served, "-o", "yaml"]).await;
    assert_eq!(documents(&got), entries);
    assert_eq!(
        printed(&["render", "--config", &config]).await,
        printed(&["render", "--config", &config]).await
    );
}

#[tokio::test]
async fn completions_and_the_manual_are_in_the_binary() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]).await;
        assert!(["serve", "render", "status"].iter().all(|command| script.contains(command)), "{shell}");
    }
    assert!(printed(&["man"]).await.contains(".TH"));
}
