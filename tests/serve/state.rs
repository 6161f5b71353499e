//! The last known good state: what a process that is killed leaves to the next one.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Ask, Chandler, ChandlerBuilder, PATIENCE, Place, Process, eventually, free_address};
use crate::{WEB, page_says, page_stops_saying};

/// Ports that follow from instances, a virtual address, an object as its user wrote it.
const MORE: &str = "
services:
- name: derived
  hosts: [derived.example.internal]
  endpoints: [{address: 10.0.1.1, ports: {http: 8080}}, {address: 10.0.1.2, ports: {http: 9090}, labels: {version: v2}}]
- name: outside
  hosts: [outside.example.internal]
  ports: [{number: 5432, protocol: TCP}]
  endpoints: [{address: db.example}]
";

const OBJECT: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mine, namespace: shop}
spec:
  hosts: [mine.example.internal]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
";

/// One that keeps its state in `state/` beside its configuration, and what it holds longer than any test takes.
fn build() -> ChandlerBuilder {
    Chandler::build().config("guard: {removalHold: 1h}\nstate: {dir: state}\n")
}

async fn started() -> Chandler {
    let files = [("web.yaml", WEB), ("more.yaml", MORE), ("object.yaml", OBJECT)];
    let builder = files.iter().fold(build(), |builder, (name, text)| builder.service_file(name, text));
    let mut chandler = builder.start().await;
    chandler.synced().await;
    saved(&chandler, 1).await;
    chandler
}

/// Waits until the state has been written so often.
async fn saved(chandler: &Chandler, times: u64) {
    eventually("the state on disk", PATIENCE, async || {
        (number(chandler, "chandler_state_writes_total").await >= times).then_some(())
    })
    .await;
}

async fn number(chandler: &Chandler, metric: &str) -> u64 {
    let metrics = chandler.telemetry("/metrics").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {metric} in {metrics}"))
}

fn state(chandler: &Chandler) -> PathBuf {
    chandler.config_file().with_file_name("state")
}

fn file(chandler: &Chandler) -> PathBuf {
    state(chandler).join("last-known-good")
}

/// Takes the registry away, as far as a process that starts can tell.
fn down(chandler: &Chandler) {
    fs::rename(chandler.services_dir(), elsewhere(chandler)).expect("a rename");
}

fn up(chandler: &Chandler) {
    fs::rename(elsewhere(chandler), chandler.services_dir()).expect("a rename");
}

fn elsewhere(chandler: &Chandler) -> PathBuf {
    chandler.services_dir().with_file_name("elsewhere")
}

/// Everything that control planes receive, over every wire, and all versions.
async fn all(chandler: &Chandler) -> Vec<String> {
    let (server, mut out) = (chandler.grpc.to_string(), Vec::new());
    for wire in ["xds", "delta", "mcp"] {
        for kind in ["serviceentries", "workloadentries"] {
            let arguments = ["get", kind, "--server", &server, "--wire", wire, "-o", "json"];
            let (status, output, complaints) = Chandler::command(&arguments, Path::new(".")).await;
            assert!(status.success(), "{arguments:?}: {status}\n{complaints}");
            out.push(output);
        }
    }
    out.push(chandler.api("/api/v1/resources").await.to_string());
    out
}

async fn hosts(chandler: &Chandler) -> Vec<String> {
    let resources = chandler.api("/api/v1/resources?collection=se").await;
    let names = resources.as_array().expect("a list").iter().map(|r| r["name"].as_str().expect("a name"));
    names.map(|name| name.split('/').next_back().unwrap_or_default().to_owned()).collect()
}

async fn post(chandler: &Chandler, path: &str, body: Value) {
    let answer = chandler.place().ask(chandler.admin, Ask::new("POST", path).json(&body)).await;
    answer.expect("an answer").ok();
}

#[tokio::test]
async fn killed_it_serves_the_same_bytes_while_its_registries_are_down() {
    let mut chandler = started().await;
    let before = all(&chandler).await;
    assert!(before[0].contains("derived.example.internal") && before[0].contains("shop"), "{}", before[0]);
    chandler.kill().await;
    down(&chandler);
    chandler.start_again().await;
    assert_eq!(all(&chandler).await, before);
    chandler.process().wait_for_log("restored 1 registries, 3 services").await;

    // Its age stands wherever people look.
    let synced = chandler.telemetry("/syncz").await;
    assert_eq!(synced.status, 200, "{}", synced.body);
    assert!(synced.body.contains("onboard: restored, ") && synced.body.contains("s old"), "{}", synced.body);
    let row = &chandler.api("/api/v1/registries").await[0];
    assert_eq!((row["complete"].as_bool(), row["services"].as_u64()), (Some(false), Some(3)), "{row}");
    assert!(row["restoredSeconds"].is_u64(), "{row}");
    page_says(&chandler, "/metrics", "chandler_registry_restored_age_seconds{registry=\"onboard\"} ").await;
    let admin = chandler.admin.to_string();
    let (status, output, _) = Chandler::command(&["status", "--admin", &admin], Path::new(".")).await;
    assert!(status.code() == Some(1) && output.contains("saved "), "{output}");

    // The registry comes back and says the same: nothing moves.
    up(&chandler);
    page_says(&chandler, "/syncz", "onboard: read").await;
    assert_eq!(all(&chandler).await, before);
    page_stops_saying(&chandler, "/metrics", "registry_restored_age_seconds{").await;
}

