//! Lost leaders, lost rights, lost memory, and TLS: nothing is taken away that is still there.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, SOON, settings, tls, token, token_file};
use crate::support::{Ask, Consul, ConsulAge, consul_leader, eventually};
use crate::{needs, settled};

const MASTER: &str = "6a1253d2-1785-24fd-91c2-f8e78c745511";

fn at(consul: &Consul) -> Vec<String> {
    vec![format!("http://{}", consul.address())]
}

async fn denying(age: ConsulAge) -> Consul {
    let first = match age {
        ConsulAge::Newest => "initial_management",
        ConsulAge::Old => "master",
    };
    let acl = format!(
        "acl {{ enabled = true default_policy = \"deny\" tokens {{ {first} = \"{MASTER}\" agent = \"{MASTER}\" }} }}"
    );
    let consul = Consul::build().age(age).config(&acl).token(MASTER).start().await;
    // The old one knows its first token only some time after it has a leader.
    let known = async || (consul.ask(Ask::get("/v1/acl/policies")).await.status == 200).then_some(());
    eventually("the first token to be known", SOON, known).await;
    consul.register(&json!({"Name": "web", "Port": 80})).await;
    consul.register(&json!({"Name": "db", "Port": 80})).await;
    settled(&consul, &["db", "web"]).await;
    consul
}

/// A token with these rules.
async fn granted(consul: &Consul, policy: &str, rules: &str) -> String {
    consul.put("/v1/acl/policy", &json!({"Name": policy, "Rules": rules})).await;
    let made = consul.put("/v1/acl/token", &json!({"Policies": [{"Name": policy}]})).await;
    made["SecretID"].as_str().unwrap().to_owned()
}

const ALL: &str = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
const WEB: &str = r#"service "web" { policy = "read" } node_prefix "" { policy = "read" }"#;
const NO_NODES: &str = r#"service_prefix "" { policy = "read" }"#;

#[tokio::test]
async fn a_token_that_is_revoked_ends_the_life_and_a_new_one_in_its_file_is_used() {
    needs!(Consul);
    a_token_is_revoked(ConsulAge::Newest).await;
}

#[tokio::test]
async fn a_token_that_is_revoked_at_the_old_consul_ends_the_life_as_well() {
    needs!(ConsulOld);
    a_token_is_revoked(ConsulAge::Old).await;
}

async fn a_token_is_revoked(age: ConsulAge) {
    let consul = denying(age).await;
    let first = granted(&consul, "all", ALL).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, format!("{first}\n")).unwrap();
    let mut with_file = settings(&at(&consul));
    with_file.http.credentials = token_file(file.clone());
    let mut bench = Bench::read(with_file).await;
    assert_eq!(bench.world.keys().collect::<Vec<_>>(), ["consul", "db", "web"]);

    let own: Value = consul.get(&format!("/v1/acl/token/self?token={first}")).await;
    consul
        .ask(Ask::new("DELETE", format!("/v1/acl/token/{}", own["AccessorID"].as_str().unwrap())))
        .await
        .ok();
    let why = bench.end().await.unwrap_err().to_string();
    assert!(why.contains("403") && why.contains("check the token") && !why.contains(&first), "{why}");
    assert_eq!(bench.world.len(), 3, "what is known stays");
    // The next life is refused as well, until somebody writes the file.
    bench.live();
    assert!(bench.end().await.is_err());
    let second = granted(&consul, "all2", ALL).await;
    std::fs::write(&file, second).unwrap();
    bench.live();
    bench.until("a second read", |b| b.resets == 2).await;
    assert_eq!(bench.world.len(), 3);
    bench.stop().await;
}

#[tokio::test]
async fn rights_that_are_lost_while_running_are_a_doubtful_read_and_come_back() {
    needs!(Consul);
    let consul = denying(ConsulAge::Newest).await;
    let limited = granted(&consul, "some", ALL).await;
    let mut with_token = settings(&at(&consul));
    with_token.http.credentials = token(&limited);
    let mut bench = Bench::read(with_token).await;
    assert_eq!((bench.resets, bench.world.len()), (1, 3));
    let policy = consul.get("/v1/acl/policy/name/some").await;
    let id = policy["ID"].as_str().unwrap();
    let change = async |rules: &str| {
        consul.put(&format!("/v1/acl/policy/{id}"), &json!({"ID": id, "Name": "some", "Rules": rules})).await
    };
    for rules in [WEB, NO_NODES] {
        change(rules).await;
        // Who waits already is answered with the rights he had, here because something changes; the next to wait is not.
        let more = bench.endpoints("web").len();
        consul.register(&json!({"Name": "web", "ID": format!("web-{more}"), "Port": 81})).await;
        bench.until("the doubt", |b| b.doubt.is_some()).await;
        assert!(bench.doubt.as_ref().unwrap().contains("want of rights"), "{:?}", bench.doubt);
        let named = async || bench.problem().contains("node:read").then_some(());
        eventually("what to do about it", SOON, named).await;
        assert_eq!(bench.world.len(), 3, "nothing is taken away");
        change(ALL).await;
        bench.until("all rights again", |b| b.doubt.is_none()).await;
        bench.until_well().await;
        assert_eq!(bench.world.len(), 3);
    }
    bench.stop().await;
}

