//! The adapter against real servers: what they do, and what is made of it.

use std::time::Duration;

use chandler::model::endpoint::EndpointPorts;
use chandler::registry::eureka::{ExpiredLeases, Format};
use serde_json::{Value, json};

use crate::bench::{Bench, SOON, settings};
use crate::support::{Ask, Eureka, Spring, eventually, instance};

fn url(eureka: &Eureka) -> String {
    format!("http://{}/eureka", eureka.address())
}

fn id(app: &str, address: &str) -> String {
    format!("{address}:{}:8080", app.to_lowercase())
}

async fn register(eureka: &Eureka, app: &str, address: &str) {
    eureka.register(&instance(app, address, 8080, 90)).await;
}

/// An instance with more to say.
fn with(app: &str, address: &str, fields: Value) -> Value {
    let mut one = instance(app, address, 8080, 90);
    for (key, value) in fields.as_object().unwrap() {
        one["instance"][key] = value.clone();
    }
    one
}

#[tokio::test]
async fn what_is_registered_changed_and_deregistered_is_followed_by_deltas() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    register(&eureka, "orders", "10.0.0.1").await;
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    bench.holds(&["ORDERS[10.0.0.1:orders:8080]"]).await;
    register(&eureka, "orders", "10.0.0.2").await;
    bench.holds(&["ORDERS[10.0.0.1:orders:8080,10.0.0.2:orders:8080]"]).await;
    let (app, first) = ("ORDERS", id("orders", "10.0.0.1"));
    eureka.override_status(app, &first, "OUT_OF_SERVICE").await;
    bench.holds(&["ORDERS[10.0.0.2:orders:8080]"]).await;
    assert_eq!(&*bench.known[app].left_out.by_reason()[0].reason, "OUT_OF_SERVICE");
    // An instance that registers again is as overridden as it was.
    register(&eureka, "orders", "10.0.0.1").await;
    register(&eureka, "bills", "10.0.0.3").await;
    bench.holds(&["BILLS[10.0.0.3:bills:8080]", "ORDERS[10.0.0.2:orders:8080]"]).await;
    eureka.clear_override(app, &first, "UP").await;
    bench.holds(&["BILLS[10.0.0.3:bills:8080]", "ORDERS[10.0.0.1:orders:8080,10.0.0.2:orders:8080]"]).await;
    eureka.cancel("BILLS", &id("bills", "10.0.0.3")).await;
    bench.holds(&["ORDERS[10.0.0.1:orders:8080,10.0.0.2:orders:8080]"]).await;
    assert_eq!(bench.told.last().unwrap(), "-BILLS deregistered");
    // Everything after the first read was told by deltas.
    assert_eq!(bench.told.iter().filter(|t| t.starts_with('=')).count(), 1, "{:#?}", bench.told);
    assert_eq!(bench.problem(), None);
}

#[tokio::test]
async fn every_status_but_up_is_left_out_and_named() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    for (n, status) in ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN"].iter().enumerate() {
        eureka.register(&with("orders", &format!("10.0.0.{n}"), json!({"status": status}))).await;
    }
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    bench.holds(&["ORDERS[10.0.0.0:orders:8080]"]).await;
    let reasons: Vec<_> =
        bench.known["ORDERS"].left_out.by_reason().iter().map(|r| r.reason.to_string()).collect();
    assert_eq!(reasons, ["DOWN", "OUT_OF_SERVICE", "STARTING", "UNKNOWN"]);
}

#[tokio::test]
async fn a_change_of_metadata_is_followed() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    eureka.register(&with("orders", "10.0.0.1", json!({"metadata": {"version": "v1"}}))).await;
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    let version = |b: &Bench| b.known["ORDERS"].endpoints[0].labels.get("version").map(str::to_owned);
    bench.until("the service", |b| b.known.contains_key("ORDERS")).await;
    assert_eq!(version(&bench).as_deref(), Some("v1"));
    let path = format!("/eureka/apps/ORDERS/{}/metadata?version=v2", id("orders", "10.0.0.1"));
    eureka.ask(Ask::new("PUT", path)).await.ok();
    bench.until("the change", |b| version(b).as_deref() == Some("v2")).await;
}

