//! What real providers register, of every age that is in use and at every level, and what becomes of it when they come,
//! end, die and move, and when ZooKeeper does.

use chandler::model::change::Cause;
use chandler::model::endpoint::EndpointPorts;
use chandler::model::service::Service;
use chandler::registry::zookeeper::{By, DubboSettings, LayoutSettings, ZooKeeperSettings};

use crate::support::{
    Chandler, Dubbo, DubboAge, DubboBuilder, GREET, Spring, ZooKeeper, eventually, free_port,
    zookeeper_leader,
};
use crate::world::{PERSISTENT, SOON, Watches, World, Writer, encoded, settings};

const FIRST: &str = "10.20.0.1";
const SECOND: &str = "10.20.0.2";
/// By interface, by application, and both again in a group and a version.
const PLAIN: &str = "/dubbo/greet.GreetService";
const GRAY: &str = "/dubbo/gray/greet.GreetService:1.0.0";
const APPLICATION: &str = "/dubbo#greeter";

fn settings_by(servers: &[&ZooKeeper], by: By) -> ZooKeeperSettings {
    let mut settings = settings(servers);
    settings.layouts[0] = LayoutSettings::Dubbo(DubboSettings::usual(by));
    settings
}

async fn world(server: &ZooKeeper, by: By) -> World {
    let mut world = World::start(settings_by(&[server], by), Watches::Recursive);
    world.until("the first read", |w| w.resets == 1).await;
    world
}

/// A provider of an application `greeter`, with all of its own defaults.
fn provider(age: DubboAge, server: &ZooKeeper) -> DubboBuilder {
    Dubbo::provider(age, "it").set("application", "greeter").registry(server.address())
}

/// `ADDRESS WEIGHT port=NUMBER … label=VALUE …` of each endpoint.
fn shown(service: Option<&Service>) -> Vec<String> {
    let endpoints = service.into_iter().flat_map(|s| &s.endpoints);
    let one = endpoints.map(|e| {
        let mut words = vec![e.address.to_string(), e.weight.thousandths().to_string()];
        match &e.ports {
            EndpointPorts::Named(ports) => words.extend(ports.iter().map(|(n, p)| format!("{n}={p}"))),
            other => words.push(format!("{other:?}")),
        }
        words.extend(e.labels.iter().map(|(k, v)| format!("{k}={v}")));
        words.join(" ")
    });
    one.collect()
}

fn of(world: &World, name: &str) -> Vec<String> {
    shown(world.services.get(name).map(|s| &**s))
}

/// How many instances the application has.
fn count(world: &World) -> usize {
    world.services.get(APPLICATION).map_or(0, |s| s.endpoints.len())
}

