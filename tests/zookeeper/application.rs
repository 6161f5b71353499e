//! Applications that register themselves: what is said of them, and when it has to be asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chandler::registry::zookeeper::{By, DubboSettings, LayoutSettings, ZooKeeperSettings};
use chandler::runtime::supervise::Owned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::{ZooKeeper, eventually};
use crate::world::{EPHEMERAL, PERSISTENT, SHORT, SOON, Watches, World, Writer, provider, settings};

/// What Dubbo 3.3.6 answered: `greet.GreetService`, weighing 150, and in group gray and version 1.0.0, weighing 50.
const ANSWER: &[u8] = include_bytes!("../../src/registry/zookeeper/ask/golden/dubbo-3.3.6.bin");
const GREET: &str = "/dubbo/greet.GreetService";
const GRAY: &str = "/dubbo/gray/greet.GreetService:1.0.0";

/// What an instance's service for metadata does once it is asked.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Answers,
    Hangs,
    /// Announces 100 MB and sends zeroes.
    Floods,
}

/// Such a service, and how often it was asked.
struct Metadata {
    at: SocketAddr,
    asked: Arc<AtomicUsize>,
    _task: Owned,
}

impl Metadata {
    async fn that(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        let task = Owned::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                running.spawn(serve(stream, manner, Arc::clone(&count)));
            }
        });
        Self { at, asked, _task: task }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// An instance at `address` over Dubbo's protocol that says `revision` and that this one knows more.
    fn instance(&self, address: &str, port: u16, revision: &str) -> String {
        instance(address, port, revision, self.at.port())
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, asked: Arc<AtomicUsize>) {
    let mut header = [0; 16];
    if stream.read_exact(&mut header).await.is_err() {
        return;
    }
    let mut body = vec![0; u32::from_be_bytes(header[12..].try_into().unwrap()) as usize];
    stream.read_exact(&mut body).await.unwrap();
    asked.fetch_add(1, Ordering::Relaxed);
    match manner {
        Manner::Answers => stream.write_all(ANSWER).await.unwrap(),
        Manner::Hangs => std::future::pending().await,
        Manner::Floods => {
            let mut flood = ANSWER[..16].to_vec();
            flood[12..].copy_from_slice(&100_000_000_u32.to_be_bytes());
            flood.resize(100_000_000, 0);
            // It is hung up on.
            drop(stream.write_all(&flood).await);
        }
    }
}

/// As Dubbo writes it. The metadata's service is on this machine, which is where the tests are.
fn instance(address: &str, port: u16, revision: &str, service: u16) -> String {
    format!(
        r#"{{"name":"x","id":"x","address":"{address}","port":{port},"payload":{{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance",
        "metadata":{{"dubbo.endpoints":"[{{\"port\":{port},\"protocol\":\"dubbo\"}}]","dubbo.metadata.storage-type":"local",
        "dubbo.metadata-service.url-params":"{{\"version\":\"1.0.0\",\"port\":\"{service}\",\"protocol\":\"dubbo\"}}",
        "dubbo.metadata.revision":"{revision}","timestamp":"1795264922572"}}}},"serviceType":"DYNAMIC"}}"#
    )
}

fn settings_by(server: &ZooKeeper, by: By) -> ZooKeeperSettings {
    let mut settings = settings(&[server]);
    settings.layouts[0] = LayoutSettings::Dubbo(DubboSettings::usual(by));
    settings
}

async fn world_by(server: &ZooKeeper, by: By, watches: Watches) -> World {
    let mut world = World::start(settings_by(server, by), watches);
    world.until("the first read", |w| w.resets == 1).await;
    world
}

async fn comes_changes_and_goes(watches: Watches) {
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let silent = Metadata::that(Manner::Hangs).await;
    let mut world = world_by(&server, By::Application, watches).await;
    let one = "/services/app/127.0.0.1:1";
    writer.put(one, &silent.instance("127.0.0.1", 1, "r1"), &EPHEMERAL).await;
    world.until("an instance of which nobody tells anything", |w| w.endpoints("/dubbo#app").len() == 1).await;
    assert_eq!(world.endpoints("/dubbo#app"), ["127.0.0.1 1000"]);
    let report = r#"{"app":"app","revision":"r1","services":{"a.A:dubbo":{"name":"a.A","protocol":"dubbo","port":1,"params":{"weight":"50"}}}}"#;
    writer.put("/dubbo/metadata/app/r1", report, &PERSISTENT).await;
    world.until("its report", |w| w.endpoints("/dubbo#app") == ["127.0.0.1 500"]).await;
    assert!(!world.services.contains_key("/services#app"), "it is not Curator's");
    // On the same node, as when a service is exported late.
    writer.0.set_data(one, silent.instance("127.0.0.1", 1, "r2").as_bytes(), None).await.unwrap();
    writer.put("/services/app/127.0.0.1:2", &silent.instance("127.0.0.1", 2, "r1"), &EPHEMERAL).await;
    world.until("a second instance", |w| w.endpoints("/dubbo#app").len() == 2).await;
    assert_eq!(
        world.endpoints("/dubbo#app"),
        ["127.0.0.1 500", "127.0.0.1 500"],
        "what was known stays known"
    );
    writer.delete("/services/app/127.0.0.1:2").await;
    world.until("its end", |w| w.endpoints("/dubbo#app").len() == 1).await;
    writer.delete(one).await;
    world.until("the end", |w| w.services.is_empty()).await;
    assert_eq!(world.resets, 1);
}

#[tokio::test]
async fn an_application_is_there_before_anybody_tells_what_it_provides() {
    needs!(ZooKeeper);
    comes_changes_and_goes(Watches::Recursive).await;
}

