//! Before the reference sink, with a judge between: every message is held against the protocol, and every version that is
//! claimed against what is held.

use serde_json::{Value, json};

use crate::support::{Certificates, Chandler, PATIENCE, Pilot, RefSink, Release, SINK_ENTRIES, eventually};
use crate::view::{hundred, served, service, web};

/// Ends the whims and waits until every sink holds what is served, with no rule broken on the way.
async fn end_well(chandler: &Chandler, sink: &mut RefSink) -> Value {
    sink.tell("nack 0").await;
    sink.tell("delay 0s").await;
    // What was refused last is not sent again until something changes.
    chandler.write_services("last.yaml", &service("last", "10.9.9.9"));
    let want = served_with(chandler, "chandler/last.example.internal").await;
    let version = eventually("the first sink to hold all that is served", PATIENCE, async || {
        let held = sink.held(SINK_ENTRIES).await;
        (held["resources"] == want).then(|| held["version"].as_str().expect("a version").to_owned())
    })
    .await;
    let report = sink.agreed(SINK_ENTRIES, &version).await;
    assert_eq!(report["counts"]["faults"], 0, "{report}");
    report
}

/// What is served once `name` is.
async fn served_with(chandler: &Chandler, name: &str) -> Value {
    eventually(name, PATIENCE, async || Some(served(chandler).await).filter(|all| all.get(name).is_some()))
        .await
}

/// Changes of every kind, as fast as they are seen: endpoints, new services, services that go.
async fn unrest(chandler: &Chandler, sink: &mut RefSink, rounds: std::ops::Range<usize>) {
    for n in rounds {
        let name = format!("n{}", n % 7);
        let file = format!("{name}.yaml");
        if n % 3 == 2 {
            chandler.write_services(&file, "services: []\n");
        } else {
            chandler.write_services(&file, &service(&name, &format!("10.3.{}.{}", n / 250, n % 250 + 1)));
        }
        let endpoints: Vec<String> =
            (0..=n % 4).map(|m| format!("{{address: 10.4.{m}.{}}}", n + 1)).collect();
        chandler.write_services("web.yaml", &web(&endpoints.iter().map(String::as_str).collect::<Vec<_>>()));
        // Once somebody was told anything new: what comes faster is one change.
        let before = count(&sink.report().await);
        eventually("anything new to be told", PATIENCE, async || {
            (count(&sink.report().await) > before).then_some(())
        })
        .await;
    }
}

fn count(report: &Value) -> u64 {
    let of = |name: &str| report["counts"][name].as_u64().expect("a count");
    of("full") + of("incremental")
}

async fn stress(flags: &[&str], kind: &str) -> Value {
    let chandler = Chandler::start("", &[("hundred.yaml", &hundred())]).await;
    let mut sink = RefSink::pull(chandler.grpc, flags);
    sink.tell("nack 0.25").await;
    sink.tell("delay 40ms").await;
    unrest(&chandler, &mut sink, 0..30).await;
    let report = end_well(&chandler, &mut sink).await;
    assert!(report["counts"][kind].as_u64().expect("a count") > 0, "{report}");
    assert!(report["counts"]["nacks"].as_u64().expect("a count") > 10, "{report}");
    report
}

#[tokio::test]
async fn versions_are_those_of_what_is_held_however_clients_behave() {
    needs!(RefSink);
    let report = stress(&["-quiet", "-sinks", "25"], "full").await;
    assert_eq!(report["counts"]["incremental"], 0, "nobody asked for it");
}

#[tokio::test]
async fn versions_are_those_of_what_is_held_after_increments_and_refusals() {
    needs!(RefSink);
    stress(&["-quiet", "-sinks", "25", "-incremental"], "incremental").await;
}