#[tokio::test]
async fn a_lease_that_runs_out_is_told_from_a_deregistration() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    register(&eureka, "stays", "10.0.0.1").await;
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    // It registers again and again until it has been seen: on a busy machine its lease may be over before.
    let short = instance("short", "10.0.0.2", 8080, 2);
    let registering = async {
        loop {
            eureka.register(&short).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = bench.holds(&["SHORT[10.0.0.2:short:8080]", "STAYS[10.0.0.1:stays:8080]"]) => {}
        () = registering => {}
    }
    bench.holds(&["STAYS[10.0.0.1:stays:8080]"]).await;
    assert_eq!(bench.told.last().unwrap(), "-SHORT expired");
    eureka.cancel("STAYS", &id("stays", "10.0.0.1")).await;
    bench.holds(&[]).await;
    assert_eq!(bench.told.last().unwrap(), "-STAYS deregistered");
}

#[tokio::test]
async fn what_self_preservation_keeps_serves_unless_it_is_to_be_dropped() {
    needs!(Eureka);
    let eureka = Eureka::build().self_preservation().start().await;
    eureka.register(&instance("short", "10.0.0.2", 8080, 1)).await;
    let many: Vec<_> = (0..10).map(|n| instance("orders", &format!("10.0.1.{n}"), 8080, 90)).collect();
    eureka.register_all(&many).await;
    let mut dropping = settings(&[url(&eureka)]);
    dropping.rules.shape.expired = ExpiredLeases::Drop;
    // Only a full read tells.
    dropping.rules.full_every = Duration::from_millis(300);
    let mut dropping = Bench::start(dropping);
    dropping.until("the lease's end", |b| b.known.get("SHORT").is_some_and(|s| s.endpoints.is_empty())).await;
    assert_eq!(&*dropping.known["SHORT"].left_out.by_reason()[0].reason, "its lease has run out");
    assert_eq!(dropping.known["ORDERS"].endpoints.len(), 10);
    let mut keeping = Bench::start(settings(&[url(&eureka)]));
    keeping.until("all of it", |b| b.known.len() == 2).await;
    assert_eq!(keeping.known["SHORT"].endpoints.len(), 1);
}

#[tokio::test]
async fn json_and_xml_mean_the_same() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    // As text: the server wants these fields in this order.
    let amazon = r#"{"instance":{"instanceId":"a","hostName":"h","app":"AMAZON","ipAddr":"10.0.0.1","status":"UP",
        "port":{"$":8080,"@enabled":"true"},"securePort":{"$":8443,"@enabled":"true"},
        "dataCenterInfo":{"@class":"com.netflix.appinfo.AmazonInfo","name":"Amazon","metadata":{
        "availability-zone":"us-east-1c","instance-id":"i-0a1","local-ipv4":"10.0.0.1","public-hostname":"h"}},
        "leaseInfo":{"renewalIntervalInSecs":30,"durationInSecs":90}}}"#;
    let answer = eureka.ask(Ask::new("POST", "/eureka/apps/AMAZON").body("application/json", amazon)).await;
    assert_eq!(answer.status, 204, "{}", answer.body);
    let metadata = json!({"metadata": {
        "zone": "z1", "a_b": "1", "a__b": "2", "a.b": "3", "a-b": "4", "$x": "5", "_": "6", "1 /": "7",
        "text": "<a> & \"b\" 'c' ü 漢 ]]>", "empty": "", "spaces": "  x  ", "json": "{\"a\":[1]}", "line": "a\nb\tc",
    }});
    eureka.register(&with("Pay_Service", "10.0.0.2", metadata)).await;
    eureka.register(&with("down", "10.0.0.3", json!({"status": "DOWN", "secureVipAddress": "s,t"}))).await;
    eureka
        .register(&with("v6", "10.0.0.4", json!({"ipAddr": "2001:db8::1", "hostName": "one.example"})))
        .await;
    let mut read = Vec::new();
    for format in [Format::Json, Format::Xml] {
        let mut settings = settings(&[url(&eureka)]);
        settings.format = format;
        let mut bench = Bench::start(settings);
        bench.until("all of it", |b| b.known.len() == 4).await;
        assert_eq!(bench.problem(), None);
        read.push(bench.known.clone());
    }
    assert_eq!(read[0], read[1]);
    let labels: Vec<(&str, &str)> = read[0]["PAY_SERVICE"].endpoints[0].labels.iter().collect();
    assert!(labels.contains(&("a_b", "1")) && labels.contains(&("a__b", "2")), "{labels:?}");
    assert_eq!(read[0]["AMAZON"].endpoints[0].locality.as_deref(), Some("us-east-1/us-east-1c"));
}