#[tokio::test]
async fn who_may_read_some_services_only_has_these() {
    needs!(Consul);
    let consul = denying(ConsulAge::Newest).await;
    let limited = granted(&consul, "web", WEB).await;
    let mut with_token = settings(&at(&consul));
    with_token.http.credentials = token(&limited);
    let mut bench = Bench::read(with_token).await;
    assert_eq!(bench.world.keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(bench.doubt, None);
    consul.register(&json!({"Name": "web", "Port": 81})).await;
    bench.until("its change", |b| b.endpoints("web")[0].ends_with("One(81)")).await;
    assert_eq!(bench.resets, 1);
    bench.stop().await;
}

#[tokio::test]
async fn who_shows_no_token_and_sees_nothing_is_told_so_and_not_believed() {
    needs!(Consul);
    let consul = denying(ConsulAge::Newest).await;
    let bench = Bench::read(settings(&at(&consul))).await;
    assert!(
        bench.doubt.as_ref().unwrap().contains("tokenFile") && bench.world.is_empty(),
        "{}",
        bench.shown()
    );
    let mut wrong = settings(&at(&consul));
    wrong.http.credentials = token("11111111-2222-3333-4444-555555555555");
    let mut bench = Bench::new(wrong);
    bench.live();
    let why = bench.end().await.unwrap_err().to_string();
    assert!(why.contains("ACL not found") && !why.contains("11111111-2222"), "{why}");
}

#[tokio::test]
async fn an_agent_that_restarts_empty_takes_nothing_away() {
    needs!(Consul);
    an_agent_restarts_empty(ConsulAge::Newest).await;
}

#[tokio::test]
async fn an_old_agent_that_restarts_empty_takes_nothing_away() {
    needs!(ConsulOld);
    an_agent_restarts_empty(ConsulAge::Old).await;
}

async fn an_agent_restarts_empty(age: ConsulAge) {
    let mut consul = Consul::build().age(age).start().await;
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        consul.register(&json!({"Name": name, "Port": 80, "Address": "10.0.0.1"})).await;
    }
    settled(&consul, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]).await;
    let mut bench = Bench::read(settings(&at(&consul))).await;
    assert_eq!(bench.world.len(), 11);
    consul.kill().await;
    assert!(bench.end().await.is_err(), "it ends with the connection");
    consul.start_again().await;
    settled(&consul, &[]).await;
    bench.follow("another read", |b| b.resets > 1 || b.doubt.is_some()).await;
    let doubt = bench.doubt.clone().expect("a restart that lost everything is not believed");
    assert!(doubt.contains("went back") && doubt.contains("a, b, c and 7 more"), "{doubt}");
    assert_eq!(bench.world.len(), 11);
    // What is said about what is there is heard, and what is new.
    consul.register(&json!({"Name": "a", "Port": 81, "Address": "10.0.0.1"})).await;
    consul.register(&json!({"Name": "new", "Port": 80, "Address": "10.0.0.2"})).await;
    bench.until("both", |b| b.service("new").is_some() && b.endpoints("a")[0].ends_with("One(81)")).await;
    for name in ["b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        consul.register(&json!({"Name": name, "Port": 80, "Address": "10.0.0.1"})).await;
    }
    bench.until("the end of the doubt", |b| b.doubt.is_none() && b.resets == 2).await;
    bench.until_well().await;
    assert_eq!(bench.world.len(), 12);
    bench.stop().await;
}

#[tokio::test]
async fn a_leader_that_dies_costs_nothing_and_its_successor_is_heard() {
    needs!(Consul);
    a_leader_dies(ConsulAge::Newest).await;
}

#[tokio::test]
async fn a_leader_of_old_servers_that_dies_costs_nothing_as_well() {
    needs!(ConsulOld);
    a_leader_dies(ConsulAge::Old).await;
}