/// What it held before it was cut off counts.
#[tokio::test]
async fn reconnecting_client_is_told_what_changed_and_no_more() {
    needs!(RefSink);
    let chandler = Chandler::start("", &[("hundred.yaml", &hundred())]).await;
    let mut sink = RefSink::pull(chandler.grpc, &["-incremental"]);
    let first = sink.update(SINK_ENTRIES).await;
    assert_eq!(first["held"], 100);
    sink.tell("pause").await;
    chandler.write_services("late.yaml", &service("late", "10.0.0.7"));
    chandler.write_services("hundred.yaml", &hundred().replace("10.1.7.1", "10.1.7.9"));
    served_with(&chandler, "chandler/late.example.internal").await;
    sink.tell("reconnect").await;
    sink.tell("resume").await;
    end_well(&chandler, &mut sink).await;
    sink.lines().so_far();
    // Nothing has changed since: nothing is sent again.
    sink.tell("reconnect").await;
    let again = sink.update(SINK_ENTRIES).await;
    assert_eq!(
        (&again["incremental"], &again["resources"], &again["removed"]),
        (&json!(true), &json!([]), &json!([]))
    );
    chandler.write_services("late.yaml", &service("late", "10.0.0.8"));
    let change = sink.update(SINK_ENTRIES).await;
    assert_eq!(
        (&change["incremental"], &change["resources"]),
        (&json!(true), &json!(["chandler/late.example.internal"]))
    );
    assert_eq!(sink.report().await["counts"]["faults"], 0);
}

#[tokio::test]
async fn client_that_was_cut_off_at_random_ends_up_with_what_is_served() {
    needs!(RefSink);
    for flags in [&["-quiet", "-sinks", "10"][..], &["-quiet", "-sinks", "10", "-incremental"]] {
        let chandler = Chandler::start("", &[("hundred.yaml", &hundred())]).await;
        let mut sink = RefSink::pull(chandler.grpc, flags);
        sink.tell("nack 0.2").await;
        for start in [0, 3, 6, 9] {
            unrest(&chandler, &mut sink, start..start + 3).await;
            sink.tell("reconnect").await;
        }
        let report = end_well(&chandler, &mut sink).await;
        assert!(report["counts"]["streams"].as_u64().expect("a count") >= 50, "{report}");
    }
}

/// Nothing of it is lost on the operator, and the refused version is not sent again.
#[tokio::test]
async fn refusal_is_shown_with_its_code_and_words_until_something_changes() {
    needs!(RefSink);
    let chandler = Chandler::start("", &[("web.yaml", &web(&["{address: 10.0.0.1}"]))]).await;
    let mut sink = RefSink::pull(chandler.grpc, &["-nack", "1"]);
    let refused = sink.update(SINK_ENTRIES).await;
    assert_eq!((&refused["outcome"], &refused["held"]), (&json!("nack"), &json!(0)));
    let shown = eventually("the refusal in the API", PATIENCE, async || {
        let clients = chandler.api("/api/v1/clients").await;
        let watches = clients[0]["watches"].as_array()?;
        watches.iter().find(|one| one["asked"] == SINK_ENTRIES && one["state"] == "NACK").cloned()
    })
    .await;
    assert_eq!(shown["nack"], "refused at random (code 3, InvalidArgument)");
    sink.tell("nack 0").await;
    chandler.write_services("web.yaml", &web(&["{address: 10.0.0.2}"]));
    let next = sink.update(SINK_ENTRIES).await;
    assert_eq!((&next["outcome"], &next["held"]), (&json!("ack"), &json!(1)));
    assert_ne!(next["version"], refused["version"]);
    assert_eq!(sink.report().await["counts"]["faults"], 0);
}

