//! What happens to sessions and servers, and what is never said because of it.

use crate::support::{ZooKeeper, eventually, zookeeper_leader};
use crate::world::{EPHEMERAL, PERSISTENT, SHORT, SOON, Watches, World, Writer, provider, settings};

async fn server_pauses(watches: Watches) {
    let mut server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", "dynamic=false"), "", &PERSISTENT).await;
    let mut settings = settings(&[&server]);
    settings.connect.session_timeout = SHORT;
    let mut world = World::start(settings, watches);
    world.until("the first read", |w| w.resets == 1).await;
    server.process().signal("STOP").await;
    eventually("a life that ended", SOON, async || (world.how().failures > 0).then_some(())).await;
    assert!(world.how().problem.is_some());
    server.process().signal("CONT").await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.B", "10.0.0.1:1", "dynamic=false"), "", &PERSISTENT).await;
    world.until("all of it again", |w| w.resets >= 2 && w.services.len() == 2).await;
    assert!(world.doubts.is_empty());
    assert!(world.changes.iter().all(|(_, cause)| cause.is_none()), "nothing went: {:?}", world.changes);
}

#[tokio::test]
async fn after_an_expired_session_everything_is_read_before_anything_is_said() {
    needs!(ZooKeeper);
    server_pauses(Watches::Recursive).await;
}

#[tokio::test]
async fn the_same_holds_without_recursive_watches() {
    needs!(ZooKeeper);
    server_pauses(Watches::OneShot).await;
}

#[tokio::test]
async fn a_server_that_restarts_with_its_data_takes_nothing_away() {
    needs!(ZooKeeper);
    let mut server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", "dynamic=false"), "", &PERSISTENT).await;
    let mut world = World::of(&server, Watches::Recursive).await;
    drop(writer);
    server.kill().await;
    server.start_again(true).await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.2:1", "dynamic=false"), "", &PERSISTENT).await;
    world.until("both", |w| w.endpoints("/dubbo/a.A").len() == 2).await;
    assert!(world.resets >= 2 && world.doubts.is_empty());
    // The watch was set again: a change is seen without another read of everything.
    let resets = world.resets;
    writer.put(&provider("a.C", "10.0.0.2:1", "dynamic=false"), "", &PERSISTENT).await;
    world.until("another", |w| w.services.contains_key("/dubbo/a.C")).await;
    assert_eq!(world.resets, resets);
}

