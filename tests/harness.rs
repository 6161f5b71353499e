//! The tools of the other tests, tried on real servers without Chandler: if one of these fails, look there first.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the helpers of a test fail by panicking, as it does"
)]

mod support;

use std::time::Duration;

use serde_json::json;
use support::{
    Age, ApiServer, Ask, Backend, Calls, Consul, ConsulAge, Delta, Envoy, Eureka, FakeAds, Galley, Istiod,
    NetNs, PATIENCE, Pilot, Place, RefSink, Release, SINK_ENTRIES, ShardEndpoint, Sidecar, Sotw, Spring,
    consul_leader, eventually, free_address, instance, tally,
};

const HOST: &str = "web.example.internal";
const CLUSTER: &str = "outbound|8080||web.example.internal";

async fn istiod_takes_an_entry(age: Age) {
    let ads = FakeAds::start(&Place::Host, &["-endpoints", "10.0.0.5:18080,10.0.0.6:18080"]).await;
    let mut istiod = Istiod::start(age, ads.address(), "").await;

    let entry = istiod.config("ServiceEntry", "chandler", "web").await.expect("the entry is in configz");
    assert_eq!(entry["spec"]["addresses"], json!(["244.7.7.7"]));
    let endpoints = istiod.endpoints(HOST).await;
    let shown = |one: &ShardEndpoint| (one.address.clone(), one.port, one.weight, one.locality.clone());
    let wanted = |address: &str| (address.to_owned(), 18080, 3, "region/zone/rack".to_owned());
    assert_eq!(endpoints.iter().map(shown).collect::<Vec<_>>(), [wanted("10.0.0.5"), wanted("10.0.0.6")]);
    let service = istiod.service(HOST).await.expect("a service was made of the entry");
    assert_eq!(service["defaultAddress"], "244.7.7.7");
    assert!(istiod.log_contains(&age.networking("ServiceEntry")), "it asks for the type of its age");

    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    let endpoints = sidecar.endpoints(CLUSTER, |found| found.len() == 2).await;
    assert_eq!(endpoints[0]["address"], "10.0.0.5");
    assert_eq!(endpoints[0]["port"], 18080);
    assert_eq!(endpoints[0]["locality"], "region/zone/rack");
    assert_eq!(endpoints[0]["tls"], false);
    sidecar.response("RDS").await;
    assert!(istiod.metric("pilot_xds_pushes{type=\"eds\"}").await >= 1.0);
    assert_eq!(istiod.metric("pilot_xds_pushes").await, istiod.pushes().await.values().sum::<f64>());

    istiod.restart().await;
    assert!(istiod.config("ServiceEntry", "chandler", "web").await.is_some());
}

/// The counters on which tests of endpoint changes stand do move, and only when they should.
async fn pushes_are_told_apart(age: Age) {
    let mut ads = FakeAds::start(&Place::Host, &["-endpoints", "10.0.0.5:18080"]).await;
    let istiod = Istiod::start(age, ads.address(), "").await;
    let mut sidecar = Sidecar::start(&Place::Host, istiod.grpc_addr(), &[]);
    sidecar.endpoints(CLUSTER, |found| found.len() == 1).await;
    let calm = Duration::from_millis(1500);
    let before = istiod.settled(calm).await;
    assert_eq!(istiod.triggers().await.get("endpoint"), None);

    ads.endpoints(&["10.0.0.5:18080", "10.0.0.6:18080"]).await;
    sidecar.endpoints(CLUSTER, |found| found.len() == 2).await;
    let after = istiod.settled(calm).await;
    assert!(after["eds"] > before["eds"]);
    assert_eq!((after["cds"], after["lds"]), (before["cds"], before["lds"]));
    assert_eq!(istiod.triggers().await.get("endpoint"), Some(&1.0));

    ads.port(8081).await;
    sidecar.endpoints("outbound|8081||web.example.internal", |found| found.len() == 2).await;
    let last = istiod.settled(calm).await;
    assert!(last["cds"] > after["cds"]);
}

#[tokio::test]
async fn istiod_1_18_tells_full_pushes_from_endpoint_pushes() {
    needs!(Istiod118, Probe);
    pushes_are_told_apart(Age::V1_18).await;
}

#[tokio::test]
async fn newest_istiod_tells_full_pushes_from_endpoint_pushes() {
    needs!(IstiodNewest, Probe);
    pushes_are_told_apart(Age::Newest).await;
}

