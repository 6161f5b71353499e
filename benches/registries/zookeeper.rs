//! ZooKeeper: one server, Dubbo's providers by interface, and what an expired session costs.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use zookeeper_client as zk;

use crate::subject::{QUIET, Subject};
use crate::support::ZooKeeper;
use crate::{GROWTH, INSTANCES, SIZES};

/// What a change may take beyond what it waits on purpose.
const BEYOND: Duration = Duration::from_millis(100);
/// The claim: twelve nodes for each interface are read in seconds.
const FIRST: Duration = Duration::from_secs(30);
/// Changes that are measured beside each size.
const CHANGES: u32 = 20;
/// By then a change is long through.
const WINDOW: Duration = Duration::from_millis(1000);
/// Nodes that are created in one request.
const GROUP: usize = 500;
const PERSISTENT: zk::CreateOptions<'static> = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());

fn interface(n: u32) -> String {
    format!("com.example.shop.orders.api.OrderService{n}")
}

/// As Dubbo 3.3 writes it.
fn provider(n: u32, address: &str) -> String {
    let interface = interface(n);
    let application = n / 10;
    let url = format!(
        "dubbo://{address}:20880/{interface}?application=app-{application}&deprecated=false&dubbo=2.0.2&dynamic=true&generic=false\
         &interface={interface}&methods=create,cancel,find,list&prefer.serialization=hessian2,fastjson2&release=3.3.6\
         &service-name-mapping=true&side=provider&timestamp=1795264947419&weight=150"
    );
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*');
    let name: String =
        url.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    format!("/dubbo/{interface}/providers/{name}")
}

async fn create_all(client: &zk::Client, paths: impl Iterator<Item = String>) {
    let paths: Vec<String> = paths.collect();
    for some in paths.chunks(GROUP) {
        let mut group = client.new_multi_writer();
        for path in some {
            group.add_create(path, b"127.0.0.1", &PERSISTENT).unwrap();
        }
        group.commit().await.unwrap();
    }
}

async fn load(interfaces: u32) -> ZooKeeper {
    let server = ZooKeeper::build().option("-Xmx1500m").start().await;
    let client = server.client().await;
    create_all(&client, std::iter::once("/dubbo".to_owned())).await;
    let folders = (0..interfaces).flat_map(|n| {
        let folder = format!("/dubbo/{}", interface(n));
        let below = ["providers", "configurators"].map(|name| format!("{folder}/{name}"));
        std::iter::once(folder).chain(below)
    });
    create_all(&client, folders).await;
    let address = |n: u32, host: u32| format!("10.{}.{}.{host}", n / 10 / 250, n / 10 % 250);
    let all = (0..interfaces).flat_map(|n| (1..=INSTANCES).map(move |host| provider(n, &address(n, host))));
    create_all(&client, all).await;
    server
}

/// First read, changes and an expired session; whether the claims hold.
pub(crate) async fn bench() -> bool {
    println!("ZooKeeper 3.8, Dubbo's interfaces of {INSTANCES} providers");
    let (mut costs, mut held) = (Vec::new(), true);
    for by in ["application", "interface"] {
        costs.clear();
        for interfaces in SIZES {
            let mut server = load(interfaces).await;
            let files = tempfile::tempdir().unwrap();
            let other = files.path().join("other.yaml");
            write(&other, "10.240.0.1");
            let registries = format!(
                "- name: zk\n  zookeeper: {{servers: ['{}'], sessionTimeout: 4s, layouts: [{{dubbo: {{by: {by}}}}}]}}\n\
                 - name: beside\n  files: {{path: '{}'}}",
                server.address(),
                files.path().display()
            );
            let services = if by == "interface" { interfaces } else { interfaces / 10 };
            println!("  by {by}, {interfaces} interfaces");
            let (mut subject, first) = Subject::start(&registries, services as usize).await;
            sleep(Duration::from_secs(3)).await;
            first.print(subject.resident_mib());
            held &= first.wall <= FIRST;
            let client = server.client().await;
            let changes = subject
                .changes(CHANGES, WINDOW, async |turn| {
                    let address = format!("10.250.{}.{}", turn >> 8, turn & 255);
                    let path = provider(turn * 7919 % interfaces, &address);
                    client.create(&path, b"", &PERSISTENT).await.unwrap();
                    address
                })
                .await;
            changes.print("a provider comes");
            held &= changes.within(99) <= QUIET + BEYOND;
            costs.push(changes.cpu);
            held &= expires(&mut server, &mut subject, &other).await;
        }
        println!(
            "  CPU of a change beside {} interfaces over one beside {}: {:.2}x (at most {GROWTH}x, or 2 ms more)",
            SIZES[1],
            SIZES[0],
            costs[1] / costs[0]
        );
        held &= costs[1] <= GROWTH * costs[0] || costs[1] - costs[0] <= 2000.0;
    }
    held
}

fn write(file: &std::path::Path, address: &str) {
    let text = format!(
        "services: [{{name: other, hosts: [other.example], ports: [{{number: 80, protocol: HTTP}}], endpoints: [{{address: {address}}}]}}]"
    );
    std::fs::write(file, text).unwrap();
}

/// The server is silent for longer than our session lasts; everything is read again, and nothing may go meanwhile.
async fn expires(server: &mut ZooKeeper, subject: &mut Subject, other: &std::path::Path) -> bool {
    let removed = subject.watcher.removed;
    server.process().signal("STOP").await;
    sleep(Duration::from_secs(9)).await;
    let (before, began) = (subject.process.cpu(), Instant::now());
    server.process().signal("CONT").await;
    let client = server.client().await;
    client.create(&provider(1, "10.251.0.1"), b"", &PERSISTENT).await.unwrap();
    write(other, "10.240.0.2");
    let changed = Instant::now();
    let beside = subject.watcher.sees("10.240.0.2").await.saturating_duration_since(changed);
    let (again, cpu) = match subject.watcher.already("10.251.0.1") {
        Some(at) => (at - began, subject.process.cpu() - before),
        None => (subject.watcher.sees("10.251.0.1").await - began, subject.process.cpu() - before),
    };
    let removed = subject.watcher.removed - removed;
    println!(
        "  expired session: read again {:.2} s after the server's return, {:.2} CPU s, peak {} MiB; {removed} resources removed; \
         a file beside it took {beside:.0?}",
        again.as_secs_f64(),
        cpu.as_secs_f64(),
        subject.process.peak() >> 20
    );
    removed == 0
}