#[tokio::test]
async fn the_same_holds_for_applications_without_recursive_watches() {
    needs!(ZooKeeper);
    comes_changes_and_goes(Watches::OneShot).await;
}

#[tokio::test]
async fn providers_that_hang_or_flood_delay_only_what_only_they_know() {
    needs!(ZooKeeper);
    let mut server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let [good, hangs, floods] = [Manner::Answers, Manner::Hangs, Manner::Floods].map(Metadata::that);
    let (good, hangs, floods) = tokio::join!(good, hangs, floods);
    let persistent = "/services/good/127.0.0.1:1";
    writer.put(persistent, &good.instance("127.0.0.1", 1, "r1"), &PERSISTENT).await;
    for n in 0..40 {
        let path = format!("/services/hangs{n:02}/127.0.0.1:9");
        writer.put(&path, &hangs.instance("127.0.0.1", 9, "r1"), &PERSISTENT).await;
    }
    writer.put("/services/a-flood/127.0.0.1:9", &floods.instance("127.0.0.1", 9, "r1"), &PERSISTENT).await;
    let mut settings = settings_by(&server, By::Interface);
    settings.connect.session_timeout = SHORT;
    let mut world = World::start(settings, Watches::Recursive);
    // More of them hang than are asked at a time, so that a first read need not have waited for the good one.
    world.until("the good one", |w| w.services.len() == 2).await;
    let asked = good.asked();
    assert_eq!(world.endpoints(GREET), ["127.0.0.1 1500"]);
    assert_eq!(world.endpoints(GRAY), ["127.0.0.1 500"]);
    world.until_it_says("a-flood: revision r1: its interfaces are not known").await;
    world.until_it_says("it answers with 100000000 bytes").await;
    world.until_it_says("no answer within 3 s").await;

    writer.put(&provider("a.A", "127.0.0.1:1", ""), "", &PERSISTENT).await;
    world.until("a neighbour", |w| w.services.contains_key("/dubbo/a.A")).await;
    writer.put("/services/good/127.0.0.2:1", &good.instance("127.0.0.2", 1, "r1"), &PERSISTENT).await;
    world.until("another instance", |w| w.endpoints(GREET).len() == 2).await;
    assert_eq!(good.asked(), asked, "no revision again that is known");

    // What was learnt outlives the session.
    server.process().signal("STOP").await;
    eventually("a life that ended", SOON, async || (world.how().failures > 0).then_some(())).await;
    server.process().signal("CONT").await;
    world.until("all of it again", |w| w.resets >= 2).await;
    assert_eq!((world.services.len(), world.endpoints(GREET).len(), good.asked()), (3, 2, asked));
    assert!(world.changes.iter().all(|(_, cause)| cause.is_none()), "nothing went: {:?}", world.changes);
}

#[tokio::test]
async fn a_switch_between_the_levels_leaves_no_moment_without_endpoints() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let metadata = Metadata::that(Manner::Answers).await;
    let url = |port: u16| provider("greet.GreetService", &format!("127.0.0.1:{port}"), "weight=150");
    let node = |port: u16| format!("/services/app/127.0.0.1:{port}");
    for port in [1, 2, 3] {
        writer.put(&url(port), "", &EPHEMERAL).await;
    }
    let mut world = world_by(&server, By::Both, Watches::Recursive).await;
    let begun = world.endpoints(GREET);
    assert_eq!(begun.len(), 3);
    // One after the other: both levels, then applications only.
    for port in [1, 2, 3] {
        writer.put(&node(port), &metadata.instance("127.0.0.1", port, "r1"), &EPHEMERAL).await;
    }
    world.until("what is in the metadata only", |w| w.endpoints(GRAY).len() == 3).await;
    for port in [1, 2, 3] {
        writer.delete(&url(port)).await;
    }
    // A sign that everything before it has been seen.
    writer.put("/services/sign/1", r#"{"address":"10.0.0.9","port":80}"#, &EPHEMERAL).await;
    world.until("the sign", |w| w.services.contains_key("/services#sign")).await;
    assert_eq!(world.endpoints(GREET), begun);
    // And back.
    for port in [1, 2, 3] {
        writer.put(&url(port), "", &EPHEMERAL).await;
        writer.delete(&node(port)).await;
    }
    world.until("the end of what was in the metadata only", |w| !w.services.contains_key(GRAY)).await;
    assert_eq!(world.endpoints(GREET), begun);
    let went: Vec<_> = world.changes.iter().filter(|(_, cause)| cause.is_some()).map(|(n, _)| n).collect();
    assert_eq!(went, [GRAY], "nothing else went at any time");
    let others =
        world.counts.iter().filter(|(name, count)| name != GRAY && name != "/services#sign" && *count != 3);
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&(String, usize)>::new(), "three instances at every time");
}

#[tokio::test]
async fn where_nobody_tells_what_an_application_provides_the_mapping_does() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let nobody = instance("127.0.0.1", 1, "r1", crate::support::free_port());
    writer.put("/services/app/127.0.0.1:1", &nobody, &EPHEMERAL).await;
    writer.put("/dubbo/mapping/a.A", "app,other", &PERSISTENT).await;
    writer.put("/dubbo/config/mapping/a.B/app", "1795267257293", &PERSISTENT).await;
    let mut world = world_by(&server, By::Interface, Watches::Recursive).await;
    world.until("both", |w| w.services.len() == 2).await;
    assert_eq!(world.endpoints("/dubbo/a.A"), ["127.0.0.1 1000"]);
    world.until_it_says("app: revision r1: its interfaces are not known: no /dubbo/metadata/app/r1").await;
    writer.0.set_data("/dubbo/mapping/a.A", b"other", None).await.unwrap();
    world.until("one", |w| w.services.len() == 1).await;
}