#[tokio::test]
async fn a_registry_that_forgets_everything_at_the_same_time_takes_nothing_away() {
    let mut chandler = started().await;
    let before = all(&chandler).await;
    chandler.kill().await;
    for name in ["web.yaml", "more.yaml", "object.yaml"] {
        chandler.remove_services(name);
    }
    chandler.start_again().await;
    eventually("what is held", PATIENCE, async || {
        let held = chandler.api("/api/v1/held").await;
        (held.as_array().is_some_and(|held| held.len() == 4)).then_some(())
    })
    .await;
    assert_eq!(all(&chandler).await, before);
    // What was held when it was killed is held again, not served as if nothing were.
    let writes = number(&chandler, "chandler_state_writes_total").await;
    saved(&chandler, writes + 1).await;
    chandler.kill().await;
    down(&chandler);
    chandler.start_again().await;
    assert_eq!(chandler.api("/api/v1/held").await.as_array().map(Vec::len), Some(4));
    assert_eq!(all(&chandler).await, before);
}

#[tokio::test]
async fn an_orderly_end_saves_what_it_knew_last() {
    let mut chandler = started().await;
    // Within the pause after the first save.
    chandler.write_services("late.yaml", &WEB.replace("web", "late"));
    eventually("the late service", PATIENCE, async || {
        hosts(&chandler).await.contains(&"late.example.internal".to_owned()).then_some(())
    })
    .await;
    post(&chandler, "/api/v1/freeze", json!({"registry": "onboard", "service": "late", "frozen": true}))
        .await;
    let before = all(&chandler).await;
    assert_eq!(chandler.terminate().await.code(), Some(0));
    down(&chandler);
    chandler.start_again().await;
    assert_eq!(all(&chandler).await, before);
    let frozen = chandler.api("/api/v1/freeze").await;
    assert_eq!(frozen, json!([{"registry": "onboard", "service": "late"}]));
}

#[tokio::test]
async fn killed_in_any_phase_it_goes_on_with_a_whole_state_or_without() {
    // All services of one moment carry its number.
    let moment = |n: usize| {
        let one = |s: usize| {
            format!(
                "- name: s{s}\n  hosts: [s{s}.example.internal]\n  ports: [{{number: 80, protocol: HTTP}}]\n  endpoints: \
                 [{{address: 10.1.{}.{}, labels: {{moment: m{n}}}}}]\n",
                s / 250,
                s % 250 + 1
            )
        };
        format!("services:\n{}", (0..400).map(one).collect::<String>())
    };
    let mut chandler = build().service_file("all.yaml", &moment(0)).start_unready();
    // Before it has done anything; while it reads; while it writes; after. Where exactly is left to chance.
    for n in 1..8_usize {
        match n {
            1 => {}
            2 | 3 => chandler.await_ready().await,
            _ => {
                chandler.synced().await;
                chandler.write_services("all.yaml", &moment(n));
                if n.is_multiple_of(2) {
                    let seen = format!("m{n}\"");
                    eventually("the change", PATIENCE, async || {
                        let path = "/api/v1/services?name=s7";
                        chandler.api(path).await.to_string().contains(&seen).then_some(())
                    })
                    .await;
                }
            }
        }
        chandler.kill().await;
        down(&chandler);
        let had = file(&chandler).exists();
        chandler.start_again().await;
        assert!(!chandler.log_contains("set aside"), "{}", chandler.process().log());
        if had {
            let (_, output, _) = Chandler::command(
                &["get", "se", "--server", &chandler.grpc.to_string(), "-o", "json"],
                Path::new("."),
            )
            .await;
            let count = |n: usize| output.matches(&format!("\"m{n}\"")).count();
            let counts: Vec<usize> = (0..8).map(count).filter(|count| *count > 0).collect();
            assert_eq!(counts, [400], "one moment, whole");
        } else {
            assert_eq!(
                chandler.telemetry("/syncz").await.status,
                503,
                "nothing was saved, so nothing is said"
            );
        }
        chandler.kill().await;
        up(&chandler);
        chandler.start_again().await;
    }
    assert!(file(&chandler).exists());
}