#[tokio::test]
async fn istiod_1_18_starts_without_kubernetes() {
    needs!(Istiod118, Probe);
    istiod_takes_an_entry(Age::V1_18).await;
}

#[tokio::test]
async fn istiod_1_16_starts_without_kubernetes() {
    needs!(Istiod116, Probe);
    istiod_takes_an_entry(Age::V1_16).await;
}

#[tokio::test]
async fn istiod_1_22_starts_without_kubernetes() {
    needs!(Istiod122, Probe);
    istiod_takes_an_entry(Age::V1_22).await;
}

#[tokio::test]
async fn newest_istiod_starts_with_an_empty_kubernetes_api() {
    needs!(IstiodNewest, Probe);
    istiod_takes_an_entry(Age::Newest).await;
}

#[tokio::test]
async fn probe_asks_as_istiod_does() {
    needs!(Probe);
    let ads = FakeAds::start(&Place::Host, &["-endpoints", "10.0.0.5:18080"]).await;
    for (age, like) in [(Age::V1_18, "1.18"), (Age::Newest, "newest")] {
        let mut client = Sotw::start(&Place::Host, ads.address(), &["-istiod-like", "-like", like]);
        let response = client.response(&age.networking("ServiceEntry")).await;
        assert_eq!(response["count"], 1);
        assert_eq!(response["applied"]["created"], json!(["chandler/web"]));
        assert_eq!(response["resources"][0]["body"]["hosts"], json!([HOST]));
        assert!(client.stop().await.iter().any(|line| line["event"] == "end"));
    }
}

#[tokio::test]
async fn probe_asks_for_deltas() {
    needs!(Probe);
    let ads = FakeAds::start(&Place::Host, &[]).await;
    let mut client = Delta::start(&Place::Host, ads.address(), &["-initial", "chandler/gone=1"]);
    let response = client.response().await;
    assert_eq!(response["added"][0]["name"], "chandler/web");
    assert_eq!(response["removed"], json!(["chandler/gone"]));
}

#[tokio::test]
async fn a_stream_that_the_server_ends_is_told() {
    needs!(Probe);
    let nobody = free_address();
    let mut client = Sotw::start(&Place::Host, nobody, &[]);
    let (code, message) = client.closed().await;
    assert_eq!(code, "Unavailable", "{message}");
    assert_eq!(client.process().wait().await.code(), Some(1));
}

#[tokio::test]
async fn bytes_that_are_no_request_reach_the_server() {
    needs!(Probe);
    let ads = FakeAds::start(&Place::Host, &[]).await;
    let (code, message) = Sotw::garbage(&Place::Host, ads.address(), "ffffffff").closed().await;
    assert_eq!(code, "Internal", "{message}");
}

#[tokio::test]
async fn half_closed_stream_is_told_from_an_open_one() {
    needs!(Probe);
    let ads = FakeAds::start(&Place::Host, &[]).await;
    // One type: no other answer comes that it would want to acknowledge when it may say no more.
    let asked = Age::V1_18.networking("ServiceEntry");
    let mut client = Sotw::start(&Place::Host, ads.address(), &["-types", &asked]);
    client.response(&asked).await;
    client.tell("half-close").await;
    // The fake source returns the end of the stream as its own error.
    let (code, message) = client.closed().await;
    assert_eq!((code.as_str(), message.as_str()), ("Unknown", "EOF"));
}

/// One service by its virtual address through a whole data plane.
async fn request_passes_through_envoy(age: Age) {
    let place = NetNs::create(&["10.20.0.1"]).await;
    let endpoint = "10.20.0.1:18080".parse().expect("an address");
    let _backend = Backend::http(&place, "first", &[endpoint]).await;
    let ads = FakeAds::start(&place, &["-endpoints", "10.20.0.1:18080"]).await;
    let istiod = Istiod::build(age, ads.address()).place(&place).for_plain_envoy().start().await;
    let envoy = Envoy::start(&istiod).await;
    envoy.listener("0.0.0.0_8080").await;
    envoy.hosts_are(CLUSTER, &["10.20.0.1:18080"]).await;

    let before = envoy.connections().await;
    let virtual_address = "244.7.7.7:8080".parse().expect("an address");
    let answer = Calls::one_http(&place, "http://web.example.internal:8080/", virtual_address).await;
    let answer = answer.expect("the call is answered");
    assert_eq!((&answer["name"], &answer["port"]), (&"first".into(), &18080.into()));
    assert_eq!(envoy.took(&before).await, [CLUSTER]);

    // The application's own call to an instance is captured as well, and nobody has published that address.
    let before = envoy.connections().await;
    let answer = Calls::one_http(&place, "http://10.20.0.1:18080/", endpoint).await;
    assert_eq!(answer.expect("the call is answered")["name"], "first");
    assert_eq!(envoy.took(&before).await, ["PassthroughCluster"]);
}

