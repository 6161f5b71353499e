//! Incremental, for clients that can.

use serde_json::{Value, json};

use crate::support::{Chandler, Delta, Place};
use crate::{SILENCE, name, names, responses, services};

async fn three() -> Chandler {
    Chandler::start("", &[("services.yaml", &services(&[1, 2, 3]))]).await
}

/// What a client would say that it holds.
fn held(response: &Value) -> String {
    let all = response["added"].as_array().expect("resources");
    let pair = |one: &Value| format!("{}={}", text(&one["name"]), text(&one["version"]));
    all.iter().map(pair).collect::<Vec<_>>().join(",")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test]
async fn first_answer_has_everything() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &[]);
    let first = client.response().await;
    assert_eq!(names(&first["added"]), [name(0), name(1), name(2)]);
    for one in first["added"].as_array().expect("resources") {
        assert_eq!(one["resource"]["error"], Value::Null, "{one}");
        assert_eq!((&one["resource"]["name"], &one["resource"]["version"]), (&one["name"], &one["version"]));
    }
}

#[tokio::test]
async fn only_what_changed_is_sent_and_what_went_is_named() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &[]);
    client.response().await;
    chandler.write_services("services.yaml", &services(&[1, 22]));
    // The endpoint may come sooner than the end of the other service.
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    while added.is_empty() || removed.is_empty() {
        let next = client.response().await;
        added.extend(names(&next["added"]));
        removed.extend(next["removed"].as_array().into_iter().flatten().cloned());
    }
    assert_eq!((added, removed), (vec![name(1)], vec![json!(name(2))]));
}

#[tokio::test]
async fn client_that_holds_everything_is_sent_nothing_again() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &[]);
    let versions = held(&client.response().await);
    client.stop().await;

    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-initial", &versions]);
    let so_far = client.during(SILENCE).await;
    let (added, removed): (Vec<_>, Vec<_>) =
        responses(&so_far).iter().map(|one| (one["count"].clone(), one["removed"].clone())).unzip();
    assert!(added.iter().all(|count| count == 0), "{so_far:#?}");
    assert!(removed.iter().all(|one| one.as_array().is_none_or(Vec::is_empty)), "{so_far:#?}");
    client.stop().await;

    // And one whose knowledge is old, only what it lacks.
    let old = versions.replacen(&name(2), "chandler/gone.example.internal", 1);
    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-initial", &old]);
    let answer = client.response().await;
    assert_eq!(names(&answer["added"]), [name(2)]);
    assert_eq!(answer["removed"], json!(["chandler/gone.example.internal"]));
}

#[tokio::test]
async fn subscription_by_name_gets_that_and_nothing_else() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-subscribe", &name(1)]);
    assert_eq!(names(&client.response().await["added"]), [name(1)]);
    client.tell(&format!("subscribe {}", name(2))).await;
    assert_eq!(names(&client.response().await["added"]), [name(2)]);

    client.tell(&format!("unsubscribe {}", name(1))).await;
    // A change of the subscription is answered even if there is nothing to say.
    assert_eq!(client.response().await["count"], 0);
    chandler.write_services("services.yaml", &services(&[11, 22, 33]));
    assert_eq!(names(&client.response().await["added"]), [name(2)]);
}

#[tokio::test]
async fn name_that_does_not_exist_is_said_to_be_absent() {
    needs!(Probe);
    let chandler = three().await;
    let missing = "chandler/missing.example.internal";
    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-subscribe", missing]);
    let answer = client.response().await;
    assert_eq!((&answer["count"], &answer["removed"]), (&json!(0), &json!([missing])));
}

#[tokio::test]
async fn wildcard_can_be_given_up() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-subscribe", "*"]);
    let first = client.response().await;
    assert_eq!(first["count"], 3);
    client.tell(&format!("subscribe {}", name(0))).await;
    client.tell("unsubscribe *").await;
    // Both are answered, in one response or in two; after that comes what changes.
    client.next_where("an answer that brings nothing new", |line| line["event"] == "response").await;
    client.during(SILENCE).await;
    chandler.write_services("services.yaml", &services(&[11, 22, 33]));
    let new = |line: &Value| {
        let added = line["added"].as_array().into_iter().flatten();
        added.into_iter().any(|one| {
            let held = first["added"].as_array().into_iter().flatten();
            held.into_iter().all(|old| (&old["name"], &old["version"]) != (&one["name"], &one["version"]))
        })
    };
    let answer = client.next_where("a change", new).await;
    assert_eq!(names(&answer["added"]), [name(0)]);
}

#[tokio::test]
async fn refusal_is_not_answered_with_the_same_again() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-nack"]);
    client.response().await;
    assert_eq!(responses(&client.during(SILENCE).await), [] as [&Value; 0]);
    chandler.write_services("services.yaml", &services(&[1, 22, 3]));
    // It holds nothing that it was offered before, so it is offered all of it.
    let answer = client.response().await;
    assert!(names(&answer["added"]).contains(&name(1)), "{answer}");
}

#[tokio::test]
async fn unknown_type_is_answered_empty() {
    needs!(Probe);
    let chandler = three().await;
    let mut client = Delta::start(&Place::Host, chandler.grpc, &["-type", "fruit.example/v1/Banana"]);
    assert_eq!(client.response().await["count"], 0);
}