#[tokio::test]
async fn a_server_without_deltas_is_followed_by_full_reads() {
    needs!(Eureka);
    let eureka = Eureka::build().property("eureka.server.disable-delta", "true").start().await;
    register(&eureka, "orders", "10.0.0.1").await;
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    bench.holds(&["ORDERS[10.0.0.1:orders:8080]"]).await;
    register(&eureka, "orders", "10.0.0.2").await;
    bench.holds(&["ORDERS[10.0.0.1:orders:8080,10.0.0.2:orders:8080]"]).await;
    assert_eq!(bench.problem(), None);
}

#[tokio::test]
async fn changes_that_a_delta_no_longer_holds_are_found_by_the_hash_code() {
    needs!(Eureka);
    let eureka = Eureka::build()
        .property("eureka.server.retention-time-in-m-s-in-delta-queue", "1")
        .property("eureka.server.delta-retention-timer-interval-in-ms", "1")
        // A list that is asked for between changes can stay in the server's cache until this is over: by default 180 s.
        .property("eureka.server.response-cache-auto-expiration-in-seconds", "2")
        .start()
        .await;
    let mut settings = settings(&[url(&eureka)]);
    settings.interval = Duration::from_secs(1);
    let mut bench = Bench::start(settings);
    bench.until("the first read", |b| !b.told.is_empty()).await;
    for n in 1..=20 {
        register(&eureka, "orders", &format!("10.0.0.{n}")).await;
    }
    bench.until("all of them", |b| b.known.get("ORDERS").is_some_and(|s| s.endpoints.len() == 20)).await;
    assert!(bench.told.iter().filter(|t| t.starts_with('=')).count() > 1, "{:#?}", bench.told);
}

#[tokio::test]
async fn a_password_is_asked_for_and_shown() {
    needs!(Eureka);
    let eureka = Eureka::build().credentials("user", "pass").start().await;
    register(&eureka, "orders", "10.0.0.1").await;
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    let why = bench.end().await;
    assert!(why.contains("401") && why.contains("password"), "{why}");
    let mut bench = Bench::start(settings(&[url(&eureka).replace("http://", "http://user:pass@")]));
    bench.holds(&["ORDERS[10.0.0.1:orders:8080]"]).await;
}

#[tokio::test]
async fn when_one_of_two_peers_is_killed_the_other_answers_and_nothing_flickers() {
    needs!(Eureka);
    let [mut first, second] = Eureka::start_two().await;
    register(&first, "orders", "10.0.0.1").await;
    register(&second, "bills", "10.0.0.2").await;
    let mut bench = Bench::start(settings(&[url(&first), url(&second)]));
    let both = ["BILLS[10.0.0.2:bills:8080]", "ORDERS[10.0.0.1:orders:8080]"];
    bench.holds(&both).await;
    // Instances alone are not answered from a cache.
    eventually("the first's at the second", SOON, async || {
        let path = format!("/eureka/apps/ORDERS/{}", id("orders", "10.0.0.1"));
        (second.ask(Ask::get(path)).await.status == 200).then_some(())
    })
    .await;
    first.kill().await;
    register(&second, "orders", "10.0.0.3").await;
    bench.holds(&[both[0], "ORDERS[10.0.0.1:orders:8080,10.0.0.3:orders:8080]"]).await;
    assert!(!bench.told.iter().any(|t| t.starts_with('-') || t.contains('?')), "{:#?}", bench.told);
}