#[tokio::test]
async fn a_file_that_is_damaged_is_set_aside_and_the_start_goes_on() {
    let mut chandler = started().await;
    let before = all(&chandler).await;
    chandler.kill().await;
    let good = fs::read(file(&chandler)).expect("a state");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    };
    let newer = || {
        let mut bytes = good.clone();
        bytes[8] = 9;
        bytes
    };
    let cases = [
        ("damaged", Vec::new()),
        ("damaged", b"something else".to_vec()),
        ("damaged", good[..good.len() / 2].to_vec()),
        ("damaged", good[..good.len() - 1].to_vec()),
        ("damaged", flipped(20)),
        ("damaged", flipped(good.len() / 2)),
        ("damaged", flipped(good.len() - 30)),
        ("format-9", newer()),
    ];
    for (name, bytes) in cases {
        fs::write(file(&chandler), &bytes).expect("a file");
        chandler.start_again().await;
        chandler.process().wait_for_log("was set aside as").await;
        chandler.synced().await;
        saved(&chandler, 1).await;
        assert_eq!(fs::read(state(&chandler).join(format!("last-known-good.{name}"))).ok(), Some(bytes));
        page_says(&chandler, "/syncz", "onboard: read").await;
        assert_eq!(all(&chandler).await, before);
        chandler.kill().await;
    }
    // A directory in its place.
    fs::remove_file(file(&chandler)).expect("a file");
    fs::create_dir(file(&chandler)).expect("a directory");
    chandler.start_again().await;
    chandler.process().wait_for_log("was set aside as").await;
    saved(&chandler, 1).await;
    assert!(file(&chandler).is_file() && state(&chandler).join("last-known-good.unreadable").is_dir());
    chandler.kill().await;
    // One that may not be read, by root either; a system without such files has nothing to show here.
    let forbidden = Path::new("/proc/sys/vm/compact_memory");
    if fs::File::open(forbidden).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
        fs::rename(file(&chandler), state(&chandler).join("good")).expect("a rename");
        std::os::unix::fs::symlink(forbidden, file(&chandler)).expect("a link");
        chandler.start_again().await;
        chandler.process().wait_for_log("was set aside as").await;
        chandler.process().wait_for_log("Permission denied").await;
        saved(&chandler, 1).await;
        assert_eq!(all(&chandler).await, before);
        chandler.kill().await;
    }
    // What an earlier process did not finish is nothing.
    fs::write(state(&chandler).join("last-known-good.unfinished"), b"half").expect("a file");
    down(&chandler);
    chandler.start_again().await;
    assert_eq!(all(&chandler).await, before);
}

#[tokio::test]
async fn what_was_saved_under_other_settings_is_served_until_these_have_been_read() {
    let mut chandler = started().await;
    let before = all(&chandler).await;
    chandler.kill().await;
    let elsewhere = "- name: onboard\n  files: {path: elsewhere}";
    chandler.write_registries(elsewhere, "state: {dir: state}\n");
    chandler.start_again().await;
    chandler.process().wait_for_log("its settings have changed since it was saved").await;
    page_says(&chandler, "/syncz", "onboard: restored").await;
    assert_eq!(all(&chandler).await, before);
    // The same services at the new place.
    down(&chandler);
    page_says(&chandler, "/syncz", "onboard: read").await;
    assert_eq!(all(&chandler).await, before);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_never_stops_serving() {
    let mut chandler = build().service_file("web.yaml", WEB).start_unready();
    chandler.synced().await;
    chandler.terminate().await;
    // A file where the directory should be: an error that root gets as well.
    fs::remove_dir_all(state(&chandler)).expect("a directory");
    fs::write(state(&chandler), b"in the way").expect("a file");
    chandler.start_again().await;
    chandler.process().wait_for_log("nothing can be saved until that is mended").await;
    chandler.synced().await;
    chandler.process().wait_for_log("the state cannot be saved").await;
    eventually("a failure that is counted", PATIENCE, async || {
        (number(&chandler, "chandler_state_write_failures_total").await >= 1).then_some(())
    })
    .await;
    chandler.write_services("more.yaml", MORE);
    eventually("a change", PATIENCE, async || {
        hosts(&chandler).await.contains(&"derived.example.internal".to_owned()).then_some(())
    })
    .await;
    fs::remove_file(state(&chandler)).expect("a file");
    chandler.process().wait_for_log("can be saved in").await;
    saved(&chandler, 1).await;
    assert!(file(&chandler).is_file());
    assert_eq!(chandler.process().log().matches("the state cannot be saved").count(), 1, "said once");
}

#[tokio::test]
async fn a_second_one_in_the_same_directory_is_refused() {
    let chandler = started().await;
    let config = fs::read_to_string(chandler.config_file()).expect("a configuration");
    let config = [chandler.grpc, chandler.telemetry, chandler.admin]
        .iter()
        .fold(config, |text, address| text.replace(&address.to_string(), &free_address().to_string()));
    let second = chandler.config_file().with_file_name("second.yaml");
    fs::write(&second, config).expect("a file");
    let (status, _, said) =
        Chandler::command(&["serve", "--config", &second.display().to_string()], Path::new(".")).await;
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("state.dir") && said.contains("another chandler keeps its state in"), "{said}");
    // Reading everything once is nobody's business but its own.
    let (status, _, said) =
        Chandler::command(&["check", "--config", &second.display().to_string()], Path::new(".")).await;
    assert!(status.success(), "{said}");
}