async fn comes_ends_dies_and_moves(age: DubboAge) {
    let server = ZooKeeper::build().start().await;
    let over = |host: &str, port: u16| provider(age, &server).host(host).protocols(&format!("dubbo:{port}"));
    let (first_port, second_port) = (free_port(), free_port());
    let mut first = over(FIRST, first_port).start().await;
    let mut world = world(&server, By::Both).await;
    world.until("the first", |w| count(w) == 1 && w.services.contains_key(PLAIN)).await;

    let mut second = over(SECOND, second_port).start().await;
    world.until("the second", |w| count(w) == 2 && of(w, PLAIN).len() == 2).await;
    second.stop().await;
    world.until("its orderly end", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;

    let mut second = over(SECOND, second_port).start().await;
    world.until("its return", |w| count(w) == 2).await;
    second.kill().await;
    world.until("the end of its session", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;

    let moved = free_port();
    first.stop().await;
    let _first = over(FIRST, moved).start().await;
    let there = format!("tcp-dubbo={moved}");
    world.until("the other port", |w| of(w, APPLICATION).iter().any(|e| e.contains(&there))).await;
    world.until("nothing else", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;
    assert_eq!((world.resets, world.doubts.len()), (1, 0), "all of it was changes");
    let gone = world.changes.iter().filter_map(|(_, cause)| *cause);
    assert!(gone.clone().all(|cause| cause == Cause::Deregistered), "{:?}", gone.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_provider_comes_ends_dies_and_moves() {
    needs!(ZooKeeper, Dubbo33);
    comes_ends_dies_and_moves(DubboAge::V3_3).await;
}

#[tokio::test]
async fn a_provider_of_2_7_comes_ends_dies_and_moves() {
    needs!(ZooKeeper, Dubbo27);
    comes_ends_dies_and_moves(DubboAge::V2_7).await;
}

#[tokio::test]
async fn a_provider_of_3_2_comes_ends_dies_and_moves() {
    needs!(ZooKeeper, Dubbo32, LongRuns);
    comes_ends_dies_and_moves(DubboAge::V3_2).await;
}

/// What is said of one provider that registers `so`, of two services over two protocols: the same, whatever the level.
async fn says_the_same(age: DubboAge, protocols: &str, so: impl Fn(DubboBuilder) -> DubboBuilder) {
    let server = ZooKeeper::build().start().await;
    let (dubbo, triple) = (free_port(), free_port());
    let listen = protocols.replace('D', &dubbo.to_string()).replace('T', &triple.to_string());
    let provider = provider(age, &server).protocols(&listen).set("services", "::150:;gray:1.0.0:50:gray");
    let mut provider = so(provider).start().await;
    let mut world = world(&server, By::Both).await;
    let mut ports = vec![format!("tcp-dubbo={dubbo}")];
    if protocols.contains('T') {
        ports.insert(0, format!("grpc-tri={triple}"));
    }
    // What instances say themselves may come after the first read.
    let ready = |w: &World| {
        let is = |name: &str, words: &[&str]| {
            let all = of(w, name);
            all.len() == 1
                && ports.iter().all(|p| all[0].contains(p))
                && words.iter().all(|word| all[0].contains(word))
        };
        is(PLAIN, &[" 1500 ", "application=greeter"])
            && is(GRAY, &[" 500 ", "dubbo.tag=gray", "group=gray", "version=1.0.0"])
            && is(APPLICATION, &[" 1500 "])
    };
    let what = format!("{age:?} over {listen}");
    world.until(&what, ready).await;
    assert_eq!(world.services.len(), 3, "and nothing is shown twice: {:?}", world.services.keys());
    world.until_well().await;
    provider.stop().await;
    world.until("its end", |w| w.services.is_empty()).await;
}

#[tokio::test]
async fn a_provider_that_registers_its_interfaces_says_all_of_it() {
    needs!(ZooKeeper, Dubbo33);
    says_the_same(DubboAge::V3_3, "dubbo:D,tri:T", |p| p.register_mode("interface")).await;
}

#[tokio::test]
async fn a_provider_that_registers_as_an_instance_says_the_same_when_it_is_asked_over_triple() {
    needs!(ZooKeeper, Dubbo33);
    says_the_same(DubboAge::V3_3, "dubbo:D,tri:T", |p| p.register_mode("instance")).await;
}

#[tokio::test]
async fn a_provider_that_registers_as_an_instance_says_the_same_when_it_is_asked_over_dubbos_protocol() {
    needs!(ZooKeeper, Dubbo33);
    says_the_same(DubboAge::V3_3, "dubbo:D", |p| p.register_mode("instance")).await;
}

#[tokio::test]
async fn a_provider_that_registers_as_an_instance_says_the_same_in_the_metadata_report() {
    needs!(ZooKeeper, Dubbo33);
    // Where its address leads nowhere, nobody can ask it.
    let reported = |p: DubboBuilder| {
        p.register_mode("instance").set("dubbo.application.metadata-type", "remote").host(FIRST)
    };
    says_the_same(DubboAge::V3_3, "dubbo:D,tri:T", reported).await;
}

#[tokio::test]
async fn a_provider_that_registers_at_both_levels_says_the_same_and_is_not_shown_twice() {
    needs!(ZooKeeper, Dubbo33);
    says_the_same(DubboAge::V3_3, "dubbo:D,tri:T", |p| p.register_mode("all")).await;
}

#[tokio::test]
async fn providers_of_3_2_say_the_same_at_every_level() {
    needs!(ZooKeeper, Dubbo32, LongRuns);
    for mode in ["interface", "instance", "all"] {
        says_the_same(DubboAge::V3_2, "dubbo:D,tri:T", |p| p.register_mode(mode)).await;
        says_the_same(DubboAge::V3_2, "dubbo:D", |p| p.register_mode(mode)).await;
    }
}

#[tokio::test]
async fn a_provider_of_2_7_says_the_same() {
    needs!(ZooKeeper, Dubbo27);
    says_the_same(DubboAge::V2_7, "dubbo:D", |p| p).await;
}

/// 2.7 writes an instance without a revision, and nothing that could be asked for what it provides.
#[tokio::test]
async fn a_provider_of_2_7_that_registers_as_an_instance_is_one_of_its_application() {
    needs!(ZooKeeper, Dubbo27, LongRuns);
    let server = ZooKeeper::build().start().await;
    let port = free_port();
    let instance = provider(DubboAge::V2_7, &server).host(FIRST).protocols(&format!("dubbo:{port}"));
    let mut instance = instance.set("registry.parameters", "registry-type=service").start().await;
    let mut world = world(&server, By::Both).await;
    let there = format!("tcp-dubbo={port}");
    world.until("the instance", |w| count(w) == 1 && of(w, APPLICATION)[0].contains(&there)).await;
    instance.stop().await;
    world.until("its end", |w| w.services.is_empty()).await;
}

#[tokio::test]
async fn a_rule_changes_the_weight_of_a_real_provider_and_its_end_changes_it_back() {
    needs!(ZooKeeper, Dubbo33);
    let server = ZooKeeper::build().start().await;
    let port = free_port();
    let (first, second) = (provider(DubboAge::V3_3, &server), provider(DubboAge::V3_3, &server));
    let first = first.host(FIRST).protocols(&format!("dubbo:{}", free_port()));
    let second = second.host(SECOND).protocols(&format!("dubbo:{port}"));
    let (_first, _second) = tokio::join!(first.start(), second.start());
    let mut world = world(&server, By::Both).await;
    let weights = |w: &World, first: u32, second: u32| {
        let want = [format!("{FIRST} {first}"), format!("{SECOND} {second}")];
        w.endpoints(PLAIN) == want && w.endpoints(APPLICATION) == want
    };
    world.until("both", |w| weights(w, 1000, 1000)).await;
    let writer = Writer::of(&server).await;
    let rule = encoded(&format!(
        "override://{SECOND}:{port}/{GREET}?category=configurators&weight=300&enabled=true"
    ));
    let rule = format!("{PLAIN}/configurators/{rule}");
    writer.put(&rule, "", &PERSISTENT).await;
    world.until("the rule", |w| weights(w, 1000, 3000)).await;
    writer.delete(&rule).await;
    world.until("its end", |w| weights(w, 1000, 1000)).await;
}

#[tokio::test]
async fn a_killed_leader_takes_no_provider_away() {
    needs!(ZooKeeper, Dubbo33, LongRuns);
    let mut servers = ZooKeeper::build().start_three().await;
    let all: Vec<_> = servers.iter().map(ZooKeeper::address).collect();
    let over = |host: &str| {
        let provider = Dubbo::provider(DubboAge::V3_3, "it").set("application", "greeter").registries(&all);
        provider.host(host).protocols(&format!("dubbo:{}", free_port()))
    };
    let _first = over(FIRST).start().await;
    let mut world =
        World::start(settings_by(&servers.iter().collect::<Vec<_>>(), By::Both), Watches::Recursive);
    world.until("the first", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;
    let leader = zookeeper_leader(&servers).unwrap();
    servers[leader].kill().await;
    // It registers under the new leader.
    let _second = over(SECOND).start().await;
    world.until("the second", |w| count(w) == 2 && of(w, PLAIN).len() == 2).await;
    assert!(world.changes.iter().all(|(_, cause)| cause.is_none()), "{:?}", world.changes);
    assert!(world.doubts.is_empty(), "{:?}", world.doubts);
}

#[tokio::test]
async fn providers_register_again_with_a_server_that_lost_its_data_and_are_held_until_then() {
    needs!(ZooKeeper, Dubbo33);
    let mut server = ZooKeeper::build().start().await;
    let one = provider(DubboAge::V3_3, &server).protocols(&format!("dubbo:{}", free_port()));
    let mut one = one.start().await;
    let mut world = world(&server, By::Both).await;
    world.until("the provider", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;
    // It may not register again before it was noticed that it is not there.
    one.process().signal("STOP").await;
    server.kill().await;
    server.start_again(false).await;
    world.until("doubt", |w| !w.doubts.is_empty()).await;
    assert_eq!((count(&world), world.resets), (1, 1), "what is known stays");
    one.process().signal("CONT").await;
    world.until("a believed read", |w| w.resets == 2).await;
    // Its interface it does not register again: it takes the folders for there. It is asked what it provides.
    world.until("the provider again", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;
    assert!(world.changes.iter().all(|(_, cause)| cause.is_none()), "{:?}", world.changes);
}

#[tokio::test]
async fn providers_stay_while_a_server_restarts_with_its_data() {
    needs!(ZooKeeper, Dubbo33, LongRuns);
    let mut server = ZooKeeper::build().start().await;
    let one = provider(DubboAge::V3_3, &server).host(FIRST).protocols(&format!("dubbo:{}", free_port()));
    let _one = one.start().await;
    let mut world = world(&server, By::Both).await;
    world.until("the provider", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;
    server.kill().await;
    server.start_again(true).await;
    world.until("a second read", |w| w.resets == 2).await;
    world.until("the provider", |w| count(w) == 1 && of(w, PLAIN).len() == 1).await;
    assert!(world.doubts.is_empty(), "{:?}", world.doubts);
}

/// Whether the application is served with this one endpoint.
async fn served(chandler: &Chandler, host: &str) -> Option<()> {
    let row = chandler.api("/api/v1/resources?collection=serviceentries&name=chandler/greeter.dubbo").await;
    let endpoints = row["object"]["spec"]["endpoints"].as_array()?;
    (endpoints.len() == 1 && endpoints[0]["address"] == host).then_some(())
}

#[tokio::test]
async fn a_program_whose_session_expired_serves_the_providers_of_now() {
    needs!(ZooKeeper, Dubbo33);
    let server = ZooKeeper::build().start().await;
    let over = |host: &str| {
        provider(DubboAge::V3_3, &server).host(host).protocols(&format!("dubbo:{}", free_port()))
    };
    let mut first = over(FIRST).start().await;
    let zk = format!("zookeeper: {{servers: ['{}'], sessionTimeout: 4s}}", server.address());
    let registries = format!("- name: zk\n  {zk}\n  guard: {{confirmReads: 1, removalHold: 1s}}\n");
    let mut chandler = Chandler::build().registries(&registries).start().await;
    chandler.synced().await;
    eventually("the first provider", SOON, async || served(&chandler, FIRST).await).await;
    let sessions = server.metric("zk_global_sessions").unwrap();
    chandler.process().signal("STOP").await;
    server.sessions(sessions - 1).await;
    first.stop().await;
    let _second = over(SECOND).start().await;
    chandler.process().signal("CONT").await;
    chandler.process().wait_for_log("the ZooKeeper session expired").await;
    eventually("the second provider alone", SOON, async || served(&chandler, SECOND).await).await;
}

#[tokio::test]
async fn an_instance_that_curator_registers_comes_ends_and_dies() {
    needs!(ZooKeeper, Dubbo33);
    let server = ZooKeeper::build().start().await;
    let at = [server.address()];
    let first = Dubbo::curator(&at, "stock", FIRST).set("payload", "zone:z1,version:2");
    let mut first = first.start().await;
    let mut world = world(&server, By::Application).await;
    world.until("the first", |w| w.endpoints("/services#stock") == [format!("{FIRST} 1000")]).await;
    let second = Dubbo::curator(&at, "stock", SECOND).set("ssl", "8443");
    let mut second = second.start().await;
    world.until("the second", |w| w.endpoints("/services#stock").len() == 2).await;
    first.stop().await;
    world.until("an orderly end", |w| w.endpoints("/services#stock") == [format!("{SECOND} 1000")]).await;
    second.kill().await;
    world.until("the end of its session", |w| !w.services.contains_key("/services#stock")).await;
    assert_eq!(world.resets, 1);
}

#[tokio::test]
async fn a_spring_cloud_application_comes_ends_and_dies() {
    needs!(ZooKeeper, Spring, LongRuns);
    let server = ZooKeeper::build().start().await;
    let mut first = Spring::build("stock-service").start_with_zookeeper(server.address()).await;
    let mut world = world(&server, By::Application).await;
    let at = |s: &Spring| s.address().port().to_string();
    let ports = |w: &World| of(w, "/services#stock-service");
    let one = at(&first);
    world.until("the first", |w| ports(w).len() == 1 && ports(w)[0].contains(&one)).await;
    let mut second = Spring::build("stock-service").start_with_zookeeper(server.address()).await;
    world.until("the second", |w| ports(w).len() == 2).await;
    first.stop().await;
    let two = at(&second);
    world.until("an orderly end", |w| ports(w).len() == 1 && ports(w)[0].contains(&two)).await;
    second.kill().await;
    world.until("the end of its session", |w| !w.services.contains_key("/services#stock-service")).await;
    assert_eq!(world.resets, 1);
}