#[tokio::test]
async fn a_server_restarted_empty_is_not_believed_until_its_clients_are_back() {
    needs!(Eureka);
    let mut eureka = Eureka::start().await;
    register(&eureka, "orders", "10.0.0.1").await;
    register(&eureka, "bills", "10.0.0.2").await;
    let mut settings = settings(&[url(&eureka)]);
    // Everybody registers and is read within this, and three times this, on a busy machine, too.
    settings.rules.settle = Duration::from_secs(20);
    let mut bench = Bench::start(settings);
    // It has only just learnt of them, by its own clock.
    bench.until("doubt", |b| !b.told.is_empty()).await;
    assert!(bench.told[0].starts_with("=? it knows nothing older than 20s"), "{:#?}", bench.told);
    let both = ["BILLS[10.0.0.2:bills:8080]", "ORDERS[10.0.0.1:orders:8080]"];
    bench.holds(&both).await;
    eureka.kill().await;
    // In the middle of an answer or between two: it is named.
    let why = bench.end().await;
    assert!(why.contains(&url(&eureka)), "{why}");
    eureka.start_again().await;
    bench.next_life();
    let said = |b: &Bench, words: &str| b.told.last().is_some_and(|t| t.contains(words));
    bench.until("doubt", |b| said(b, "it knows nothing, as after a restart: 2 of 2")).await;
    register(&eureka, "orders", "10.0.0.1").await;
    bench.until("less doubt", |b| said(b, "1 of 2 instances are not back yet")).await;
    assert_eq!(bench.shown(), both);
    register(&eureka, "bills", "10.0.0.2").await;
    bench.until("belief", |b| said(b, "=BILLS[10.0.0.2:bills:8080] ORDERS[10.0.0.1:orders:8080]")).await;
    assert!(!bench.told.iter().any(|t| t.starts_with('-')), "{:#?}", bench.told);
}

#[tokio::test]
async fn five_thousand_applications_are_read_and_one_change_is_one_service() {
    needs!(Eureka);
    let eureka = Eureka::start().await;
    let many: Vec<_> = (0..5000).map(|n| instance(&format!("app{n:04}"), "10.0.0.5", 8080, 90)).collect();
    for some in many.chunks(90) {
        eureka.register_all(some).await;
    }
    let mut bench = Bench::start(settings(&[url(&eureka)]));
    bench.until("all of them", |b| b.known.len() == 5000).await;
    let told = bench.told.len();
    register(&eureka, "app0042", "10.0.0.6").await;
    bench.until("the change", |b| b.known["APP0042"].endpoints.len() == 2).await;
    assert_eq!(bench.told[told..], ["+APP0042[10.0.0.5:app0042:8080,10.0.0.6:app0042:8080]"]);
    assert_eq!(bench.problem(), None);
}

#[tokio::test]
async fn what_a_spring_application_registers_is_served_until_it_says_good_bye() {
    needs!(Eureka, Spring);
    let eureka = Eureka::start().await;
    let mut spring = Spring::build("order_service")
        .property("eureka.instance.metadata-map.version", "v7")
        .property("eureka.instance.metadata-map.zone", "z1")
        .property("eureka.instance.lease-renewal-interval-in-seconds", "1")
        .start(&eureka)
        .await;
    let mut settings = settings(&[url(&eureka)]);
    settings.rules.names.vip = true;
    settings.rules.shape.region = Some("eu".into());
    let mut bench = Bench::start(settings);
    // Its virtual address is its name as it writes it: one service, not two.
    bench.holds(&[&format!("ORDER_SERVICE[{}]", spring.id())]).await;
    let endpoint = bench.known["ORDER_SERVICE"].endpoints[0].clone();
    assert_eq!(endpoint.address.to_string(), spring.address().ip().to_string());
    assert_eq!(
        endpoint.ports,
        EndpointPorts::One(spring.address().port()),
        "its secure port is set and not enabled"
    );
    assert_eq!(endpoint.locality.as_deref(), Some("eu/z1"));
    assert_eq!(endpoint.labels.get("version"), Some("v7"));
    spring.stop().await;
    bench.holds(&[]).await;
    let last = bench.told.last().unwrap();
    assert_eq!(last, "-ORDER_SERVICE deregistered", "{:#?}", bench.told);
}