/// One response waits for its answer; of what came meanwhile only the newest is sent.
#[tokio::test]
async fn snapshots_behind_an_unanswered_one_become_one() {
    needs!(RefSink);
    let chandler = Chandler::start("", &[("web.yaml", &web(&["{address: 10.0.0.1}"]))]).await;
    let mut sink = RefSink::pull(chandler.grpc, &[]);
    sink.update(SINK_ENTRIES).await;
    sink.tell("pause").await;
    for n in 0..5 {
        let name = format!("n{n}");
        chandler.write_services(&format!("{name}.yaml"), &service(&name, "10.0.0.7"));
        served_with(&chandler, &format!("chandler/{name}.example.internal")).await;
    }
    sink.tell("resume").await;
    let last =
        sink.lines().next_where("all of them", |line| line["event"] == "update" && line["held"] == 6).await;
    let nonces = sink.report().await["counts"]["full"].as_u64().expect("a count");
    // Eighteen first answers, at most one that was under way, and all the rest together.
    assert!((19..=20).contains(&nonces), "{nonces} messages, the last {last}");
}

#[tokio::test]
async fn every_release_is_answered_every_collection_once() {
    needs!(RefSink);
    let chandler = Chandler::start("", &[("hundred.yaml", &hundred())]).await;
    for (minor, collections) in [(1, 16), (2, 17), (3, 16), (4, 17), (5, 19), (6, 18), (7, 14), (8, 11)] {
        let mut sink = RefSink::pull(chandler.grpc, &["-quiet", "-release", &format!("1.{minor}")]);
        let report = eventually("an answer to each", PATIENCE, async || {
            let report = sink.report().await;
            (report["counts"]["acks"] == collections).then_some(report)
        })
        .await;
        assert_eq!(report["counts"]["full"], collections, "{report}");
        assert_eq!(report["counts"]["faults"], 0, "{report}");
        assert_eq!(sink.held(SINK_ENTRIES).await["resources"].as_object().expect("by name").len(), 100);
    }
}

#[tokio::test]
async fn sink_is_served_over_mutual_tls() {
    needs!(RefSink);
    let certificates = Certificates::create();
    let chandler = Chandler::build()
        .listener(&certificates.listener())
        .service_file("hundred.yaml", &hundred())
        .start()
        .await;
    let (ca, certificate, key) = (
        certificates.argument("ca.pem"),
        certificates.argument("client.pem"),
        certificates.argument("client.key"),
    );
    let mut sink = RefSink::pull(chandler.grpc, &["-ca", &ca, "-cert", &certificate, "-key", &key]);
    assert_eq!(sink.update(SINK_ENTRIES).await["held"], 100);
    assert_eq!(sink.report().await["counts"]["faults"], 0);
}

/// Increments over the Pilot's own controller: it holds what is served, and is sent what changed.
async fn incremental_pilot_has_what_is_served(release: Release) {
    let mut chandler = Chandler::start("", &[("hundred.yaml", &hundred())]).await;
    let pilot = Pilot::build(release, chandler.grpc).incremental().start().await;
    let names = |all: Value| all.as_object().expect("by name").keys().cloned().collect::<Vec<_>>();
    assert_eq!(pilot.objects().await, names(served(&chandler).await));
    chandler.write_services("hundred.yaml", "services: []\n");
    chandler.write_services("late.yaml", &service("late", "10.0.0.7"));
    eventually("what is left", PATIENCE, async || {
        (pilot.objects().await == ["chandler/late.example.internal"]).then_some(())
    })
    .await;
    // What goes while nobody is connected is gone afterwards: the reference source forgets it.
    chandler.kill().await;
    chandler.write_services("late.yaml", "services: []\n");
    chandler.write_services("web.yaml", &web(&["{address: 10.0.0.1}"]));
    chandler.start_again().await;
    eventually("what is new", PATIENCE, async || {
        (pilot.objects().await == ["chandler/web.example.internal"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pilot_1_6_that_asks_for_increments_has_what_is_served() {
    needs!(Pilot16);
    incremental_pilot_has_what_is_served(Release::V1_6).await;
}

#[tokio::test]
async fn pilot_1_7_that_asks_for_increments_has_what_is_served() {
    needs!(Pilot17);
    incremental_pilot_has_what_is_served(Release::V1_7).await;
}