#[tokio::test]
async fn request_passes_through_envoy_behind_istiod_1_18() {
    needs!(Istiod118, Envoy, Probe, Namespace);
    request_passes_through_envoy(Age::V1_18).await;
}

#[tokio::test]
async fn request_passes_through_envoy_behind_the_newest_istiod() {
    needs!(IstiodNewest, Envoy, Probe, Namespace);
    request_passes_through_envoy(Age::Newest).await;
}

#[tokio::test]
async fn calls_go_on_until_they_are_stopped() {
    needs!(Probe);
    let (http, tcp) = (free_address(), free_address());
    let _web = Backend::http(&Place::Host, "web", &[http]).await;
    let _lines = Backend::tcp(&Place::Host, "lines", &[tcp]).await;
    for (name, mut calls) in [
        ("web", Calls::http(&Place::Host, "http://web.example/", http, Duration::from_millis(1))),
        ("lines", Calls::tcp(&Place::Host, tcp, Duration::from_millis(1))),
    ] {
        calls.answered_by(name).await;
        calls.answered_by(name).await;
        let rest = calls.stop().await;
        let counts = tally(&rest);
        assert!(counts.keys().all(|who| who == name), "{counts:?}");
    }
    let nobody = free_address();
    assert!(Calls::one_tcp(&Place::Host, nobody).await.is_err());
}