async fn a_leader_dies(age: ConsulAge) {
    let mut servers = Consul::build().age(age).start_three().await;
    let leader = consul_leader(&mut servers).await;
    let far = |port: u16| json!({"Node": "far", "Address": "10.0.0.9", "Service": {"Service": "web", "Port": port}});
    servers[leader].register_in_catalog(&far(80)).await;
    // The leader is asked first; the others are there to fail over to.
    let mut order: Vec<usize> = (0..3).collect();
    order.swap(0, leader);
    let addresses: Vec<String> = order.iter().map(|n| format!("http://{}", servers[*n].address())).collect();
    let mut bench = Bench::read(settings(&addresses)).await;
    assert_eq!(bench.endpoints("web").len(), 1);
    servers[leader].kill().await;
    let next = consul_leader(&mut servers).await;
    servers[next].register_in_catalog(&far(81)).await;
    bench.follow("what the successor says", |b| b.endpoints("web")[0].ends_with("One(81)")).await;
    assert_eq!((bench.endpoints("web").len(), &bench.doubt), (1, &None));
    bench.stop().await;
}

#[tokio::test]
async fn an_address_that_nobody_answers_costs_one_attempt_and_no_more() {
    needs!(Consul);
    let consul = Consul::start().await;
    settled(&consul, &[]).await;
    let nobody = format!("http://{}", crate::support::free_address());
    let mut both = settings(&[nobody.clone(), at(&consul)[0].clone()]);
    both.http.limits.connect = Duration::from_secs(2);
    let bench = Bench::read(both).await;
    assert_eq!(bench.world.len(), 1);
    bench.stop().await;
    let mut bench = Bench::new(settings(std::slice::from_ref(&nobody)));
    bench.live();
    let why = bench.end().await.unwrap_err().to_string();
    assert!(why.contains(&nobody) && why.contains("check the address"), "{why}");
}

/// `ca.pem`, and what it has signed: `server` and `client`, each with `.pem` and `.key`.
fn certificates(dir: &std::path::Path) {
    let path = |name: &str| dir.join(name);
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = parameters.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, ca_key);
    std::fs::write(path("ca.pem"), ca.pem()).unwrap();
    // The server's does not name the address under which it is reached here.
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["server.dc1.consul".to_owned()];
        let cert = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        std::fs::write(path(&format!("{name}.pem")), cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn tls_with_a_private_authority_and_a_client_certificate() {
    needs!(Consul);
    tls_and_a_client_certificate(ConsulAge::Newest).await;
}

#[tokio::test]
async fn the_old_consul_speaks_tls_as_well() {
    needs!(ConsulOld);
    tls_and_a_client_certificate(ConsulAge::Old).await;
}

async fn tls_and_a_client_certificate(age: ConsulAge) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    certificates(dir.path());
    let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let consul = Consul::build().age(age).https(&cert, &key, &ca).start().await;
    consul.register_in_catalog(&json!({"Node": "far", "Address": "10.7.0.1"})).await;
    let set = |n: usize| {
        let service = json!({"ID": format!("s{n}"), "Service": format!("s{n}"), "Port": 80});
        json!({"Service": {"Verb": "set", "Node": "far", "Service": service}})
    };
    consul.transact(&(0..1000).map(set).collect::<Vec<_>>()).await;
    let over_tls = |ca: Option<&str>, identity: bool| {
        let mut settings = settings(&[format!("https://{}", consul.https_address())]);
        let identity = identity.then(|| (path("client.pem"), path("client.key")));
        if let Some(ca) = ca {
            settings.http.tls = tls(path(ca), identity);
            settings.http.tls.server_name = Some("server.dc1.consul".to_owned());
        }
        settings
    };
    let under = |name: Option<&str>| {
        let mut settings = over_tls(Some("ca.pem"), true);
        settings.http.tls.server_name = name.map(str::to_owned);
        settings
    };
    // A thousand services, each with a query of its own: HTTP/2 carries them over few connections.
    let mut bench = Bench::read(over_tls(Some("ca.pem"), true)).await;
    assert_eq!(bench.world.len(), 1001);
    consul.register(&json!({"Name": "late", "Port": 80})).await;
    bench.until("a change", |b| b.service("late").is_some()).await;
    bench.until_well().await;
    assert_eq!(bench.resets, 1);
    bench.stop().await;
    // The server's own certificate in the file, and no authority.
    Bench::read(over_tls(Some("server.pem"), true)).await.stop().await;
    for (settings, words) in [
        (over_tls(None, false), "`tls.caFile`"),
        (over_tls(Some("client.pem"), true), "TLS: "),
        (under(None), "TLS: "),
        (under(Some("server.dc2.consul")), "TLS: "),
        (over_tls(Some("ca.pem"), false), "`tls.certFile`"),
        (over_tls(Some("missing.pem"), true), "missing.pem cannot be read"),
        (over_tls(Some("server.key"), true), "server.key holds no certificate"),
        (crate::bench::settings(&[format!("https://{}", consul.address())]), "`http://`"),
        (crate::bench::settings(&[format!("http://{}", consul.https_address())]), "HTTPS server"),
    ] {
        let mut bench = Bench::new(settings);
        bench.live();
        let why = bench.end().await.unwrap_err().to_string();
        assert!(why.contains(words), "{words}: {why}");
    }
}
