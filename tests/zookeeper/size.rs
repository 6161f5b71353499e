//! Many nodes: all of it is read, and one change is one change then. How long that takes is the benches' to say.

use zookeeper_client as zk;

use crate::support::ZooKeeper;
use crate::world::{PERSISTENT, Watches, World, Writer, provider};

/// Creates nodes, whose folders are there, in groups.
async fn create_all(client: &zk::Client, paths: impl Iterator<Item = String>) {
    let mut group = client.new_multi_writer();
    let mut count = 0;
    for path in paths {
        group.add_create(&path, b"", &PERSISTENT).unwrap();
        count += 1;
        if count % 500 == 0 {
            group.commit().await.unwrap();
        }
    }
    group.commit().await.unwrap();
}

async fn five_thousand(watches: Watches) {
    let server = ZooKeeper::build().start().await;
    let writer = Writer::of(&server).await;
    writer.put("/dubbo", "", &PERSISTENT).await;
    let interface = |n: usize| format!("com.example.service.Interface{n}");
    let folders = (0..5000).flat_map(|n| {
        let folder = format!("/dubbo/{}", interface(n));
        let below = ["providers", "configurators", "consumers"].map(|name| format!("{folder}/{name}"));
        std::iter::once(folder).chain(below)
    });
    create_all(&writer.0, folders).await;
    let providers = |n: usize| (1..=5).map(move |host| (n, format!("10.0.{}.{host}:20880", n % 250)));
    create_all(
        &writer.0,
        (0..5000).flat_map(providers).map(|(n, a)| provider(&interface(n), &a, "methods=a,b,c")),
    )
    .await;

    let mut world = World::of(&server, watches).await;
    assert_eq!(world.services.len(), 5000);
    writer.put(&provider(&interface(4321), "10.9.9.9:20880", ""), "", &PERSISTENT).await;
    world.until("one change", |w| !w.changes.is_empty()).await;
    assert_eq!(world.changes, [(format!("/dubbo/{}", interface(4321)), None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_interfaces_are_read_and_a_change_is_one_change() {
    needs!(ZooKeeper);
    five_thousand(Watches::Recursive).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_read_without_recursive_watches() {
    needs!(ZooKeeper);
    five_thousand(Watches::OneShot).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_consumers_are_not_looked_at_and_as_many_providers_are_read() {
    needs!(ZooKeeper, LongRuns);
    let server = ZooKeeper::build().option("-Djute.maxbuffer=33554432").start().await;
    let writer = Writer::of(&server).await;
    for folder in ["consumers", "providers"] {
        writer.put(&format!("/dubbo/a.A/{folder}"), "", &PERSISTENT).await;
    }
    create_all(&writer.0, (0..100_000).map(|n| format!("/dubbo/a.A/consumers/c{n}"))).await;
    let address = |n: usize| format!("10.{}.{}.{}:1", n / 65536, n / 256 % 256, n % 256);
    create_all(&writer.0, (0..100_000).map(|n| provider("a.A", &address(n), ""))).await;
    let world = World::of(&server, Watches::Recursive).await;
    assert_eq!(world.endpoints("/dubbo/a.A").len(), 100_000);
}