#[tokio::test]
async fn real_kubernetes_api_takes_objects_and_refuses_nonsense() {
    needs!(KubeApiserver, Etcd);
    let api = ApiServer::start().await;
    let path = "/api/v1/namespaces/shop";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    assert_eq!(api.client().apply(path, namespace, true).await.status, 201);
    assert_eq!(api.client().get(path).await.expect("an answer").status, 404, "a dry run keeps nothing");
    let nonsense = format!("{namespace}colour: blue\n");
    // Its status is 500, of all things; what matters is that the field is named.
    let refusal = api.client().apply(path, &nonsense, true).await;
    assert!(refusal.status >= 400 && refusal.body.contains(".colour: field not declared"), "{refusal:?}");
    assert_eq!(api.client().apply(path, namespace, false).await.status, 201);
    assert_eq!(api.client().get(path).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn newest_istiod_starts_with_a_real_kubernetes_api() {
    needs!(IstiodNewest, Probe, KubeApiserver, Etcd);
    let api = ApiServer::start().await;
    let ads = FakeAds::start(&Place::Host, &[]).await;
    let istiod = Istiod::build(Age::Newest, ads.address()).kubeconfig(&api.kubeconfig()).start().await;
    assert!(istiod.config("ServiceEntry", "chandler", "web").await.is_some());
}

/// Without rights to redirect anything: the proxy listens on the service's own port.
async fn request_passes_through_envoy_on_loopback(age: Age) {
    let (backend, service) = (free_address(), free_address());
    let _backend = Backend::http(&Place::Host, "first", &[backend]).await;
    let flags = ["-port", &service.port().to_string(), "-endpoints", &backend.to_string()];
    let ads = FakeAds::start(&Place::Host, &flags).await;
    let istiod = Istiod::build(age, ads.address()).for_plain_envoy().start().await;
    let envoy = Envoy::build().metadata("INTERCEPTION_MODE", json!("NONE")).start(&istiod).await;
    envoy.listener(&format!("127.0.0.1_{}", service.port())).await;
    let before = envoy.connections().await;
    let url = format!("http://web.example.internal:{}/", service.port());
    let answer = Calls::one_http(&Place::Host, &url, service).await;
    assert_eq!(answer.expect("the call is answered")["name"], "first");
    assert_eq!(envoy.took(&before).await, [format!("outbound|{}||{HOST}", service.port())]);
}

#[tokio::test]
async fn request_passes_through_envoy_on_loopback_behind_istiod_1_18() {
    needs!(Istiod118, Envoy, Probe);
    request_passes_through_envoy_on_loopback(Age::V1_18).await;
}

#[tokio::test]
async fn request_passes_through_envoy_on_loopback_behind_the_newest_istiod() {
    needs!(IstiodNewest, Envoy, Probe);
    request_passes_through_envoy_on_loopback(Age::Newest).await;
}

/// What the tests of the Consul registry stand on: a change moves the index, and a restart of a development agent sets it back.
async fn consul_registers_and_forgets(age: ConsulAge) {
    let mut consul = Consul::build().age(age).start().await;
    consul.register(&json!({"Name": "web", "Port": 8080, "Check": {"TTL": "60s"}})).await;
    consul.check("service:web", "pass").await;
    let entry = |n: usize| json!({"Service": {"Verb": "set", "Node": "far", "Service": {"ID": format!("s{n}"), "Service": format!("s{n}"), "Port": 80}}});
    consul.register_in_catalog(&json!({"Node": "far", "Address": "10.0.0.9"})).await;
    consul.transact(&(0..150).map(entry).collect::<Vec<_>>()).await;
    let found = consul.ask(Ask::get("/v1/health/service/web?passing")).await;
    assert_eq!(found.json()[0]["Service"]["Port"], 8080);
    let index: u64 = found.headers["x-consul-index"].parse().expect("an index");
    assert_eq!(consul.services().await.len(), 152);

    consul.stop().await;
    consul.start_again().await;
    let empty = consul.ask(Ask::get("/v1/health/service/web?passing")).await;
    assert_eq!(empty.json(), json!([]));
    assert!(empty.headers["x-consul-index"].parse::<u64>().expect("an index") <= index);
}

#[tokio::test]
async fn consul_works() {
    needs!(Consul);
    consul_registers_and_forgets(ConsulAge::Newest).await;
}

#[tokio::test]
async fn old_consul_works() {
    needs!(ConsulOld);
    consul_registers_and_forgets(ConsulAge::Old).await;
}

#[tokio::test]
async fn three_consuls_elect_another_when_their_leader_is_killed() {
    needs!(Consul);
    let mut servers = Consul::build().start_three().await;
    let leader = consul_leader(&mut servers).await;
    servers[leader]
        .register_in_catalog(&json!({"Node": "far", "Address": "10.0.0.9", "Service": {"Service": "web"}}))
        .await;
    servers[leader].kill().await;
    let next = consul_leader(&mut servers).await;
    assert_ne!(next, leader);
    eventually("the service at the new leader", PATIENCE, async || {
        let answer = servers[next].ask(Ask::get("/v1/catalog/services")).await;
        (answer.status == 200 && answer.json()["web"].is_array()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn consul_denies_by_default_with_access_lists() {
    needs!(Consul);
    let token = "6a1253d2-1785-24fd-91c2-f8e78c745511";
    let acl = format!(
        "acl {{ enabled = true default_policy = \"deny\" tokens {{ initial_management = \"{token}\" agent = \"{token}\" }} }}"
    );
    let consul = Consul::build().config(&acl).token(token).start().await;
    consul.register(&json!({"Name": "web", "Port": 8080})).await;
    assert!(consul.services().await.contains(&"web".to_owned()));
    let anonymous = Place::Host.get(consul.address(), "/v1/catalog/services").await.expect("an answer");
    assert_eq!((anonymous.status, anonymous.body.trim()), (200, "{}"));
}

#[tokio::test]
async fn eureka_works() {
    needs!(Eureka);
    let mut eureka = Eureka::build().credentials("user", "pass").start().await;
    let many: Vec<_> = (0..50).map(|n| instance(&format!("app{n}"), "10.0.0.5", 8080, 90)).collect();
    eureka.register_all(&many).await;
    let app = eureka.apps("/APP7").await;
    assert_eq!(app["application"]["instance"][0]["ipAddr"], "10.0.0.5");
    assert!(eureka.renew("APP7", "10.0.0.5:app7:8080").await);
    eureka.override_status("APP7", "10.0.0.5:app7:8080", "OUT_OF_SERVICE").await;
    eventually("the status that was set", PATIENCE, async || {
        let app = eureka.apps("/APP7").await;
        (app["application"]["instance"][0]["status"] == "OUT_OF_SERVICE").then_some(())
    })
    .await;
    eureka.clear_override("APP7", "10.0.0.5:app7:8080", "UP").await;
    eureka.cancel("APP7", "10.0.0.5:app7:8080").await;
    eventually("the hash without it", PATIENCE, async || {
        (eureka.apps("").await["applications"]["apps__hashcode"] == "UP_49_").then_some(())
    })
    .await;
    let refused = Place::Host.get(eureka.address(), "/eureka/apps").await.expect("an answer");
    assert_eq!(refused.status, 401);
    eureka.kill().await;
    eureka.start_again().await;
    assert_eq!(eureka.apps("").await["applications"]["apps__hashcode"], "");
}

#[tokio::test]
async fn eureka_peers_tell_each_other() {
    needs!(Eureka);
    let [first, second] = Eureka::start_two().await;
    first.register(&instance("web", "10.0.0.5", 8080, 90)).await;
    eventually("the instance at the peer", PATIENCE, async || {
        (second.apps("").await["applications"]["apps__hashcode"] == "UP_1_").then_some(())
    })
    .await;
}

/// The judge finds nothing in Istio's own source, whichever way it is asked.
async fn judge_is_content_with_the_reference(flags: &[&str], counted: &str) {
    let serve: &[&str] = if flags.contains(&"-incremental") { &["-incremental"] } else { &[] };
    let (mut source, address) = RefSink::serve(serve).await;
    let mut sink = RefSink::pull(address, flags);
    let first = sink.update(SINK_ENTRIES).await;
    assert_eq!(first["resources"], json!(["test/s0", "test/s1", "test/s2"]));
    source.tell("entries 2").await;
    let second = sink.update(SINK_ENTRIES).await;
    assert_eq!((&second["held"], &second["outcome"]), (&json!(2), &json!("ack")));
    let report = sink.report().await;
    assert_eq!(report["counts"]["faults"], 0, "{report}");
    assert!(report["counts"][counted].as_u64().expect("a count") > 0, "{report}");
    assert_eq!(report["versions"].as_object().expect("by collection").len(), 18);
}

#[tokio::test]
async fn judge_of_the_legacy_wire_is_content_with_the_reference_source() {
    needs!(RefSink);
    judge_is_content_with_the_reference(&[], "full").await;
    judge_is_content_with_the_reference(&["-incremental"], "incremental").await;
}

#[tokio::test]
async fn judge_of_the_legacy_wire_finds_a_version_that_is_not_of_what_was_sent() {
    needs!(RefSink);
    let (_source, address) = RefSink::serve(&["-liar"]).await;
    let mut sink = RefSink::pull(address, &[]);
    let fault = sink.lines().next_where("a fault", |line| line["event"] == "fault").await;
    assert_eq!((&fault["rule"], &fault["collection"]), (&json!("version"), &json!(SINK_ENTRIES)));
}

#[tokio::test]
async fn spring_applications_find_and_call_each_other() {
    needs!(Eureka, Spring);
    let eureka = Eureka::start().await;
    let builder = Spring::build("pay-service").property("eureka.instance.metadata-map.zone", "z1");
    let (mut service, caller) =
        tokio::join!(builder.start(&eureka), Spring::build("caller").unregistered().start(&eureka));
    eventually("the caller to know the service", PATIENCE, async || {
        (caller.knows("PAY-SERVICE").await == [service.address().to_string()]).then_some(())
    })
    .await;
    let answer = caller.call("PAY-SERVICE", "/").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, service.id().as_str()));
    let registered = eureka.apps("/PAY-SERVICE").await;
    assert_eq!(registered["application"]["instance"][0]["metadata"]["zone"], "z1");
    service.stop().await;
    eventually("the caller to know of its end", PATIENCE, async || {
        caller.knows("PAY-SERVICE").await.is_empty().then_some(())
    })
    .await;
}

const ENTRY: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: web, namespace: chandler}
spec:
  hosts: [web.example.internal]
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.5}]
";

#[tokio::test]
async fn galley_serves_a_pilot_and_the_judge_finds_its_versions_to_be_counters() {
    needs!(Galley, Pilot15, RefSink);
    let galley = Galley::start(&[("web.yaml", ENTRY)]).await;
    let pilot = Pilot::start(Release::V1_5, galley.address()).await;
    assert_eq!(pilot.objects().await, ["chandler/web"]);
    pilot.endpoints_are(HOST, &["10.0.0.5:8080"]).await;
    let mut sink = RefSink::pull(galley.address(), &["-release", "1.5"]);
    sink.lines().next_where("a fault", |line| line["rule"] == "version").await;
    let mut sink = RefSink::pull(galley.address(), &["-release", "1.5", "-versions=false"]);
    assert_eq!(sink.update(SINK_ENTRIES).await["held"], 1);
    assert_eq!(sink.report().await["counts"]["faults"], 0);
}
