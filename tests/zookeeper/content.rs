//! What providers and people write, and what the registry says of it.

use chandler::model::change::Cause;

use crate::support::ZooKeeper;
use crate::world::{EPHEMERAL, PERSISTENT, Watches, World, Writer, encoded, provider};

async fn comes_and_goes(watches: Watches) {
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:20880", ""), "", &EPHEMERAL).await;
    writer.put(&provider("a.B", "10.0.0.1:20880", ""), "", &EPHEMERAL).await;
    let mut world = World::of(&server, watches).await;
    assert_eq!(world.services.len(), 2);

    let second = provider("a.A", "10.0.0.2:20880", "weight=50");
    writer.put(&second, "", &EPHEMERAL).await;
    world.until("the second provider", |w| w.endpoints("/dubbo/a.A").len() == 2).await;
    assert_eq!(world.changes, [("/dubbo/a.A".to_owned(), None)], "one change of one service");
    assert_eq!(world.endpoints("/dubbo/a.A"), ["10.0.0.1 1000", "10.0.0.2 500"]);

    writer.delete(&second).await;
    world.until("its end", |w| w.endpoints("/dubbo/a.A").len() == 1).await;
    writer.delete(&provider("a.A", "10.0.0.1:20880", "")).await;
    world.until("the end of the service", |w| w.services.len() == 1).await;
    assert_eq!(world.changes.last(), Some(&("/dubbo/a.A".to_owned(), Some(Cause::Deregistered))));

    // Another interface, and again with another port.
    writer.put(&provider("a.C", "10.0.0.1:1", ""), "", &EPHEMERAL).await;
    writer.put(&provider("a.A", "10.0.0.1:20881", ""), "", &EPHEMERAL).await;
    world.until("both", |w| w.services.len() == 3).await;
    let json = r#"{"name":"s","id":"1","address":"10.0.0.9","port":80,"payload":null}"#;
    writer.put("/services/s/1", json, &EPHEMERAL).await;
    world.until("Curator's", |w| w.services.contains_key("/services#s")).await;
    writer.0.set_data("/services/s/1", json.replace("10.0.0.9", "10.0.0.8").as_bytes(), None).await.unwrap();
    world.until("its change", |w| w.endpoints("/services#s") == ["10.0.0.8 1000"]).await;
    assert_eq!(world.resets, 1);
}

#[tokio::test]
async fn a_provider_that_comes_and_goes_is_a_change_of_its_service() {
    needs!(ZooKeeper);
    comes_and_goes(Watches::Recursive).await;
}

#[tokio::test]
async fn the_same_is_seen_without_recursive_watches() {
    needs!(ZooKeeper);
    comes_and_goes(Watches::OneShot).await;
}

#[tokio::test]
async fn a_provider_that_is_killed_goes_with_its_session() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &EPHEMERAL).await;
    let mut world = World::of(&server, Watches::Recursive).await;
    let killed = Writer::that_leaves_without_a_word(&server).await;
    killed.put(&provider("a.A", "10.0.0.2:1", ""), "", &EPHEMERAL).await;
    world.until("both", |w| w.endpoints("/dubbo/a.A").len() == 2).await;
    drop(killed);
    world.until("one", |w| w.endpoints("/dubbo/a.A") == ["10.0.0.1 1000"]).await;
}

#[tokio::test]
async fn a_rule_changes_the_weight_and_its_end_changes_it_back() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &EPHEMERAL).await;
    writer.put(&provider("a.A", "10.0.0.2:1", ""), "", &EPHEMERAL).await;
    let mut world = World::of(&server, Watches::Recursive).await;
    let rule =
        format!("/dubbo/a.A/configurators/{}", encoded("override://10.0.0.2:1/a.A?weight=300&enabled=true"));
    writer.put(&rule, "", &PERSISTENT).await;
    world.until("the rule", |w| w.endpoints("/dubbo/a.A") == ["10.0.0.1 1000", "10.0.0.2 3000"]).await;
    let central = "/dubbo/config/dubbo/app.configurators";
    writer.put(central, "configs: [{addresses: [0.0.0.0], parameters: {weight: 10}}]", &PERSISTENT).await;
    world.until("the application's", |w| w.endpoints("/dubbo/a.A") == ["10.0.0.1 100", "10.0.0.2 100"]).await;
    let disabled = "configs: [{addresses: ['10.0.0.1:1'], side: provider, parameters: {disabled: true}}]";
    writer.0.set_data(central, disabled.as_bytes(), None).await.unwrap();
    world.until("one is disabled", |w| w.endpoints("/dubbo/a.A") == ["10.0.0.2 3000"]).await;
    writer.delete(central).await;
    writer.delete(&rule).await;
    world.until("all as before", |w| w.endpoints("/dubbo/a.A") == ["10.0.0.1 1000", "10.0.0.2 1000"]).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_named_and_its_neighbours_stay() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let folder = "/dubbo/a.A/providers";
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &EPHEMERAL).await;
    for bad in ["rubbish", "%FF", &encoded("dubbo://10.0.0.2:0/a.A"), &encoded("dubbo://10.0.0.2:99999/a.A")]
    {
        writer.put(&format!("{folder}/{bad}"), "", &PERSISTENT).await;
    }
    let twice = encoded(&encoded("dubbo://[2001:db8::1]:1/a.A?weight=-1"));
    writer.put(&format!("{folder}/{twice}"), "", &EPHEMERAL).await;
    writer.put("/services/s/json", "{", &PERSISTENT).await;
    let large = format!(r#"{{"address":"10.0.0.1","port":1,"payload":"{}"}}"#, "x".repeat(1_000_000));
    writer.put("/services/s/large", &large, &PERSISTENT).await;
    let world = World::of(&server, Watches::Recursive).await;
    assert_eq!(world.endpoints("/dubbo/a.A"), ["10.0.0.1 1000", "2001:db8::1 1000"]);
    world.until_it_says("left out: /dubbo/a.A: %FF: its name is not percent-encoded text").await;
    world.until_it_says("and 1 more").await;
    let named: Vec<(String, String)> = world.services["/services#s"]
        .left_out
        .by_reason()
        .iter()
        .map(|r| (r.first[0].to_string(), r.reason.to_string()))
        .collect();
    let want = [("large", "its data is larger than 256 KiB"), ("json", "its data is no JSON object")];
    assert_eq!(named, want.map(|(id, reason)| (id.to_owned(), reason.to_owned())));
}