#[tokio::test]
async fn a_server_that_lost_its_data_is_not_believed_until_services_are_back() {
    needs!(ZooKeeper);
    let mut server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    writer.put(&provider("a.B", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    let mut world = World::of(&server, Watches::Recursive).await;
    drop(writer);
    server.kill().await;
    server.start_again(false).await;
    world.until("doubt", |w| !w.doubts.is_empty()).await;
    assert!(world.doubts[0].contains("none of the 2 services"), "{:?}", world.doubts);
    assert_eq!((world.services.len(), world.resets), (2, 1), "what is known stays");
    world.until_it_says("restarted without its data").await;
    let writer = Writer::of(&server).await;
    writer.put(&provider("a.A", "10.0.0.2:1", ""), "", &PERSISTENT).await;
    world.until("the one that is back", |w| w.endpoints("/dubbo/a.A") == ["10.0.0.2 1000"]).await;
    assert_eq!(world.services.len(), 2, "and nothing else has changed yet");
    world.until("a believed read", |w| w.resets == 2).await;
    assert_eq!(world.services.len(), 1);
    world.until_well().await;
}

#[tokio::test]
async fn a_leader_that_is_killed_takes_nothing_away() {
    needs!(ZooKeeper);
    let mut servers = ZooKeeper::build().start_three().await;
    let writer = Writer::of(&servers[0]).await;
    for n in 0..20 {
        writer.put(&provider(&format!("a.I{n}"), "10.0.0.1:1", ""), "", &PERSISTENT).await;
    }
    let mut world = World::start(settings(&servers.iter().collect::<Vec<_>>()), Watches::Recursive);
    world.until("all", |w| w.services.len() == 20).await;
    let leader = zookeeper_leader(&servers).unwrap();
    servers[leader].kill().await;
    let rest: Vec<&ZooKeeper> =
        servers.iter().enumerate().filter(|(n, _)| *n != leader).map(|(_, s)| s).collect();
    eventually("another leader", SOON, async || {
        rest.iter().any(|s| s.says("srvr").is_some_and(|t| t.contains("Mode: leader"))).then_some(())
    })
    .await;
    let writer = Writer::of(rest[0]).await;
    writer.put(&provider("a.New", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    world.until("a change under the new leader", |w| w.services.len() == 21).await;
    assert!(world.changes.iter().all(|(_, cause)| cause.is_none()) && world.doubts.is_empty());
}

#[tokio::test]
async fn a_server_without_a_quorum_is_read_where_it_allows_it() {
    needs!(ZooKeeper);
    let mut servers = ZooKeeper::build()
        .option("-Dreadonlymode.enabled=true")
        // Without these, such a server grants no session to anyone.
        .line("localSessionsEnabled=true")
        .line("localSessionsUpgradingEnabled=true")
        .start_three()
        .await;
    let writer = Writer::of(&servers[0]).await;
    writer.put(&provider("a.A", "10.0.0.1:1", ""), "", &PERSISTENT).await;
    eventually("the node on every server", SOON, async || {
        let counts: Vec<_> = servers.iter().map(|s| s.metric("zk_znode_count")).collect();
        (counts[0].is_some() && counts.iter().all(|c| *c == counts[0])).then_some(())
    })
    .await;
    drop(writer);
    for lost in [1, 2] {
        servers[lost].kill().await;
    }
    let mut world = World::start(settings(&[&servers[0]]), Watches::Recursive);
    world.until("a read", |w| w.resets == 1).await;
    assert_eq!(world.services.len(), 1);
}

#[tokio::test]
async fn a_chroot_is_the_top_of_everything() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put("/prod", "", &PERSISTENT).await;
    let mut settings = settings(&[&server]);
    settings.connect.chroot = Some("/prod".into());
    let mut world = World::start(settings, Watches::Recursive);
    world.until("a read of nothing", |w| w.resets == 1).await;
    writer.put(&provider("a.Outside", "10.0.0.1:1", ""), "", &EPHEMERAL).await;
    writer.put(&format!("/prod{}", provider("a.A", "10.0.0.1:1", "")), "", &EPHEMERAL).await;
    world.until("what is below it", |w| w.services.contains_key("/dubbo/a.A")).await;
    assert_eq!(world.services.len(), 1);
}

#[tokio::test]
async fn nodes_that_come_and_go_while_everything_is_read_are_right_in_the_end() {
    needs!(ZooKeeper);
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    let path = |n: usize| provider(&format!("a.I{}", n % 50), &format!("10.0.{}.{}:1", n / 200, n % 200), "");
    for n in 0..1000 {
        writer.put(&path(n), "", &PERSISTENT).await;
    }
    // Readers begin in the middle of deletions and creations.
    let mut recursive = World::start(settings(&[&server]), Watches::Recursive);
    let mut one_shot = World::start(settings(&[&server]), Watches::OneShot);
    for n in 0..1000 {
        writer.delete(&path(n)).await;
        if n % 3 == 0 {
            writer.put(&path(n + 1000), "", &PERSISTENT).await;
        }
        if n % 250 == 0 {
            for m in 0..50 {
                let curator = format!("/services/s{m}/{n}");
                writer.put(&curator, r#"{"address":"10.0.0.1","port":1}"#, &PERSISTENT).await;
                if m % 2 == 0 {
                    writer.delete(&curator).await;
                }
            }
        }
    }
    let want = |w: &World| {
        let count: usize = w.services.values().map(|s| s.endpoints.len()).sum();
        w.resets > 0 && count == 334 + 100
    };
    recursive.until("the end", want).await;
    one_shot.until("the same end", want).await;
    let names = |w: &World| w.services.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&recursive), names(&one_shot));
    for name in names(&recursive) {
        assert_eq!(recursive.services[&name], one_shot.services[&name]);
    }
}

#[tokio::test]
async fn servers_that_are_not_there_are_named_until_they_are() {
    needs!(ZooKeeper);
    let mut server = ZooKeeper::build().start().await;
    server.kill().await;
    let mut world = World::start(settings(&[&server]), Watches::Recursive);
    world.until_it_says(&format!("no session with {}", server.address())).await;
    server.start_again(true).await;
    world.until("the first read", |w| w.resets == 1).await;
    // Nothing is in it, which is said as well.
    eventually("that it is up", SOON, async || world.how().up.then_some(())).await;
}