#[tokio::test]
async fn what_is_too_old_is_not_served_and_what_is_optional_is_given_up_on() {
    let mut chandler = started().await;
    let addresses = async |chandler: &Chandler| {
        chandler.api("/api/v1/services?name=web").await[0]["hosts"][0]["addresses"].clone()
    };
    let before = addresses(&chandler).await;
    chandler.kill().await;
    down(&chandler);
    chandler.write_further_config("guard: {removalHold: 1h}\nstate: {dir: state, maxAge: 1ms}\n");
    chandler.start_again().await;
    chandler.process().wait_for_log("is too old (`state.maxAge`)").await;
    let synced = chandler.telemetry("/syncz").await;
    assert_eq!(synced.status, 503, "{}", synced.body);
    chandler.kill().await;
    let optional = fs::read_to_string(chandler.config_file()).expect("a configuration");
    let files = "files: {path: services}";
    let optional = optional.replace(files, &format!("{files}\n  startup: {{optional: true, wait: 1s}}"));
    fs::write(chandler.config_file(), optional).expect("a configuration");
    chandler.start_again().await;
    chandler.process().wait_for_log("not read in time and optional").await;
    page_says(&chandler, "/syncz", "given up").await;
    // Addresses do not grow old.
    up(&chandler);
    page_says(&chandler, "/syncz", "onboard: read").await;
    assert_eq!(addresses(&chandler).await, before);
}

#[tokio::test]
async fn a_restored_registry_waits_for_an_unread_one_unless_that_is_optional() {
    let mut chandler = started().await;
    let before = hosts(&chandler).await;
    chandler.kill().await;
    down(&chandler);
    let config = fs::read_to_string(chandler.config_file()).expect("a configuration");
    let files = "files: {path: services}";
    let with = |more: &str| {
        config.replace(files, &format!("{files}\n- name: new\n  files: {{path: nowhere}}{more}"))
    };
    fs::write(chandler.config_file(), with("")).expect("a configuration");
    chandler.start_again().await;
    page_says(&chandler, "/syncz", "onboard: restored").await;
    assert_eq!(chandler.telemetry("/syncz").await.status, 503);
    assert_eq!(hosts(&chandler).await, [""; 0], "nothing partial is ever served");
    chandler.kill().await;
    fs::write(chandler.config_file(), with("\n  startup: {optional: true, wait: 1s}"))
        .expect("a configuration");
    chandler.start_again().await;
    page_says(&chandler, "/syncz", "new: given up").await;
    eventually("what was restored", PATIENCE, async || (hosts(&chandler).await == before).then_some(()))
        .await;
}

#[tokio::test]
async fn who_keeps_nothing_is_told_what_that_means_unless_it_is_meant() {
    let (grpc, telemetry, admin) = (free_address(), free_address(), free_address());
    let listen = format!(
        "server: {{listeners: [{{address: '{grpc}'}}]}}\ntelemetry: {{listen: '{telemetry}'}}\nadmin: {{listen: '{admin}'}}\n\
         registries: [{{name: none, files: {{path: services}}}}]\n"
    );
    for (state, told) in [("", true), ("state: off\n", false)] {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("services")).expect("a folder");
        fs::write(dir.path().join("c.yaml"), format!("{listen}{state}")).expect("a configuration");
        let mut command = Command::new(Chandler::program());
        command.args(["serve", "--config", "c.yaml"]).current_dir(dir.path());
        let mut process = Process::start("chandler", command);
        let ready = async || Place::Host.get(telemetry, "/readyz").await.is_some_and(|a| a.status == 200);
        process.ready("readiness", ready).await;
        process.wait_for_log("registry read").await;
        assert_eq!(process.log_contains("nothing is saved (`state`)"), told, "{}", process.log());
        process.terminate().await;
    }
}
